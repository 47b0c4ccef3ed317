#!/usr/bin/env python3
"""What runs of several ranks owe their users beside the numbers of a step: checkpoints that any mesh goes on from, the same
text and the same logits on any mesh, limits of memory that are kept and named truly, and clear refusals.

usage: meshes.py COLC GPT2
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import gpt2_small as small

BATCH, STEPS, HALF = 8, 8, 4


class Bench:
    def __init__(self, colc, model, folder):
        self.colc, self.model, self.folder = colc, model, folder
        self.weights = self.path("weights.safetensors")
        self.data = self.path("tokens.bin")
        small.write_safetensors(self.weights, small.weights())
        small.write_llmc_tokens(self.data, small.tokens(64 * small.CONTEXT + 1))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command, status=0, says=""):
        done = subprocess.run([self.colc, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
                              check=False)
        message = done.stderr.decode(errors="replace")
        assert done.returncode == status and says in message, (command, done.returncode, message)
        return done.stdout, message

    def compile(self, name, *options, **expected):
        plan = self.path(name + ".plan")
        _, message = self.run("compile", self.model, *small.settings(), "--batch", BATCH, *options, "-o", plan, "--report",
                              plan + ".json", **expected)
        return message if expected.get("status") else plan

    def train(self, plan, folder, *options, **expected):
        return self.run("train", plan, "--data", self.data, "--quiet", "--save", folder, "--log-dir", folder, *options, **expected)

    def losses(self, folder):
        with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as f:
            return {row["step"]: row["loss"] for row in map(json.loads, f)}


def check_checkpoints(bench):
    """Saved by 4 ranks, resumed by 1, 2, 4 and 8: the losses of the run that never stopped."""
    meshes = {1: ["--plan", "single"], 2: ["--mesh", "2", "--plan", "tp1d"], 4: ["--mesh", "2x2", "--plan", "zero3"],
              8: ["--mesh", "4x2", "--plan", "zero1"]}
    options = ["--set", "dropout=0.1", "--accumulate", "2"]
    plans = {n: bench.compile(f"ranks{n}", *options, *mesh) for n, mesh in meshes.items()}
    run = ["--weights", bench.weights, "--steps", STEPS, "--lr", "1e-3", "--warmup", 1, "--seed", 5, "--save-every", HALF,
           "--val-every", 3]
    whole = bench.path("whole")
    bench.train(plans[4], whole, *run)
    expected = bench.losses(whole)
    state = small.read_checkpoint(whole)
    last = os.path.join(whole, f"step_{STEPS:08d}")
    for n, plan in plans.items():
        part = bench.path(f"part{n}")
        shutil.copytree(whole, part)
        shutil.rmtree(os.path.join(part, os.path.basename(last)))
        with open(os.path.join(part, "latest"), "w", encoding="utf-8") as f:
            f.write(f"step_{HALF:08d}\n")
        _, message = bench.train(plan, part, "--resume", "--ranks", n)
        assert ("another plan saved" in message) == (n != 4), message
        mine = bench.losses(part)
        assert sorted(mine) == sorted(expected) and len(mine) == STEPS, mine
        for step, loss in expected.items():
            assert abs(mine[step] - loss) <= (0 if n == 4 else 1e-5 * loss), (n, step, mine[step], loss)
        for name, (shape, values) in small.read_checkpoint(part).items():
            apart = max(abs(a - b) for a, b in zip(values, state[name][1])) / max(map(abs, state[name][1]))
            # Keys' biases are noise under Adam: forced_plans.py says why.
            assert shape == state[name][0] and (apart <= 1e-3 or ".c_attn.bias" in name), (n, name, apart)
    other = bench.path("other.plan")
    bench.run("compile", bench.model, *small.settings(), "--batch", BATCH, "--set", "width=64", "--mesh", "2", "-o", other)
    before = sorted(os.listdir(whole))
    _, message = bench.train(other, whole, "--resume", "--steps", STEPS + 2, status=2)
    assert re.search(r"shape|f32\[|width", message) and sorted(os.listdir(whole)) == before, message


def check_forward(bench):
    ids, options = bench.path("input_ids.npy"), ["--temperature", 0, "--top-k", 0, "--top-p", 0, "--no-echo"]
    text = bench.path("text.safetensors")
    small.write_npy(ids, [BATCH, small.CONTEXT], small.tokens(BATCH * small.CONTEXT))
    small.write_safetensors(text, small.printable_weights())
    logits = texts = None
    for mesh in ([], ["--mesh", "2", "--plan", "tp1d"], ["--mesh", "2x2", "--plan", "zero3"], ["--mesh", "2x2x2"],
                 ["--mesh", "2x4", "--plan", "tp1d"]):
        out = bench.path("out")
        bench.run("run", bench.model, *small.settings(), "--batch", BATCH, "--seq", small.CONTEXT, "--weights", bench.weights,
                  "--input", f"input_ids={ids}", "--output", out, *mesh)
        mine = small.read_npy(os.path.join(out, "logits.npy"))
        logits = logits or mine
        assert small.distance(mine, logits) <= 1e-6, mesh
        if "zero3" in mesh:
            continue
        made = bench.run("generate", bench.model, *small.settings(small.TEXT_VOCAB, small.TEXT_CONTEXT), "--weights", text,
                         "--prompt", small.prompt(70), "--max-tokens", small.MADE, *options, *mesh)[0]
        texts = texts or made
        assert made == texts and len(made) > small.MADE // 2, (mesh, made, texts)


def check_memory(bench):
    """Tighter and tighter: what is compiled keeps the limit, and what is refused names one that works."""
    for mesh, plan, *more in (("1", "auto"), ("2x2", "auto"), ("2x2", "zero3"), ("2", "tp1d"), ("2", "ddp"),
                              ("2x2", "zero3", "--overlap", "on"), ("2x2", "zero3", "--machine", "h100-dgx")):
        options = ["--mesh", mesh, "--plan", plan, *more]
        peak, named = peak_of(bench.compile("free", *options)), set()
        for part in (0.9, 0.7, 0.1) if mesh != "1" and plan == "auto" else (1, 0.95, 0.9, 0.85, 0.8, 0.7, 0.5, 0.1):
            limit = int(peak * part)
            done = subprocess.run([bench.colc, "compile", bench.model, *small.settings(), "--batch", str(BATCH), *options,
                                   "--memory", str(limit), "-o", bench.path("a.plan"), "--report", bench.path("a.plan.json")],
                                  stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode == 0:
                assert peak_of(bench.path("a.plan")) <= limit, (options, limit)
                continue
            found = re.search(r"needs --memory (\d+) ", done.stderr)
            assert done.returncode == 3 and found and f"plan {plan} " in done.stderr, (done.returncode, done.stderr)
            assert int(found[1]) > limit, done.stderr
            named.add(int(found[1]))
        assert named, options
        for enough in named:
            tight = bench.compile("tight", *options, "--memory", enough)
            assert peak_of(tight) <= enough, (options, enough, peak_of(tight))
        bench.run("train", tight, "--data", bench.data, "--steps", 1, "--quiet")
        print(f"{' '.join(options)}: {peak} bytes, at least {sorted(named)}", flush=True)


def peak_of(plan):
    with open(plan + ".json", encoding="utf-8") as f:
        return json.load(f)["predicted"]["peak_bytes"]


def check_refusals(bench):
    plan = bench.compile("two", "--mesh", "2")
    bench.run("train", plan, "--data", bench.data, "--ranks", 4, status=2, says="the plan is for 2 ranks (mesh 2)")
    bench.run("run", bench.model, *small.settings(), "--mesh", 2, "--ranks", 3, status=2, says="--ranks 3")
    for options, words in (
            (["--mesh", "2x"], "'2x' is no mesh"),
            (["--mesh", "0"], "is no mesh"),
            (["--mesh", "4x4", "--machine", "h200x4"], "4x4 is too large; the machine h200x4 takes at most 4 ranks"),
            (["--mesh", "3", "--plan", "ddp"], "plan ddp cannot split input 'input_ids' : i32[8, 16] over mesh 3"),
            (["--mesh", "16", "--plan", "zero1", "--machine", "cpu:16"], "plan zero1 cannot split input 'input_ids'"),
            (["--mesh", "2x3", "--plan", "sp"], "plan sp cannot split input 'input_ids'"),
            (["--mesh", "4", "--plan", "tp2d"], "plan tp2d needs a mesh of 2 axes"),
            (["--mesh", "2x2", "--plan", "tp3d"], "plan tp3d needs a mesh of 3 axes"),
            (["--mesh", "5", "--plan", "tp1d"], "plan tp1d splits matrices, and the mesh divides none of them"),
            (["--plan", "zero2"], "zero2 splits over several devices")):
        out = bench.path("refused.plan")
        bench.run("compile", bench.model, *small.settings(), "--batch", BATCH, *options, "-o", out, status=2, says=words)
        assert not os.path.exists(out), options


def main():
    colc, model = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # colc's plans
        bench = Bench(colc, model, folder)
        check_checkpoints(bench)
        check_forward(bench)
        check_refusals(bench)
        check_memory(bench)


if __name__ == "__main__":
    main()
