#!/usr/bin/env python3
"""A small GPT-2 through colc and colrun, against goldens that gpt2_torch.py had from PyTorch, and against itself:
accumulated, on another number of threads, with dropout.

usage: gpt2.py COLC MODEL GOLDEN
"""
import json
import os
import sys
import tempfile

import gpt2_small as small

colc, model, golden_path = sys.argv[1:]


def losses(rows):
    return [row["loss"] for row in rows]


def check_losses(trainer, golden):
    rows, after = trainer.adamw()
    assert len(rows) == len(golden["losses"])
    for row, loss, norm in zip(rows, golden["losses"], golden["norms"]):
        assert abs(row["loss"] - loss) <= 1e-4 * loss, (row, loss)
        assert abs(row["grad_norm"] - norm) <= 1e-4 * norm, (row, norm)
    return rows, after


def check_gradients(trainer, golden):
    gradients = trainer.gradients()
    assert gradients.keys() == golden["gradients"].keys()
    for k, name in enumerate(sorted(gradients)):
        small.check_digest(name, k, gradients[name], golden["gradients"][name], 1e-4)
    return gradients


def check_accumulated(trainer, rows, gradients):
    parts, _ = trainer.adamw("--accumulate", small.BATCH, batch=1)
    for a, b in zip(losses(parts), losses(rows)):
        assert abs(a - b) <= 1e-5 * b, (a, b)
    summed = trainer.gradients("--accumulate", small.BATCH, batch=1)
    for name, values in gradients.items():
        apart = small.distance(summed[name], values)
        assert apart <= 1e-5, (name, apart)


def check_threads(trainer):
    """Bit-equal on any number of threads, dropout and all; another seed drops something else."""
    drop = ("--set", "dropout=0.2")
    one, two, again = (trainer.adamw(*drop, "--threads", n) for n in (1, 2, 2))
    assert losses(one[0]) == losses(two[0]) == losses(again[0])
    assert one[1] == two[1] == again[1], "the weights differ"
    assert losses(trainer.adamw(*drop, "--seed", 1)[0]) != losses(one[0])


def check_logits(trainer, golden):
    ids = os.path.join(trainer.folder, "input_ids.npy")
    small.write_npy(ids, [small.BATCH, small.CONTEXT], small.tokens(small.BATCH * small.CONTEXT))
    small.run([colc, "run", model, *small.settings(), "--batch", str(small.BATCH), "--seq", str(small.CONTEXT),
               "--weights", trainer.weights, "--input", f"input_ids={ids}", "--output", trainer.folder])
    logits = small.read_npy(os.path.join(trainer.folder, "logits.npy"))
    small.check_digest("logits", 900, logits, golden["logits"], 1e-5)


def check_texts(folder, golden):
    """Greedy continuations of prompts that end at, before and behind the ends of prefill's chunks."""
    weights = os.path.join(folder, "text.safetensors")
    small.write_safetensors(weights, small.printable_weights())
    for length, text in golden["texts"].items():
        made = small.run([colc, "generate", model, *small.settings(small.TEXT_VOCAB, small.TEXT_CONTEXT), "--weights",
                          weights, "--prompt", small.prompt(int(length)), "--max-tokens", str(small.MADE), "--temperature",
                          "0", "--top-k", "0", "--top-p", "0", "--no-echo"])
        assert made.decode().rstrip("\n") == text, (length, made, text)


with open(golden_path) as f:
    golden = json.load(f)
with tempfile.TemporaryDirectory() as folder:
    os.environ["XDG_CACHE_HOME"] = folder  # colc's plans
    trainer = small.Trainer(colc, model, folder)
    rows, _ = check_losses(trainer, golden)
    gradients = check_gradients(trainer, golden)
    check_accumulated(trainer, rows, gradients)
    check_threads(trainer)
    check_logits(trainer, golden)
    check_texts(folder, golden)
