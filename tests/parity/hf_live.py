#!/usr/bin/env python3
"""colc import hf and export hf against transformers itself: random small models, saved by it, give its logits to 1e-4;
exported, they load without a word about tensors, bit-equal, and give bit-equal logits. Also shards and 16-bit weights as
transformers saves them, a tokenizer, and training between import and export. Skips where transformers is not installed.

    hf_live.py COLC
"""
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
import hf_cases as cases

colc = os.path.abspath(sys.argv[1])
transformers.logging.set_verbosity_error()


def call(*arguments):
    done = subprocess.run([colc, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)


def random_model(case):
    config_class, model_class, arguments, _ = cases.CASES[case]
    torch.manual_seed(len(case))
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**arguments))
    for parameter in model.parameters():  # initial values are small, and biases zero: nothing would show
        parameter.data += (0.2 if parameter.dim() == 1 else 0.05) * torch.randn_like(parameter)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer += 0.2 * torch.rand_like(buffer)
    return model.eval()


def logits(model, case):
    given = {name: torch.tensor(numbers).reshape(shape) for name, (shape, numbers) in cases.inputs(case).items()}
    with torch.no_grad():
        return model(**given).logits


def load(case, folder):
    model, report = getattr(transformers, cases.CASES[case][1]).from_pretrained(folder, output_loading_info=True)
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")), report
    return model.eval()


def check_equal(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


def check_case(case, **saving):
    model = random_model(case)
    folder, out, back = f"{case}/hf", f"{case}/in", f"{case}/out"
    model.save_pretrained(folder, **saving)
    call("import", "hf", folder, "-o", out)
    want = logits(model, case)
    for weights in (out, folder):
        apart = cases.distance(case, cases.logits(colc, case, f"{out}/model.ir", weights, case), want.flatten().tolist())
        assert apart <= 1e-4, (case, apart)
    call("export", "hf", out, "-o", back)
    loaded = load(case, back)
    check_equal(model, loaded)
    assert torch.equal(logits(loaded, case), want), case
    os.remove(f"{out}/config.json")  # then one is made
    call("export", "hf", f"{out}/model.ir", "--weights", folder, "-o", f"{case}/made")
    check_equal(model, load(case, f"{case}/made"))
    assert torch.equal(logits(load(case, f"{case}/made"), case), want), case


def check_small_types():
    for dtype in (torch.float16, torch.bfloat16):
        model = random_model("opt_350m").to(dtype)
        folder = f"small_{dtype}".replace("torch.", "")
        model.save_pretrained(folder)
        call("import", "hf", folder, "-o", f"{folder}_in")
        call("export", "hf", f"{folder}_in", "-o", f"{folder}_out")
        check_equal(model, load("opt_350m", f"{folder}_out"))
        have = cases.logits(colc, "opt_350m", f"{folder}_in/model.ir", f"{folder}_in", folder)
        assert cases.distance("opt_350m", have, logits(model.float(), "opt_350m").flatten().tolist()) <= 1e-4


def check_training():
    """What was trained here loads there, and computes the same."""
    model = random_model("gpt2")
    model.save_pretrained("start")
    call("import", "hf", "start", "-o", "start_in")
    call("train", "start_in/model.ir", *cases.sizes("gpt2"), "--data", "synthetic", "--steps", "3", "--save", "trained")
    call("export", "hf", "start_in", "--weights", "trained", "-o", "trained_out")
    want = logits(load("gpt2", "trained_out"), "gpt2").flatten().tolist()
    assert cases.distance("gpt2", cases.logits(colc, "gpt2", "start_in/model.ir", "trained", "."), want) <= 1e-4


with tempfile.TemporaryDirectory() as temporary:
    os.environ["XDG_CACHE_HOME"] = temporary  # colc's plans
    os.chdir(temporary)
    for each in sorted(cases.CASES):
        check_case(each, **({"max_shard_size": "4KB"} if each in ("gpt2", "bert_mlm") else {}))
    assert os.path.exists("gpt2/hf/model.safetensors.index.json")
    check_small_types()
    check_training()
