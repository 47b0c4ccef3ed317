#!/usr/bin/env python3
"""Two GPUs against one: every forced plan and `auto` train small models from the same numbers. Losses agree, the same run gives
the same bits twice, with overlap or without, and however its processes are started; the bytes that collectives send are those that the
plan predicts; what two ranks saved one goes on from; a rank that is killed, stops or sleeps ends the others with status 4.
Skips, saying why, where there are no two GPUs.

usage: gpus.py COLC COLRUN MODELS [--plans DIR] [--compile] [--check NAME]

--plans keeps plans in DIR, and takes those that are there; --compile makes them and runs nothing, for a machine without GPUs.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

STEPS, HALF = 10, 5
GPT2 = ["gpt2.ir", "--recipe", "recipes/gpt2_nano.yaml", "--set", "layers=2", "--batch", "8"]
RESNET = ["resnet.ir", "--recipe", "recipes/resnet18_cifar10.yaml", "--batch", "8", "--set", "width=16"]
BF16 = ["--precision", "bf16"]
# Name: model and options, largest relative differences of losses and of gradient norms, plans.
MODELS = {
    "gpt2": (GPT2, 1e-5, 1e-4, ["auto", "ddp", "zero1", "zero3", "tp1d", "sp"]),
    "dropout": ([*GPT2, "--set", "dropout=0.1", "--accumulate", "2"], 1e-5, 1e-4, ["zero1"]),
    "bf16": ([*GPT2, *BF16], 1e-2, 5e-2, ["zero1", "tp1d"]),
    "fp16": ([*GPT2, "--precision", "fp16"], 1e-2, 1e-2, ["zero1"]),
    # Batch normalisation and momentum carry rounding on, so the norms drift.
    "resnet": (RESNET, 5e-5, 1e-2, ["ddp"]),
}
TWICE = ("zero1", "tp1d")
VERIFIED = ["gpt2.ir", "--set", "layers=1", "--set", "width=64", "--set", "heads=2", "--set", "vocab=96", "--set", "context=32", "--batch", "2",
            "--seq", "32", "--target", "cuda", "--mesh", "2", "--plan", "tp1d"]
OVERLAPPED = [("gpt2", "ddp"), ("gpt2", "zero1"), ("bf16", "zero3")]


class Bench:
    def __init__(self, options, folder):
        self.o, self.folder, self.faults = options, folder, []
        self.plans = options.plans or folder

    def plan(self, model, *options):
        path = os.path.join(os.path.abspath(self.plans), "_".join([model, *(o.strip("-") for o in options)]) + ".plan")
        if os.path.exists(path):
            return path
        done = subprocess.run([os.path.abspath(self.o.colc), "compile", *MODELS[model][0], "--target", "cuda", *options, "-o", path,
                               "--report", path + ".json"], cwd=self.o.models, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{path}: {done.stderr}")
        return path

    def two(self, model, name, *options):
        return self.plan(model, "--mesh", "2", "--plan", name, *options)

    def compile_all(self):
        for model, (_, _, _, names) in MODELS.items():
            self.plan(model)
            for name in names:
                self.two(model, name)
        for model, name in OVERLAPPED:
            for overlap in ("on", "off"):
                self.two(model, name, "--overlap", overlap)

    def command(self, plan, folder, *options, steps=STEPS, timeout=30):
        return [self.o.colrun, "train", plan, "--data", "synthetic", "--steps", str(steps), "--seed", "3", "--log-dir", folder, "--quiet",
                "--timeout", str(timeout), *options]

    def train(self, plan, *options, starts=None):
        """Losses and rows of a run; `starts` runs the command otherwise."""
        folder = tempfile.mkdtemp(dir=self.folder)
        command = self.command(plan, folder, *options)
        done = starts(command) if starts else subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
        if "warning" in done.stderr:
            raise RuntimeError(f"{plan}: {done.stderr.strip()}")
        with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def expect(self, condition, what):
        if not condition:
            self.faults.append(what)
            print("WRONG:", what, flush=True)


def numbers(rows):
    return [(row["loss"], row["grad_norm"]) for row in rows]


def apart(rows, others, key):
    return max(abs(a[key] - b[key]) / max(abs(b[key]), 1e-6) for a, b in zip(rows, others, strict=True))


def check_plans(bench):
    for model, (_, near, norm_near, names) in MODELS.items():
        one = bench.train(bench.plan(model))
        for name in names:
            plan = bench.two(model, name)
            rows = bench.train(plan, "--ranks", "2")
            again = bench.train(plan) if name in TWICE else rows
            loss, norm = apart(rows, one, "loss"), apart(rows, one, "grad_norm")
            bench.expect(loss <= near and norm <= norm_near, f"{model} {name}: {numbers(rows)}, on one {numbers(one)}")
            bench.expect(numbers(rows) == numbers(again), f"{model} {name}: two runs differ: {numbers(rows)}, {numbers(again)}")
            with open(plan + ".json", encoding="utf-8") as f:
                predicted = json.load(f)["predicted"]
            sent = [row.get("collective_bytes", {}) for row in rows]
            bench.expect(all(s == predicted["collective_bytes"] for s in sent), f"{model} {name}: sent {sent[0]}, predicted {predicted}")
            print(f"{model} {name}: losses differ by {loss:.1e}, gradient norms by {norm:.1e}; "
                  f"{predicted['communication_bytes']:.0f} bytes a rank and step", flush=True)


def check_overlap(bench):
    for model, name in OVERLAPPED:
        on, off = (bench.train(bench.two(model, name, "--overlap", o)) for o in ("on", "off"))
        bench.expect(numbers(on) == numbers(off), f"{model} {name}: overlap changes numbers: {numbers(on)}, {numbers(off)}")
    traced = bench.train(bench.two(*OVERLAPPED[0], "--overlap", "on"), "--trace", os.path.join(bench.folder, "trace.json"))
    plain = bench.train(bench.two(*OVERLAPPED[0], "--overlap", "on"))
    bench.expect(numbers(traced) == numbers(plain), "a trace changes numbers")
    print(f"{len(OVERLAPPED)} plans give the same with overlap and without", flush=True)


def check_checkpoints(bench):
    """Saved by two ranks, resumed by one and by two."""
    plan, one = bench.two("dropout", "zero1"), bench.plan("dropout")
    whole = bench.train(plan)
    for resumed in (plan, one):
        saved = tempfile.mkdtemp(dir=bench.folder)
        bench.train(plan, "--save", saved, "--save-every", str(HALF))
        shutil.rmtree(os.path.join(saved, f"step_{STEPS:08d}"))
        with open(os.path.join(saved, "latest"), "w", encoding="utf-8") as f:
            f.write(f"step_{HALF:08d}\n")
        rows = bench.train(resumed, "--save", saved, "--resume")
        loss = apart(rows, whole[HALF:], "loss")
        bench.expect(loss <= (1e-5 if resumed is one else 0), f"resumed from {HALF} steps: {numbers(rows)}, not {numbers(whole)}")
    print("checkpoints of two ranks go on on two and on one", flush=True)


def environments():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1] - 1
    for rank in range(2):
        yield dict(os.environ, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                   MASTER_PORT=str(port))


def start(command):
    return [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for env in environments()]


def run_processes(command):
    """As torchrun starts them."""
    ranks = start(command)
    texts = [rank.communicate(timeout=300)[1] for rank in ranks]
    return subprocess.CompletedProcess(command, max(abs(rank.returncode) for rank in ranks), None, "".join(texts))


def check_processes(bench):
    plan = bench.two("gpt2", "zero1")
    bench.expect(numbers(bench.train(plan)) == numbers(bench.train(plan, starts=run_processes)),
                 "processes that are started as torchrun does give other numbers")
    print("processes that are started as torchrun does give the same", flush=True)


def check_faults(bench):
    """Rank 1 is killed or stopped somewhere in the middle of a run."""
    plan = bench.two("gpt2", "ddp")
    for name, number, words in (("killed", signal.SIGKILL, "lost the connection to rank 1"),
                                ("stopped", signal.SIGSTOP, "rank 1 did not come to the all-")):
        folder = tempfile.mkdtemp(dir=bench.folder)
        ranks = start(bench.command(plan, folder, steps=1000000, timeout=3))
        log = os.path.join(folder, "metrics.jsonl")
        end = time.monotonic() + 60
        while not (os.path.exists(log) and os.path.getsize(log) > 1000) and time.monotonic() < end and ranks[0].poll() is None:
            time.sleep(0.1)
        ranks[1].send_signal(number)
        begin = time.monotonic()
        try:
            error = ranks[0].communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            ranks[0].kill()
            error = "it does not end; " + ranks[0].communicate()[1]
        ranks[1].kill()
        ranks[1].communicate()
        bench.expect(ranks[0].returncode == 4 and words in error, f"with rank 1 {name} rank 0 ended with {ranks[0].returncode}: {error}")
        print(f"rank 1 {name}: rank 0 ended {time.monotonic() - begin:.1f} s later: {error.strip()}", flush=True)
        bench.expect(not glob.glob(os.path.join(folder, "*.tmp")), "files are left behind")


def check_too_few(bench):
    done = subprocess.run(bench.command(bench.two("gpt2", "ddp"), bench.folder), env=dict(os.environ, CUDA_VISIBLE_DEVICES="0"),
                          capture_output=True, text=True, timeout=300, check=False)
    bench.expect(done.returncode == 4 and "ranks 0 and 1 would share a GPU" in done.stderr,
                 f"with one GPU: status {done.returncode}: {done.stderr}")


def check_verify(bench):
    """A model and a plan of it, on both GPUs, against the reference in fp64. Wants a compiler."""
    colc, plan = os.path.abspath(bench.o.colc), os.path.join(bench.folder, "verified.plan")
    for words in (["compile", *VERIFIED, "-o", plan], ["verify", *VERIFIED], ["verify", plan]):
        done = subprocess.run([colc, *words], cwd=bench.o.models, capture_output=True, text=True, timeout=600, check=False)
        agree = words[0] != "verify" or done.stdout.count("all agree") == 1
        bench.expect(done.returncode == 0 and agree, f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
    print("what two GPUs compute is what the reference does", flush=True)


CHECKS = {"plans": check_plans, "overlap": check_overlap, "checkpoints": check_checkpoints, "processes": check_processes,
          "faults": check_faults, "too_few": check_too_few, "verify": check_verify}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colc")
    parser.add_argument("colrun")
    parser.add_argument("models")
    parser.add_argument("--plans")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--check", choices=CHECKS)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(o, folder)
        if o.compile:
            bench.compile_all()
            return
        done = subprocess.run(bench.command(bench.two("gpt2", "ddp"), folder), capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 4:
            print(f"skipped: {done.stderr.strip()}")
            sys.exit(77)
        for name, check in CHECKS.items():
            if o.check not in (None, name):
                continue
            begin = time.monotonic()
            try:
                check(bench)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                bench.expect(False, f"{name}: {error}")
            print(f"  {name}: {time.monotonic() - begin:.1f} s", flush=True)
        sys.exit("\n".join(bench.faults))


if __name__ == "__main__":
    main()
