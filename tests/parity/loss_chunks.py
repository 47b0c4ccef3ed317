#!/usr/bin/env python3
"""A loss in chunks of rows: language models of small sizes but for their vocabulary, on one device and on meshes, against the reference walk of
their models; with less memory than in one piece, and alone where it cannot be cut.

usage: loss_chunks.py COLC MODELS
"""
import json
import os
import re
import subprocess
import sys
import tempfile

SMALL = ["--set", "layers=1", "--set", "width=32", "--set", "heads=4", "--set", "vocab=500", "--set", "context=16", "--seq", "12"]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout


def compile_in(colc, folder, chunks, model, options):
    """The plan, and the bytes that it takes."""
    plan = os.path.join(folder, f"{chunks}.plan")
    run(colc, "compile", model, *SMALL, *options, "--loss-chunks", str(chunks), "-o", plan, "--report", plan + ".json")
    with open(plan + ".json", encoding="utf-8") as f:
        return plan, json.load(f)["predicted"]["peak_bytes"]


def check(colc, folder, model, chunks, want, options):
    """`want` chunks, by the products that add to the head's gradient."""
    plan, peak = compile_in(colc, folder, chunks, model, options)
    added = len(re.findall(r"^\S+ +\[500, 32\] \+= ", run(colc, "explain", plan), re.M))
    programs = 2 if "--accumulate" in options else 1
    assert added == (want - 1) * programs, (model, options, added)
    output = run(colc, "verify", plan)
    assert "all agree" in output and max(map(float, re.findall(r"worst (\S+) ", output))) < 1e-5, (model, options, output)
    if want > 1 and options[:2] == ["--batch", "8"] and "--mesh" not in options:  # the peak is where the logits are
        assert peak < compile_in(colc, folder, 1, model, options)[1], (model, options)


def main():
    colc, models = sys.argv[1:]
    gpt2, opt, bert = (os.path.join(models, name) for name in ("gpt2.ir", "opt.ir", "bert.ir"))
    with tempfile.TemporaryDirectory() as folder:
        check(colc, folder, gpt2, 4, 4, ["--batch", "8"])
        check(colc, folder, gpt2, 4, 3, ["--batch", "3", "--accumulate", "2", "--set", "dropout=0.2"])
        check(colc, folder, gpt2, 4, 4, ["--batch", "1", "--optimizer", "sgd"])
        check(colc, folder, gpt2, 8, 8, ["--batch", "8", "--checkpoint", "all"])
        check(colc, folder, opt, 4, 4, ["--batch", "8"])
        check(colc, folder, bert, 2, 2, ["--batch", "8"])
        for plan, want in (("ddp", 4), ("zero2", 4), ("zero3", 4), ("tp1d", 1)):
            check(colc, folder, gpt2, 4, want, ["--batch", "8", "--mesh", "2", "--plan", plan])
        check(colc, folder, gpt2, 2, 2, ["--batch", "8", "--mesh", "2x2", "--plan", "zero1", "--overlap", "on"])


if __name__ == "__main__":
    main()
