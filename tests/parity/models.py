#!/usr/bin/env python3
"""The models of models/ made small, for one device and for meshes, by every kind of plan: what runs is what the reference
walk of the model gives, value by value (`colc verify`), masks of padding, label smoothing and LARS and LAMB among it.

usage: models.py COLC MODELS      (the folder)
"""
import subprocess
import sys

colc, folder = sys.argv[1:]
TEXT = {"layers": 2, "width": 64, "heads": 4, "vocab": 96, "context": 32}
IMAGE = {"layers": 2, "width": 64, "heads": 4, "size": 32, "patch": 8, "classes": 12, "smoothing": 0.1}
CASES = [
    ("opt", {**TEXT, "padding": 1}, ["single", "auto", "zero3", "tp1d", "sp"], []),
    ("opt", {**TEXT, "pre_norm": 0, "embed": 48, "dropout": 0.1}, ["single", "tp1d"], []),
    ("bert", {**TEXT, "dropout": 0.1}, ["single", "auto", "zero1", "tp1d", "sp"], []),
    ("bert", {**TEXT, "classes": 4, "padding": 0}, ["single", "tp2d"], ["--optimizer", "lamb"]),
    ("vit", {**IMAGE, "dropout": 0.1}, ["single", "auto", "zero3", "tp1d"], []),
    ("vit", IMAGE, ["ddp"], ["--optimizer", "lars"]),
]

for model, settings, plans, options in CASES:
    sets = [a for k, v in settings.items() for a in ("--set", f"{k}={v}")]
    sizes = ["--batch", "4"] + ([] if model == "vit" else ["--seq", "16"])
    for plan in plans:
        mesh = [] if plan == "single" else ["--mesh", "2x2", "--plan", plan]
        command = [colc, "verify", f"{folder}/{model}.ir", *sets, *sizes, *mesh, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0 and "all agree" in done.stdout, f"{' '.join(command)}: {done.stdout}"
        print(model, plan, *options, settings, flush=True)
