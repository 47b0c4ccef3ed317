"""A compiled GPT with dropout and gradient accumulation: resuming is bit-equal, text generated through the key-value
cache is what the forward pass over the whole text says, and a step that is not finite is refused.

    executor_model.py COLRUN BIGRAM_PLAN KERNELS.so COLC MODEL.ir"""

import os
import shutil
import struct
import subprocess
import sys

from executor import Bench, checkpoint, expect, metrics, same_tree
from executor_generate import VOCAB, read_npy, write_npy

CONTEXT = 96  # more than a chunk of prefill
SETTINGS = ["layers=2", "width=32", "heads=2", f"vocab={VOCAB}", f"context={CONTEXT}", "dropout=0.1"]


def colc(bench, colc_path, *arguments, status=0, says=""):
    environment = dict(os.environ, XDG_CACHE_HOME=bench.path("cache"))
    done = subprocess.run([colc_path, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          cwd=bench.folder, env=environment, timeout=300)
    errors = done.stderr.decode()
    expect(done.returncode == status and says in errors, f"{arguments} ended with {done.returncode}: {errors}")
    return done.stdout


def resumed(bench, plan):
    train = ["train", plan, "--data", "text.txt", "--lr", 0.01, "--val-every", 4, "--val-batches", 3, "--save-every", 4,
             "--keep", 0]
    bench.run(*train, "--steps", 12, "--seed", 3, "--save", "whole", "--log-dir", "whole_log", "--threads", 1)
    os.mkdir(bench.path("part"))
    shutil.copytree(bench.path("whole", "step_00000004"), bench.path("part", "step_00000004"))
    shutil.copytree(bench.path("whole_log"), bench.path("part_log"))
    bench.run(*train, "--resume", "--save", "part", "--log-dir", "part_log", "--threads", 3)
    for step in ("step_00000008", "step_00000012"):
        same_tree(checkpoint(bench.path("whole", step)), checkpoint(bench.path("part", step)), step)
    rows = metrics(bench.path("whole_log"))
    expect(rows == metrics(bench.path("part_log")), "metrics of the resumed run")
    expect(rows[-1]["loss"] < rows[0]["loss"] - 0.5, "the loss falls")
    expect(all(row["mfu"] is None and row["peak_bytes"] > 0 for row in rows), "peak is planned, mfu unknown")
    bench.run("train", plan, "--data", "text.txt", "--resume", "--save", "part", "--steps", 16, "--lr", "1e38", status=2,
              says="step 14, micro-batch 1 of 3")
    expect(sorted(os.listdir(bench.path("part")))[-1] == "step_00000012", "nothing is saved after a step that is not finite")


def generated(bench, colc_path, model):
    base = ["generate", model, "--set", *SETTINGS, "--weights", "whole", "--temperature", 0, "--no-echo"]
    run = ["run", model, "--set", *SETTINGS, "--batch", 1, "--seq", CONTEXT, "--weights", "whole", "--output", "out"]
    text = "line 7 of the text, and 12 more words. line 8 of the text, and some more"
    for size in (1, 5, 64, 65, 70):
        made = colc(bench, colc_path, *base, "--prompt", text[:size], "--max-tokens", 12)
        ids = list(text[:size].encode())
        for _ in range(12):
            padded = ids + [0] * (CONTEXT - len(ids))
            write_npy(bench.path("ids.npy"), "<i4", (1, CONTEXT), struct.pack(f"<{CONTEXT}i", *padded))
            colc(bench, colc_path, *run, "--input", "input_ids=ids.npy")
            _, shape, data = read_npy(bench.path("out", "logits.npy"))
            expect(tuple(shape) == (1, CONTEXT, VOCAB), "logits for every position")
            row = struct.unpack_from(f"<{VOCAB}f", data, 4 * VOCAB * (len(ids) - 1))
            best = max(range(VOCAB), key=lambda v: (row[v], -v))
            if best == VOCAB - 1:
                break
            ids.append(best)
        expect(made == bytes(ids[size:]).decode("utf-8", "replace").encode() + b"\n",
               f"text after {size} tokens: {made} against {bytes(ids[size:])}")


def refused(bench, colc_path, model):
    """What only the model's meaning tells to be wrong: labels that are no class, positions beyond the table."""
    small = ["--set", *SETTINGS, "--batch", 1, "--seq", 4]
    inputs = ["--weights", "whole", "--input", "input_ids=ids.npy", "--input", "labels=labels.npy"]
    write_npy(bench.path("ids.npy"), "<i4", (1, 4), struct.pack("<4i", 1, 2, 3, 4))
    for label in (VOCAB, -1, -99):
        write_npy(bench.path("labels.npy"), "<i4", (1, 4), struct.pack("<4i", 0, VOCAB - 1, -100, label))
        colc(bench, colc_path, "run", model, *small, *inputs, status=2,
             says=f"element 3 is {label}, but labels go from 0 to {VOCAB - 1}, or are -100")
    write_npy(bench.path("labels.npy"), "<i4", (1, 4), struct.pack("<4i", 0, VOCAB - 1, -100, 1))
    colc(bench, colc_path, "run", model, *small, *inputs)
    colc(bench, colc_path, "compile", model, "--set", *SETTINGS, "--seq", CONTEXT + 1, status=2,
         says=f"the positions count to {CONTEXT}, but the table f32[{CONTEXT}, 32] has {CONTEXT} rows")
    colc(bench, colc_path, "run", model, "--set", "layers=1", "vocab=99999999", "width=48000", "heads=1", "--seq", 4,
         "--input", "input_ids=ids.npy", status=2, says="and this machine has")
    # Where no plan can be cached it is compiled for the run alone, and nothing stays.
    os.mkdir(bench.path("temporary"))
    with open(bench.path("no_folder"), "wb"):
        pass
    environment = {"PATH": os.environ["PATH"], "TMPDIR": bench.path("temporary")}
    for cache in ({}, {"HOME": bench.path("no_folder")}, {"XDG_CACHE_HOME": "relative"}):
        done = subprocess.run([colc_path, "run", model, *map(str, small), *inputs], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, check=False, cwd=bench.folder, env={**environment, **cache}, timeout=300)
        expect(done.returncode == 0 and b"cannot be cached" in done.stderr, f"without a cache: {done.stderr.decode()}")
        expect(not os.listdir(bench.path("temporary")) and not os.path.exists(bench.path("relative")), "nothing stays")
    for option in (["--print-after", "fold"], ["--dump-dir", "dump"], ["--time-passes"]):
        colc(bench, colc_path, "opt", model, *option, status=2, says=f"{option[0]} watches a whole compilation")


def main():
    colc_path, model = map(os.path.abspath, sys.argv[4:6])
    with Bench() as bench:
        plan = bench.path("model.plan")
        colc(bench, colc_path, "compile", model, "--set", *SETTINGS, "--batch", 2, "--seq", 32, "--accumulate", 3, "-o", plan)
        resumed(bench, plan)
        generated(bench, colc_path, model)
        refused(bench, colc_path, model)


if __name__ == "__main__":
    main()
