#!/usr/bin/env python3
"""Every forced plan and `auto` on meshes of several ranks against one device: a small GPT, a small ResNet and an MLP train
five steps from the same numbers. Losses agree to 1e-5, parameters and optimizer state to 1e-4 of a tensor's largest
element, and the bytes that each kind of collective sent are those that the plan predicts. What a shape forbids is
refused with the plan's name.

Some are compiled again with `--overlap on`: the same steps, bit for bit, and the same bytes sent, with collectives that go on
beside computation.

usage: forced_plans.py COLC GPT2 RESNET [--all] [--model NAME] [--mesh AxB] [--plan NAME]

Adam divides a gradient by its own size, so an element whose gradient is zero in exact arithmetic would move by the sign of its
rounding noise: the biases of keys, to which softmax is blind, must have a gradient of exactly zero (passes/vanish.c).
"""
import argparse
import array
import json
import math
import os
import subprocess
import sys
import tempfile

import gpt2_small as small

STEPS = 5
MESHES = ["2", "4", "1x4", "2x2", "4x2", "2x2x2"]
PLANS = ["auto", "single", "ddp", "zero1", "zero2", "zero3", "tp1d", "tp2d", "tp2.5d", "tp3d", "sp"]
AXES = {"tp2d": 2, "tp2.5d": 3, "tp3d": 3}

MLP = """model mlp(width = 256, classes = 16, batch = 64)
input pixel_values : f32[batch, 3, 8, 8]
input labels : i32[batch]
x = reshape(pixel_values, shape = [batch, 192])
x = relu(linear(x, width) @ fc1)
x = gelu_tanh(linear(x, width) @ fc2)
logits = linear(x, classes) @ fc3
output logits = logits
output loss = cross_entropy(logits, labels)
"""
MLP_NAMES = [("fc1.weight", [192, 256]), ("fc1.bias", [256]), ("fc2.weight", [256, 256]), ("fc2.bias", [256]),
             ("fc3.weight", [256, 16]), ("fc3.bias", [16])]

WIDTH = 64
ADAM, SGD = [], ["--optimizer", "sgd", "--weight-decay", "0.01"]
MODELS = {
    "gpt": {"sets": {"layers": 2, "width": WIDTH, "heads": 4, "vocab": 256, "context": 16}, "batch": 8, "options": ADAM},
    "resnet": {"sets": {"layers1": 1, "layers2": 1, "layers3": 1, "layers4": 1, "width": 8, "classes": 16, "size": 16,
                        "cifar": 1}, "batch": 16, "options": SGD},
    "mlp": {"sets": {}, "batch": 64, "options": ADAM},
}

# Of a step: what must not depend on when collectives run.
EXACT = ("loss", "grad_norm", "val_loss", "communication_bytes", "collective_bytes")

# What every `make check` tries: (model, mesh, plans).
FAST = [
    ("gpt", "2", ["auto", "ddp", "tp1d"]),
    ("gpt", "2x2", ["auto", "single", "zero1", "zero2", "zero3", "tp1d", "tp2d", "sp", "tp3d"]),
    ("gpt", "1x4", ["tp1d", "zero2"]),
    ("gpt", "2x2x2", ["tp2.5d"]),
    ("resnet", "2", ["auto", "tp1d", "sp"]),
    ("resnet", "2x2", ["auto", "zero3", "tp2d"]),
    ("resnet", "4x2", ["ddp"]),
    ("mlp", "4", ["auto", "zero1", "tp1d"]),
    ("mlp", "2x2", ["tp2d", "zero2"]),
    ("mlp", "2x2x2", ["auto", "tp2.5d", "tp3d", "zero3"]),
]

# The same step in other words: (options of compiling, options of training).
VARIANTS = {
    "sgd": (SGD + ["--clip", "0"], []),
    "accumulated": (ADAM + ["--accumulate", "2"], []),
    "dropout": (ADAM + ["--set", "dropout=0.2"], []),
    "adam": (["--optimizer", "adam", "--schedule", "linear"], []),
    "lars": (["--optimizer", "lars", "--weight-decay", "0.01", "--trust", "0.1"], []),
    "lamb": (["--optimizer", "lamb", "--schedule", "square"], []),
}
# (plan, variant) of those, on the mesh 2x2. LARS and LAMB take norms of parameters that are split.
VARIED = [("auto", "sgd"), ("zero2", "accumulated"), ("sp", "dropout"), ("auto", "adam")]
VARIED += [(plan, variant) for variant in ("lars", "lamb") for plan in ("auto", "zero1", "zero3", "tp1d")]

# Compiled with and without overlap: (model, mesh, plan, variant).
OVERLAPPED = [("gpt", "2x2", plan, "") for plan in ("auto", "ddp", "zero1", "zero3", "tp1d", "sp")]
OVERLAPPED += [("gpt", "2", "zero2", "accumulated"), ("resnet", "2x2", "zero3", ""), ("mlp", "2x2x2", "tp3d", "")]


