"""ONNX's own tests of its operators: colc runs each model on the recorded inputs and must give the recorded
outputs, or refuse the model by what it does not support (exit status 2).

    onnx_nodes.py COLC [ARCHIVE] [--every N] [--least N] [--list]

ARCHIVE ($COL_TEST_DATA/onnx/node.tar.xz) is a .tar.xz of folders with model.onnx and
test_data_set_0/{input,output}_K.pb. Skips (77) without it.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tarfile
import tempfile

import onnx_files

RELATIVE, ABSOLUTE = 1e-3, 1e-7  # ONNX's own
REFUSAL = "this ONNX model cannot be imported:"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run(colc, folder, environment):
    """(verdict, detail) of one test."""
    inputs, outputs = onnx_files.graph_names(read(f"{folder}/model.onnx"))
    data, made = f"{folder}/test_data_set_0", f"{folder}/made"
    command = [colc, "run", f"{folder}/model.onnx", "--output", made, "--threads", "1"]
    for i, name in enumerate(inputs):
        command += ["--input", f"{name}={data}/input_{i}.pb"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode == 2 and REFUSAL in result.stderr:
        reasons = [line.strip() for line in result.stderr.splitlines()[1:]] or [result.stderr.strip()]
        return "refused", reasons[0]
    if result.returncode:
        return "failed", f"exit status {result.returncode}: {result.stderr.strip()[-300:]}"
    for i, name in enumerate(outputs):
        wanted = onnx_files.tensor(read(f"{data}/output_{i}.pb"))
        fault = onnx_files.difference(onnx_files.numpy_file(f"{made}/{onnx_files.file_name(name)}.npy"), wanted, RELATIVE, ABSOLUTE)
        if fault:
            return "failed", f"{name}: {fault}"
    return "passed", ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colc")
    parser.add_argument("archive", nargs="?", default=onnx_files.data("node.tar.xz"))
    parser.add_argument("--every", type=int, default=1, help="run every Nth test only")
    parser.add_argument("--least", type=int, default=0, help="fail when fewer pass")
    parser.add_argument("--list", action="store_true", help="print every test, not only the failed ones")
    options = parser.parse_args()
    if not os.path.exists(options.archive):
        print(f"skipped: there is no {options.archive}")
        sys.exit(77)
    counts = {"passed": 0, "refused": 0, "failed": 0}
    reasons = {}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(options.archive) as archive:
        archive.extractall(folder)
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/.cache"}
        models = sorted(os.path.dirname(os.path.join(root, name)) for root, _, names in os.walk(folder)
                        for name in names if name == "model.onnx")[::options.every]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = pool.map(lambda model: run(options.colc, model, environment), models)
            for model, (verdict, detail) in zip(models, results):
                counts[verdict] += 1
                if verdict == "failed" or options.list:
                    print(f"{verdict:8} {os.path.basename(model)} {detail}")
                if verdict == "refused":
                    reason = re.sub(r"^node '.*?' \(|'.*?'", "", detail)
                    reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  refused {count:3}: {reason}")
    print(f"{counts['passed']} passed, {counts['refused']} refused, {counts['failed']} failed")
    sys.exit(1 if counts["failed"] or counts["passed"] < options.least else 0)


if __name__ == "__main__":
    main()
