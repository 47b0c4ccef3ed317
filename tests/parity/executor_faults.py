"""What a training run refuses, and that nothing is lost then: one clear error, the documented status, and every file
that was there as it was."""

import os
import shutil

from executor import Bench, checkpoint, expect, read_bytes, same_tree


def usage(bench):
    plan, data = bench.path("step.plan"), ["--data", "text.txt"]
    bench.run("train", status=2, says="no plan is given")
    bench.run("trian", plan, status=2, says="did you mean 'train'")
    bench.run("train", plan, status=2, says="--data")
    bench.run("train", plan, *data, "--step", 3, status=2, says="did you mean '--steps'")
    bench.run("train", plan, *data, "--steps", "3x", status=2, says="--steps")
    bench.run("train", plan, *data, "--steps", 0, status=2, says="--steps")
    bench.run("train", plan, *data, "--lr", "nan", status=2, says="--lr")
    bench.run("train", plan, *data, "--val-fraction", 1, status=2, says="--val-fraction")
    bench.run("train", plan, *data, "--resume", status=2, says="--save")
    bench.run("train", plan, *data, "--resume", "--save", "empty", status=2, says="checkpoint")
    for command in ("train", "generate", "run", "info"):
        expect(b"usage: colrun " + command.encode() in bench.run(command, "--help"), f"help of {command}")


def plans(bench):
    data = ["--data", "text.txt"]
    whole = read_bytes(bench.path("step.plan"))
    damaged = {"empty": b"", "foreign": b"PK\x03\x04" * 50, "cut": whole[:-1], "short": whole[:20],
               "flipped": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], "longer": whole + b"x"}
    for name, content in damaged.items():
        with open(bench.path(name + ".plan"), "wb") as file:
            file.write(content)
        bench.run("train", name + ".plan", *data, status=2, says=name + ".plan")
    bench.run("train", "absent.plan", *data, status=2, says="absent.plan")
    bench.run("train", "generate.plan", *data, status=2, says="not for training")
    bench.run("generate", "step.plan", "--weights", "x", "--prompt", "y", status=2, says="not for generating")
    bench.run("run", "step.plan", status=2, says="not for a forward pass")


def data(bench):
    bench.run("train", "step.plan", "--data", "absent.txt", status=2, says="absent.txt")
    bench.run("train", "step.plan", "--data", "text.txt", "--tokenizer", "absent", status=2, says="absent")
    with open(bench.path("tiny.txt"), "w", encoding="utf-8") as file:
        file.write("tiny")
    bench.run("train", "step.plan", "--data", "tiny.txt", status=2, says="training")
    with open(bench.path("small.txt"), "w", encoding="utf-8") as file:
        file.write("just enough text.")
    bench.run("train", "step.plan", "--data", "small.txt", "--steps", 2, says="too short for validation")
    bench.run("train", "step.plan", "--data", "small.txt", "--val-fraction", 0.1, status=2, says="validation")
    # Ids of an llm.c file that the table of 257 rows does not have.
    with open(bench.path("large.bin"), "wb") as file:
        file.write(b"".join(n.to_bytes(4, "little") for n in (20240520, 1, 1000)) + bytes(1024 - 12))
        file.write(b"".join(n.to_bytes(2, "little") for n in [5] * 900 + [300] + [5] * 99))
    bench.run("train", "step.plan", "--data", "large.bin", status=2, says="300")
    bench.run("train", "step.plan", "--data", "synthetic", "--steps", 2, "--quiet")


def folders(bench):
    with open(bench.path("file"), "w", encoding="utf-8") as file:
        file.write("a file")
    bench.train("step", "--steps", 2, "--log-dir", "file/log", status=2, says="file/log")
    bench.train("step", "--steps", 2, "--save", "file/save", status=2, says="file/save")
    bench.train("step", "--steps", 2, "--trace", "absent/trace.json", status=2, says="absent/trace.json")
    bench.train("step", "--steps", 2, "--save", "save")
    before = checkpoint(bench.path("save", "step_00000002"))
    bench.train("step", "--steps", 2, "--save", "save", status=2, says="--resume")
    same_tree(before, checkpoint(bench.path("save", "step_00000002")), "another run's checkpoint")


def resumed(bench):
    bench.train("step", "--steps", 6, "--save", "run", "--save-every", 2, "--keep", 0, "--val-every", 0)
    resume = ["--resume", "--save", "run"]
    before = {name: checkpoint(bench.path("run", name)) for name in ("step_00000004", "step_00000006")}
    bench.train("step", *resume, "--steps", 8, "--seed", 9, status=2, says="seed")
    bench.run("train", "step.plan", "--data", "synthetic", *resume, "--steps", 8, status=2, says="--data")
    bench.train("step", *resume, "--weights", "run", status=2, says="--weights")
    bench.train("micro", *resume, "--steps", 8, status=2, says="missing: 'bigram.weight.grad' F32[257, 257], "
                "'optimizer.micro'")
    for name, files in before.items():
        same_tree(files, checkpoint(bench.path("run", name)), name)
    # A damaged checkpoint is passed over for the one before.
    weights = bench.path("run", "step_00000006", "model.safetensors")
    content = bytearray(read_bytes(weights))
    content[-5] ^= 4
    with open(weights, "wb") as file:
        file.write(content)
    out = bench.train("step", *resume, "--steps", 5, says="step_00000006")
    expect(b"resumed after step 4" in out and b"step 5/5" in out, "goes on from the older checkpoint")


def full_disk(bench):
    """A checkpoint takes 520 kB: the first file does not fit."""
    bench.train("step", "--steps", 3, "--save", "full")
    before = checkpoint(bench.path("full", "step_00000003"))
    bench.train("step", "--steps", 5, "--save", "full", "--resume", status=4, says="full", limit=200000)
    same_tree(before, checkpoint(bench.path("full", "step_00000003")), "the checkpoint before the disk was full")
    expect(sorted(os.listdir(bench.path("full"))) == ["latest", "step_00000003"], "nothing half-made stays")
    bench.train("step", "--steps", 5, "--save", "full", "--resume")
    expect(os.path.isdir(bench.path("full", "step_00000005")), "with room again, it goes on")
    bench.train("step", "--steps", 4000, "--log-dir", "full_log", "--quiet", "--val-every", 0, status=4, says="full_log",
                limit=100000)


def not_finite(bench):
    """An absurd learning rate: the run stops and names the op; the checkpoint before is whole."""
    for plan in ("step", "micro"):
        folder = "finite_" + plan
        bench.train(plan, "--steps", 2, "--save", folder)
        before = checkpoint(bench.path(folder, "step_00000002"))
        bench.run("train", plan + ".plan", "--data", "text.txt", "--steps", 50, "--save", folder, "--resume", "--lr",
                  "3e38", status=2, says="in the op 'bigram'")
        expect(os.listdir(bench.path(folder)).count("step_00000003") == 0, "the bad step is not saved")
        same_tree(before, checkpoint(bench.path(folder, "step_00000002")), "the checkpoint before")


def main():
    with Bench() as bench:
        for part in (usage, plans, data, folders, resumed, full_disk, not_finite):
            part(bench)
        shutil.rmtree(bench.path("full"))


if __name__ == "__main__":
    main()
