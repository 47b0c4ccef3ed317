"""Imported models are planned as any other: trained, split over a mesh, recomputed. `colc verify` compares gradients
with finite differences and the plan of a 2x2 mesh with the reference walk, for a convolutional net and a transformer
made here. ONNX's four classifiers, where they are, are planned for 2x2, and two of them verified.

    onnx_plans.py COLC [FOLDER]
"""

import os
import random
import struct
import subprocess
import sys
import tempfile

import onnx_files as onnx
from onnx_files import FLOAT, INT64, make_int, make_ints, make_node, make_tensor, make_value

LIGHT = {"bvlc_alexnet": False, "resnet50": True, "squeezenet": True, "vgg19": False}  # whether it is verified


def weight(name, *dims):
    count = 1
    for d in dims:
        count *= d
    values = [random.uniform(-0.5, 0.5) for _ in range(count)]
    return make_tensor(dims, FLOAT, struct.pack(f"<{count}f", *values), name)


def wholes(name, *values):
    return make_tensor([len(values)], INT64, struct.pack(f"<{len(values)}q", *values), name)


def make_text(name, value):
    return onnx.encode((1, name), (4, value), (20, 3))


def convolutional():
    """Convolution, normalisation, pooling, transposed convolution, resizing, loss."""
    nodes = [make_node("Conv", ["x", "conv.w", "conv.b"], ["c"], make_ints("pads", [1, 1, 1, 1])),
             make_node("BatchNormalization", ["c", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["n"]),
             make_node("LeakyRelu", ["n"], ["r"]),
             make_node("MaxPool", ["r"], ["p"], make_ints("kernel_shape", [2, 2]), make_ints("strides", [2, 2])),
             make_node("ConvTranspose", ["p", "up.w"], ["u"], make_ints("strides", [2, 2])),
             make_node("Resize", ["u", "", "", "sizes"], ["s"], make_text("mode", "linear")),
             make_node("GlobalAveragePool", ["s"], ["g"]),
             make_node("Flatten", ["g"], ["f"]),
             make_node("Gemm", ["f", "fc.w", "fc.b"], ["z"], make_int("transB", 1)),
             make_node("SoftmaxCrossEntropyLoss", ["z", "labels"], ["loss"])]
    weights = [weight("conv.w", 8, 4, 3, 3), weight("conv.b", 8), weight("bn.scale", 8), weight("bn.bias", 8),
               weight("bn.mean", 8), make_tensor([8], FLOAT, struct.pack("<8f", *range(1, 9)), "bn.var"),
               weight("up.w", 8, 4, 2, 2), wholes("sizes", 4, 4, 5, 7), weight("fc.w", 6, 4), weight("fc.b", 6)]
    return onnx.make_model(nodes, [make_value("x", FLOAT, [4, 4, 6, 6]), make_value("labels", INT64, [4])],
                           [make_value("loss", FLOAT, [])], weights, 19)


def transformer():
    """Embedding, normalisation, the fused attention and the composed one, scattered updates, loss."""
    nodes = [make_node("Gather", ["embed.w", "ids"], ["e"]),
             make_node("LayerNormalization", ["e", "ln.w", "ln.b"], ["n"]),
             make_node("MatMul", ["n", "qkv.w"], ["qkv"]),
             make_node("Split", ["qkv"], ["q", "k", "v"], make_int("axis", 2), make_int("num_outputs", 3)),
             make_node("Attention", ["q", "k", "v"], ["a"], make_int("q_num_heads", 2), make_int("kv_num_heads", 2),
                       make_int("is_causal", 1)),
             make_node("Attention", ["a", "k", "v"], ["c"], make_int("q_num_heads", 2), make_int("kv_num_heads", 2),
                       onnx.encode((1, "softcap"), (2, 3.0), (20, 1))),
             make_node("Add", ["e", "c"], ["r"]),
             make_node("ScatterND", ["r", "rows", "patch"], ["s"]),
             make_node("Gelu", ["s"], ["g"]),
             make_node("MatMul", ["g", "head.w"], ["z"]),
             make_node("Transpose", ["z"], ["t"], make_ints("perm", [0, 2, 1])),
             make_node("SoftmaxCrossEntropyLoss", ["t", "labels"], ["loss"])]
    weights = [weight("embed.w", 12, 8), weight("ln.w", 8), weight("ln.b", 8), weight("qkv.w", 8, 24),
               make_tensor([2, 1], INT64, struct.pack("<2q", 1, 3), "rows"), weight("patch", 2, 4, 8), weight("head.w", 8, 12)]
    return onnx.make_model(nodes, [make_value("ids", INT64, [4, 4]), make_value("labels", INT64, [4, 4])],
                           [make_value("loss", FLOAT, [])], weights, 23)


def call(*arguments):
    done = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def check_trained(name, model):
    with open(f"{name}.onnx", "wb") as file:
        file.write(model)
    call("import", "onnx", f"{name}.onnx", "-o", name)
    for options in [[], ["--mesh", "2x2"], ["--mesh", "2x2", "--checkpoint", "all"]]:
        out = call("verify", f"{name}/model.ir", *options)
        assert "all agree" in out, out
    print(f"{name}: gradients and plans agree")


def check_light(folder, name, verified):
    call("import", "onnx", f"{folder}/light_{name}.onnx", "-o", name)
    call("compile", f"{name}/model.ir", "--mesh", "2x2", "-o", f"{name}.plan")
    assert not verified or "all agree" in call("verify", f"{name}.plan")
    print(f"{name}: planned for 2x2{', agrees' if verified else ''}")


def main():
    folder = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else onnx.data())
    random.seed(7)
    sys.argv[1] = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        check_trained("convolutional", convolutional())
        check_trained("transformer", transformer())
        for name, verified in LIGHT.items():
            if os.path.exists(f"{folder}/light_{name}.onnx"):
                check_light(folder, name, verified)
            else:
                print(f"left out: there is no {folder}/light_{name}.onnx")


if __name__ == "__main__":
    main()
