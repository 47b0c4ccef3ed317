"""CUDA plans against the CPU's on small models: losses and gradient norms of training runs, the same run twice, dropout's
masks, 16-bit products, and a forward pass. Skips, saying why, where no GPU can be opened.

    one_gpu.py COLC MODELS
"""

import json
import os
import subprocess
import sys
import tempfile

colc, models = map(os.path.abspath, sys.argv[1:3])
STEPS = 10
GPT2 = ["gpt2.ir", "--recipe", "recipes/gpt2_nano.yaml", "--set", "layers=2"]
RESNET = ["resnet.ir", "--recipe", "recipes/resnet18_cifar10.yaml", "--batch", "8", "--set", "width=16"]
STEADY = ["--lr", "1e-3"]  # at the recipe's rate, rounding to 16 bits grows tenfold a step
# Name, model, options, largest relative differences of losses and of gradient norms.
CASES = [
    ("gpt2", GPT2, [], 1e-5, 1e-4),
    ("gpt2, dropout", [*GPT2, "--set", "dropout=0.1"], [], 1e-5, 1e-4),
    ("gpt2, accumulated", [*GPT2, "--accumulate", "3"], [], 1e-5, 1e-4),
    ("gpt2, sgd, odd sizes", [*GPT2, "--set", "vocab=259", "--seq", "61", "--optimizer", "sgd"], [], 1e-5, 1e-4),
    # Batch normalisation and momentum carry rounding on, so the norms drift.
    ("resnet", RESNET, [], 5e-5, 1e-2),
    ("gpt2, bf16", GPT2, ["--precision", "bf16"], 1e-2, 5e-2),
    ("resnet, bf16", [*RESNET, *STEADY], ["--precision", "bf16"], 1e-2, 1e-1),
    ("gpt2, fp16", GPT2, ["--precision", "fp16"], 1e-2, 1e-2),
    ("gpt2, fp16, dropout, accumulated", [*GPT2, "--set", "dropout=0.1", "--accumulate", "2"], ["--precision", "fp16"], 1e-2, 1e-2),
    ("resnet, fp16", [*RESNET, *STEADY], ["--precision", "fp16"], 1e-2, 5e-2),
]


def run(*words, status=0):
    got = subprocess.run(words, cwd=models, capture_output=True, text=True)
    if got.returncode != status:
        sys.exit(f"{' '.join(words)}: status {got.returncode}\n{got.stdout}{got.stderr}")
    return got


def train(folder, name, model, target, options):
    logs = os.path.join(folder, name)
    run(colc, "train", *model, "--target", target, *options, "--data", "synthetic", "--steps", str(STEPS), "--seed", "3",
        "--log-dir", logs)
    with open(os.path.join(logs, "metrics.jsonl"), encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["loss"] for row in rows], [row["grad_norm"] for row in rows]


def farthest(got, want):
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(got, want, strict=True))


def want_gpu(folder):
    plan = os.path.join(folder, "probe.plan")
    run(colc, "compile", *GPT2, "--target", "cuda", "-o", plan)
    got = subprocess.run([colc, "train", plan, "--data", "synthetic", "--steps", "1"], capture_output=True, text=True)
    if got.returncode == 4:
        print(f"skipped: {got.stderr.strip()}")
        sys.exit(77)
    if got.returncode:
        sys.exit(got.stderr)


def main():
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        want_gpu(folder)
        for number, (name, model, options, near, norm_near) in enumerate(CASES):
            losses, norms = train(folder, f"{number}.cpu", model, "cpu", [])
            got, got_norms = train(folder, f"{number}.cuda", model, "cuda", options)
            again, _ = train(folder, f"{number}.again", model, "cuda", options)
            loss, norm = farthest(got, losses), farthest(got_norms, norms)
            print(f"{name}: losses differ by {loss:.1e}, gradient norms by {norm:.1e}")
            if not loss <= near or not norm <= norm_near:
                faults.append(f"{name}: losses {got}, on the CPU {losses}; gradient norms {got_norms} and {norms}")
            if got != again:
                faults.append(f"{name}: a second run gave other losses, {again}, not {got}")
    sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
