"""colc import onnx and colc run FILE.onnx on models made here: both ways to run agree, what is refused is refused with its
reason, all at once, and damaged or hostile files give one clear error. docs/onnx.md lists the ops of ops.def.

    onnx_import.py COLC OPS_DEF DOCUMENT
"""

import os
import re
import struct
import subprocess
import sys
import tempfile

import onnx_files as onnx

colc, ops_def, document = sys.argv[1:]
FLOAT, INT64 = onnx.FLOAT, onnx.INT64


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def wholes(*values):
    return struct.pack(f"<{len(values)}q", *values)


def call(*arguments):
    done = subprocess.run([colc, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, "XDG_CACHE_HOME": os.path.abspath(".cache")})
    assert done.returncode in (0, 2), (arguments, done.returncode, done.stderr)
    return done.returncode, done.stderr


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def refuse(data, *reasons, arguments=("import", "onnx", "model.onnx", "-o", "refused")):
    write("model.onnx", data)
    status, error = call(*arguments)
    assert status == 2, (reasons, error)
    for reason in reasons:
        assert reason in error, (reason, error)
    assert not os.path.exists("refused"), reasons
    return error


def output(folder, name="y"):
    return onnx.numpy_file(f"{folder}/{name}.npy")


X23 = onnx.make_value("x", FLOAT, [2, 3])
Y = onnx.make_value("y", FLOAT, [])
WEIGHT = (1.0, -2.0, 0.5, 3.0, 0.25, -1.0)


def mlp(weight):
    nodes = [onnx.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["h"], onnx.make_int("transB", 1), name="/fc/Gemm"),
             onnx.make_node("Relu", ["h"], ["y"])]
    return onnx.make_model(nodes, [X23], [Y], [weight, onnx.make_tensor([2], FLOAT, floats(2.5, 1), "fc.bias")])


def check_both_ways():
    write("mlp.onnx", mlp(onnx.make_tensor([2, 3], FLOAT, floats(*WEIGHT), "fc.weight")))
    x = write("x.pb", onnx.make_tensor([2, 3], FLOAT, floats(1, 2, 3, -1, 0, 1)))
    assert call("run", "mlp.onnx", "--input", f"x={x}", "--output", "direct") == (0, "")
    assert call("import", "onnx", "mlp.onnx", "-o", "mlp") == (0, "")
    assert call("run", "mlp/model.ir", "--weights", "mlp", "--input", f"x={x}", "--output", "imported") == (0, "")
    assert output("direct") == ([2, 2], FLOAT, [1, 1.5, 2, 0]), output("direct")
    assert output("imported") == output("direct")
    with open("mlp/model.ir", encoding="utf-8") as file:
        text = file.read()
    assert "param fc.weight : f32[2, 3]" in text and "@ `fc/Gemm`" in text, text
    # The NumPy file of the direct run's output is as good an input as a message.
    write("back.onnx", onnx.make_model([onnx.make_node("Neg", ["h/in"], ["h/y"])], [onnx.make_value("h/in", FLOAT, [2, 2])],
                                       [onnx.make_value("h/y", FLOAT, [2, 2])]))
    assert call("run", "back.onnx", "--input", "h/in=direct/y.npy", "--output", "back")[0] == 0
    assert output("back", "h.y") == ([2, 2], FLOAT, [-1, -1.5, -2, 0])
    assert call("import", "onnx", "back.onnx", "-o", "bare") == (0, "")  # has no weights, but a file for them
    bare = call("run", "bare/model.ir", "--weights", "bare", "--input", "h/in=direct/y.npy", "--output", "back2")
    assert bare == (0, "") and output("back2", "h.y") == output("back", "h.y"), bare
    status, error = call("train", "mlp.onnx", "--data", "synthetic")
    assert status == 2 and "colc import onnx" in error, error


def check_open_sizes():
    model = onnx.make_model([onnx.make_node("Relu", ["x"], ["y"])], [onnx.make_value("x", FLOAT, ["n", 3])], [Y])
    refuse(model, "input 'x'", "'n'", "--size n=N")
    assert call("import", "onnx", "model.onnx", "-o", "sized", "--size", "n=5") == (0, "")
    with open("sized/model.ir", encoding="utf-8") as file:
        assert "input x : f32[5, 3]" in file.read()
    assert call("run", "model.onnx", "--input", "x=x.pb", "--output", "open") == (0, "")
    assert output("open") == ([2, 3], FLOAT, [1, 2, 3, 0, 0, 1])


def check_known_values():
    """A shape that is an input: needed to import, and taken from what the run is given."""
    model = onnx.make_model([onnx.make_node("Reshape", ["x", "shape"], ["y"])],
                            [X23, onnx.make_value("shape", INT64, [2])], [Y])
    refuse(model, "node 'y' (Reshape)", "the shape", "--input NAME=FILE")
    write("shape.pb", onnx.make_tensor([2], INT64, wholes(3, -1)))
    assert call("run", "model.onnx", "--input", "x=x.pb", "shape=shape.pb", "--output", "shaped") == (0, "")
    assert output("shaped") == ([3, 2], FLOAT, [1, 2, 3, -1, 0, 1])
    status, error = call("run", "model.onnx", "--input", "x=x.pb", "shape=shape.pb", "other=x.pb")
    assert status == 2 and "other" in error, error


