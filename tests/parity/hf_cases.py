"""Small models of Hugging Face whose weights and inputs come from a formula: what hf.py (against goldens), hf_golden.py
(which makes them) and hf_live.py (against transformers itself) share. Python's standard library alone.
"""
import array
import math
import os
import zlib

import gpt2_small as small

TEXT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 17, "max_position_embeddings": 9}
OPT = {**TEXT, "ffn_dim": 20}
BERT = {**TEXT, "intermediate_size": 20, "type_vocab_size": 3, "hidden_act": "gelu"}
BATCH, SEQ, SIZE = 2, 7, 40


def resnet(**more):
    return {"num_labels": 5, "embedding_size": 8, "depths": [1, 2, 1, 1], **more}


# name: class of the config, class of the model, arguments of the config, further arguments of colc run
CASES = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel",
             {"vocab_size": 17, "n_positions": 9, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20,
              "layer_norm_epsilon": 1e-3}, []),
    "opt": ("OPTConfig", "OPTForCausalLM", {**OPT, "word_embed_proj_dim": 12}, ["--set", "padding=1"]),
    "opt_350m": ("OPTConfig", "OPTForCausalLM", {**OPT, "word_embed_proj_dim": 8, "do_layer_norm_before": False}, []),
    "bert_mlm": ("BertConfig", "BertForMaskedLM", BERT, []),
    "bert_classes": ("BertConfig", "BertForSequenceClassification", {**BERT, "num_labels": 4, "layer_norm_eps": 1e-5}, []),
    "vit": ("ViTConfig", "ViTForImageClassification",
            {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "image_size": SIZE,
             "patch_size": 8, "num_channels": 2, "num_labels": 6, "qkv_bias": False}, []),
    "resnet_basic": ("ResNetConfig", "ResNetForImageClassification",
                     resnet(layer_type="basic", hidden_sizes=[8, 12, 24, 28]), ["--set", f"size={SIZE}"]),
    "resnet_bottleneck": ("ResNetConfig", "ResNetForImageClassification",
                          resnet(layer_type="bottleneck", hidden_sizes=[32, 64, 96, 128]), ["--set", f"size={SIZE}"]),
}


def values(name, shape):
    """Of a parameter or buffer: in the range that its part in the model wants, of its name alone."""
    numbers = small.uniform(zlib.crc32(name.encode()) % 65536, math.prod(shape))
    is_norm = "norm" in name.lower() or "ln_" in name
    one = 1.0 if name.endswith("running_var") or (is_norm and name.endswith("weight")) else 0.0
    scale = 0.3 if len(shape) >= 2 else 0.2
    return array.array("f", (one + scale * v for v in numbers))


def whole(count, below, stream):
    return [int((v + 1) / 2 * below) for v in small.uniform(stream, count)]


def inputs(case):
    """Name: shape and values. Masks have padding at the end of the second text."""
    if case.startswith(("vit", "resnet")):
        shape = [BATCH, 2 if case == "vit" else 3, SIZE, SIZE]
        return {"pixel_values": (shape, small.uniform(9000, math.prod(shape)))}
    out = {"input_ids": ([BATCH, SEQ], whole(BATCH * SEQ, 17, 9001))}
    if case in ("opt", "bert_mlm", "bert_classes"):
        out["attention_mask"] = ([BATCH, SEQ], [1] * (2 * SEQ - 2) + [0] * 2)
    if case.startswith("bert"):
        out["token_type_ids"] = ([BATCH, SEQ], whole(BATCH * SEQ, 3, 9002))
    return out


def sizes(case):
    return ["--batch", str(BATCH), *([] if "pixel_values" in inputs(case) else ["--seq", str(SEQ)]), *CASES[case][3]]


def logits(colc, case, model, weights, folder):
    """What colc computes, as a flat list."""
    arguments = []
    for name, (shape, numbers) in inputs(case).items():
        path = os.path.join(folder, f"{name}.npy")
        small.write_npy(path, shape, numbers)
        arguments += ["--input", f"{name}={path}"]
    small.run([colc, "run", model, *sizes(case), "--weights", weights, *arguments, "--output", folder])
    return small.read_npy(os.path.join(folder, "logits.npy"))


def distance(case, have, want):
    """The largest difference, where texts are not padding."""
    assert len(have) == len(want), (case, len(have), len(want))
    mask = inputs(case).get("attention_mask", (None, [1]))[1] if len(want) > 100 else [1]
    width = len(want) // len(mask)
    return max(abs(h - w) for i, (h, w) in enumerate(zip(have, want)) if mask[i // width])
