#!/usr/bin/env python3
"""Rates of the GPUs of this host, as a machine file has them (docs/machines.md), measured through PyTorch: what cuBLAS, cuDNN
and NCCL achieve, whatever calls them. Medians of timed runs after a warm-up. `colc probe --target cuda` will measure what
colc's own back end achieves.

usage: cuda_machine.py [--ranks N]        with all GPUs by default; prints figures by size
"""
import argparse
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

parser = argparse.ArgumentParser()
parser.add_argument("--ranks", type=int, default=torch.cuda.device_count())
options = parser.parse_args()


def seconds(run, repeats=20, warm_up=5, inner=1):
    """Median of the GPU's seconds of a run."""
    for _ in range(warm_up):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(inner):
            run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3 / inner)
    return statistics.median(times)


def row(what, size, rate):
    print(f"{what:28} {size:12.4g} {rate:10.4g}", flush=True)


def products():
    for name, dtype, tf32 in (("fp32", torch.float32, False), ("tf32", torch.float32, True), ("bf16", torch.bfloat16, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for m, n, k in ((128, 768, 768), (512, 768, 768), (2048, 2304, 768), (8192, 3072, 768), (8192, 4096, 4096),
                        (8192, 12288, 4096), (8192, 50304, 768), (8192, 8192, 8192)):
            if name == "fp32" and m * n * k > 2 ** 38:
                continue
            a, b = (torch.randn(m, k, device="cuda", dtype=dtype), torch.randn(k, n, device="cuda", dtype=dtype))
            out = torch.empty(m, n, device="cuda", dtype=dtype)
            t = seconds(lambda: torch.mm(a, b, out=out), inner=10)
            row(f"products {name} {m}x{n}x{k}", 2 * m * n * k, 2 * m * n * k / t)


def attention():
    """Forward and backward of causal attention, half of each product counted: 2 + 5 products."""
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        for b, h, t, d in ((4, 12, 256, 64), (8, 12, 1024, 64), (16, 12, 1024, 64), (8, 32, 2048, 128)):
            if name == "fp32" and t > 1024:
                continue
            q, k, v = (torch.randn(b, h, t, d, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3))
            g = torch.randn(b, h, t, d, device="cuda", dtype=dtype)

            def run():
                torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).backward(g)
                q.grad = k.grad = v.grad = None

            flops = 7 * 2 * b * h * t * t * d * 0.5
            row(f"attention {name} {b}x{h}x{t}x{d}", flops, flops / seconds(run))


def memory():
    for mib in (1, 4, 16, 48, 96, 192, 768, 3072):
        x = torch.empty(mib << 18, device="cuda")
        y = torch.empty_like(x)
        t = seconds(lambda: y.copy_(x), inner=20)
        row(f"traffic copy {mib} MiB", 2 * mib * 2 ** 20, 2 * mib * 2 ** 20 / t)
    x = torch.empty(256 << 18, device="cuda").normal_()
    t = seconds(lambda: torch.nn.functional.gelu(x, approximate="tanh"))
    row("gelu 256 MiB, elements/s", x.numel(), x.numel() / t)
    table, ids = torch.zeros(50304, 768, device="cuda"), torch.randint(0, 50304, (8192,), device="cuda")
    g = torch.randn(8192, 768, device="cuda")
    t = seconds(lambda: table.index_add_(0, ids, g))
    row("moves scatter-add, updates/s", g.numel(), g.numel() / t)
    host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    row("host to device", 256 << 20, (256 << 20) / seconds(lambda: device.copy_(host, non_blocking=True)))
    row("device to host", 256 << 20, (256 << 20) / seconds(lambda: host.copy_(device, non_blocking=True)))


def launches():
    x = torch.zeros(64, device="cuda")
    graph = torch.cuda.CUDAGraph()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(200):
            x.add_(1)
    row("kernel of a captured graph, s", 200, seconds(graph.replay) / 200)


def overlap(rank):
    """The share a with T = C + M - a C, where T is the time of both for C seconds of computing beside M of communication."""
    a, b = (torch.randn(*s, device="cuda", dtype=torch.bfloat16) for s in ((8192, 2048), (2048, 2048)))
    c, x, y = torch.empty_like(a), torch.randn(1 << 24, device="cuda"), torch.empty(1 << 24, device="cuda")
    computing = (("products", lambda: torch.mm(a, b, out=c)), ("streams", lambda: torch.add(x, 1, out=y)))
    for mib in (16, 64, 256):
        count, g = 2048 // mib, torch.ones(mib << 18, device="cuda")

        def run(compute, times, communicates=True):
            work = None
            for _ in range(count):
                work = dist.all_reduce(g, async_op=True) if communicates else None
                for _ in range(times):
                    compute()
            if work:
                work.wait()

        alone = seconds(lambda: run(None, 0), repeats=7, warm_up=2)
        for name, compute in computing:
            times = max(1, round(alone / count / seconds(compute, inner=200)))
            computed = seconds(lambda: run(compute, times, False), repeats=7, warm_up=2)
            both = seconds(lambda: run(compute, times), repeats=7, warm_up=2)
            if rank == 0:
                print(f"overlap of all-reduces of {mib} MiB beside {name:8} {(computed + alone - both) / computed:6.2f}", flush=True)
            g.fill_(1)


def collectives(rank, ranks):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", RANK=str(rank), WORLD_SIZE=str(ranks))
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", rank=rank, world_size=ranks, device_id=torch.device("cuda", rank))
    for kib in (4, 64, 1024, 4096, 16384, 65536, 262144):
        bytes_ = kib << 10
        x = torch.ones(bytes_ // 4, device="cuda")
        part = torch.empty(bytes_ // 4 // ranks, device="cuda")
        y = torch.empty_like(x)
        share = (ranks - 1) / ranks * bytes_
        for name, run, sent in (
                ("all-reduce", lambda: dist.all_reduce(x), 2 * share),
                ("all-gather", lambda: dist.all_gather_into_tensor(y, part), share),
                ("reduce-scatter", lambda: dist.reduce_scatter_tensor(part, x), share),
                ("all-to-all", lambda: dist.all_to_all_single(y, x), share)):
            t = seconds(run, inner=10)
            if rank == 0:
                print(f"{name:16} {ranks} ranks {kib:8} KiB  {t * 1e6:9.1f} us  {sent / t:10.4g} B/s sent", flush=True)
            x.fill_(1)
    overlap(rank)
    dist.destroy_process_group()


if __name__ == "__main__":
    print(torch.cuda.get_device_name(0), torch.__version__, "NCCL", torch.cuda.nccl.version(), time.strftime("%Y-%m-%d"))
    torch.manual_seed(0)
    products()
    attention()
    memory()
    launches()
    for n in sorted({2, options.ranks}):
        if 1 < n <= options.ranks:
            mp.spawn(collectives, args=(n,), nprocs=n)
