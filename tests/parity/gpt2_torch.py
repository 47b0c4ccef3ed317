#!/usr/bin/env python3
"""GPT-2 through colc and colrun against PyTorch and transformers, number by number. Without them: exit status 77.

usage: gpt2_torch.py COLC MODEL            the small model of gpt2_small.py
       gpt2_torch.py COLC MODEL --golden FILE   the same, then writes what gpt2.py compares with
       gpt2_torch.py COLC MODEL --124M     GPT-2 124M from random initial values; minutes, and 5 GB of memory
"""
import importlib.util
import json
import math
import os
import sys
import tempfile

import gpt2_small as small

colc, model_path, *rest = sys.argv[1:]
if any(importlib.util.find_spec(m) is None for m in ("torch", "transformers")):
    print("skipped: no Python module torch or transformers")
    sys.exit(77)
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402


def make_model(layers=small.LAYERS, heads=small.HEADS, width=small.WIDTH, vocab=small.VOCAB, context=small.CONTEXT):
    config = GPT2Config(vocab_size=vocab, n_positions=context, n_embd=width, n_layer=layers, n_head=heads, resid_pdrop=0,
                        embd_pdrop=0, attn_pdrop=0, bos_token_id=vocab - 1, eos_token_id=vocab - 1)
    return GPT2LMHeadModel(config)


def load(model, weights):
    own = dict(model.transformer.named_parameters())
    assert own.keys() == weights.keys()
    with torch.no_grad():
        for name, (shape, values) in weights.items():
            own[name].copy_(torch.tensor(values).reshape(shape))
    return model


def batch_of(ids, batch, seq):
    return (torch.tensor(part).reshape(batch, seq) for part in (ids[:-1], ids[1:]))


def loss_of(model, inputs, labels):
    return torch.nn.functional.cross_entropy(model(inputs).logits.flatten(0, 1), labels.flatten())


def rate_at(step, o):
    if step < o["warmup"]:
        return o["lr"] * (step + 1) / (o["warmup"] + 1)
    r = (step - o["warmup"]) / max(1, o["steps"] - o["warmup"])
    return o["min_lr"] + 0.5 * (1 + math.cos(math.pi * r)) * (o["lr"] - o["min_lr"])


def train(model, inputs, labels, o):
    """Losses and norms of AdamW's steps on one batch."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": o["weight_decay"]},
                                   {"params": vectors, "weight_decay": 0}], betas=(0.9, 0.999), eps=o["eps"])
    losses, norms = [], []
    for step in range(o["steps"]):
        optimizer.zero_grad()
        loss = loss_of(model, inputs, labels)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip"]).item())
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, o)
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def continuation(model, length):
    """transformers' own greedy generation, and how near the runner-up came."""
    ids = torch.tensor([[ord(c) for c in small.prompt(length)]])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=small.MADE, do_sample=False,
                         output_scores=True, return_dict_in_generate=True)
    margin = min((top[0] - top[1]).item() for top in (s[0].topk(2).values for s in out.scores))
    assert margin > 1e-3, f"the choice after {length} tokens hangs on rounding ({margin}): take another prompt"
    return "".join(chr(i) for i in out.sequences[0, length:])


def compare(what, ours, theirs, tolerance):
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    print(f"{what:32} largest relative difference {worst:.1e}")
    assert len(ours) == len(theirs) and worst <= tolerance, (what, ours, theirs)


def compare_gradients(ours, model, tolerance):
    worst = (0, "")
    for name, parameter in model.transformer.named_parameters():
        theirs = parameter.grad.flatten().double()
        apart = ((torch.tensor(ours[name]).double() - theirs).norm() / theirs.norm()).item()
        worst = max(worst, (apart, name))
    print(f"{'gradients at step 0':32} largest relative difference of a tensor {worst[0]:.1e}, of {worst[1]}")
    assert worst[0] <= tolerance, worst


