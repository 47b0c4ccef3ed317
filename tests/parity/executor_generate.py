"""Generation and forward passes of the bigram plans against the same arithmetic in Python."""

import ast
import json
import math
import os
import struct

from executor import Bench, expect, read_bytes, tensors

VOCAB, CHUNK, CONTEXT, BATCH, SEQ, END = 257, 8, 40, 4, 16, 256


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def load_table(bench, folder):
    dtype, shape, data = tensors(bench.path(folder, "model.safetensors"))["bigram.weight"]
    expect((dtype, shape) == ("F32", [VOCAB, VOCAB]), "the weight has its name, type and shape")
    return struct.unpack(f"<{VOCAB * VOCAB}f", data)


def greedy(table, prompt, limit):
    """The kernels of bigram_kernels.c: the last token's row, and a trace of every token before it."""
    text = list(prompt)
    while len(text) - len(prompt) < limit and len(text) <= CONTEXT:
        logits = list(table[text[-1] * VOCAB:(text[-1] + 1) * VOCAB])
        for i, token in enumerate(text[:-1]):
            logits[token] = f32(logits[token] + f32(f32(0.01) * (i % 3)))
        best = max(range(VOCAB), key=lambda v: (logits[v], -v))
        if best == END:
            break
        text.append(best)
    return bytes(text[len(prompt):])


def shown(data):
    """As it is printed: ill-formed bytes replaced."""
    return data.decode("utf-8", "replace").encode()


def prompts(bench, table):
    """Prompts that fill no chunk, just one, more, and the whole context, where the last chunk is moved back."""
    text = b"line 7 of the text, and 12 more words to go on"
    for size in (1, 2, 7, 8, 9, 10, 16, 17, 31, 33, 34, 39, 40):
        got = bench.run("generate", "generate.plan", "--weights", "weights", "--prompt", text[:size].decode(), "--temperature",
                        0, "--max-tokens", 20, "--no-echo")
        expect(got == shown(greedy(table, text[:size], 20)) + b"\n", f"greedy text after {size} tokens: {got}")
    full = ["generate", "generate.plan", "--weights", "weights", "--temperature", 0]
    bench.run(*full, "--prompt", text[:41].decode(), status=2, says="41 tokens, the model's context 40")
    bench.run(*full, "--prompt", text[:30].decode(), "--max-tokens", 100, says="context of 40 is full")
    with open(bench.path("prompt.txt"), "wb") as file:
        file.write(text[:10])
    got = bench.run(*full, "--prompt-file", "prompt.txt", "--max-tokens", 3)
    expect(got == text[:10] + greedy(table, text[:10], 3) + b"\n", "the prompt is echoed")
    expect(bench.run(*full, "--prompt", "") == shown(greedy(table, [END], 64)) + b"\n", "without a prompt, a document's start")


def sampling(bench):
    base = ["generate", "generate.plan", "--weights", "weights", "--prompt", "line", "--max-tokens", 30]
    texts = {bench.run(*base, "--temperature", 1.5, "--seed", seed) for seed in (1, 1, 2, 3)}
    expect(len(texts) == 3, "the seed chooses the text, and nothing else does")
    expect(bench.run(*base, "--top-k", 1) == bench.run(*base, "--temperature", 0), "one candidate is greedy")
    expect(bench.run(*base, "--top-p", 1e-9) == bench.run(*base, "--temperature", 0), "a tiny nucleus is greedy")
    bench.run(*base, "--stats", says="tokens/s")
    bench.run(*base, "--top-p", 1.5, status=2, says="--top-p")
    bench.run(*base, "--temperature", -1, status=2, says="--temperature")
    bench.run(*base, "--prompt-file", "x", status=2, says="either")
    bench.run("generate", "generate.plan", "--prompt", "x", status=2, says="--weights")
    bench.run("generate", "generate.plan", "--prompt", "x", "--weights", "absent", status=2, says="absent")


def write_safetensors(path, entries):
    header, blob = {}, b""
    for name, (dtype, shape, data) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


