#!/usr/bin/env python3
"""Writes hf_models.inc: logits, loss and gradients of small models by Hugging Face's transformers, in fp64.

    python3 -P tests/parity/hf_models.py > tests/parity/hf_models.inc

Run by hand (it needs torch and transformers, and -P, for torch imports a module "cuda"); its output is committed, so the
test needs neither. Parameters are no random numbers but 0.3 sin(0.7 i + s), s the sum of the bytes of the name modulo 101,
which the test computes for itself, and so are pixels; so a parameter under another name, or stored the other way round,
changes every number.
Names are those of saved files. There is no pad_token_id: with one, lookups of that token give no gradient, which
matters only where such a token counts.
"""
import math
import re
import torch
import torch.nn.functional as F
import transformers as hf

VOCAB, CONTEXT, CLASSES, BATCH, SEQ = 11, 8, 3, 2, 5
SIZES = {"layers": 2, "heads": 3, "width": 12}
TEXT = {**SIZES, "vocab": VOCAB, "context": CONTEXT}
HF_SIZES = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 12}
HF_TEXT = {**HF_SIZES, "vocab_size": VOCAB, "max_position_embeddings": CONTEXT}
# The names that transformers 5 gives to parts of ViT in memory, and those in its files.
RENAMED = [(r"^transformer\.", ""), (r"^vit\.layers\.", "vit.encoder.layer."), (r"attention\.q_proj", "attention.attention.query"),
           (r"attention\.k_proj", "attention.attention.key"), (r"attention\.v_proj", "attention.attention.value"),
           (r"attention\.o_proj", "attention.output.dense"), (r"mlp\.fc1", "intermediate.dense"), (r"mlp\.fc2", "output.dense")]


def inputs():
    count = range(BATCH * SEQ)
    return {"input_ids": [(3 * i + 1) % VOCAB for i in count],
            "attention_mask": [int(i % SEQ == 0 or (5 * i + 2) % 7 > 1) for i in count],
            "token_type_ids": [i // 3 % 2 for i in count]}


def wave(name, count):
    s = sum(name.encode()) % 101
    return [0.3 * math.sin(0.7 * i + s) for i in range(count)]


def numbers(values):
    return ", ".join(repr(float(v)) for v in values)


def case(index, path, settings, model, names, classes, seq=SEQ, label_count=BATCH * SEQ, smoothing=0.0):
    model = model.double().eval()
    parameters = {}
    for name, p in model.named_parameters():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        parameters[name] = p
        p.data = torch.tensor(wave(name, p.numel())).reshape(p.shape)
    if names == ["pixel_values"]:
        size = settings["size"]
        fed = {"pixel_values": torch.tensor(wave("pixel_values", BATCH * 3 * size * size)).reshape(BATCH, 3, size, size)}
    else:
        fed = {name: torch.tensor(inputs()[name]).reshape(BATCH, SEQ) for name in names}
    labels = torch.tensor([-100 if i % 4 == 3 else (5 * i + 2) % classes for i in range(label_count)])
    logits = model(**fed).logits
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels, ignore_index=-100, label_smoothing=smoothing)
    loss.backward()
    print(f"static const double logits_{index}[] = {{{numbers(logits.detach().flatten())}}};")
    print(f"static const expected_gradient gradients_{index}[] = {{")
    for name, p in parameters.items():
        g = p.grad.flatten()
        waves = torch.tensor([math.cos(i) for i in range(g.numel())])
        print(f'    {{"{name}", {numbers([g.sum(), (g * waves).sum()])}}},')
    print("};")
    listed = ", ".join(f'{{"{k}", "{v}"}}' for k, v in settings.items())
    return (f'{{"{path}", {{{listed}}}, {len(settings)}, {seq}, {classes}, {loss.item()!r}, COL_COUNT(logits_{index}), '
            f"logits_{index}, COL_COUNT(gradients_{index}), gradients_{index}}},")


def opt(**changes):
    config = {**HF_TEXT, "ffn_dim": 20, "word_embed_proj_dim": 12, "pad_token_id": None, "attn_implementation": "sdpa", **changes}
    return hf.OPTForCausalLM(hf.OPTConfig(**config))


def bert(kind, **changes):
    return kind(hf.BertConfig(**HF_TEXT, intermediate_size=20, pad_token_id=None, attn_implementation="sdpa", **changes))


def main():
    torch.set_default_dtype(torch.float64)
    hf.logging.set_verbosity_error()
    print("/* Made by hf_models.py with Hugging Face's transformers; not to be edited. */\n/* clang-format off */")
    print(f"enum {{ BATCH = {BATCH}, VOCAB = {VOCAB} }};")
    gpt2 = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=VOCAB, n_positions=CONTEXT, n_embd=12, n_layer=2, n_head=3,
                                            attn_implementation="sdpa"))
    vit = hf.ViTForImageClassification(hf.ViTConfig(**HF_SIZES, intermediate_size=20, image_size=8, patch_size=4,
                                                    num_labels=CLASSES, attn_implementation="sdpa"))
    text = {**TEXT, "ffn": 20}
    masked = ["input_ids", "attention_mask", "token_type_ids"]
    rows = [
        case(0, "models/gpt2.ir", TEXT, gpt2, ["input_ids"], VOCAB),
        case(1, "models/opt.ir", text, opt(), ["input_ids"], VOCAB),
        case(2, "models/opt.ir", {**text, "padding": 1}, opt(), ["input_ids", "attention_mask"], VOCAB),
        case(3, "models/opt.ir", {**text, "pre_norm": 0, "embed": 7}, opt(do_layer_norm_before=False, word_embed_proj_dim=7),
             ["input_ids"], VOCAB),
        case(4, "models/bert.ir", text, bert(hf.BertForMaskedLM), masked, VOCAB),
        case(5, "models/bert.ir", {**text, "padding": 0}, bert(hf.BertForMaskedLM), ["input_ids"], VOCAB),
        case(6, "models/bert.ir", {**text, "classes": CLASSES}, bert(hf.BertForSequenceClassification, num_labels=CLASSES),
             masked, CLASSES, label_count=BATCH),
        case(7, "models/vit.ir", {**SIZES, "ffn": 20, "size": 8, "patch": 4, "classes": CLASSES, "smoothing": 0.1}, vit,
             ["pixel_values"], CLASSES, 0, BATCH, 0.1),
    ]
    print("static const expected_model models[] = {")
    for row in rows:
        print("   ", row)
    print("};")


main()
