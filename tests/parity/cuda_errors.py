"""What CUDA plans say on machines that cannot run them, on GPUs that fake_gpu.c makes up: no driver, too old a driver, no GPU, another
processor, too little memory, fewer GPUs than ranks. Each is one clear error with status 4, before anything is allocated. And the
processes that `colc verify` starts for several GPUs end together, and a trace has a track for each stream.

    cuda_errors.py COLC COLRUN MODULES FAKE_GPU
"""

import json
import os
import re
import subprocess
import sys
import tempfile

colc, colrun, modules, fake = map(os.path.abspath, sys.argv[1:5])
MODEL = """model m(batch = 4)
input pixel_values : f32[batch, 3, 4, 4]
input labels : i32[batch]
param w : f32[48] ~ normal(0, 1)
x = reshape(pixel_values, shape = [batch, 48])
output loss = mean(x * x * w, axes = [0, 1], keepdims = 0) + 1e-3 * mean(cast(labels, dtype = "f32"), axes = [0], keepdims = 0)
"""
GIB = 1 << 30


def gpu(driver=13000, count=1, error=0, capability=90, memory=80 * GIB):
    return f"{driver} {count} {error} {capability} {memory}"


# Of the plan, GPU, what the error must say.
ERRORS = [
    ("sm_80", gpu(driver=0), ["no NVIDIA driver", "--target cpu"]),
    ("sm_80", gpu(driver=11080, error=35), ["driver is too old", "CUDA 11.8", "update it"]),
    ("sm_80", gpu(driver=12000), ["driver is too old", "CUDA 12.0"]),
    ("sm_80", gpu(count=0, error=100), ["no NVIDIA GPU that this process may use", "CUDA_VISIBLE_DEVICES"]),
    ("sm_80", gpu(count=0), ["no NVIDIA GPU that this process may use"]),
    ("sm_80", gpu(error=999), ["cudaGetDeviceCount"]),
    ("sm_80", gpu(capability=75), ["compute capability 7.5", "8.0 is the least", "--target cpu"]),
    ("sm_90a", gpu(capability=80), ["for sm_90a", "sm_80", "--gpu sm_80"]),
    ("sm_90a", gpu(capability=100), ["for sm_90a", "sm_100", "--gpu sm_80"]),
    ("sm_90", gpu(capability=89), ["for sm_90", "sm_89"]),
    ("sm_80", gpu(memory=1000), ["needs", "256 MiB for libraries", "1000 B free", "smaller model"]),
    ("two", gpu(count=1), ["ranks 0 and 1 would share a GPU", "has 1 that colrun may use", "2 ranks", "smaller --mesh"]),
]


def run(program, *words, machine, allocated=None, folder=None, preload=fake):
    keep = {k: v for k, v in os.environ.items() if not re.match("OMPI|RANK|WORLD|SLURM|LOCAL_", k)}
    environment = {**keep, "LD_PRELOAD": preload, "FAKE_GPU": machine, "COLC_MODULES": folder or modules}
    if allocated:
        environment["FAKE_ALLOCATIONS"] = allocated
    return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)


def expect(what, got, status, parts):
    print(f"{what}: {got.stderr.strip()}")
    if got.returncode != status:
        sys.exit(f"{what}: status {got.returncode}, not {status}\n{got.stdout}{got.stderr}")
    for part in parts:
        if part not in got.stderr:
            sys.exit(f"{what}: no '{part}' in the error")


def trace(plan, folder, train):
    """Every instruction is on the track of its stream, under its name."""
    path = os.path.join(folder, "trace.json")
    got = run(colrun, "train", plan, *train, "--trace", path, machine=gpu(count=2))
    expect("a trace of two GPUs that compute nothing", got, 0, [])
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    spans = [(names[e["tid"]], e["name"]) for e in events if e["ph"] == "X"]
    print(f"{names}: {spans}")
    if set(names.values()) != {"trainer", "instructions", "communication"}:
        sys.exit(f"tracks: {names}")
    if not any("all_reduce" in name for track, name in spans if track == "communication"):
        sys.exit(f"no all-reduce on its stream's track: {spans}")
    if any(name.startswith("all") for track, name in spans if track == "instructions"):
        sys.exit(f"a collective on the computing stream's track: {spans}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, allocated = os.path.join(folder, "m.ir"), os.path.join(folder, "allocated")
        with open(model, "w", encoding="utf-8") as file:
            file.write(MODEL)
        plans = {name: os.path.join(folder, name + ".plan") for name in ("sm_80", "sm_90", "sm_90a", "two")}
        for name, plan in plans.items():
            how = ["--mesh", "2", "--plan", "ddp"] if name == "two" else ["--gpu", name]
            subprocess.run([colc, "compile", model, "--target", "cuda", *how, "-o", plan], check=True, stdout=subprocess.DEVNULL)
        train = ["--data", "synthetic", "--steps", "1", "--val-every", "0"]
        for name, machine, parts in ERRORS:
            got = run(colrun, "train", plans[name], *train, machine=machine, allocated=allocated)
            expect(f"{name} on '{machine}'", got, 4, parts)
            if os.path.exists(allocated):
                sys.exit("the error came after memory was allocated")
        got = run(colrun, "train", plans["sm_80"], *train, machine=gpu(), folder=folder)
        expect("without colc_cuda.so", got, 4, ["colc_cuda.so cannot be opened", "--target cpu"])
        trace(plans["two"], folder, train)
        got = run(colc, "verify", plans["two"], machine=gpu(count=1))
        expect("verify on too few GPUs", got, 4, ["would share a GPU"])
        for what in ([model, "--target", "cuda", "--mesh", "2", "--plan", "ddp", "--accumulate", "2"], [plans["two"]]):
            got = run(colc, "verify", *what, machine=gpu(count=2))
            expect("verify on two GPUs that compute nothing", got, 1, ["tensors are wrong"])
            if got.stderr.count("tensors are wrong") != 1 or "WRONG" not in got.stdout or "all agree" in got.stdout:
                sys.exit(f"verify's processes:\n{got.stdout}{got.stderr}")


if __name__ == "__main__":
    main()