def check_overflow():
    """Whole numbers of constants keep the lower bits, as those of a run do."""
    nodes = [onnx.make_node("Mul", ["w", "w"], ["square"]), onnx.make_node("Add", ["x", "square"], ["y"])]
    weight = onnx.make_tensor([1], INT64, wholes((1 << 40) + 1), "w")
    values = [onnx.make_value(name, INT64, [1]) for name in ("x", "y")]
    write("overflow.onnx", onnx.make_model(nodes, values[:1], values[1:], [weight]))
    write("zero.pb", onnx.make_tensor([1], INT64, wholes(0)))
    assert call("run", "overflow.onnx", "--input", "x=zero.pb", "--output", "overflow") == (0, "")
    assert output("overflow") == ([1], INT64, [(1 << 41) + 1]), output("overflow")


def check_refusals():
    nodes = [onnx.make_node("Relu", ["x"], ["a"]), onnx.make_node("Loop", ["a"], ["b"]), onnx.make_node("Loop", ["b"], ["c"]),
             onnx.make_node("Fancy", ["c"], ["d"], domain="com.example"), onnx.make_node("Gelu", ["d"], ["y"])]
    refuse(onnx.make_model(nodes, [X23], [Y]), "op Loop is not supported (2 nodes)", "op com.example::Fancy",
           "op Gelu of opset 18 (known from 20 to 23)")
    refuse(onnx.make_model(nodes[:1], [X23], [onnx.make_value("a", FLOAT, [])], opset=99), "opset 99")
    relu = onnx.make_node("Relu", ["x"], ["y"])
    nodes = [onnx.make_node("Relu", ["nowhere"], ["a"]), onnx.make_node("MatMul", ["x", "x"], ["b"]),
             onnx.make_node("Add", ["a", "b"], ["c"]), relu]
    error = refuse(onnx.make_model(nodes, [X23], [Y]), "node 'a' (Relu): it reads 'nowhere'", "node 'b' (MatMul)")
    assert "node 'c'" not in error, error  # what follows from a fault is not reported
    cycle = [onnx.make_node("Add", ["x", "b"], ["a"]), onnx.make_node("Relu", ["a"], ["b"])]
    refuse(onnx.make_model(cycle, [X23], [onnx.make_value("b", FLOAT, [])]), "cyclic")
    refuse(onnx.make_model([relu, relu], [X23], [Y]), "'y' is made twice")
    refuse(onnx.make_model([relu], [X23], [onnx.make_value("z", FLOAT, [])]), "nothing makes the output 'z'")
    refuse(onnx.make_model([relu], [onnx.make_value("x", FLOAT, [1 << 40, 1 << 40])], [Y]), "absurdly large")
    refuse(onnx.make_model([relu], [onnx.make_value("x", FLOAT, [-3])], [Y]), "negative")
    refuse(onnx.make_model([relu], [onnx.make_value("x", 8, [3])], [Y]), "type string")
    refuse(onnx.make_model([relu], [onnx.make_value("x", FLOAT, [0, 3])], [Y]), "has no elements")
    refuse(onnx.make_model([relu], [onnx.make_value("x\n", FLOAT, [3])], [Y]), "a name that cannot be kept")
    refuse(mlp(onnx.make_tensor([2, 3], FLOAT, floats(*WEIGHT[:5]), "fc.weight")), "initializer 'fc.weight'")
    odd = onnx.make_node("Relu", ["x"], ["y"], onnx.make_int("slope", 2))
    refuse(onnx.make_model([odd], [X23], [Y]), "node 'y' (Relu): its attribute 'slope' is not supported")
    odd = onnx.make_node("Softmax", ["x"], ["y"], onnx.make_ints("axis", [0]))
    refuse(onnx.make_model([odd], [X23], [Y]), "its attribute 'axis' has another type than this op takes")
    refuse(onnx.make_model([onnx.make_node("Relu", ["x", "x"], ["y"])], [X23], [Y]), "its operand 2 is not supported")
    huge = onnx.make_node("ConstantOfShape", ["s"], ["y"])
    refuse(onnx.make_model([huge], [], [Y], [onnx.make_tensor([2], INT64, wholes(1 << 62, 4), "s")]), "absurdly large")


def check_empty():
    """Nothing is joined with something, summed, and is a result; what needs a plan has elements."""
    nodes = [onnx.make_node("Slice", ["x", "zero", "zero"], ["none"]),
             onnx.make_node("Concat", ["none", "x", "none"], ["y"], onnx.make_int("axis", 0)),
             onnx.make_node("ReduceSum", ["none"], ["sum"], onnx.make_int("keepdims", 0))]
    outputs = [onnx.make_value(name, FLOAT, []) for name in ("none", "y", "sum")]
    write("empty.onnx", onnx.make_model(nodes, [X23], outputs, [onnx.make_tensor([1], INT64, wholes(0), "zero")]))
    assert call("run", "empty.onnx", "--input", "x=x.pb", "--output", "empty") == (0, "")
    assert output("empty", "none") == ([0, 3], FLOAT, [])
    assert output("empty", "y") == ([2, 3], FLOAT, [1, 2, 3, -1, 0, 1])
    assert output("empty", "sum") == ([], FLOAT, [0])
    write("none.onnx", onnx.make_model(nodes[:1], [X23], outputs[:1], [onnx.make_tensor([1], INT64, wholes(0), "zero")]))
    assert call("run", "none.onnx", "--input", "x=x.pb", "--output", "nothing") == (0, "")
    assert output("nothing", "none") == ([0, 3], FLOAT, [])


