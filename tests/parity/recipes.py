#!/usr/bin/env python3
"""The published sizes are planned, without being built: a plan to train each on machines that it fits, with as many
parameters as were published.

usage: recipes.py COLC RECIPES [NAME...]      (the folder)
"""
import json
import os
import subprocess
import sys
import tempfile

GIB = 1 << 30
ONE = (["--machine", "h200"], 140 * GIB)
HOST = (["--machine", "h200x4", "--mesh", "2x2", "--plan", "tp1d", "--checkpoint", "all"], 140 * GIB)
HOSTS8 = (["--machine", "h100-dgx:8", "--mesh", "8x8", "--plan", "tp1d", "--checkpoint", "all"], 80e9)
HOSTS16 = (["--machine", "h100-dgx:16", "--mesh", "8x16", "--plan", "tp1d", "--checkpoint", "all"], 80e9)
SIZES = {
    "gpt2_124m": (124439808, ONE), "gpt2_355m": (354823168, ONE), "gpt2_774m": (774030080, ONE), "gpt2_1558m": (1557611200, ONE),
    "bert_base": (109514298, ONE), "bert_large": (335174458, ONE), "bert_large_lamb": (335174458, ONE),
    "vit_base": (86567656, ONE), "vit_large": (304326632, ONE),
    "opt_125m": (125239296, ONE), "opt_350m": (331196416, ONE), "opt_1.3b": (1315758080, HOST), "opt_2.7b": (2651596800, HOST),
    "opt_6.7b": (6658473984, HOST), "opt_13b": (12853473280, HOSTS8), "opt_30b": (29974540288, HOSTS8),
    "opt_66b": (65719701504, HOSTS8), "opt_175b": (174604468224, HOSTS16),
}

colc, folder, *names = sys.argv[1:]
with tempfile.TemporaryDirectory() as temporary:
    report = os.path.join(temporary, "report.json")
    for name in names or SIZES:
        parameters, (options, memory) = SIZES[name]
        command = [colc, "compile", "--recipe", os.path.join(folder, name + ".yaml"), *options, "-o",
                   os.path.join(temporary, "plan"), "--report", report]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        with open(report, encoding="utf-8") as f:
            plan = json.load(f)
        peak = plan["predicted"]["peak_bytes"]
        print(f"{name:16} {plan['parameters']:13d} parameters, {peak / GIB:6.1f} GiB of a device, {plan['compile_seconds']:.0f} s",
              flush=True)
        assert plan["parameters"] == parameters and peak <= memory, (name, parameters, memory)
