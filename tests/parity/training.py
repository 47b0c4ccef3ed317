#!/usr/bin/env python3
"""The small recipes train: on data that has something to learn, and by more than its simplest statistics would give.

usage: training.py COLC RECIPES text|masked|images

text     OPT on a corpus, then fine-tuned from those weights on another in WikiText's layout
masked   BERT as a masked language model; its masks are the same after resuming and on a mesh
images   ViT and ResNet on files as CIFAR-10's, with and without the large-batch optimizers

Text is shared/data's Shakespeare where it is ($COL_TEST_DATA), else sentences of a small grammar. A model that knows how
often each byte comes, and nothing else, has the entropy of the bytes as its loss: all must be well below. Images are ten
textures, shifted, under noise.
"""
import collections
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

SHIFT = 6  # pixels that an image is moved by are below it, on both axes
NOISE = 60  # its deviation, beside textures of three waves of 60

colc, recipes, what = sys.argv[1:]
DATA = os.path.join(os.environ.get("COL_TEST_DATA", "../shared/data"), "shakespeare", "input.txt")


def sentences(seed, size):
    """Nouns and verbs agree in number across what stands between them."""
    rng, out = random.Random(seed), []
    nouns, verbs = ["king", "ship", "crow", "wind", "bell", "stone"], ["call", "turn", "fall", "sing", "wait"]
    places = ["by the sea", "in the north", "under the old gate", "without a word"]
    while sum(map(len, out)) < size:
        many = rng.random() < 0.5
        noun, verb = rng.choice(nouns) + "s" * many, rng.choice(verbs) + "s" * (not many)
        out.append(f"{'these' if many else 'that'} {noun} {rng.choice(places)} {verb} {rng.choice(['again', 'at dawn', 'no more'])}.\n")
    return "".join(out)


def corpus(size):
    if os.path.exists(DATA):
        with open(DATA, encoding="utf-8") as f:
            return f.read()[:size]
    print(f"no {DATA}: sentences of a grammar")
    return sentences(1, size)


def entropy(text):
    counts = collections.Counter(text.encode())
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def train(folder, recipe, name, data, *options):
    """Rows of the metrics, and where the run is saved."""
    out = os.path.join(folder, name)
    command = [colc, "train", "--recipe", os.path.join(recipes, recipe + ".yaml"), "--data", data, "--save", out, "--log-dir", out,
               "--quiet", *map(str, options)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    losses = [row["val_loss"] for row in rows if "val_loss" in row]
    print(name, f"loss {rows[0]['loss']:.3f} at first; validated {' '.join(f'{v:.3f}' for v in losses)}", flush=True)
    return rows, losses, out


def check_text(folder):
    text = corpus(400000)
    limit = entropy(text)
    rows, losses, saved = train(folder, "opt_nano", "opt", write(os.path.join(folder, "corpus.txt"), text))
    assert abs(rows[0]["loss"] - math.log(257)) < 0.2, "a model that knows nothing finds all bytes as likely"
    assert losses[-1] < losses[0] and losses[-1] < limit - 0.6, (losses, limit)

    # Fine-tuning: other text, of headings and paragraphs, in a folder with a validation file of its own.
    wiki = os.path.join(folder, "wiki")
    os.mkdir(wiki)
    for part, seed, size in [("train", 2, 100000), ("valid", 3, 20000)]:
        lines = sentences(seed, size).splitlines(True)
        pages = "".join(f" \n = Page {i} = \n \n {''.join(lines[i:i + 20])}" for i in range(0, len(lines), 20))
        write(os.path.join(wiki, f"wiki.{part}.raw"), pages)
    few = ["--steps", 40, "--warmup", 4, "--lr", "1e-3", "--val-every", 20]
    _, tuned, _ = train(folder, "opt_nano", "tuned", wiki, "--weights", saved, *few)
    _, fresh, _ = train(folder, "opt_nano", "fresh", wiki, *few)
    assert tuned[-1] < fresh[-1] - 0.2, "loaded weights are a better start than none"
    assert tuned[-1] < tuned[0], tuned


def check_masked(folder):
    text = corpus(400000)
    limit = entropy(text)
    data = write(os.path.join(folder, "corpus.txt"), text)
    rows, losses, _ = train(folder, "bert_nano", "bert", data)
    assert abs(rows[0]["loss"] - math.log(258)) < 0.2, rows[0]
    assert losses[-1] < limit - 0.4, (losses, limit)

    few = ["--steps", 20, "--warmup", 2, "--save-every", 10, "--val-every", 10]
    whole, _, saved = train(folder, "bert_nano", "whole", data, *few)
    parts = os.path.join(folder, "parts")
    shutil.copytree(saved, parts)
    shutil.rmtree(os.path.join(parts, "step_00000020"))
    write(os.path.join(parts, "latest"), "step_00000010\n")
    resumed, _, _ = train(folder, "bert_nano", "parts", data, *few, "--resume")
    meshed, _, _ = train(folder, "bert_nano", "meshed", data, *few, "--mesh", "2", "--plan", "ddp")
    for a, b, c in zip(whole, resumed, meshed, strict=True):
        keys = [k for k in ("loss", "val_loss") if k in a]
        assert all(a[k] == b[k] and abs(a[k] - c[k]) < 1e-4 * a[k] for k in keys), (a, b, c)


def textures(seed):
    rng = random.Random(seed)
    out = []
    for _ in range(10):
        waves = [(rng.choice([0, 1, 2]), rng.choice([-2, -1, 1, 2]), rng.random() * 6.3) for _ in range(3)]
        out.append([[[128 + 60 * math.sin(2 * math.pi * (a * x + b * y) / 32 + p) for x in range(32)] for y in range(32)]
                    for a, b, p in waves])
    return out


def write_images(path, seed, count, classes):
    rng = random.Random(seed)
    noise = [rng.gauss(0, NOISE) for _ in range(1 << 16)]
    with open(path, "wb") as f:
        for i in range(count):
            dx, dy, at = rng.randrange(SHIFT), rng.randrange(SHIFT), rng.randrange(len(noise) - 3072)
            record = bytearray([i % 10])
            for plane in classes[i % 10]:
                for y in range(32):
                    row = plane[(y + dy) % 32]
                    for v in row[dx:] + row[:dx]:
                        record.append(min(255, max(0, int(v + noise[at]))))
                        at += 1
            f.write(record)


def check_images(folder):
    classes = textures(1)
    write_images(os.path.join(folder, "data_batch_1.bin"), 1, 2000, classes)
    write_images(os.path.join(folder, "test_batch.bin"), 2, 500, classes)
    for recipe, name, options in [("vit_nano", "vit", []), ("resnet_nano", "resnet", []),
                                  ("resnet_nano", "lars", ["--optimizer", "lars", "--lr", 4, "--schedule", "square", "--steps", 100]),
                                  ("resnet_nano", "lamb", ["--optimizer", "lamb", "--lr", "2e-2", "--steps", 100])]:
        rows, losses, _ = train(folder, recipe, name, folder, *options)
        assert abs(rows[0]["loss"] - math.log(10)) < 0.8, rows[0]
        assert losses[-1] < math.log(10) - 0.8, losses


with tempfile.TemporaryDirectory() as temporary:
    os.environ["XDG_CACHE_HOME"] = temporary  # colc's plans
    {"text": check_text, "masked": check_masked, "images": check_images}[what](temporary)
