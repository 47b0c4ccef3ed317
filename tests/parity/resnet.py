#!/usr/bin/env python3
"""Small ResNets through colc and colrun, against goldens that resnet_torch.py had from PyTorch, and against themselves on
another number of threads; plans against the reference walk. Wrong data is refused.

usage: resnet.py COLC MODEL GOLDEN
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import gpt2_small as small
import resnet_small as resnet

colc, source, golden_path = sys.argv[1:]


def check_model(trainer, golden):
    gradients = trainer.gradients()
    assert gradients.keys() == golden["gradients"].keys()
    for k, name in enumerate(sorted(gradients)):
        small.check_digest(name, k, gradients[name], golden["gradients"][name], 1e-4)
    rows, after, saved = trainer.sgd("--threads", 1)
    assert len(rows) == len(golden["losses"])
    for row, loss in zip(rows, golden["losses"]):
        assert abs(row["loss"] - loss) <= 1e-4 * loss, (row, loss)
        assert row["images_per_second"] > 0, row
    assert after.keys() == golden["after"].keys(), after.keys() ^ golden["after"].keys()
    for k, name in enumerate(sorted(after)):
        small.check_digest(name, k, after[name][1], golden["after"][name], 1e-3 if not resnet.is_buffer(name) else 1e-4)
    small.check_digest("logits", 900, trainer.logits(saved), golden["logits"], 1e-3)
    again = trainer.sgd("--threads", 2)
    assert [r["loss"] for r in again[0]] == [r["loss"] for r in rows], "losses depend on the number of threads"
    assert again[1] == after, "weights depend on the number of threads"


def check_verify(model):
    for options in (["--accumulate", "2", "--batch", "4"], ["--batch", "3", "--for", "forward"]):
        text = small.run([colc, "verify", source, *resnet.settings(model)[:-2], *options]).decode()
        assert "all agree" in text and "WRONG" not in text, text


def refuse(folder, name, data, says, *options):
    path = os.path.join(folder, name)
    if data is not None:
        with open(path, "wb") as f:
            f.write(data)
    command = [colc, "train", source, *resnet.settings("basic"), "--data", path, "--steps", "1", *options]
    done = subprocess.run(command, capture_output=True)
    error = done.stderr.decode(errors="replace")
    assert done.returncode == 2 and says in error, (name, done.returncode, error)


def check_data(folder):
    record = bytes([3]) + bytes(3072)
    refuse(folder, "cut.bin", record * 3 + record[:-1], "cut short or no binary file of CIFAR-10")
    refuse(folder, "label.bin", record * 2 + bytes([10]) + record[1:], "record 2 has the label 10")
    refuse(folder, "hundred.bin", bytes(3074 * 2), "it looks like CIFAR-100")
    refuse(folder, "packed.bin", b"\x1f\x8b" + bytes(50), "it is a gzip file: unpack it first")
    refuse(folder, "python.bin", b"\x80\x03}q\x00", "take the binary version")
    refuse(folder, "empty.bin", b"", "is empty")
    refuse(folder, "missing.bin", None, "missing.bin")
    refuse(folder, ".", None, "has no file data_batch_1.bin")
    refuse(folder, "few.bin", record, "the model has 3 classes", "--set", "classes=3")
    refuse(folder, "size.bin", record, "compile it with --set size=32", "--set", "size=64")
    refuse(folder, "text.bin", record, "the model takes images", "--tokenizer", "bytes")


def check_folder(folder):
    """A folder as it is unpacked: its test images are for validation. Interrupted and resumed it is the same run."""
    cifar = os.path.join(folder, "cifar-10-batches-bin")
    os.mkdir(cifar)
    for name in ["data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"]:
        resnet.write_cifar(os.path.join(cifar, name))
    command = [colc, "train", source, *resnet.settings("basic", 6), "--data", cifar, "--val-every", "2",
               "--save-every", "2", "--steps", "4", "--momentum", "0.5", "--optimizer", "sgd"]
    whole, parts = os.path.join(folder, "whole"), os.path.join(folder, "parts")
    text = small.run([*command, "--save", whole]).decode()
    assert "24 images of 3 x 32 x 32, 16 to train on, 8 for validation" in text, text
    assert text.count("val_loss") == 2, text
    shutil.copytree(whole, parts)
    shutil.rmtree(os.path.join(parts, max(n for n in os.listdir(parts) if n.startswith("step"))))
    small.run([*command, "--save", parts, "--resume", "--quiet"])
    assert small.read_checkpoint(parts) == small.read_checkpoint(whole), "a resumed run differs"
    text = small.run([colc, "train", source, *resnet.settings("basic"), "--data", "synthetic", "--steps", "1"]).decode()
    assert "4096 images of 3 x 32 x 32, 3687 to train on, 409 for validation" in text, text


with open(golden_path) as f:
    golden = json.load(f)
with tempfile.TemporaryDirectory() as folder:
    os.environ["XDG_CACHE_HOME"] = folder  # colc's plans
    for model in resnet.MODELS:
        check_model(resnet.Trainer(colc, source, model, folder), golden[model])
        check_verify(model)
    check_data(folder)
    check_folder(folder)
