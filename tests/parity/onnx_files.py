"""Tensors from ONNX messages and NumPy files, with the standard library alone.

A message is read as {field number: [values]}: integers for varints, bytes for everything else. Tensors are
(dims, element type, flat list of numbers); the type is ONNX's number.
"""

import ast
import os
import struct

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, BOOL, FLOAT16, DOUBLE, UINT32, UINT64 = *range(1, 8), *range(9, 14)
BFLOAT16 = 16
FORMATS = {FLOAT: "f", UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", INT32: "i", INT64: "q", BOOL: "?", FLOAT16: "e",
           DOUBLE: "d", UINT32: "I", UINT64: "Q"}
NUMPY = {"<f4": FLOAT, "|u1": UINT8, "|i1": INT8, "<u2": UINT16, "<i2": INT16, "<i4": INT32, "<i8": INT64, "|b1": BOOL,
         "<f2": FLOAT16, "<f8": DOUBLE, "<u4": UINT32, "<u8": UINT64}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def message(data):
    fields, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(kind) or varint(data, at)
            value, at = data[at:at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def numbers(values):
    """Varints, packed or one by one, as signed 64-bit numbers."""
    out = []
    for value in values:
        at = 0
        while isinstance(value, bytes) and at < len(value):
            number, at = varint(value, at)
            out.append(number)
        if isinstance(value, int):
            out.append(value)
    return [v - (1 << 64) if v >> 63 else v for v in out]


def unpack(code, data):
    return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))


def half(bits):
    return struct.unpack("<e", struct.pack("<H", bits & 0xffff))[0]


def bfloat(bits):
    return struct.unpack("<f", struct.pack("<I", (bits & 0xffff) << 16))[0]


def tensor(data):
    """(dims, type, values); values is None for a type that is not read here."""
    fields = message(data)
    dims, kind = numbers(fields.get(1, [])), fields.get(2, [0])[0]
    if 9 in fields:
        raw = fields[9][0]
        if kind == BFLOAT16:
            return dims, kind, [bfloat(b) for b in unpack("H", raw)]
        return dims, kind, unpack(FORMATS[kind], raw) if kind in FORMATS else None
    if kind == FLOAT:
        return dims, kind, unpack("f", b"".join(fields.get(4, [])))
    if kind == DOUBLE:
        return dims, kind, unpack("d", b"".join(fields.get(10, [])))
    if kind == INT64:
        return dims, kind, numbers(fields.get(7, []))
    if kind in (UINT32, UINT64):
        return dims, kind, [v & (1 << 64) - 1 for v in numbers(fields.get(11, []))]
    if kind in (INT32, UINT8, INT8, UINT16, INT16, BOOL, FLOAT16, BFLOAT16):
        convert = {FLOAT16: half, BFLOAT16: bfloat}.get(kind, int)
        return dims, kind, [convert(v) for v in numbers(fields.get(5, []))]
    return dims, kind, None


def numpy_file(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<H" if data[6] == 1 else "<I", data[8:10 if data[6] == 1 else 12])[0]
    start = 10 if data[6] == 1 else 12
    header = ast.literal_eval(data[start:start + size].decode())
    kind = NUMPY[header["descr"]]
    return list(header["shape"]), kind, unpack(FORMATS[kind], data[start + size:])


def graph_names(data):
    """Names of a model's inputs (those without an initializer) and outputs, in order."""
    graph = message(message(data)[7][0])
    initialized = {message(t).get(8, [b""])[0] for t in graph.get(5, [])}
    inputs = [message(v)[1][0] for v in graph.get(11, [])]
    outputs = [message(v)[1][0] for v in graph.get(12, [])]
    return [n.decode() for n in inputs if n not in initialized], [n.decode() for n in outputs]


def difference(got, wanted, relative, absolute):
    """What distinguishes two tensors, or None: |got - wanted| <= absolute + relative |wanted|."""
    if wanted[1] == BFLOAT16 and got[1] == UINT16:  # NumPy files have its bits
        got = got[0], BFLOAT16, [bfloat(bits) for bits in got[2]]
    if got[0] != wanted[0] or got[1] != wanted[1]:
        return f"shape {got[0]} of type {got[1]}, not {wanted[0]} of type {wanted[1]}"
    for i, (x, y) in enumerate(zip(got[2], wanted[2])):
        same = x == y or (x != x and y != y)
        if not same and not abs(x - y) <= absolute + relative * abs(y):
            return f"element {i} is {x}, not {y}"
    return None


def data(*names):
    """A path in the test data that is not part of the sources."""
    return os.path.join(os.environ.get("COL_TEST_DATA", "../shared/data"), "onnx", *names)


def file_name(output):
    """What colc calls the file of an output."""
    return output.replace("/", ".")


# Messages are made of (field number, value): bytes and texts, integers, floats.

def encode(*fields):
    out = bytearray()

    def put(number):
        number &= (1 << 64) - 1
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)

    for field, value in fields:
        if isinstance(value, float):
            put(field << 3 | 5)
            out += struct.pack("<f", value)
        elif isinstance(value, int):
            put(field << 3)
            put(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            put(field << 3 | 2)
            put(len(data))
            out += data
    return bytes(out)


def make_tensor(dims, kind, raw, name=""):
    return encode(*((1, d) for d in dims), (2, kind), (8, name), (9, raw))


def make_value(name, kind, dims):
    """A tensor's name and type; sizes are numbers or names."""
    shape = encode(*((1, encode((2, d) if isinstance(d, str) else (1, d))) for d in dims))
    return encode((1, name), (2, encode((1, encode((1, kind), (2, shape))))))


def make_node(kind, inputs, outputs, *attributes, name="", domain=""):
    return encode(*((1, i) for i in inputs), *((2, o) for o in outputs), (3, name or outputs[0]), (4, kind),
                  *((5, a) for a in attributes), (7, domain))


def make_int(name, value):
    return encode((1, name), (3, value), (20, 2))


def make_ints(name, values):
    return encode((1, name), *((8, v) for v in values), (20, 7))


def make_model(nodes, inputs, outputs, initializers=(), opset=18):
    graph = encode(*((1, n) for n in nodes), (2, "graph"), *((5, t) for t in initializers),
                   *((11, i) for i in inputs), *((12, o) for o in outputs))
    return encode((1, 8), (7, graph), (8, encode((1, ""), (2, opset))))