def refusal(model, mesh, plan):
    """What the message must say when the shape forbids the plan; None when it does not."""
    axes = mesh.count("x") + 1
    if AXES.get(plan, axes) != axes:
        return [f"plan {plan} ", f"mesh of {AXES[plan]} axes"]
    if plan == "sp" and model != "gpt":
        return ["plan sp ", "'pixel_values'"]
    return None


def ranks_of(mesh):
    out = 1
    for part in mesh.split("x"):
        out *= int(part)
    return out


class Failure(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failure(what)


def run(command, status=0):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
                          check=False)
    text = done.stderr if status else f"{' '.join(map(str, command))}\n{done.stderr}"
    expect(done.returncode == status, f"status {done.returncode}, not {status}: {text.strip()}")
    return done.stderr


def read_state(folder):
    """Every tensor of the newest checkpoint."""
    last = os.path.join(folder, max(n for n in os.listdir(folder) if n.startswith("step")))
    out = {}
    for name in sorted(os.listdir(last)):
        if name.endswith(".safetensors"):
            out.update(small.read_safetensors(os.path.join(last, name)))
    return out


def compare_states(one, other):
    expect(one.keys() == other.keys(), f"the tensors differ: {sorted(one.keys() ^ other.keys())}")
    worst, where = 0.0, ""
    for name, (shape, a) in one.items():
        expect(shape == other[name][0], f"{name} has the shape {other[name][0]}, not {shape}")
        b = other[name][1]
        if a == b:
            continue
        if "num_batches" in name:
            raise Failure(f"{name} differs")
        apart = max(abs(x - y) for x, y in zip(a, b)) / max(max(map(abs, a)), 1e-30)
        if not apart <= worst:
            worst, where = apart, name
    return worst, where


