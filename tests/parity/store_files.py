#!/usr/bin/env python3
"""Our safetensors, .npy and TensorBoard files against the libraries of those formats.

usage: store_files.py PROGRAM, where PROGRAM is store_files (store_files.c). Each part is skipped when its module
is absent; exit status 77 when all are.
"""
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile

program = sys.argv[1]


def has(*modules):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        print("skipped: no Python module", ", ".join(missing))
    return not missing


def ours(*args, fails_with=None):
    done = subprocess.run([program, *args], capture_output=True, text=True)
    if fails_with is None:
        assert done.returncode == 0, (args, done.stderr)
    else:
        assert done.returncode == 2 and fails_with in done.stderr, (args, fails_with, done.returncode, done.stderr)


def arrays():
    import numpy as np

    random = np.random.default_rng(1)
    types = ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"]
    shapes = [(), (1,), (7,), (3, 5), (2, 0, 4), (2, 3, 4, 5)]
    for t in types:
        for shape in shapes:
            bits = random.integers(0, 2, (*shape, np.dtype(t).itemsize), dtype=np.uint8) if t == "|b1" else \
                random.integers(0, 256, (*shape, np.dtype(t).itemsize), dtype=np.uint8)
            name = f"{t[1:]}.{'x'.join(map(str, shape))}"
            yield name, np.ascontiguousarray(bits).view(t).reshape(shape)


def same(a, b):
    """Equal bit for bit (NaN too), type and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_safetensors(folder):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    tensors = dict(arrays())
    theirs, copy = os.path.join(folder, "theirs.safetensors"), os.path.join(folder, "copy.safetensors")
    save_file(tensors, theirs, metadata={"note": "grüße"})
    ours("safetensors", theirs, copy)
    back = load_file(copy)
    assert back.keys() == tensors.keys()
    assert all(same(back[k], tensors[k]) for k in tensors)
    with safe_open(copy, framework="np") as f:
        assert f.metadata()["format"] == "pt" and len(f.metadata()) == len(tensors) + 2

    shards = os.path.join(folder, "shards")
    os.mkdir(shards)
    ours("shards", theirs, shards, "1000")
    with open(os.path.join(shards, "model.safetensors.index.json")) as f:
        index = json.load(f)
    assert index["weight_map"].keys() == tensors.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values())
    found = {k: t for name in set(index["weight_map"].values())
             for k, t in load_file(os.path.join(shards, name)).items() if index["weight_map"][k] == name}
    assert all(same(found[k], tensors[k]) for k in tensors)
    ours("safetensors", shards, copy)
    assert all(same(t, tensors[k]) for k, t in load_file(copy).items())


def check_same_refusals(folder):
    """Whatever byte of a small file is replaced: what their reader refuses, ours does, and the reverse but for
    headers where ours is stricter by choice (padding, unknown keys)."""
    import numpy as np
    from safetensors import deserialize
    from safetensors.numpy import save

    whole = save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.int8)})
    path, copy = os.path.join(folder, "bad.safetensors"), os.path.join(folder, "out.safetensors")
    length = 8 + int.from_bytes(whole[:8], "little")
    accepted = 0
    for at in range(length):
        for value in (whole[at] ^ 1, whole[at] ^ 0x20, ord("9"), ord(" "), ord("\""), 0):
            bad = whole[:at] + bytes([value]) + whole[at + 1:]
            try:
                theirs = deserialize(bad)
            except Exception:
                theirs = None
            with open(path, "wb") as f:
                f.write(bad)
            done = subprocess.run([program, "safetensors", path, copy], capture_output=True)
            assert done.returncode in (0, 2), (at, value, done)
            if theirs is None:
                assert done.returncode == 2, (at, value, bad)
            accepted += done.returncode == 0
    assert accepted > 0


def check_npy(folder):
    import numpy as np

    theirs, copy = os.path.join(folder, "theirs.npy"), os.path.join(folder, "copy.npy")
    for _, array in arrays():
        for version in ((1, 0), (2, 0)):
            with open(theirs, "wb") as f:
                np.lib.format.write_array(f, array, version=version)
            ours("npy", theirs, copy)
            assert same(np.load(copy), array)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=(1, 0))
        with open(copy, "rb") as f:
            assert f.read() == buffer.getvalue()  # byte for byte what NumPy writes
    square = np.arange(4.0).reshape(2, 2)
    for array, words in [(np.asfortranarray(square), "Fortran order"), (square.astype(">f8"), "big-endian"),
                         (np.array([None]), "Python objects"), (np.array(["abc"]), "type '<U3'"),
                         (np.zeros(2, "<f4,<i4"), "structured"), (np.zeros(2, "<c16"), "type '<c16'")]:
        np.save(theirs, array)
        ours("npy", theirs, copy, fails_with=words)


def check_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = os.path.join(folder, "log")
    ours("events", log)
    events = EventAccumulator(log, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    if "train/loss" in tags["scalars"]:
        rows = [(e.step, e.value) for e in events.Scalars("train/loss")]
    else:
        rows = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors("train/loss")]
    assert [step for step, _ in rows] == list(range(1, 131)), rows
    for step, value in rows:  # steps 81..100 of the first run were dropped by the resumed one
        want = (10.0 if step <= 80 else 20.0) / step
        assert abs(value - want) <= 1e-7 * want, (step, value, want)


def main():
    parts = [(check_safetensors, ("numpy", "safetensors")), (check_same_refusals, ("numpy", "safetensors")),
             (check_npy, ("numpy",)), (check_events, ("tensorboard",))]
    ran = 0
    for part, modules in parts:
        if not has(*modules):
            continue
        with tempfile.TemporaryDirectory() as folder:
            part(folder)
        print("passed:", part.__name__)
        ran += 1
    sys.exit(0 if ran else 77)


main()
