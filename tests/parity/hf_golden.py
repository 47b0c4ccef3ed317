#!/usr/bin/env python3
"""Writes hf_golden.json: what transformers writes into config.json for the models of hf_cases.py, the shapes of their
tensors, and their logits in fp64.

    python3 tests/parity/hf_golden.py > tests/parity/hf_golden.json

Run by hand (it needs torch and transformers); its output is committed, so the test needs neither.
"""
import json
import sys
import tempfile

import safetensors.torch
import torch
import transformers

import hf_cases as cases


def build(case, folder):
    """Saved once for the names and shapes that files have, filled there, and loaded from there."""
    config_class, model_class, arguments, _ = cases.CASES[case]
    getattr(transformers, model_class)(getattr(transformers, config_class)(**arguments)).save_pretrained(folder)
    path = f"{folder}/model.safetensors"
    state = safetensors.torch.load_file(path)
    for name, tensor in state.items():
        if tensor.dtype == torch.float32:
            state[name] = torch.tensor(cases.values(name, tensor.shape)).reshape(tensor.shape)
    safetensors.torch.save_file(state, path, {"format": "pt"})
    return getattr(transformers, model_class).from_pretrained(folder).eval(), {name: list(t.shape) for name, t in state.items()}


def tensors(case):
    return {name: torch.tensor(numbers).reshape(shape) for name, (shape, numbers) in cases.inputs(case).items()}


def logits(model, case):
    with torch.no_grad():
        given = {k: v.to(next(model.parameters()).dtype) if v.is_floating_point() else v for k, v in tensors(case).items()}
        return model(**given).logits.flatten().tolist()


def golden(case):
    with tempfile.TemporaryDirectory() as folder:
        model, shapes = build(case, folder)
        with open(f"{folder}/config.json", encoding="utf-8") as file:
            config = json.load(file)
    return {"config": config, "tensors": shapes, "logits": [float(f"{v:.9g}") for v in logits(model.double(), case)]}


if __name__ == "__main__":
    json.dump({case: golden(case) for case in cases.CASES}, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()
