#!/usr/bin/env python3
"""Recomputation: trained states are those of keeping everything, bit by bit; memory stays within the limit; a refusal names a
limit that is enough; on a mesh no plan is slower than splitting alone, and some are faster than either after the other.

usage: recompute.py COLC GPT2 RESNET [--all]

--all: GPT, ResNet and MLP at 90, 80 ... 30 % of the peak of keeping everything, on one rank and on 2x2; what does not fit is
refused, and the limit that the refusal names is taken instead.
"""
import glob
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

MLP = """model mlp(batch = 256, width = 64, layers = 8, classes = 10)
input pixel_values : f32[batch, 3, 8, 8]
input labels : i32[batch]
x = reshape(pixel_values, shape = [batch, 192])
for i in 0..layers {
  x = dropout(gelu_tanh(linear(x, 2 * width) @ fc.{i}), 0.1)
  x = linear(x, width) @ proj.{i}
}
output loss = cross_entropy(linear(x, classes) @ head, labels)
"""


class Bench:
    def __init__(self, colc, folder, model):
        self.colc, self.folder, self.model = colc, folder, model
        self.plan = os.path.join(folder, "plan")

    def run(self, *command, status=0):
        done = subprocess.run([self.colc, *command], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == status, (command, done.returncode, done.stderr)
        return done

    def fits(self, *options):
        """Compiles; whether the memory suffices."""
        done = subprocess.run([self.colc, "compile", *self.model, *options, "-o", self.plan, "--report", self.plan + ".json"],
                              capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in (0, 3), (options, done.returncode, done.stderr)
        return done.returncode == 0

    def compile(self, *options):
        """What the plan is predicted to take; its arena is what a run allocates."""
        assert self.fits(*options), options
        return self.predicted()

    def predicted(self):
        with open(self.plan + ".json", encoding="utf-8") as f:
            return json.load(f)["predicted"]

    def state(self):
        """The bytes of all tensors after three steps, parameters and moments; the peak that was allocated is the plan's."""
        with tempfile.TemporaryDirectory(dir=self.folder) as saved:
            self.run("train", self.plan, "--data", "synthetic", "--steps", "3", "--warmup", "1", "--val-every", "0", "--save",
                     saved, "--log-dir", saved + "/log", "--quiet")
            with open(saved + "/log/metrics.jsonl", encoding="utf-8") as f:
                peaks = {json.loads(line)["peak_bytes"] for line in f}
            with open(self.plan + ".json", encoding="utf-8") as f:
                assert peaks == {json.load(f)["predicted"]["peak_bytes"]}, peaks
            tensors = {}
            for name in sorted(glob.glob(saved + "/**/*.safetensors", recursive=True)):
                with open(name, "rb") as f:
                    data = f.read()
                size = struct.unpack("<Q", data[:8])[0]
                for key, value in json.loads(data[8:8 + size]).items():
                    if key != "__metadata__":
                        first, last = value["data_offsets"]
                        tensors[os.path.basename(name), key] = data[8 + size + first:8 + size + last]
            return tensors


def activations(predicted):
    return predicted["peak_bytes"] - predicted["state_bytes"]


def check_equal(bench, percents, forced=("all", "sqrt")):
    kept = bench.compile("--checkpoint", "none")
    assert kept["recompute_seconds"] == 0
    state = bench.state()
    for how in forced:
        predicted = bench.compile("--checkpoint", how)
        assert predicted["recompute_seconds"] > 0
        assert bench.state() == state, how
    for percent in percents:
        limit = kept["state_bytes"] + activations(kept) * percent // 100
        predicted = bench.compile("--memory", str(limit))
        assert predicted["peak_bytes"] <= limit and predicted["recompute_seconds"] > 0, (percent, predicted)
        assert bench.state() == state, percent


def check_limits(bench, name):
    """Limits of the whole peak, as `colc sweep` has them."""
    kept = bench.compile("--checkpoint", "none")
    state = bench.state()
    for percent in range(90, 20, -10):
        limit = kept["peak_bytes"] * percent // 100
        fits = bench.fits("--memory", str(limit))
        if fits:
            took = bench.predicted()
        else:
            limit = refuse(bench, limit)
            took = bench.compile("--memory", str(limit))
        assert took["peak_bytes"] <= limit and took["recompute_seconds"] > 0, (name, percent, took)
        assert bench.state() == state, (name, percent)
        print(f"{name:14} {percent} %: {limit} bytes, {took['peak_bytes']} allocated, "
              f"{100 * took['step_seconds'] / kept['step_seconds'] - 100:.1f} % added", flush=True)
        if not fits:
            assert percent <= 50, f"{name} should fit into {percent} %"
            break


def refuse(bench, limit):
    """The limit that the refusal names."""
    message = bench.run("compile", *bench.model, "--memory", str(limit), "-o", bench.plan + ".refused", status=3).stderr
    assert not os.path.exists(bench.plan + ".refused")
    return int(re.search(r"it needs --memory (\d+) ", message).group(1))


def check_refusal(bench, is_least):
    """The limit that is named is enough, and with `is_least` one buffer's alignment less is not."""
    limit = refuse(bench, "1KiB")
    assert bench.compile("--memory", str(limit))["peak_bytes"] <= limit
    if is_least:
        assert refuse(bench, limit - 64) >= limit
    return limit


def check_same_plan(bench, percent):
    """Two compilations find one plan: what ends the solvers is work, not time."""
    kept = bench.compile("--checkpoint", "none")
    limit = str(kept["state_bytes"] + activations(kept) * percent // 100)
    assert bench.compile("--memory", limit) == bench.compile("--memory", limit)


def check_monotone(bench, percents):
    """More memory is not slower, but for what little the fusion of copies brings or takes."""
    kept = bench.compile("--checkpoint", "none")
    last = None
    for percent in percents:
        seconds = bench.compile("--memory", str(kept["state_bytes"] + activations(kept) * percent // 100))["step_seconds"]
        assert last is None or seconds <= last * 1.02, (percent, seconds, last)
        last = min(seconds, last or seconds)


def check_mesh(bench):
    """Between what splitting without a limit takes and the least that any split takes, recomputation helps."""
    free = bench.compile("--checkpoint", "none")
    faster = 0
    for percent in (90, 75):
        limit = str(free["state_bytes"] + activations(free) * percent // 100)
        split = bench.compile("--checkpoint", "none", "--memory", limit)
        both = bench.compile("--memory", limit)
        assert both["peak_bytes"] <= int(limit)
        assert both["step_seconds"] <= split["step_seconds"] * 1.001, (percent, both, split)
        faster += both["step_seconds"] < split["step_seconds"] * 0.999
    assert faster, "splitting alone is as fast everywhere"


def check_joint(bench):
    """Where `ddp` is the fastest split without a limit: within one, choosing split and recomputation together is faster than
    splitting alone, and than recomputation after that split."""
    free = bench.compile()
    assert bench.compile("--plan", "ddp")["step_seconds"] == free["step_seconds"]
    limit = str(free["peak_bytes"] * 65 // 100)
    both = bench.compile("--memory", limit)
    assert both["recompute_seconds"] > 0
    assert both["step_seconds"] < 0.99 * bench.compile("--memory", limit, "--checkpoint", "none")["step_seconds"]
    assert not bench.fits("--memory", limit, "--plan", "ddp") or both["step_seconds"] < 0.99 * bench.predicted()["step_seconds"]


def check_all(colc, gpt2, resnet, mlp, folder):
    models = {
        "gpt": (16, [gpt2, "--set", "layers=6", "--set", "heads=2", "--set", "width=64", "--set", "vocab=257", "--set",
                     "context=64", "--set", "dropout=0.1", "--seq", "64"]),
        "resnet": (32, [resnet, "--set", "cifar=1", "--set", "size=32", "--set", "classes=10", "--set", "width=16",
                        "--optimizer", "sgd"]),
        "mlp": (1024, [mlp, "--set", "layers=12"]),
    }
    mesh = ["--mesh", "2x2", "--machine", "cpu:4", "--plan", "ddp"]  # one split, so that sums keep their order
    for name, (batch, model) in models.items():
        check_limits(Bench(colc, folder, model + ["--batch", str(batch)]), name)
        check_limits(Bench(colc, folder, model + ["--batch", str(4 * batch)] + mesh), name + ", 2x2")


def main():
    colc, gpt2, resnet, *rest = sys.argv[1:]
    assert rest in ([], ["--all"]), rest
    shape = [gpt2, "--set", "layers=4", "--set", "heads=2", "--set", "width=64", "--set", "vocab=257", "--set", "context=64",
             "--seq", "64"]
    small = [*shape, "--set", "dropout=0.1", "--batch", "4"]
    with tempfile.TemporaryDirectory() as folder:
        mlp = os.path.join(folder, "mlp.ir")
        with open(mlp, "w", encoding="utf-8") as f:
            f.write(MLP)
        if rest:
            return check_all(colc, gpt2, resnet, mlp, folder)
        check_equal(Bench(colc, folder, small), (80, 60, 40))
        check_equal(Bench(colc, folder, small + ["--accumulate", "2"]), (60,), ())
        check_equal(Bench(colc, folder, small + ["--set", "vocab=999", "--loss-chunks", "4"]), (80, 50))
        check_equal(Bench(colc, folder, [mlp]), (80, 60, 40))
        check_equal(Bench(colc, folder, [resnet, "--set", "cifar=1", "--set", "size=32", "--set", "classes=10", "--set",
                                         "width=8", "--batch", "16", "--optimizer", "sgd"]), (80, 60))
        mesh = ["--mesh", "2x2", "--machine", "cpu:4"]
        check_equal(Bench(colc, folder, small + mesh), ())
        check_equal(Bench(colc, folder, small + mesh + ["--plan", "ddp"]), ())
        check_refusal(Bench(colc, folder, [mlp]), True)
        check_refusal(Bench(colc, folder, small), False)
        check_refusal(Bench(colc, folder, small + mesh), False)
        check_same_plan(Bench(colc, folder, small), 50)
        check_monotone(Bench(colc, folder, small), range(40, 101, 10))
        check_mesh(Bench(colc, folder, small + mesh))
        check_joint(Bench(colc, folder, [*shape, "--batch", "8", *mesh]))


if __name__ == "__main__":
    main()
