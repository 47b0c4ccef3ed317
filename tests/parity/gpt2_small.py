"""A small GPT-2 whose weights come from a formula, and the files that colc reads and writes, with Python's standard
library alone: what gpt2.py (against goldens) and gpt2_torch.py (against PyTorch, which also makes the goldens) share.
"""
import array
import json
import math
import os
import struct
import subprocess

LAYERS, HEADS, WIDTH, CONTEXT = 2, 2, 32, 16
VOCAB = 97  # of the model that is trained
BATCH = 4
# The model that writes: one that knows bytes, with a context longer than two chunks of the prompt's 64 tokens.
TEXT_VOCAB, TEXT_CONTEXT = 257, 192
PROMPTS = [1, 2, 63, 64, 65, 128, 130]
MADE = 40
ADAMW = {"steps": 10, "warmup": 3, "lr": 1e-2, "min_lr": 1e-3, "weight_decay": 0.1, "clip": 1.0, "eps": 1e-8}


def uniform(stream, count):
    """Numbers in [-1, 1) by SplitMix64, a stream of their own for every `stream`; exact in fp32."""
    mask, state, out = (1 << 64) - 1, stream * 0x632BE59BD9B4E019 + 1, array.array("f")
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        out.append(((z ^ z >> 31) >> 41) / (1 << 22) - 1)
    return out