def check_statistics():
    """Running statistics are state, not parameters."""
    node = onnx.make_node("BatchNormalization", ["x", "scale", "bias", "mean", "variance"], ["y"])
    weights = [onnx.make_tensor([3], FLOAT, floats(1, 2, 3), name) for name in ("scale", "bias", "mean", "variance")]
    write("model.onnx", onnx.make_model([node], [X23], [Y], weights))
    assert call("import", "onnx", "model.onnx", "-o", "normal") == (0, "")
    with open("normal/model.ir", encoding="utf-8") as file:
        text = file.read()
    assert "state mean : f32[3]" in text and "state variance : f32[3]" in text and "param scale : f32[3]" in text, text
    assert call("run", "normal/model.ir", "--weights", "normal", "--input", "x=x.pb", "--output", "normal") == (0, "")
    wanted = [(x - m) / (m + 1e-5) ** 0.5 * m + m for x, m in zip((1, 2, 3, -1, 0, 1), (1, 2, 3, 1, 2, 3))]
    fault = onnx.difference(output("normal"), ([2, 3], FLOAT, wanted), 1e-5, 1e-6)
    assert fault is None, fault


def check_damage():
    whole = mlp(onnx.make_tensor([2, 3], FLOAT, floats(*WEIGHT), "fc.weight"))
    for size in range(0, len(whole), 7):
        refuse(whole[:size])
    refuse(bytes(1000), "no ONNX model")
    # Subgraphs are not read, so they cannot nest too deep.
    nested = b""
    for _ in range(3000):
        nested = onnx.encode((1, onnx.encode((4, "If"), (5, onnx.encode((6, nested))))))
    node = onnx.make_node("If", ["x"], ["y"], onnx.encode((1, "then_branch"), (6, nested)))
    refuse(onnx.make_model([node], [X23], [Y]), "op If is not supported")
    # A graph that is given again and again is merged each time: that may not take any amount of memory.
    refuse(onnx.encode(*((7, onnx.encode((1, onnx.encode((4, "Relu"))))) for _ in range(200000))), "no ONNX model")


def external(location, offset=4, dims=(2, 3), name="fc.weight"):
    entries = [("location", location), ("offset", str(offset)), ("length", "24")]
    return onnx.encode(*((1, d) for d in dims), (2, FLOAT), (8, name), (14, 1),
                       *((13, onnx.encode((1, k), (2, v))) for k, v in entries))


def check_external_data():
    data = bytes(4) + floats(*WEIGHT)
    write("outside.bin", data)
    os.mkdir("model")
    write("model/weights.bin", data)
    os.symlink("../outside.bin", "model/link.bin")
    write("model/model.onnx", mlp(external("weights.bin")))
    assert call("run", "model/model.onnx", "--input", "x=x.pb", "--output", "external") == (0, "")
    assert output("external") == output("direct")
    way = ("import", "onnx", "model/model.onnx", "-o", "refused")
    for location, reason in [("../outside.bin", "outside the model's folder"), ("link.bin", "outside the model's folder"),
                             (os.path.abspath("model/weights.bin"), "outside the model's folder"),
                             ("absent.bin", "not in the model's folder"), (".", "")]:
        write("model/model.onnx", mlp(external(location)))
        refuse(b"", "fc.weight", reason, arguments=way)
    for tensor in (external("weights.bin", 8), external("weights.bin", 1 << 62), external("weights.bin", 4, (2, 4))):
        write("model/model.onnx", mlp(tensor))
        refuse(b"", "fc.weight", arguments=way)
    both = [external("weights.bin"), external("weights.bin", 0, name="other")]
    write("model/model.onnx", onnx.make_model([onnx.make_node("Add", ["fc.weight", "other"], ["y"])], [], [Y], both))
    refuse(b"", "'fc.weight'", "'other'", "overlap", arguments=way)


def check_document():
    with open(ops_def, encoding="utf-8") as file:
        rows = re.findall(r"^ONNX\((\w+), (\d+), (\d+),", file.read(), re.M)
    with open(document, encoding="utf-8") as file:
        listed = re.findall(r"^\| (\w+) \| (\d+)–(\d+) \|", file.read(), re.M)
    assert sorted(rows) == sorted(listed), set(rows) ^ set(listed)


def main():
    check_document()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_both_ways()
        check_open_sizes()
        check_known_values()
        check_overflow()
        check_refusals()
        check_empty()
        check_statistics()
        check_damage()
        check_external_data()


colc, ops_def, document = map(os.path.abspath, (colc, ops_def, document))
main()
