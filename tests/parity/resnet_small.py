"""Small ResNets whose weights come from a formula, images in CIFAR-10's files, and how colc trains on them, with Python's
standard library alone: what resnet.py (against goldens) and resnet_torch.py (against PyTorch) share.
"""
import array
import json
import math
import os

import gpt2_small as small

BATCH, SIZE, CLASSES = 8, 32, 10
MEANS, DEVIATIONS = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
SGD = {"steps": 5, "momentum": 0.9, "weight_decay": 0.01}
# The bottlenecks' last channels have 8 elements to normalise, and with 0.05 PyTorch's own fp32 and fp64 are 2e-2 apart
# after four steps.
RATES = {"basic": 0.05, "bottleneck": 0.002}
# Basic blocks behind CIFAR's beginning; bottlenecks behind ImageNet's.
MODELS = {
    "basic": {"bottleneck": 0, "layers1": 2, "layers2": 1, "layers3": 1, "layers4": 1, "width": 6, "cifar": 1},
    "bottleneck": {"bottleneck": 1, "layers1": 1, "layers2": 2, "layers3": 1, "layers4": 1, "width": 4, "cifar": 0},
}


def names(model):
    """torchvision's parameters and buffers, and their shapes."""
    o = MODELS[model]
    width, expansion = o["width"], 4 if o["bottleneck"] else 1

    def norm(name, n):
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{part}", [n]

    yield "conv1.weight", [width, 3] + ([3, 3] if o["cifar"] else [7, 7])
    yield from norm("bn1", width)
    inputs = width
    for level in range(1, 5):
        n = width << (level - 1)
        for i in range(o[f"layers{level}"]):
            at = f"layer{level}.{i}"
            kernels = [(n, 1), (n, 3), (4 * n, 1)] if o["bottleneck"] else [(n, 3), (n, 3)]
            before = inputs
            for k, (outputs, taps) in enumerate(kernels, 1):
                yield f"{at}.conv{k}.weight", [outputs, before, taps, taps]
                yield from norm(f"{at}.bn{k}", outputs)
                before = outputs
            if inputs != n * expansion or (level > 1 and i == 0):
                yield f"{at}.downsample.0.weight", [n * expansion, inputs, 1, 1]
                yield from norm(f"{at}.downsample.1", n * expansion)
            inputs = n * expansion
    yield "fc.weight", [CLASSES, inputs]
    yield "fc.bias", [CLASSES]


def is_buffer(name):
    return ".running_" in name


def weights(model):
    out = {}
    for k, (name, shape) in enumerate(names(model)):
        values = small.uniform(3000 + k, math.prod(shape))
        scale = math.sqrt(6 / math.prod(shape[1:])) if len(shape) > 1 else 0.2
        one = 1.0 if name.endswith("running_var") or (len(shape) == 1 and name.endswith(".weight")) else 0.0
        out[name] = (shape, array.array("f", (one + scale * v for v in values)))
    return out


def records():
    """(label, pixels) of every image; a pattern of its own for each, so that no channel is constant."""
    for i in range(BATCH):
        noise = small.uniform(9000 + i, 3 * SIZE * SIZE)
        pixels = bytes(int(127.5 + 90 * math.sin(0.1 * (i + 1) * (k % SIZE) + k // 1024) + 30 * v)
                       for k, v in enumerate(noise))
        yield (3 * i + 1) % CLASSES, pixels


def pixel_values():
    """Normalised, [BATCH, 3, SIZE, SIZE]."""
    return array.array("f", ((v / 255 - MEANS[k // 1024]) / DEVIATIONS[k // 1024]
                             for _, pixels in records() for k, v in enumerate(pixels)))


def write_cifar(path):
    with open(path, "wb") as f:
        for label, pixels in records():
            f.write(bytes([label]) + pixels)


def settings(model, batch=BATCH):
    pairs = MODELS[model] | {"size": SIZE, "classes": CLASSES}
    return [a for k, v in pairs.items() for a in ("--set", f"{k}={v}")] + ["--batch", str(batch)]


class Trainer:
    """`colc train` on one batch of all images: every step sees the same, in another order, which changes nothing."""

    def __init__(self, colc, source, model, folder):
        self.colc, self.source, self.model, self.runs = colc, source, model, 0
        self.folder = os.path.join(folder, model)
        os.mkdir(self.folder)
        self.weights = os.path.join(self.folder, "model.safetensors")
        self.data = os.path.join(self.folder, "images.bin")
        write_cifar(self.data)
        counts = {f"{n[:-len('running_mean')]}num_batches_tracked": ([], array.array("q", [7]))
                  for n, _ in names(model) if n.endswith("running_mean")}
        small.write_safetensors(self.weights, weights(model) | counts)

    def train(self, *options):
        """The steps' metrics, parameters and running statistics after them, and the folder of checkpoints."""
        self.runs += 1
        out = os.path.join(self.folder, f"run{self.runs}")
        small.run([self.colc, "train", self.source, *settings(self.model), "--weights", self.weights, "--data", self.data,
                   "--val-fraction", "0", "--optimizer", "sgd", "--clip", "0", "--warmup", "0", "--schedule", "constant",
                   "--save", out, "--log-dir", out, "--quiet", *map(str, options)])
        with open(os.path.join(out, "metrics.jsonl")) as f:
            rows = [json.loads(line) for line in f]
        return rows, small.read_checkpoint(out), out

    def sgd(self, *options):
        o = SGD
        return self.train("--steps", o["steps"], "--lr", RATES[self.model], "--momentum", o["momentum"], "--weight-decay",
                          o["weight_decay"], *options)

    def gradients(self, rate=4096):
        """One step of plain descent with a rate so large that p - p' is the gradient to fp32's last digits."""
        _, after, _ = self.train("--momentum", 0, "--weight-decay", 0, "--lr", rate, "--steps", 1)
        before = weights(self.model)
        return {n: [(a - b) / rate for a, b in zip(before[n][1], after[n][1])] for n in before if not is_buffer(n)}

    def logits(self, saved):
        """Of the images, with the weights and running statistics that a run saved."""
        path = os.path.join(self.folder, "pixel_values.npy")
        small.write_npy(path, [BATCH, 3, SIZE, SIZE], pixel_values())
        small.run([self.colc, "run", self.source, *settings(self.model), "--weights", saved, "--input",
                   f"pixel_values={path}", "--output", self.folder])
        return small.read_npy(os.path.join(self.folder, "logits.npy"))
