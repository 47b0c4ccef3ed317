"""Random small models through `colc verify`: every op of the language in random company, so that fusion, code
generation, memory planning and differentiation meet shapes and neighbours that nobody thought of.

    random_models.py COLC [COUNT [FIRST_SEED]]

A model is a function of its seed. On a failure the model is printed with the command that shows it.
"""

import os
import random
import subprocess
import sys
import tempfile

SMALL = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 65)
LARGE = (1, 2, 3, 16, 65, 128, 300, 515, 1024)


def shape_text(shape):
    return "[" + ", ".join(map(str, shape)) + "]"


def numel(shape):
    n = 1
    for d in shape:
        n *= d
    return n


class Model:
    """Statements and the float tensors that they have made, kept small in size and in value."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        # One in eight is large enough for work to be shared and for tiles to have rests.
        self.sizes, self.most = (LARGE, 400000) if seed % 8 == 0 else (SMALL, 20000)
        self.lines = []
        self.values = []  # (name, shape)
        self.count = 0
        self.parameters = 0
        self.integers = []

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def add(self, text, shape):
        name = self.name()
        self.lines.append(f"{name} = {text}")
        self.values.append((name, tuple(shape)))
        return name

    def pick(self, want=lambda shape: True):
        found = [v for v in self.values if want(v[1])]
        # The later the likelier, so that models grow deep as well as wide.
        return found[min(int(len(found) * self.rng.random() ** 0.5), len(found) - 1)] if found else None

    def parameter(self, shape):
        self.parameters += 1
        name = f"p{self.parameters}"
        init = self.rng.choice(["normal(0, 0.5)", "uniform(-0.5, 0.5)", "constant(0.3)", "ones", "zeros"])
        self.lines.insert(0, f"param {name} : f32{shape_text(shape)} ~ {init}")
        self.values.append((name, tuple(shape)))
        return name

    def input(self, shape):
        self.count += 1
        name = f"x{self.count}"
        self.lines.insert(0, f"input {name} : f32{shape_text(shape)}")
        self.values.append((name, tuple(shape)))

    def ids(self, shape, rows):
        self.count += 1
        name = f"ids{self.count}"
        self.lines.insert(0, f"input {name} : i32{shape_text(shape)}")
        return name

    # One function per kind of step; each adds values, or does nothing where no operand fits.

    def unary(self):
        x, shape = self.pick()
        text = self.rng.choice([
            "-{x}", "abs({x})", "exp(0.3 * tanh({x}))", "log(abs({x}) + 1.5)", "sqrt(abs({x}) + 0.5)",
            "rsqrt({x} * {x} + 1)", "reciprocal({x} * {x} + 1)", "tanh({x})", "erf({x})", "sin({x})", "cos({x})",
            "relu({x})", "sigmoid({x})", "silu({x})", "gelu({x})", "gelu_tanh({x})", "{x} * 0.7 + 0.1", "copy({x})",
            "sign({x}) * 0.5", "maximum({x}, 0.25)", "minimum({x}, 0.25)",
            'cast(cast({x}, dtype = "f64"), dtype = "f32")',
        ])
        self.add(text.format(x=x), shape)

    def along_axis(self):
        x, shape = self.pick(lambda s: len(s) >= 1)
        axis = self.rng.randrange(len(shape))
        op = self.rng.choice(["softmax", "log_softmax"])
        self.add(f"{op}({x}, axis = {axis if self.rng.random() < 0.5 else axis - len(shape)})", shape)

    def binary(self):
        x, shape = self.pick()
        # An operand that broadcasts with x, made if there is none.
        def fits(other):
            return all(a == b or 1 in (a, b) for a, b in zip(reversed(shape), reversed(other)))
        if self.rng.random() < 0.3:
            other = tuple(d if self.rng.random() < 0.6 else 1 for d in shape[self.rng.randrange(len(shape) + 1):])
            y, other = self.parameter(other), other
        else:
            y, other = self.pick(fits)
        rank = max(len(shape), len(other))
        a, b = (1,) * (rank - len(shape)) + shape, (1,) * (rank - len(other)) + other
        result = [max(p, q) for p, q in zip(a, b)]
        if numel(result) > self.most:
            return
        if self.rng.random() < 0.5:
            x, y = y, x
        text = self.rng.choice([
            "{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / ({y} * {y} + 1)", "maximum({x}, {y})", "minimum({x}, {y})",
            "pow(abs({x}) + 0.5, tanh({y}))", "where({x} > {y}, {x}, 2 * {y})", "where(and({x} > 0, {y} <= 0.1), {y}, {x})",
        ])
        self.add(text.format(x=x, y=y), result)

    def reduce(self):
        x, shape = self.pick(lambda s: len(s) >= 1)
        axes = sorted(self.rng.sample(range(len(shape)), self.rng.randint(1, len(shape))))
        keep = self.rng.random() < 0.5
        op = self.rng.choice(["sum", "mean", "max", "min", "mean"])
        result = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
        scale = f" * {1 / max(1, numel([shape[a] for a in axes])) ** 0.5:.4f}" if op == "sum" else ""
        self.add(f"{op}({x}, axes = {axes}, keepdims = {int(keep)}){scale}", result)

    def view(self):
        x, shape = self.pick(lambda s: len(s) >= 1)
        kind = self.rng.choice(["reshape", "transpose", "broadcast", "slice", "split", "pad", "concat"])
        if kind == "reshape":
            n, result = numel(shape), []
            while n > 1 and len(result) < 3:
                d = self.rng.choice([d for d in range(1, n + 1) if n % d == 0])
                result.append(d)
                n //= d
            result = result + [n] if n > 1 or not result else result
            self.add(f"reshape({x}, shape = {shape_text(result)})", result)
        elif kind == "transpose":
            perm = list(range(len(shape)))
            self.rng.shuffle(perm)
            self.add(f"transpose({x}, perm = {perm})", [shape[p] for p in perm])
        elif kind == "broadcast":
            result = [self.rng.choice((2, 3, 5)) if d == 1 and self.rng.random() < 0.7 else d for d in shape]
            if self.rng.random() < 0.5 and len(result) < 4:
                result = [self.rng.choice((2, 3))] + result
            if numel(result) <= self.most:
                self.add(f"broadcast({x}, shape = {shape_text(result)})", result)
        elif kind == "slice":
            starts = [self.rng.randrange(d) for d in shape]
            stops = [self.rng.randint(a + 1, d) for a, d in zip(starts, shape)]
            self.add(f"slice({x}, starts = {starts}, stops = {stops})", [b - a for a, b in zip(starts, stops)])
        elif kind == "split":
            axis = self.rng.randrange(len(shape))
            parts = self.rng.choice([p for p in range(1, min(shape[axis], 4) + 1) if shape[axis] % p == 0])
            names = [self.name() for _ in range(parts)]
            self.lines.append(f"{', '.join(names)} = split({x}, parts = {parts}, axis = {axis})")
            result = tuple(d // parts if i == axis else d for i, d in enumerate(shape))
            self.values += [(n, result) for n in names]
        elif kind == "pad":
            low, high = ([self.rng.randrange(3) for _ in shape] for _ in range(2))
            result = [a + d + b for a, d, b in zip(low, shape, high)]
            if numel(result) <= self.most:
                self.add(f"pad({x}, low = {low}, high = {high}, value = {self.rng.choice((0, 0.5))})", result)
        else:
            axis = self.rng.randrange(len(shape))
            same = lambda s: len(s) == len(shape) and all(i == axis or a == b for i, (a, b) in enumerate(zip(s, shape)))
            parts = [(x, shape)] + [self.pick(same) for _ in range(self.rng.randint(0, 2))]
            result = [sum(p[1][axis] for p in parts) if i == axis else d for i, d in enumerate(shape)]
            if numel(result) <= self.most:
                self.add(f"concat({', '.join(p[0] for p in parts)}, axis = {axis})", result)

    def linear(self):
        x, shape = self.pick(lambda s: len(s) >= 2)
        n = self.rng.choice(self.sizes)
        op = self.rng.choice(["linear", "dense"])
        scale = 1 / shape[-1] ** 0.5
        self.add(f"{op}({x}, {n}, init = normal(0, {scale:.4f}), bias = {self.rng.randrange(2)}) @ l{self.count}",
                 shape[:-1] + (n,))

    def norm(self):
        x, shape = self.pick(lambda s: len(s) >= 2 and s[-1] >= 3)
        self.add(f"layer_norm({x} + 0.1 * {self.parameter(shape)}, eps = 0.01) @ n{self.count}", shape)

    def einsum(self):
        x, shape = self.pick(lambda s: 2 <= len(s) <= 3)
        letters = "abc"[:len(shape)]
        batch = [c for c in letters[:-1] if self.rng.random() < 0.4]
        shared = self.rng.choice([c for c in letters if c not in batch])
        d = self.rng.choice(self.sizes)
        second = batch + [shared, "n"]
        self.rng.shuffle(second)
        sizes = dict(zip(letters, shape), n=d)
        result = [c for c in letters if c != shared] + ["n"]
        self.rng.shuffle(result)
        scale = 1 / sizes[shared] ** 0.5
        if max(numel([sizes[c] for c in letters]) for letters in (second, result)) <= self.most:
            y = self.parameter([sizes[c] for c in second])
            equation = f"{letters},{''.join(second)}->{''.join(result)}"
            self.add(f'einsum({x}, {y}, equation = "{equation}") * {scale:.4f}', [sizes[c] for c in result])

    def attention(self):
        b, t, heads, d = self.rng.choice((1, 2)), self.rng.choice((1, 3, 8, 17, 65)), self.rng.choice((1, 2, 3)), self.rng.choice((1, 4, 8))
        x = self.pick(lambda s: len(s) == 3 and s[0] == b and s[1] == t)
        if x is None:
            x = (self.parameter((b, t, 4)), (b, t, 4))
        q, k, v = (self.add(f"linear({x[0]}, {heads * d}, init = normal(0, 0.5)) @ q{self.count}", (b, t, heads * d))
                   for _ in range(3))
        rate = self.rng.choice((0, 0, 0.25))
        mask = f", mask = {self.parameter((t, t))} * 1.0" if self.rng.random() < 0.0 else ""
        self.add(f"attention({q}, {k}, {v}, heads = {heads}, causal = {self.rng.randrange(2)}, rate = {rate}{mask}) @ a{self.count}",
                 (b, t, heads * d))

    def embedding(self):
        rows, width = self.rng.choice((2, 7, 50)), self.rng.choice(self.sizes)
        shape = self.rng.choice(((3,), (2, 5), (1, 1), (4, 17)))
        self.add(f"embedding({self.ids(shape, rows)}, {rows}, {width}, init = normal(0, 1)) @ e{self.count}", shape + (width,))

    def dropout(self):
        x, shape = self.pick()
        self.add(f"dropout({x}, 0.3) @ d{self.count}", shape)

    def classes(self):
        x, shape = self.pick(lambda s: len(s) >= 2)
        labels = self.ids(shape[:-1], shape[-1])
        smoothing = self.rng.choice((0, 0.1))
        self.add(f"cross_entropy({x}, {labels}, label_smoothing = {smoothing}) * 0.5", ())

    def build(self):
        self.parameter((3, 8))
        for _ in range(self.rng.randint(1, 3)):
            rank = self.rng.randint(2, 3)
            shape = [self.rng.choice(self.sizes) for _ in range(rank)]
            while numel(shape) > self.most // 5:
                shape[self.rng.randrange(rank)] = self.rng.choice((1, 2, 3))
            (self.input if self.rng.random() < 0.5 else self.parameter)(tuple(shape))
        steps = [self.unary] * 6 + [self.binary] * 8 + [self.reduce] * 4 + [self.view] * 6 + [self.linear] * 2 + [
            self.along_axis, self.norm, self.einsum, self.einsum, self.attention, self.embedding, self.dropout, self.classes]
        for _ in range(self.rng.randint(4, 25)):
            self.rng.choice(steps)()
        # The loss takes some of what was made, always the last, squashed so that no term drowns the others.
        chosen = self.rng.sample(self.values[:-1], min(len(self.values) - 1, self.rng.randint(1, 4))) + [self.values[-1]]
        terms = ["mean(tanh(p1), axes = [0, 1])"]
        for x, shape in chosen:
            axes = list(range(len(shape)))
            terms.append(f"mean(tanh({x}), axes = {axes})" if axes else f"tanh({x})")
        self.lines.append(f"output loss = {' + '.join(terms)}")
        self.lines.append(f"output value = {self.rng.choice(self.values)[0]} + 1.5")
        return "model random\n" + "\n".join(self.lines) + "\n"


def options_of(seed):
    rng = random.Random(seed + 1)
    return rng.choice([[], [], [], ["--optimizer", "sgd"], ["--accumulate", "2"], ["--cpu", "sse2"], ["--cpu", "avx2"],
                       ["--for", "forward"], ["--clip", "0", "--weight-decay", "0", "--schedule", "linear"]])


def main():
    colc = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.ir")
        for seed in range(first, first + count):
            text, options = Model(seed).build(), options_of(seed)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            # Sums of terms that cancel lose digits, so the tolerance is wide; what is wrong is wrong by far more.
            result = subprocess.run([colc, "verify", path, "--tolerance", "1e-3", *options], capture_output=True, text=True, timeout=300, check=False)
            if result.returncode:
                failed += 1
                wrong = [line for line in result.stdout.splitlines() if "WRONG" in line or "analytic" in line]
                print(f"seed {seed}, options {' '.join(options)}: exit status {result.returncode}")
                print("\n".join(wrong), result.stderr[-2000:], text, sep="\n")
    print(f"{count} models, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
