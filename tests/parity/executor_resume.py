"""Stopped in any way and resumed, a run ends with the same bytes as one that never stopped."""

import os
import random
import re
import shutil
import subprocess
import time

from executor import INTERRUPT, KILL, TERMINATE, Bench, checkpoint, expect, metrics, same_tree


def compare(bench, whole, other, step, what):
    name = f"step_{step:08d}"
    same_tree(checkpoint(bench.path(whole, name)), checkpoint(bench.path(other, name)), what)


def from_checkpoint(bench, plan):
    """Resumes from the middle; checkpoints and metrics are those of the whole run."""
    whole, part = plan + "_whole", plan + "_part"
    bench.train(plan, "--steps", 12, "--seed", 5, "--val-every", 3, "--save", whole, "--save-every", 4, "--keep", 0,
                "--log-dir", whole + "_log")
    expect(sorted(os.listdir(bench.path(whole))) == ["latest", "step_00000004", "step_00000008", "step_00000012"],
           "checkpoints are saved every 4 steps")
    # As if the run had died between steps 6 and 7: logs are ahead of the checkpoint.
    shutil.copytree(bench.path(whole), bench.path(part))
    shutil.copytree(bench.path(whole + "_log"), bench.path(part + "_log"))
    for step in (8, 12):
        shutil.rmtree(bench.path(part, f"step_{step:08d}"))
    with open(bench.path(part, "latest"), "w", encoding="utf-8") as file:
        file.write("step_00000004\n")
    log = bench.path(part + "_log", "metrics.jsonl")
    with open(log, encoding="utf-8") as file:
        lines = file.readlines()
    with open(log, "w", encoding="utf-8") as file:
        file.writelines(lines[:6] + [lines[6][:20]])
    # All settings come from the checkpoint, but those of saving.
    bench.run("train", bench.path(plan + ".plan"), "--data", "text.txt", "--resume", "--save", part, "--save-every", 4,
              "--keep", 0, "--log-dir", part + "_log", "--threads", 2)
    compare(bench, whole, part, 8, "resumed, step 8")
    compare(bench, whole, part, 12, "resumed, step 12")
    rows = metrics(bench.path(whole + "_log"))
    expect(rows == metrics(bench.path(part + "_log")), "metrics of the resumed run are those of the whole one")
    expect([row["step"] for row in rows] == list(range(1, 13)), "a line of metrics a step")
    expect([row["step"] for row in rows if "val_loss" in row] == [3, 6, 9, 12], "validation every 3 steps")
    expect(rows[-1]["loss"] < rows[0]["loss"], "the loss falls")
    # A third run without logs and validation has the same weights: neither touches the state.
    bench.train(plan, "--steps", 12, "--seed", 5, "--save", plan + "_bare", "--quiet")
    bare = checkpoint(bench.path(plan + "_bare", "step_00000012"))
    for name in ("model.safetensors", "optimizer.safetensors"):
        expect(bare[name] == checkpoint(bench.path(whole, "step_00000012"))[name], "validation leaves the state alone")


def by_signal(bench, number, folder):
    """The signal ends the run after a step, with a checkpoint of it and status 0; then it is resumed."""
    arguments = ["train", bench.path("step.plan"), "--data", "text.txt", "--lr", 3, "--save", folder, "--steps", 20000,
                 "--save-every", 0, "--val-every", 0]
    process = bench.start(*arguments)
    for line in process.stdout:
        if re.match(rb"step 50/", line):
            process.send_signal(number)
            break
    rest = process.stdout.read().decode()
    expect(process.wait(60) == 0, f"signal {number} ends with status {process.returncode}")
    last = max([int(step) for step in re.findall(r"^step (\d+)/", rest, re.M)], default=50)
    expect(f"stopped by {'SIGINT' if number == INTERRUPT else 'SIGTERM'} after step {last}" in rest, "it says so")
    expect(os.path.isdir(bench.path(folder, f"step_{last:08d}")), "the step that was finished is saved")
    expect(last < 20000, "the run was stopped before its end")
    arguments[arguments.index("--steps") + 1] = last + 10
    bench.run(*arguments, "--resume", "--quiet")
    # A whole run with as many steps has another schedule up to the signal, so it is rebuilt in the same two parts.
    twin = folder + "_twin"
    os.mkdir(bench.path(twin))
    shutil.copytree(bench.path(folder, f"step_{last:08d}"), bench.path(twin, f"step_{last:08d}"))
    arguments[arguments.index(folder)] = twin
    bench.run(*arguments, "--resume", "--quiet")
    compare(bench, folder, twin, last + 10, "resumed after the signal")


def by_kill(bench):
    """Killed at random moments, mostly while saving, and resumed until it is done."""
    steps, folder = 60, "killed"
    common = ["--steps", steps, "--save-every", 1, "--keep", 2, "--val-every", 0, "--quiet"]
    bench.train("micro", *common, "--save", "unkilled")
    rng, kills = random.Random(7), 0
    for attempt in range(200):
        resume = ["--resume"] if os.path.exists(bench.path(folder, "latest")) else []
        if not resume and os.path.isdir(bench.path(folder)):
            shutil.rmtree(bench.path(folder)) # killed before the first checkpoint was whole
        process = bench.start("train", bench.path("micro.plan"), "--data", "text.txt", "--lr", 3, *common, "--save", folder,
                              *resume)
        try:
            expect(process.wait(rng.uniform(0.03, 0.4)) == 0, "resumes whatever a kill leaves")
        except subprocess.TimeoutExpired:
            process.send_signal(KILL)
            process.wait()
            kills += 1
            continue
        finally:
            process.stdout.close()
        break
    else:
        expect(False, f"{attempt + 1} attempts were not enough")
    expect(kills > 0, "it was killed at all")
    print(f"{kills} kills")
    compare(bench, "unkilled", folder, steps, "after kills")
    left = [name for name in os.listdir(bench.path(folder)) if "tmp" in name]
    expect(not left, f"nothing half-made stays: {left}")


def main():
    start = time.time()
    with Bench() as bench:
        from_checkpoint(bench, "step")
        from_checkpoint(bench, "micro")
        by_signal(bench, TERMINATE, "terminated")
        by_signal(bench, INTERRUPT, "interrupted")
        by_kill(bench)
    print(f"{time.time() - start:.1f} s")


if __name__ == "__main__":
    main()