def make_weights(k, name, shape, matrices):
    """Larger than the models' own initial values, so that no part is next to linear, and not so large that softmax saturates:
    no gradient is next to noise."""
    scale, one = (matrices if len(shape) == 2 else 0.1), (1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    return shape, array.array("f", (one + scale * v for v in small.uniform(k, math.prod(shape))))


class Bench:
    def __init__(self, colc, gpt2, resnet, folder):
        self.colc, self.folder, self.single = colc, folder, {}
        sets = MODELS["gpt"]["sets"]
        gpt = small.names(*(sets[k] for k in ("layers", "width", "vocab", "context")))
        self.weights = {"gpt": self.write_weights("gpt", gpt, 0.3), "mlp": self.write_weights("mlp", MLP_NAMES, 0.15)}
        self.sources = {"gpt": gpt2, "resnet": resnet, "mlp": os.path.join(folder, "mlp.ir")}
        with open(self.sources["mlp"], "w", encoding="utf-8") as f:
            f.write(MLP)

    def write_weights(self, model, names, matrices):
        path = os.path.join(self.folder, model + ".safetensors")
        small.write_safetensors(path, {name: make_weights(k, name, shape, matrices) for k, (name, shape) in
                                             enumerate(names)})
        return path

    def compile(self, model, options, plan, status=0):
        m = MODELS[model]
        sets = [a for k, v in m["sets"].items() for a in ("--set", f"{k}={v}")]
        return run([self.colc, "compile", self.sources[model], *sets, "--batch", m["batch"], *options, "-o", plan, "--report",
                    plan + ".json"], status)

    def train(self, model, plan, name, *options):
        out = os.path.join(self.folder, name)
        if model in self.weights:
            options = [*options, "--weights", self.weights[model]]
        run([self.colc, "train", plan, "--data", "synthetic", "--steps", STEPS, "--seed", 3, "--lr", "1e-3", "--warmup", 1,
             "--val-batches", 2, "--save", out, "--log-dir", out, "--quiet", *options])
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as f:
            return [json.loads(line) for line in f], read_state(out)

    def one_device(self, model, variant):
        key = f"{model}_{variant}"
        if key not in self.single:
            plan = os.path.join(self.folder, key + ".plan")
            self.compile(model, self.options(model, variant)[0], plan)
            self.single[key] = self.train(model, plan, key, *self.options(model, variant)[1])
        return self.single[key]

    def options(self, model, variant):
        return VARIANTS[variant] if variant else (MODELS[model]["options"], [])

    def check(self, model, mesh, name, variant=""):
        """The line that says how it went."""
        key = f"{model}_{mesh}_{name}_{variant}"
        plan = os.path.join(self.folder, key + ".plan")
        compiling, training = self.options(model, variant)
        compiling = [*compiling, "--mesh", mesh, "--plan", name]
        words = refusal(model, mesh, name)
        if words:
            message = self.compile(model, compiling, plan, 2)
            expect(all(w in message for w in words) and not os.path.exists(plan), f"refused with: {message}")
            return "refused, as it must be"
        rows, state = self.one_device(model, variant)
        self.compile(model, compiling, plan)
        mine, other = self.train(model, plan, key, "--ranks", ranks_of(mesh), *training)
        expect(len(mine) == STEPS, f"{len(mine)} steps")
        apart = 0
        for a, b in zip(rows, mine):
            for word in ("loss", "grad_norm", "val_loss"):
                expect((word in a) == (word in b), f"{word} in one, not in the other")
                if word in a:
                    apart = max(apart, abs(a[word] - b[word]) / abs(a[word]))
        expect(apart <= 1e-5, f"losses differ by {apart:.1e}: {[r['loss'] for r in rows]}, {[r['loss'] for r in mine]}")
        worst, where = compare_states(state, other)
        expect(worst <= 1e-4, f"{where} differs by {worst:.1e}")
        with open(plan + ".json", encoding="utf-8") as f:
            predicted = json.load(f)["predicted"]
        for row in mine:
            expect(row.get("collective_bytes", {}) == predicted["collective_bytes"]
                   and row["communication_bytes"] == predicted["communication_bytes"],
                   f"sent {row.get('collective_bytes')}, predicted {predicted['collective_bytes']}")
        os.remove(plan)
        return f"losses {apart:.0e}, state {worst:.0e}, {predicted['communication_bytes']:.0f} bytes sent"

    @staticmethod
    def count_spans(path):
        """Of the track of communication; they stand one after another."""
        with open(path, encoding="utf-8") as f:
            spans = [e for e in json.load(f)["traceEvents"] if e["ph"] == "X" and e["tid"] == 2]
        spans.sort(key=lambda e: e["ts"])
        for a, b in zip(spans, spans[1:]):
            expect(a["ts"] + a["dur"] <= b["ts"] + 0.01, f"two collectives at once: {a}, {b}")
        return len(spans)

    def check_overlap(self, model, mesh, name, variant):
        """Two plans that differ in --overlap alone: the line that says how it went."""
        compiling, training = self.options(model, variant)
        runs, logs = [], []
        for overlap in ("off", "on"):
            key = f"{model}_{mesh}_{name}_{variant}_{overlap}"
            plan = os.path.join(self.folder, key + ".plan")
            self.compile(model, [*compiling, "--mesh", mesh, "--plan", name, "--overlap", overlap], plan)
            trace = os.path.join(self.folder, key + ".trace")
            rows, state = self.train(model, plan, key, "--ranks", ranks_of(mesh), "--trace", trace, *training)
            expect((self.count_spans(trace) > 0) == (overlap == "on"), "the trace has other tracks")
            runs.append(([{k: row.get(k) for k in EXACT} for row in rows], state))
            run([self.colc, "explain", plan, "--format", "json", "--program", "step", "-o", plan + ".log"])
            with open(plan + ".log", encoding="utf-8") as f:
                log = json.load(f)
            expect(rows[0]["communication_bytes"] == log["predicted"]["communication_bytes"], "bytes sent are not those predicted")
            logs.append([i for p in log["programs"] for i in p["instructions"]])
            os.remove(plan)
        expect(runs[0] == runs[1], f"steps differ: {runs[0][0]}, {runs[1][0]}")
        counts = [(sum(i.get("overlapped", False) for i in log), sum(i["kind"] == "wait" for i in log)) for log in logs]
        expect(counts[0] == (0, 0) and counts[1][0] == counts[1][1] > 0, f"{counts} overlapped, and waits")
        return f"the same with {counts[1][0]} of {sum('overlapped' in i for i in logs[1])} collectives overlapped"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colc")
    parser.add_argument("gpt2")
    parser.add_argument("resnet")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--mesh")
    parser.add_argument("--plan")
    parser.add_argument("--variant", choices=VARIANTS)
    o = parser.parse_args()
    cases = [(model, mesh, plan, "") for model, mesh, plans in FAST for plan in plans]
    cases += [("gpt", "2x2", plan, variant) for plan, variant in VARIED]
    overlapped = OVERLAPPED
    if o.all or o.model or o.mesh or o.plan or o.variant:
        cases = [(model, mesh, plan, "") for model in MODELS for mesh in MESHES for plan in PLANS]
        cases += [("gpt", mesh, plan, v) for mesh in ("2", "2x2") for plan in PLANS for v in VARIANTS]
        cases = [c for c in cases if all(want is None or c[i] == want for i, want in enumerate((o.model, o.mesh, o.plan)))
                 and (o.variant is None or c[3] == o.variant)]
        overlapped = [c for c in cases if c[2] != "single" and not refusal(*c[:3])]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(o.colc, o.gpt2, o.resnet, folder)
        for check, case in [(bench.check, c) for c in cases] + [(bench.check_overlap, c) for c in overlapped]:
            try:
                result = check(*case)
            except (Failure, subprocess.TimeoutExpired) as failure:
                result = f"WRONG: {failure}"
                failures += 1
            print("%-7s %-6s %-7s %-11s" % case, result, flush=True)
    print(f"{len(cases)} plans, {len(overlapped)} with overlap, {failures} wrong")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