def foreign_weights(bench):
    """As Hugging Face saves them: behind a prefix, with buffers that are no weights."""
    weight = tensors(bench.path("weights", "model.safetensors"))["bigram.weight"]
    os.mkdir(bench.path("hf"))
    path = bench.path("hf", "model.safetensors")
    base = ["generate", "generate.plan", "--prompt", "line", "--temperature", 0]
    mask = ("U8", [2, 2], bytes(4))
    write_safetensors(path, {"transformer.bigram.weight": weight, "transformer.h.0.attn.bias": mask,
                             "lm_head.weight": weight})
    expect(bench.run(*base, "--weights", "hf") == bench.run(*base, "--weights", "weights"), "prefixed weights are the same")
    expect(bench.run(*base, "--weights", "hf/model.safetensors") == bench.run(*base, "--weights", "weights"), "the file too")
    write_safetensors(path, {"bigram.weight": weight, "h.0.weight": mask})
    bench.run(*base, "--weights", "hf", status=2, says="that the model lacks: 'h.0.weight'")
    write_safetensors(path, {"lm_head.weight": weight})
    bench.run(*base, "--weights", "hf", status=2, says="missing: 'bigram.weight' F32[257, 257]")
    write_safetensors(path, {"bigram.weight": ("F32", [2, 2], bytes(16))})
    bench.run(*base, "--weights", "hf", status=2, says="'bigram.weight' is F32[2, 2] and should be F32[257, 257]")
    write_safetensors(path, {"bigram.weight": (weight[0], weight[1], struct.pack("<f", math.nan) * VOCAB * VOCAB)})
    bench.run(*base, "--weights", "hf", status=2, says="first in the op 'bigram'")


def write_npy(path, dtype, shape, data):
    header = str({"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def read_npy(path):
    data = read_bytes(path)
    size = struct.unpack_from("<H", data, 8)[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    return header["descr"], header["shape"], data[10 + size:]


def forward(bench, table):
    ids = [(i * 37) % VOCAB for i in range(BATCH * SEQ)]
    labels = [(i * 11) % VOCAB if i % 5 else -100 for i in range(BATCH * SEQ)]
    write_npy(bench.path("ids.npy"), "<i8", (BATCH, SEQ), struct.pack(f"<{BATCH * SEQ}q", *ids))
    write_npy(bench.path("labels.npy"), "<i4", (BATCH, SEQ), struct.pack(f"<{BATCH * SEQ}i", *labels))
    base = ["run", "forward.plan", "--input", "input_ids=ids.npy"]
    given = [*base, "labels=labels.npy"]
    bench.run(*given, "--weights", "weights", "--output", "out/put")
    descr, shape, data = read_npy(bench.path("out", "put", "echo.npy"))
    expect((descr, tuple(shape), data) == ("<i4", (BATCH, SEQ), struct.pack(f"<{BATCH * SEQ}i", *ids)), "i64 ids become i32")
    descr, shape, data = read_npy(bench.path("out", "put", "loss.npy"))
    losses = []
    for i, label in zip(ids, labels):
        row = table[i * VOCAB:(i + 1) * VOCAB]
        if label >= 0:
            losses.append(math.log(sum(map(math.exp, row))) - row[label])
    loss = sum(losses) / len(losses)
    expect((descr, tuple(shape)) == ("<f4", ()), "the loss is a scalar")
    expect(abs(struct.unpack("<f", data)[0] - loss) < 1e-5 * loss, "the loss is that of the weights")
    expect(b"loss" in bench.run(*given, "--seed", 3), "without --output there is a table")
    bench.run("run", "forward.plan", status=2, says="missing: --input labels=FILE.npy, i32[4, 16]")
    bench.run(*given, "other=ids.npy", status=2, says="--input other: the model has no such input")
    bench.run(*given, "labels=ids.npy", status=2, says="twice")
    bench.run(*base, "labels", status=2, says="NAME=FILE.npy")
    bench.run(*base, "labels=absent.npy", status=2, says="absent.npy")
    write_npy(bench.path("bad.npy"), "<i4", (SEQ, BATCH), bytes(4 * BATCH * SEQ))
    bench.run(*base, "labels=bad.npy", status=2, says="[16, 4], the input is [4, 16]")
    write_npy(bench.path("bad.npy"), "<f4", (BATCH, SEQ), bytes(4 * BATCH * SEQ))
    bench.run(*base, "labels=bad.npy", status=2, says="of type F32")
    write_npy(bench.path("bad.npy"), "<i8", (BATCH, SEQ), struct.pack("<q", 1 << 40) * BATCH * SEQ)
    bench.run(*base, "labels=bad.npy", status=2, says="cannot hold")
    write_npy(bench.path("bad.npy"), "<i4", (BATCH, SEQ), struct.pack("<i", VOCAB) * BATCH * SEQ)
    bench.run("run", "forward.plan", "--input", "labels=labels.npy", "input_ids=bad.npy", status=2, says="257 rows")
    bench.run(*given, "--output", "ids.npy/out", status=2, says="ids.npy/out")


def main():
    with Bench() as bench:
        bench.train("step", "--steps", 300, "--val-every", 0, "--save", "run", "--quiet")
        os.rename(bench.path("run", "step_00000300"), bench.path("weights"))
        table = load_table(bench, "weights")
        prompts(bench, table)
        sampling(bench)
        foreign_weights(bench)
        forward(bench, table)


if __name__ == "__main__":
    main()
