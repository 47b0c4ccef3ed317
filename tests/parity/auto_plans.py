#!/usr/bin/env python3
"""`auto` is never slower than a plan that is forced by name: what is compared is the predicted step of finished plans, on several
models, meshes and machines, without a limit of memory and with limits that get tighter until nothing fits. Where `auto` is refused,
every forced plan is, and the limit that the refusal names is enough.

usage: auto_plans.py COLC MODELS [--all] [--model NAME] [--mesh AxB] [--machine NAME]
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

from forced_plans import AXES, MLP, PLANS as ALL_PLANS

PLANS = ALL_PLANS[1:]  # but auto
RANKS = {"h200x4": 4, "a100-80g:4": 4, "h100-dgx:1": 8}

GPT = "layers=2 width=64 heads=4 vocab=256 context=16"
RESNET = "layers1=1 layers2=1 layers3=1 layers4=1 width=8 classes=16 size=16 cifar=1"
MODELS = {  # file, settings, batch, options
    "mlp": ("mlp.ir", "", 64, []),
    "wide_mlp": ("mlp.ir", "width=4096", 64, []),
    "gpt": ("gpt2.ir", GPT, 8, []),
    "gpt_4": ("gpt2.ir", "layers=4 width=256 heads=8 vocab=4096 context=128", 8, []),
    "resnet": ("resnet.ir", RESNET, 16, ["--optimizer", "sgd"]),
    "resnet_18": ("resnet.ir", "width=16 classes=16 size=32 cifar=1", 32, []),
    "bert": ("bert.ir", "", 0, ["--recipe", "bert_nano"]),
    "vit": ("vit.ir", "", 0, ["--recipe", "vit_nano"]),
    "opt": ("opt.ir", "", 0, ["--recipe", "opt_nano"]),
    "resnet_50": ("resnet.ir", "", 0, ["--recipe", "resnet50"]),
    "gpt2_124m": ("gpt2.ir", "", 8, ["--seq", "1024"]),
}
LIMITED = ("mlp", "gpt", "resnet")  # with limits, in the slow suite
STEPS = [1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1]

# What every `make check` tries: (model, mesh, machine, limits of what `auto` takes without one).
FAST = [
    ("mlp", "2", "cpu", [0.7, 0.3]),
    ("mlp", "2x2", "h200x4", []),
    ("gpt", "2x2", "cpu", []),
    ("resnet", "2", "cpu", []),
    ("vit", "2", "h200x4", []),
]


class Failure(Exception):
    pass


class Bench:
    def __init__(self, colc, models, folder):
        self.colc, self.models, self.folder = colc, models, folder
        with open(os.path.join(folder, "mlp.ir"), "w", encoding="utf-8") as f:
            f.write(MLP)

    def compile(self, model, mesh, machine, plan, memory=0):
        """The report, or the text of a refusal."""
        file, settings, batch, options = MODELS[model]
        path = os.path.join(self.folder if file == "mlp.ir" else self.models, file)
        options = [os.path.join(self.models, "recipes", o + ".yaml") if last == "--recipe" else o
                   for last, o in zip([""] + options, options)]
        sets = [a for s in settings.split() for a in ("--set", s)]
        out = os.path.join(self.folder, "report.json")
        command = [self.colc, "compile", path, *options, *sets, *(["--batch", batch] if batch else []), "--mesh", mesh, "--machine",
                   machine, "--plan", plan, *(["--memory", memory] if memory else []), "-o", os.path.join(self.folder, "plan"),
                   "--report", out]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=900,
                              check=False)
        if done.returncode in (2, 3):
            return done.stderr
        if done.returncode:
            raise Failure(f"status {done.returncode}: {' '.join(map(str, command))}\n{done.stderr}")
        with open(out, encoding="utf-8") as f:
            return json.load(f)

    def check(self, model, mesh, machine, memory=0):
        """The report of auto, None where it is refused, and the line that says how it went."""
        auto = self.compile(model, mesh, machine, "auto", memory)
        forced = {plan: self.compile(model, mesh, machine, plan, memory) for plan in PLANS
                  if AXES.get(plan, mesh.count("x") + 1) == mesh.count("x") + 1}
        seconds = {plan: r["predicted"]["step_seconds"] for plan, r in forced.items() if not isinstance(r, str)}
        if isinstance(auto, str):
            if seconds:
                raise Failure(f"{' '.join(seconds)} fit {memory} bytes, but auto does not: {auto}")
            needed = int(re.search(r"--memory (\d+)", auto.splitlines()[0].split("it needs", 1)[1]).group(1))
            if isinstance(self.compile(model, mesh, machine, "auto", needed), str):
                raise Failure(f"{needed} bytes are said to be enough, and are not: {auto}")
            return None, f"refused, as all are; {needed} bytes will do"
        own = auto["predicted"]
        if memory and own["peak_bytes"] > memory:
            raise Failure(f"takes {own['peak_bytes']} of {memory} bytes")
        best = min(seconds, key=seconds.get) if seconds else None
        if best and own["step_seconds"] > seconds[best] * (1 + 1e-9):
            raise Failure(f"auto takes {own['step_seconds']:.6g} s and {best} {seconds[best]:.6g} s, "
                          f"{100 * (own['step_seconds'] / seconds[best] - 1):.2f} % less, in {memory or 'any'} bytes")
        return auto, f"{own['step_seconds']:.4g} s, " + (f"{best} {seconds[best]:.4g} s" if best else "alone")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colc")
    parser.add_argument("models")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--mesh")
    parser.add_argument("--machine")
    o = parser.parse_args()
    cases = FAST
    if o.all or o.model or o.mesh or o.machine:
        cases = [(model, mesh, machine, STEPS if model in LIMITED else [])
                 for model in MODELS for mesh in ("2", "4", "2x2", "4x2") for machine in ("cpu", *RANKS)
                 if all(want in (None, got) for want, got in ((o.model, model), (o.mesh, mesh), (o.machine, machine)))
                 and (mesh != "4x2" or RANKS.get(machine, 8) >= 8)]
    tried = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(o.colc, o.models, folder)
        for model, mesh, machine, limits in cases:
            peak = 0
            for share in [0, *limits]:
                tried += 1
                auto, memory = None, int(peak * share)
                try:
                    auto, result = bench.check(model, mesh, machine, memory)
                except (Failure, subprocess.TimeoutExpired) as failure:
                    result = f"WRONG: {failure}"
                    failures += 1
                print("%-9s %-4s %-10s %3.0f %%  %s" % (model, mesh, machine, 100 * share, result), flush=True)
                if not auto:
                    break
                peak = peak or auto["predicted"]["peak_bytes"]
    print(f"{tried} problems, {failures} wrong")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