def check_small(folder):
    trainer = small.Trainer(colc, model_path, folder)
    inputs, labels = batch_of(small.tokens(small.BATCH * small.CONTEXT + 1), small.BATCH, small.CONTEXT)
    model = load(make_model(), small.weights())
    loss_of(model, inputs, labels).backward()
    compare_gradients(trainer.gradients(), model, 1e-5)
    gradients = {n: p.grad.flatten().tolist() for n, p in model.transformer.named_parameters()}
    logits = model(inputs).logits.detach().flatten().tolist()
    losses, norms = train(model, inputs, labels, small.ADAMW)
    rows, _ = trainer.adamw()
    compare("losses of ten steps", [r["loss"] for r in rows], losses, 1e-5)
    compare("norms of ten gradients", [r["grad_norm"] for r in rows], norms, 1e-4)
    writer = load(make_model(vocab=small.TEXT_VOCAB, context=small.TEXT_CONTEXT), small.printable_weights())
    return {"made by": f"gpt2_torch.py with PyTorch {torch.__version__.split('+')[0]}", "losses": losses, "norms": norms,
            "gradients": {n: small.digest(k, gradients[n]) for k, n in enumerate(sorted(gradients))},
            "logits": small.digest(900, logits), "texts": {str(n): continuation(writer, n) for n in small.PROMPTS}}


def check_124m(folder):
    batch, seq, options = 4, 64, {**small.ADAMW, "lr": 3e-4, "min_lr": 3e-5}
    torch.manual_seed(0)
    model = make_model(12, 12, 768, 50257, 1024)
    ids = torch.randint(0, 50257, (batch * seq + 1,)).tolist()
    inputs, labels = batch_of(ids, batch, seq)
    from safetensors.torch import load_file, save_file
    weights, data = os.path.join(folder, "model.safetensors"), os.path.join(folder, "tokens.bin")
    before = {n: p.detach().clone() for n, p in model.transformer.named_parameters()}
    save_file(before, weights, metadata={"format": "pt"})
    small.write_llmc_tokens(data, ids)

    def run(*arguments):
        out = tempfile.mkdtemp(dir=folder)
        small.run([colc, "train", model_path, "--batch", str(batch), "--seq", str(seq), "--weights", weights, "--data", data,
                   "--val-fraction", "0", "--log-dir", out, "--quiet", *map(str, arguments)])
        with open(os.path.join(out, "metrics.jsonl")) as f:
            return [json.loads(line) for line in f]

    loss_of(model, inputs, labels).backward()
    rate, saved = 4096, os.path.join(folder, "sgd")
    run("--optimizer", "sgd", "--momentum", 0, "--clip", 0, "--weight-decay", 0, "--schedule", "constant", "--warmup", 0,
        "--lr", rate, "--min-lr", rate, "--steps", 1, "--save", saved)
    after = {}
    for parent, _, names in os.walk(saved):
        for name in names:
            if name.startswith("model") and name.endswith(".safetensors"):
                after.update(load_file(os.path.join(parent, name)))
    compare_gradients({n: ((before[n].double() - after[n].double()) / rate).flatten() for n in before}, model, 1e-4)
    o = options
    rows = run("--steps", o["steps"], "--warmup", o["warmup"], "--lr", o["lr"], "--min-lr", o["min_lr"], "--weight-decay",
               o["weight_decay"], "--clip", o["clip"], "--eps", o["eps"])
    losses, norms = train(model, inputs, labels, o)
    compare("losses of ten steps", [r["loss"] for r in rows], losses, 1e-4)
    compare("norms of ten gradients", [r["grad_norm"] for r in rows], norms, 1e-3)


with tempfile.TemporaryDirectory() as folder:
    os.environ["XDG_CACHE_HOME"] = folder  # colc's plans
    if rest == ["--124M"]:
        check_124m(folder)
    else:
        golden = check_small(folder)
        if rest and rest[0] == "--golden":
            with open(rest[1], "w") as f:
                json.dump(golden, f, indent=1)
                f.write("\n")
