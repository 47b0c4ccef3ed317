#!/usr/bin/env python3
"""Writes what llm.c's train_gpt2 opens into a folder: gpt2_124M.bin with random weights, and random tokens.

usage: llmc_files.py FOLDER
"""
import array
import os
import random
import struct
import sys

LAYERS, HEADS, WIDTH, CONTEXT, VOCAB, PADDED = 12, 12, 768, 1024, 50257, 50304
random.seed(1)
BLOCK = array.array("f", (random.gauss(0, 0.02) for _ in range(999_983)))  # repeated: it takes no part in a time


def numbers(f, count, value=None):
    if value is not None:
        f.write(array.array("f", [value]).tobytes() * count)
        return
    data = BLOCK.tobytes()
    while count:
        n = min(count, len(BLOCK))
        f.write(data[: 4 * n])
        count -= n


folder = sys.argv[1]
with open(os.path.join(folder, "gpt2_124M.bin"), "wb") as f:
    f.write(struct.pack("<256i", 20240326, 3, CONTEXT, VOCAB, LAYERS, HEADS, WIDTH, PADDED, *[0] * 248))
    square = WIDTH * WIDTH
    for count, value in [(PADDED * WIDTH, None), (CONTEXT * WIDTH, None), (LAYERS * WIDTH, 1), (LAYERS * WIDTH, 0),
                         (LAYERS * 3 * square, None), (LAYERS * 3 * WIDTH, 0), (LAYERS * square, None), (LAYERS * WIDTH, 0),
                         (LAYERS * WIDTH, 1), (LAYERS * WIDTH, 0), (LAYERS * 4 * square, None), (LAYERS * 4 * WIDTH, 0),
                         (LAYERS * 4 * square, None), (LAYERS * WIDTH, 0), (WIDTH, 1), (WIDTH, 0)]:
        numbers(f, count, value)
data = os.path.join(folder, "dev/data/tinyshakespeare")
os.makedirs(data, exist_ok=True)
for part in ("train", "val"):
    tokens = array.array("H", (random.randrange(VOCAB) for _ in range(1 << 16)))
    with open(os.path.join(data, f"tiny_shakespeare_{part}.bin"), "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + tokens.tobytes())
