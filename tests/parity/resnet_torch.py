#!/usr/bin/env python3
"""Small ResNets through colc and colrun against PyTorch, number by number. Without PyTorch: exit status 77.

usage: resnet_torch.py COLC MODEL                 compares
       resnet_torch.py COLC MODEL --golden FILE   the same, then writes what resnet.py compares with
"""
import importlib.util
import json
import os
import sys
import tempfile

import gpt2_small as small
import resnet_small as resnet

colc, source, *rest = sys.argv[1:]
if importlib.util.find_spec("torch") is None:
    print("skipped: no Python module torch")
    sys.exit(77)
import torch  # noqa: E402
from torch import nn  # noqa: E402


class Block(nn.Module):
    """He et al., arXiv 1512.03385, figure 5, with torchvision's names."""

    def __init__(self, inputs, n, stride, bottleneck):
        super().__init__()
        kernels = [(n, 1, 1), (n, 3, stride), (4 * n, 1, 1)] if bottleneck else [(n, 3, stride), (n, 3, 1)]
        self.count, before = len(kernels), inputs
        for k, (outputs, taps, s) in enumerate(kernels, 1):
            self.add_module(f"conv{k}", nn.Conv2d(before, outputs, taps, s, taps // 2, bias=False))
            self.add_module(f"bn{k}", nn.BatchNorm2d(outputs))
            before = outputs
        self.downsample = None
        if stride != 1 or inputs != before:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, before, 1, stride, bias=False), nn.BatchNorm2d(before))

    def forward(self, x):
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = torch.relu(y) if k < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, bottleneck, layers1, layers2, layers3, layers4, width, cifar):
        super().__init__()
        self.cifar = cifar
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if cifar else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, inputs = nn.BatchNorm2d(width), width
        for level, count in enumerate([layers1, layers2, layers3, layers4], 1):
            blocks, n = [], width << (level - 1)
            for i in range(count):
                blocks.append(Block(inputs, n, 2 if level > 1 and i == 0 else 1, bottleneck))
                inputs = 4 * n if bottleneck else n
            self.add_module(f"layer{level}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, resnet.CLASSES)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        if not self.cifar:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for level in range(1, 5):
            x = getattr(self, f"layer{level}")(x)
        return self.fc(x.mean((2, 3)))


def make(model):
    """In fp64, with the formula's weights."""
    net = ResNet(**resnet.MODELS[model])
    state = {n: torch.tensor(values).reshape(shape) for n, (shape, values) in resnet.weights(model).items()}
    missing, extra = net.load_state_dict(state, strict=False)
    assert not extra and all(n.endswith("num_batches_tracked") for n in missing), (missing, extra)
    return net.double().train()


def reference(model):
    x = torch.tensor(resnet.pixel_values()).double().reshape(resnet.BATCH, 3, resnet.SIZE, resnet.SIZE)
    labels = torch.tensor([label for label, _ in resnet.records()])
    net, o, losses, gradients = make(model), resnet.SGD, [], {}
    matrices = [p for p in net.parameters() if p.dim() >= 2]
    vectors = [p for p in net.parameters() if p.dim() < 2]
    optimizer = torch.optim.SGD([{"params": matrices, "weight_decay": o["weight_decay"]}, {"params": vectors}],
                                lr=resnet.RATES[model], momentum=o["momentum"])
    for step in range(o["steps"]):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        losses.append(loss.item())
        if not step:
            gradients = {n: p.grad.flatten().tolist() for n, p in net.named_parameters()}
        optimizer.step()
    after = {n: t.flatten().tolist() for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    return {"losses": losses, "gradients": gradients, "after": after, "logits": net.eval()(x).flatten().tolist()}


def rounded(golden):
    if isinstance(golden, dict):
        return {k: rounded(v) for k, v in golden.items()}
    return [rounded(v) for v in golden] if isinstance(golden, list) else float(f"{golden:.8g}")


def compare(model, folder):
    wanted, trainer = reference(model), resnet.Trainer(colc, source, model, folder)
    gradients = trainer.gradients()
    rows, after, saved = trainer.sgd()
    worst = {"losses": max(abs(r["loss"] - l) / l for r, l in zip(rows, wanted["losses"])),
             "gradients": max(small.distance(gradients[n], v) for n, v in wanted["gradients"].items()),
             "parameters": max(small.distance(after[n][1], v) for n, v in wanted["after"].items() if not resnet.is_buffer(n)),
             "statistics": max(small.distance(after[n][1], v) for n, v in wanted["after"].items() if resnet.is_buffer(n)),
             "logits": small.distance(trainer.logits(saved), wanted["logits"])}
    assert after.keys() == wanted["after"].keys()
    print(model, {k: f"{v:.1e}" for k, v in worst.items()})
    assert worst["losses"] <= 1e-4 and worst["gradients"] <= 1e-4 and worst["statistics"] <= 1e-4, worst
    assert worst["parameters"] <= 1e-3 and worst["logits"] <= 1e-3, worst
    digests = {part: {n: small.digest(k, wanted[part][n]) for k, n in enumerate(sorted(wanted[part]))}
               for part in ("gradients", "after")}
    return rounded({"losses": wanted["losses"], **digests, "logits": small.digest(900, wanted["logits"])})


with tempfile.TemporaryDirectory() as folder:
    os.environ["XDG_CACHE_HOME"] = folder  # colc's plans
    goldens = {model: compare(model, folder) for model in resnet.MODELS}
if rest:
    assert rest[0] == "--golden", rest
    with open(rest[1], "w") as f:
        json.dump(goldens, f, indent=None, separators=(",", ":"))
        f.write("\n")
