"""Four image classifiers with constant weights from ONNX's test data give the outputs that were recorded with them.

    onnx_light.py COLC [FOLDER]

FOLDER ($COL_TEST_DATA/onnx) has light_NAME.onnx and light_NAME_output_0.pb. The input, as in ONNX's runner of these tests, is 0, 1/n, 2/n, ...
Skips (77) without the files.
"""

import os
import struct
import subprocess
import sys
import tempfile

import onnx_files

NAMES = ["bvlc_alexnet", "resnet50", "squeezenet", "vgg19"]
SHAPE = [1, 3, 224, 224]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    colc, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else onnx_files.data()
    if not os.path.exists(f"{folder}/light_{NAMES[0]}.onnx"):
        print(f"skipped: there is no {folder}/light_{NAMES[0]}.onnx")
        sys.exit(77)
    count = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    faults = 0
    with tempfile.TemporaryDirectory() as made:
        with open(f"{made}/input.pb", "wb") as file:
            file.write(onnx_files.make_tensor(SHAPE, onnx_files.FLOAT,
                                              struct.pack(f"<{count}f", *(i / count for i in range(count)))))
        environment = {**os.environ, "XDG_CACHE_HOME": f"{made}/.cache"}
        for name in NAMES:
            model = f"{folder}/light_{name}.onnx"
            inputs, outputs = onnx_files.graph_names(read(model))
            subprocess.run([colc, "run", model, "--input", f"{inputs[0]}={made}/input.pb", "--output", made],
                           check=True, env=environment)
            got = onnx_files.numpy_file(f"{made}/{onnx_files.file_name(outputs[0])}.npy")
            wanted = onnx_files.tensor(read(f"{folder}/light_{name}_output_0.pb"))
            fault = onnx_files.difference(got, wanted, 1e-3, 1e-7)
            print(f"{name}: {fault or 'as recorded'}")
            faults += fault is not None
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