def names(layers=LAYERS, width=WIDTH, vocab=VOCAB, context=CONTEXT):
    """Hugging Face's parameters of GPT-2 and their shapes."""
    yield "wte.weight", [vocab, width]
    yield "wpe.weight", [context, width]
    for i in range(layers):
        for part, rows, columns in [("ln_1", 0, width), ("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width),
                                    ("ln_2", 0, width), ("mlp.c_fc", width, 4 * width), ("mlp.c_proj", 4 * width, width)]:
            yield f"h.{i}.{part}.weight", [rows, columns] if rows else [columns]
            yield f"h.{i}.{part}.bias", [columns]
    yield "ln_f.weight", [width]
    yield "ln_f.bias", [width]


def weights(vocab=VOCAB, context=CONTEXT):
    """Larger than GPT-2's own initial values, so that no part of the model is next to linear."""
    out = {}
    for k, (name, shape) in enumerate(names(vocab=vocab, context=context)):
        values = uniform(k, math.prod(shape))
        scale = 0.3 if len(shape) == 2 else 0.1
        one = 1.0 if ".ln_" in name and name.endswith("weight") or name == "ln_f.weight" else 0.0
        out[name] = (shape, array.array("f", (one + scale * v for v in values)))
    return out


def printable_weights():
    """Of a model that chooses printable characters (the last coordinate's bias says so to every logit) and seldom the
    same one twice (the layers say more than the table)."""
    out = {name: (shape, array.array("f", (v * (3 if name.startswith("h.") and len(shape) == 2 else 1) for v in values)))
           for name, (shape, values) in weights(TEXT_VOCAB, TEXT_CONTEXT).items()}
    table, bias = out["wte.weight"][1], out["ln_f.bias"][1]
    for v in range(TEXT_VOCAB):
        table[v * WIDTH + WIDTH - 1] = 0.5 if 32 <= v < 127 else -0.5
    bias[WIDTH - 1] = 8.0
    return out


def tokens(count, vocab=VOCAB, stream=1000):
    return [int((v + 1) / 2 * vocab) for v in uniform(stream, count)]


def prompt(length):
    return "".join(chr(33 + t) for t in tokens(length, 94, 2000))


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (shape, values) in tensors.items():
        data = values.tobytes()
        header[name] = {"dtype": {"f": "F32", "q": "I64"}[values.typecode], "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        out[name] = (entry["shape"], array.array("f", data[begin:end]))
    return out


def read_checkpoint(folder):
    """The parameters of the newest step that `--save folder` left."""
    last = os.path.join(folder, max(n for n in os.listdir(folder) if n.startswith("step")))
    out = {}
    for name in sorted(os.listdir(last)):
        if name.startswith("model") and name.endswith(".safetensors"):
            out.update(read_safetensors(os.path.join(last, name)))
    return out


def write_npy(path, shape, values):
    """Whole numbers, or an array of floats."""
    values = values if isinstance(values, array.array) else array.array("i", values)
    header = str({"descr": {"i": "<i4", "f": "<f4"}[values.typecode], "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values.tobytes())


def read_npy(path):
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x93NUMPY\x01\x00", path
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    header = data[10:begin].decode()
    assert "'<f4'" in header and "'fortran_order': False" in header, header
    return array.array("f", data[begin:])


def write_llmc_tokens(path, ids):
    with open(path, "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253) + array.array("H", ids).tobytes())


def run(command, **options):
    done = subprocess.run(command, capture_output=True, **options)
    assert done.returncode == 0, (command, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def settings(vocab=VOCAB, context=CONTEXT):
    pairs = {"layers": LAYERS, "heads": HEADS, "width": WIDTH, "vocab": vocab, "context": context}
    return [a for k, v in pairs.items() for a in ("--set", f"{k}={v}")]


class Trainer:
    """`colc train` on one batch, the same in every step: a corpus of exactly batch * seq tokens and their labels."""

    def __init__(self, colc, model, folder):
        self.colc, self.model, self.folder, self.runs = colc, model, folder, 0
        self.weights = os.path.join(folder, "model.safetensors")
        self.data = os.path.join(folder, "tokens.bin")
        write_safetensors(self.weights, weights())
        write_llmc_tokens(self.data, tokens(BATCH * CONTEXT + 1))

    def train(self, *options, batch=BATCH):
        """The steps' metrics, and the parameters after them."""
        self.runs += 1
        out = os.path.join(self.folder, f"run{self.runs}")
        run([self.colc, "train", self.model, *settings(), "--batch", str(batch), "--seq", str(CONTEXT), "--weights",
             self.weights, "--data", self.data, "--val-fraction", "0", "--save", out, "--log-dir", out, "--quiet",
             *map(str, options)])
        with open(os.path.join(out, "metrics.jsonl")) as f:
            rows = [json.loads(line) for line in f]
        return rows, read_checkpoint(out)

    def adamw(self, *options, **named):
        o = ADAMW
        return self.train("--steps", o["steps"], "--warmup", o["warmup"], "--lr", o["lr"], "--min-lr", o["min_lr"],
                          "--weight-decay", o["weight_decay"], "--clip", o["clip"], "--eps", o["eps"], *options, **named)

    def gradients(self, *options, rate=4096, **named):
        """One step of plain descent with a rate so large that p - p' is the gradient to fp32's last digits."""
        _, after = self.train("--optimizer", "sgd", "--momentum", 0, "--clip", 0, "--weight-decay", 0, "--schedule",
                              "constant", "--warmup", 0, "--lr", rate, "--min-lr", rate, "--steps", 1, *options, **named)
        before = read_safetensors(self.weights)
        return {n: [(a - b) / rate for a, b in zip(before[n][1], after[n][1])] for n in before}


def distance(a, b):
    """The norm of a - b over that of b."""
    return math.dist(a, b) / math.hypot(*b)


def digest(stream, values):
    """What a golden keeps of a tensor: its norm, its products with two random vectors, and some elements."""
    return {"norm": math.hypot(*values),
            "products": [sum(a * b for a, b in zip(values, uniform(5000 + 2 * stream + i, len(values)))) for i in range(2)],
            "elements": list(values[::max(1, len(values) // 16)])}


def check_digest(name, stream, values, golden, tolerance):
    mine, norm = digest(stream, values), golden["norm"]
    assert abs(mine["norm"] - norm) <= tolerance * norm, (name, mine["norm"], norm)
    for a, b in zip(mine["products"], golden["products"]):
        assert abs(a - b) <= tolerance * norm, (name, a, b)
    for a, b in zip(mine["elements"], golden["elements"]):
        assert abs(a - b) <= tolerance * norm, (name, a, b)
