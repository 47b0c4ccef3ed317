#!/usr/bin/env python3
"""Writes gpt2_hf.inc: logits, loss and gradients of a small GPT-2 by Hugging Face's GPT2LMHeadModel, in fp64.

    python3 tests/parity/gpt2_hf.py > tests/parity/gpt2_hf.inc

Run by hand (it needs torch and transformers); its output is committed, so the test needs neither. Parameters are
no random numbers but 0.3 sin(0.7 i + s), s the sum of the bytes of the name modulo 101, which the test computes for
itself; so a parameter under another name, or stored the other way round, changes every number.
"""
import math
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

LAYERS, HEADS, WIDTH, VOCAB, CONTEXT, BATCH, SEQ = 2, 3, 12, 11, 8, 2, 5


def numbers(values):
    return ", ".join(repr(float(v)) for v in values)


def main():
    torch.set_default_dtype(torch.float64)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
                                       attn_implementation="eager")).eval().double()
    parameters = {name.removeprefix("transformer."): p for name, p in model.named_parameters()}
    for name, p in parameters.items():
        s = sum(name.encode()) % 101
        p.data = torch.tensor([0.3 * math.sin(0.7 * i + s) for i in range(p.numel())]).reshape(p.shape)
    ids = torch.tensor([(3 * i + 1) % VOCAB for i in range(BATCH * SEQ)]).reshape(BATCH, SEQ)
    labels = torch.tensor([-100 if i % 4 == 3 else (5 * i + 2) % VOCAB for i in range(BATCH * SEQ)]).reshape(BATCH, SEQ)
    logits = model(ids).logits
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    loss.backward()
    print("/* Made by gpt2_hf.py with Hugging Face's transformers; not to be edited. */\n/* clang-format off */")
    print(f"enum {{ LAYERS = {LAYERS}, HEADS = {HEADS}, WIDTH = {WIDTH}, VOCAB = {VOCAB}, CONTEXT = {CONTEXT}, "
          f"BATCH = {BATCH}, SEQ = {SEQ} }};")
    print(f"static const double expected_loss = {loss.item()!r};")
    print(f"static const double expected_logits[] = {{{numbers(logits.flatten())}}};")
    print("/* Per parameter the sum of its gradient's elements, and of element i times cos(i). */")
    print("static const struct {\n    const char *name;\n    double sum, wave;\n} expected_gradients[] = {")
    for name, p in parameters.items():
        g = p.grad.flatten()
        wave = torch.tensor([math.cos(i) for i in range(g.numel())])
        print(f'    {{"{name}", {numbers([g.sum(), (g * wave).sum()])}}},')
    print("};")


main()
