"""16 bits on the CPU, whose products round their operands to them: runs in bf16 and fp16 against fp32; and fp16's loss scaling in
whole runs: steps that overflow change nothing but the scale, what is saved goes on bit by bit, ranks agree, and a gradient that is
not finite without any scale is the error that it is in fp32.

    precision.py COLC MODELS
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

colc, models = map(os.path.abspath, sys.argv[1:3])
FP16 = ["--precision", "fp16"]
GPT2 = ["gpt2.ir", "--set", "layers=2", "--set", "width=32", "--set", "heads=2", "--set", "vocab=64", "--set", "context=16", "--batch", "4",
        "--seq", "16", "--lr", "1e-3"]
RESNET = ["resnet.ir", "--recipe", "recipes/resnet18_cifar10.yaml", "--batch", "8", "--set", "width=16", "--lr", "1e-3"]
BERT = ["bert.ir", "--recipe", "recipes/bert_nano.yaml", "--batch", "2", "--set", "layers=2"]


def run(*words, status=0):
    got = subprocess.run([colc, *words], cwd=models, capture_output=True, text=True)
    if got.returncode != status:
        sys.exit(f"{' '.join(words)}: status {got.returncode}, not {status}\n{got.stdout}{got.stderr}")
    return got


def rows_of(folder):
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def train(folder, *words, steps):
    run("train", *words, "--data", "synthetic", "--seed", "3", "--steps", str(steps), "--log-dir", folder)
    return rows_of(folder)


def column(rows, key):
    return [row.get(key) for row in rows]


def want(what, got, right):
    if got != right:
        sys.exit(f"{what}: {got}, not {right}")


def near(what, got, right, tolerance):
    worst = max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(got, right, strict=True))
    print(f"{what}: {worst:.1e}")
    if not worst <= tolerance:
        sys.exit(f"{what}: {got}, not {right}")


def compare_with_fp32(folder):
    cases = [("gpt2", GPT2, 10), ("gpt2, accumulated", [*GPT2, "--accumulate", "2", "--set", "dropout=0.1"], 5), ("resnet", RESNET, 4),
             ("bert", BERT, 4)]
    for name, model, steps in cases:
        right = train(os.path.join(folder, name), *model, steps=steps)
        for precision, loss, norm in (("bf16", 1e-2, 1e-1), ("fp16", 2e-3, 2e-2)):
            got = train(os.path.join(folder, name + precision), *model, "--precision", precision, steps=steps)
            near(f"{name}, {precision}: losses", column(got, "loss"), column(right, "loss"), loss)
            near(f"{name}, {precision}: norms", column(got, "grad_norm"), column(right, "grad_norm"), norm)


def follow(rows, scale):
    """The scale after every step, whose norm says whether it was good; 2 good steps in a row double it."""
    good = 0
    for row in rows:
        skipped = row["grad_norm"] is None
        want("the scale", row["loss_scale"], scale)
        want("a step that is skipped", row.get("skipped", False), skipped)
        good = 0 if skipped else good + 1
        if skipped:
            scale /= 2
        elif good == 2:
            scale, good = scale * 2, 0
    return sum(row["grad_norm"] is not None for row in rows)


def overflow(folder):
    """2^27 is more than the first steps bear, and after two good steps it is tried again."""
    options = [*GPT2, *FP16, "--init-scale", str(2**27), "--growth-interval", "2"]
    rows = train(os.path.join(folder, "overflow"), *options, steps=16)
    good = follow(rows, 2**27)
    print(f"overflow: {len(rows) - good} of {len(rows)} steps skipped")
    if good in (0, len(rows)) or not rows[0].get("skipped"):
        sys.exit("the test wants good and bad steps, bad ones first")
    return options, rows


def final(folder, step):
    read = {}
    for name in ("model.safetensors", "optimizer.safetensors"):
        with open(os.path.join(folder, f"step_{step:08d}", name), "rb") as file:
            read[name] = file.read()
    return read


def resume(folder, options, rows):
    """Saved at every step, and gone on with after a step that was skipped."""
    plan, data = os.path.join(folder, "o.plan"), ["--data", "synthetic"]
    run("compile", *[o for i, o in enumerate(options) if o != "--lr" and options[i - 1] != "--lr"], "-o", plan)
    whole, part = os.path.join(folder, "whole"), os.path.join(folder, "part")
    run("train", plan, *data, "--lr", "1e-3", "--seed", "3", "--steps", "16", "--save", whole, "--save-every", "1", "--keep", "0", "--log-dir", whole)
    keys = ("loss", "grad_norm", "loss_scale", "lr")
    want("the same run", [column(rows_of(whole), k) for k in keys], [column(rows, k) for k in keys])
    stop = max(row["step"] for row in rows[:-2] if row.get("skipped"))
    os.mkdir(part)
    shutil.copytree(os.path.join(whole, f"step_{stop:08d}"), os.path.join(part, f"step_{stop:08d}"))
    run("train", plan, *data, "--save", part, "--resume", "--log-dir", part)
    want("the rest of the run", [column(rows_of(part), k) for k in keys], [column(rows[stop:], k) for k in keys])
    if final(whole, 16) != final(part, 16):
        sys.exit("a resumed run ended with other bytes")
    if final(whole, 1)["model.safetensors"] != final(whole, 2)["model.safetensors"]:
        sys.exit("a skipped step changed parameters")
    print(f"resumed after step {stop}, which was skipped: the same bytes")


def ranks(folder, options, rows):
    """Ranks that disagreed would end with different parameters. Partial sums overflow before their sum does."""
    for plan in ("ddp", "zero1", "tp1d"):
        got = train(os.path.join(folder, plan), *options, "--mesh", "2", "--plan", plan, steps=16)
        follow(got, 2**27)
        near(f"{plan}: losses", column(got, "loss"), column(rows, "loss"), 1e-2)


def report(folder):
    """A gradient of 16 bits that overflows at any scale, with a finite loss."""
    path = os.path.join(folder, "large.ir")
    with open(path, "w", encoding="utf-8") as file:
        file.write("model large(batch = 2)\ninput pixel_values : f32[batch, 3, 4, 4]\ninput labels : i32[batch]\n"
                   "param w : f32[48, 10] ~ normal(0, 1e-4)\nx = reshape(pixel_values, shape = [batch, 48])\n"
                   'y = einsum(x, w, equation = "bc,cn->bn")\noutput loss = cross_entropy(y * 1e6, labels)\n')
    got = run("train", path, *FP16, "--init-scale", "4", "--data", "synthetic", "--steps", "9", status=2)
    lines = [line for line in got.stdout.splitlines() if line.startswith("step")]
    want("steps before the error", ["skipped" in line for line in lines], [True, True])
    for part in ("step 3, micro-batch 1 of 1", "the norm of the gradient is", "first in the op"):
        if part not in got.stderr:
            sys.exit(f"the error lacks '{part}': {got.stderr}")
    print(got.stderr.strip())


def main():
    with tempfile.TemporaryDirectory() as folder:
        compare_with_fp32(folder)
        options, rows = overflow(folder)
        resume(folder, options, rows)
        ranks(folder, options, rows)
        report(folder)


if __name__ == "__main__":
    main()
