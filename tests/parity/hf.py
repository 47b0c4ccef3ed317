#!/usr/bin/env python3
"""colc import hf and colc export hf on the models of hf_cases.py, against what transformers wrote and computed: logits to
1e-4, and every tensor bit-equal after import and export. Shards, 16-bit weights, other spellings of names; and what is
refused, with nothing written.

    hf.py COLC GOLDEN FAMILY_C DOCUMENT
"""
import array
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import gpt2_small as small
import hf_cases as cases

colc, golden_path, family_path, document_path = map(os.path.abspath, sys.argv[1:])
with open(golden_path, encoding="utf-8") as golden_file:
    golden = json.load(golden_file)


def call(*arguments, status=0):
    done = subprocess.run([colc, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stderr


def numbers(name, shape):
    return array.array("q", [7]) if name.endswith("num_batches_tracked") else cases.values(name, shape)


def tensors(case):
    return {name: (shape, numbers(name, shape)) for name, shape in golden[case]["tensors"].items()}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def write_folder(folder, case, config=None, stored=None):
    os.makedirs(folder, exist_ok=True)
    write_json(f"{folder}/config.json", {**golden[case]["config"], **(config or {})})
    small.write_safetensors(f"{folder}/model.safetensors", stored or tensors(case))
    return folder


def read_stored(path):
    """Name: type, shape, bytes."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for name, e in header.items()}


def check_logits(case, model, weights, folder, tolerance=1e-4):
    apart = cases.distance(case, cases.logits(colc, case, model, weights, folder), golden[case]["logits"])
    assert apart <= tolerance, (case, weights, apart)


def check_case(case):
    folder = write_folder(f"{case}/hf", case)
    out, back, again = f"{case}/in", f"{case}/out", f"{case}/again"
    call("import", "hf", folder, "-o", out)
    assert os.path.samefile(f"{folder}/model.safetensors", f"{out}/model.safetensors")
    check_logits(case, f"{out}/model.ir", out, case)
    check_logits(case, f"{out}/model.ir", folder, case)  # weights where they are
    call("export", "hf", out, "-o", back)
    with open(f"{back}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    assert {k: v for k, v in golden[case]["config"].items() if config.get(k, v) != v} == {}, config
    want = {name: ({"f": "F32", "q": "I64"}[v.typecode], shape, v.tobytes()) for name, (shape, v) in tensors(case).items()}
    assert read_stored(f"{back}/model.safetensors") == want, case
    # Without the config.json that came along one is made.
    os.remove(f"{out}/config.json")
    call("export", "hf", f"{out}/model.ir", "--weights", folder, "-o", again)
    with open(f"{again}/config.json", encoding="utf-8") as file:
        made = json.load(file)
    harmless = ("_token_id", "initializer", "init_std", "use_cache", "transformers_version", "summary", "layer_norm_before",
                "encoder_stride", "classifier_dropout", "pooler", "out_", "stage_names")
    for key, value in golden[case]["config"].items():
        assert any(h in key for h in harmless) or made.get(key) == value, (case, key, value, made.get(key))
    call("import", "hf", again, "-o", f"{case}/twice")
    check_logits(case, f"{case}/twice/model.ir", f"{case}/twice", case)


def check_other_names():
    """transformers reads GPT-2's sizes under the names of other models, too."""
    others = {"n_positions": "max_position_embeddings", "n_embd": "hidden_size", "n_layer": "num_hidden_layers",
              "n_head": "num_attention_heads"}
    write_folder("others", "gpt2")
    write_json("others/config.json", {others.get(key, key): value for key, value in golden["gpt2"]["config"].items()})
    assert "notice" not in call("import", "hf", "others", "-o", "others_in")
    check_logits("gpt2", "others_in/model.ir", "others_in", "others")
    call("export", "hf", "others_in", "-o", "others_out")
    with open("others_out/config.json", encoding="utf-8") as file:
        config = json.load(file)
    assert all(config[key] == golden["gpt2"]["config"][key] and other not in config for key, other in others.items()), config


def check_document():
    """docs/huggingface.md has the fields of family.c, table by table."""
    with open(family_path, encoding="utf-8") as file:
        source = file.read()
    with open(document_path, encoding="utf-8") as file:
        tables = re.findall(r"^\| (\w+)(?: of any model)? \| \|\n\|[-|]+\n((?:\| `\w+` .*\n)+)", file.read(), re.M)
    assert len(tables) == 6, [name for name, _ in tables]
    for name, rows in tables:
        array_name = "col_hf_common_fields" if name == "field" else f"{name}_fields"
        body = re.search(array_name + r"\[\] = \{\n(.*?)\n\};", source, re.S)[1]
        want = re.findall(r'^    [A-Z]+\("(\w+)"', body, re.M) + (["id2label"] if name == "field" else [])
        assert re.findall(r"^\| `(\w+)`", rows, re.M) == want, (name, want)


def check_shards():
    parts = list(tensors("gpt2").items())
    os.makedirs("shards/sub")
    write_json("shards/config.json", golden["gpt2"]["config"])
    files = {"a.safetensors": parts[::2], "sub/b.safetensors": parts[1::2]}
    for name, part in files.items():
        small.write_safetensors(f"shards/{name}", dict(part))
    index = {"metadata": {"total_size": 0}, "weight_map": {t: name for name, part in files.items() for t, _ in part}}
    write_json("shards/model.safetensors.index.json", index)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        write_json(f"shards/{name}", name)
    call("import", "hf", "gpt2/hf", "-o", "sharded")  # what is there of an earlier import goes
    call("import", "hf", "shards", "-o", "sharded")
    assert sorted(os.listdir("sharded")) == ["a.safetensors", "config.json", "merges.txt", "model.ir",
                                             "model.safetensors.index.json", "sub", "tokenizer.json", "vocab.json"]
    check_logits("gpt2", "sharded/model.ir", "sharded", "shards")
    call("import", "hf", "shards", "-o", "shards")  # in place
    check_logits("gpt2", "shards/model.ir", "shards", "shards")
    return index


def half(values):
    return struct.pack(f"<{len(values)}e", *values)


def check_small_types():
    """Weights in 16 bits stay so in files, and are computed with in 32."""
    exact = {name: (shape, array.array("f", struct.unpack(f"<{len(v)}e", half(v)))) for name, (shape, v) in tensors("gpt2").items()}
    write_folder("wide", "gpt2", stored=exact)
    call("import", "hf", "wide", "-o", "wide")
    want = cases.logits(colc, "gpt2", "wide/model.ir", "wide", "wide")
    for dtype, name in (("F16", "float16"), ("BF16", "bfloat16")):
        header, body = {}, b""
        for tensor, (shape, v) in exact.items():
            data = half(v) if dtype == "F16" else b"".join(struct.pack("<f", x)[2:] for x in v)
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
            body += data
        text = json.dumps(header).encode()
        write_folder(name, "gpt2")
        with open(f"{name}/model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + body)
        call("import", "hf", name, "-o", f"{name}_in")
        call("export", "hf", f"{name}_in", "-o", f"{name}_out")
        assert read_stored(f"{name}_out/model.safetensors") == read_stored(f"{name}/model.safetensors")
        with open(f"{name}_out/config.json", encoding="utf-8") as file:
            assert json.load(file)["dtype"] == name
        have = cases.logits(colc, "gpt2", f"{name}_in/model.ir", f"{name}_in", name)
        if dtype == "F16":
            assert have == want
        else:
            assert max(abs(h - w) for h, w in zip(have, want)) < 0.1


def check_names():
    """Files of the models without their heads, of TensorFlow's time, and with tensors that hold nothing trained."""
    plain = {name.removeprefix("transformer."): v for name, v in tensors("gpt2").items()}
    plain["lm_head.weight"] = plain["wte.weight"]
    plain["h.0.attn.bias"] = ([1, 1, 2, 2], array.array("f", [0] * 4))
    plain["h.1.attn.masked_bias"] = ([], array.array("f", [0]))
    write_folder("plain", "gpt2", {"architectures": ["GPT2Model"]}, plain)
    call("import", "hf", "plain", "-o", "plain_in")
    check_logits("gpt2", "plain_in/model.ir", "plain_in", "plain")
    call("export", "hf", "plain_in", "-o", "plain_out")
    assert read_stored("plain_out/model.safetensors") == read_stored("gpt2/out/model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
           for name, v in tensors("bert_mlm").items()}
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"]
    old["bert.pooler.dense.weight"] = old["cls.predictions.transform.dense.weight"]
    old["cls.seq_relationship.bias"] = ([2], array.array("f", [1, 2]))
    old["bert.embeddings.position_ids"] = ([1, 1], array.array("q", [0]))
    write_folder("old", "bert_mlm", stored=old)
    call("import", "hf", "old", "-o", "old_in")
    check_logits("bert_mlm", "old_in/model.ir", "old_in", "old")


def refuse(folder, *reasons, command=("import", "hf")):
    error = call(*command, folder, "-o", "refused", status=2)
    for reason in reasons:
        assert reason in error, (reason, error)
    assert not os.path.exists("refused"), reasons
    assert len(error) < 20000, len(error)
    return error


def check_config_refusals():
    def config(case, reason, **fields):
        refuse(write_folder("bad", case, fields), reason)

    config("gpt2", "'activation_function' is relu: it must be gelu_new", activation_function="relu")
    config("gpt2", "'scale_attn_by_inverse_layer_idx' is true", scale_attn_by_inverse_layer_idx=True)
    config("gpt2", "'scale_attn_weights' is false", scale_attn_weights=False)
    config("gpt2", "'tie_word_embeddings' is false", tie_word_embeddings=False)
    config("gpt2", "'embd_pdrop' is 0.2", embd_pdrop=0.2)
    config("gpt2", "'n_head' is 0", n_head=0)
    config("gpt2", "5 attention heads do not divide a width of 12", n_head=5)
    config("gpt2", "'n_embd' is 12.5", n_embd=12.5)
    config("gpt2", "'vocab_size' is 9223372036854775807", vocab_size=(1 << 63) - 1)
    config("gpt2", "'n_layer' is 100000", n_layer=100000)
    config("gpt2", "'layer_norm_epsilon' is x", layer_norm_epsilon="x")
    config("gpt2", "'quantization_config' is {...}", quantization_config={"bits": 4})
    config("gpt2", "'architectures' is GPT2DoubleHeadsModel", architectures=["GPT2DoubleHeadsModel"])
    config("gpt2", "'model_type' is llama; supported are bert, gpt2, opt, resnet, vit", model_type="llama")
    config("opt", "'enable_bias' is false", enable_bias=False)
    config("opt", "'_remove_final_layer_norm' is true", _remove_final_layer_norm=True)
    config("bert_mlm", "'position_embedding_type' is relative_key", position_embedding_type="relative_key")
    config("bert_mlm", "'hidden_act' is gelu_new", hidden_act="gelu_new")
    config("bert_classes", "'problem_type' is regression", problem_type="regression")
    config("bert_classes", "'id2label' has 1 labels", id2label={"0": "x"})
    config("resnet_basic", "'hidden_sizes' is [...]: it must be a list of 4", hidden_sizes=[1, 2])
    config("resnet_basic", "'downsample_in_first_stage' is true", downsample_in_first_stage=True)
    error = refuse(write_folder("bad", "gpt2", {"n_head": -1, "activation_function": None, "n_layer": "two"}), "'n_head' is -1")
    assert "'activation_function' is null" in error and "'n_layer' is two" in error, error
    config("gpt2", "'n_head' and 'num_attention_heads' are one field, and differ", num_attention_heads=4)
    error = call("import", "hf", write_folder("odd", "gpt2", {"rope_theta": 5}), "-o", "odd_in")
    assert "'rope_theta'" in error, error

    def text(reason, data):
        with open("bad/config.json", "wb") as file:
            file.write(data)
        refuse("bad", reason)

    text("config.json:1:40: duplicate", b'{"model_type":"gpt2","n_head":1,"n_head":2}')
    text("config.json:1:", b"[" * 100000)
    text("config.json", b'{"a":' * 3000 + b"1" + b"}" * 3000)
    text("config.json:1:", b"")
    text("config.json:1:", b'{"model_type":"gpt2"} x')
    text("config.json:1:", b'{"n_embd":99999999999999999999}')
    text("config.json:1:", b'{"model_type":"\xff"}')
    text("no object", b"[1]")
    text("'model_type' is missing", b"{}")
    os.remove("bad/config.json")
    refuse("bad", "no folder with a config.json")
    refuse("nowhere", "no folder with a config.json")


def check_weight_refusals(index):
    stored = tensors("gpt2")
    some = dict(stored)
    some.pop("transformer.ln_f.bias")
    some["transformer.wpe.weight"] = ([9, 11], array.array("f", [0] * 99))
    some["transformer.extra"] = ([1], array.array("f", [0]))
    error = refuse(write_folder("bad", "gpt2", stored=some), "1 missing: 'ln_f.bias' F32[12]")
    assert "'wpe.weight' is F32[9, 11] and should be F32[9, 12]" in error and "'transformer.extra'" in error, error
    some = {**stored, "lm_head.weight": ([17, 12], array.array("f", [0] * 17 * 12))}
    refuse(write_folder("bad", "gpt2", stored=some), "that the model lacks: 'lm_head.weight'")
    write_folder("bad", "gpt2")
    with open("bad/model.safetensors", "rb") as file:
        whole = file.read()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        with open("bad/model.safetensors", "wb") as file:
            file.write(whole[:size])
        refuse("bad", "model.safetensors")
    os.rename("bad/model.safetensors", "bad/pytorch_model.bin")
    refuse("bad", "pickle", "safetensors.torch.save_file")
    os.remove("bad/pytorch_model.bin")
    refuse("bad", "neither model.safetensors nor")

    def indexed(reason, tensor, name):
        write_json("bad/model.safetensors.index.json", {"weight_map": {**index["weight_map"], tensor: name}})
        refuse("bad", reason)

    first = next(iter(index["weight_map"]))
    os.system("cp -r shards/a.safetensors shards/sub bad/")
    indexed("not a file below the folder", first, "../gpt2/hf/model.safetensors")
    indexed("not a file below the folder", first, os.path.abspath("gpt2/hf/model.safetensors"))
    indexed("not a file below the folder", first, "sub/../../gpt2/hf/model.safetensors")
    os.symlink("../gpt2/hf/model.safetensors", "bad/link.safetensors")
    indexed("links to a file outside its folder", first, "link.safetensors")
    indexed("has no tensor", "transformer.absent", "a.safetensors")
    indexed("absent.safetensors", first, "absent.safetensors")
    indexed("pickle", first, "pytorch_model.bin")
    for text in (b"", b"{", b"{}", b'{"weight_map":[]}', b'{"weight_map":{"a":1}}', b'{"weight_map":{"a":"x","a":"y"}}',
                 b'{"weight_map":' + b"[" * 5000):
        with open("bad/model.safetensors.index.json", "wb") as file:
            file.write(text)
        refuse("bad", "model.safetensors.index.json")
    os.remove("bad/model.safetensors.index.json")
    os.symlink("../gpt2/hf/model.safetensors", "bad/model.safetensors")
    refuse("bad", "links to a file outside its folder")
    os.symlink("../hf.py", f"{write_folder('astray', 'gpt2')}/merges.txt")
    with open("hf.py", "w", encoding="utf-8"):
        refuse("astray", "'astray/merges.txt' links to a file outside its folder")
    # As in the hub's cache, where a revision's files link to blobs.
    os.makedirs("hub/snapshots/abc")
    os.makedirs("hub/blobs")
    for name in ("config.json", "model.safetensors"):
        os.rename(f"{write_folder('bad2', 'gpt2')}/{name}", f"hub/blobs/{name}.hash")
        os.symlink(f"../../blobs/{name}.hash", f"hub/snapshots/abc/{name}")
    call("import", "hf", "hub/snapshots/abc", "-o", "hub_in")
    check_logits("gpt2", "hub_in/model.ir", "hub_in", "hub")


def check_export_refusals():
    export = ("export", "hf", "--weights", "gpt2/hf")
    with open("gpt2/in/model.ir", encoding="utf-8") as file:
        text = file.read()

    def model(reason, old, new):
        assert old in text
        with open("model.ir", "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        refuse("model.ir", reason, command=export)

    model("computes something else", "gelu_tanh(", "gelu(")
    model("computes something else", "batch = 4,", "batch = 4, more = 1,")
    model("is not known to have the model 'other'", "model gpt2(", "model other(")
    model("the tensors of 'gpt2/hf'", "layers = 2", "layers = 3")
    model("model.ir:", "layers = 2", "layers = ")
    refuse("absent.ir", "absent.ir", command=export)
    cifar = ("export", "hf", "--weights", "cifar", "--set", "cifar=1", "-o", "refused", "resnet_basic/in")
    stored = tensors("resnet_basic")
    stored["resnet.embedder.embedder.convolution.weight"] = ([8, 3, 3, 3], array.array("f", [0] * 8 * 27))
    write_folder("cifar", "resnet_basic", stored=stored)
    assert "resnet with cifar = 1" in call(*cifar[:6], *cifar[6:], status=2)


with tempfile.TemporaryDirectory() as temporary:
    os.environ["XDG_CACHE_HOME"] = temporary  # colc's plans
    os.chdir(temporary)
    for each in sorted(golden):
        check_case(each)
    check_document()
    check_other_names()
    made_index = check_shards()
    check_small_types()
    check_names()
    check_config_refusals()
    check_weight_refusals(made_index)
    check_export_refusals()
