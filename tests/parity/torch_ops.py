#!/usr/bin/env python3
"""Writes torch_ops.inc: what PyTorch computes, in fp64, for nodes of the op table and for optimizer steps.

    python3 -P tests/parity/torch_ops.py > tests/parity/torch_ops.inc

Run by hand (it needs torch, and -P, for torch imports a module "cuda"); its output is committed, so the test needs neither. Inputs are no random numbers
but wave(k, i) = sin(0.7 i + 1.3 k + 0.2), which the test computes for itself.
"""
import math
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave(k, shape, form="wave"):
    count = math.prod(shape)
    values = [math.sin(0.7 * i + 1.3 * k + 0.2) for i in range(count)]
    if form == "positive":
        values = [1.5 + v for v in values]
    if form == "coarse":  # many ties, many zeros
        values = [math.floor(2 * v + 0.5) / 2 for v in values]
    return torch.tensor(values).reshape(shape)


def numbers(values):
    return ", ".join(repr(float(v)) for v in values)


def attr(key, value):
    if isinstance(value, str):
        return f'{{.key = COL_ATTR_{key}, .text = "{value}"}}'
    if isinstance(value, float):
        return f"{{.key = COL_ATTR_{key}, .float_value = {value!r}}}"
    if isinstance(value, list):
        return f"{{.key = COL_ATTR_{key}, .count = {len(value)}, .ints = (const int64_t[]){{{', '.join(map(str, value))}}}}}"
    return f"{{.key = COL_ATTR_{key}, .int_value = {value}}}"


def case(op, function, types, attrs={}, form="wave", limit=1, plain=0, used=1):
    """`types`: (dtype, shape) per operand; `plain`, `used`: bits of operands without gradient, results in the loss."""
    operands = []
    for k, (dtype, shape) in enumerate(types):
        if dtype == "f64":
            operands.append(wave(k, shape, form).requires_grad_(not plain >> k & 1))
        else:
            operands.append(torch.tensor([(7 * i + k) % limit for i in range(math.prod(shape))]).reshape(shape))
    results = function(*operands)
    results = results if isinstance(results, tuple) else (results,)
    loss = sum((r * wave(100 + i, r.shape)).sum() for i, r in enumerate(results) if used >> i & 1)
    loss.backward()
    expected = [v for i, r in enumerate(results) if used >> i & 1 for v in r.detach().flatten()]
    expected += [v for x in operands if x.requires_grad for v in x.grad.flatten()]
    text = " ".join(f"{dtype}[{', '.join(map(str, shape))}]" for dtype, shape in types)
    listed = ", ".join(attr(k, v) for k, v in attrs.items())
    attributes = f".attrs = {{{listed}}}, .attr_count = {len(attrs)}, " if attrs else ""
    print(f'    {{.s = {{.op = COL_OP_{op}, .types = "{text}", {attributes}.plain_operands = {plain}, .plain_results = {~used & 31}}},')
    print(f"     .form = COL_FORM_{form.upper()}, .limit = {limit}, .count = {len(expected)},")
    print(f"     .expected = (const double[]){{{numbers(expected)}}}}},")


def attention(q, k, v, mask=None, causal=False, scale=1.0):
    t = [x.transpose(1, 2) for x in (q, k, v)]
    return F.scaled_dot_product_attention(*t, attn_mask=mask, is_causal=causal, scale=scale).transpose(1, 2)


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdim=True)
    rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
    return F.layer_norm(x, weight.shape, weight, bias, 1e-5), mean, rstd


def cross_entropy(x, labels, **options):
    loss = F.cross_entropy(x.reshape(-1, x.shape[-1]), labels.reshape(-1), **options)
    return loss, torch.logsumexp(x, -1)


def batch_norm(x, weight, bias, mean, variance):
    return F.batch_norm(x, mean.detach().clone(), variance.detach().clone(), weight, bias, training=True, eps=1e-3)


def windows():
    """Convolutions, poolings and batch normalisation."""
    x, xl = ("f64", [2, 4, 5, 6]), ("f64", [2, 3, 7])
    case("CONV", lambda v, w: F.conv1d(v, w), [xl, ("f64", [4, 3, 3])])
    case("CONV", lambda v, w: F.conv2d(v, w, stride=2, padding=1), [x, ("f64", [3, 4, 3, 3])],
         {"STRIDES": [2], "LOW": [1], "HIGH": [1]})
    case("CONV", lambda v, w: F.conv2d(F.pad(v, (0, 2, 1, 0)), w, stride=(1, 2), dilation=(2, 1), groups=2),
         [x, ("f64", [6, 2, 2, 3])],
         {"STRIDES": [1, 2], "LOW": [1, 0], "HIGH": [0, 2], "DILATIONS": [2, 1], "GROUPS": 2})
    case("CONV", lambda v, w: F.conv3d(v, w, padding=1), [("f64", [1, 2, 2, 3, 2]), ("f64", [2, 2, 2, 1, 3])],
         {"LOW": [1], "HIGH": [1]})
    for form in ["wave", "coarse"]:
        case("MAX_POOL", lambda v: F.max_pool2d(v, 3, 2, 1), [x],
             {"KERNEL": [3], "STRIDES": [2], "LOW": [1], "HIGH": [1]}, form=form)
        case("MAX_POOL", lambda v: F.max_pool2d(v, (2, 3), 1, dilation=(1, 2)), [x],
             {"KERNEL": [2, 3], "STRIDES": [1], "DILATIONS": [1, 2]}, form=form)
    case("MAX_POOL", lambda v: F.max_pool1d(v, 2, 2), [xl], {"KERNEL": [2], "STRIDES": [2]}, form="coarse")
    for included in [0, 1]:
        case("AVG_POOL", lambda v: F.avg_pool2d(v, (2, 3), (2, 1), (1, 0), count_include_pad=bool(included)), [x],
             {"KERNEL": [2, 3], "STRIDES": [2, 1], "LOW": [1, 0], "HIGH": [1, 0], "COUNT_INCLUDE_PAD": included})
    for shape in [[3, 2, 2, 3], [5, 2]]:
        case("BATCH_NORM", batch_norm, [("f64", shape)] + [("f64", [2])] * 4, {"EPS": 1e-3}, plain=24)


def cases():
    x = [("f64", [2, 5])]
    xy = [("f64", [2, 5]), ("f64", [5])]
    print("static const torch_case torch_cases[] = {")
    for op, function in [
        ("ABS", torch.abs), ("EXP", torch.exp), ("TANH", torch.tanh), ("ERF", torch.erf), ("SIN", torch.sin),
        ("COS", torch.cos), ("RELU", F.relu), ("SIGMOID", torch.sigmoid), ("SILU", F.silu), ("GELU", F.gelu),
        ("GELU_TANH", lambda v: F.gelu(v, approximate="tanh")), ("RECIPROCAL", torch.reciprocal),
    ]:
        case(op, function, x)
    for op, function in [("ABS", torch.abs), ("RELU", F.relu)]:
        case(op, function, x, form="coarse")
    for op, function in [("LOG", torch.log), ("SQRT", torch.sqrt), ("RSQRT", torch.rsqrt)]:
        case(op, function, x, form="positive")
    for op, function in [("ADD", torch.add), ("SUB", torch.sub), ("MUL", torch.mul), ("DIV", torch.div),
                         ("MAXIMUM", torch.maximum), ("MINIMUM", torch.minimum)]:
        case(op, function, xy)
    for op, function in [("MAXIMUM", torch.maximum), ("MINIMUM", torch.minimum)]:
        case(op, function, xy, form="coarse")
    case("POW", torch.pow, xy, form="positive")
    case("SUM", lambda v: v.sum((0, 2)), [("f64", [2, 3, 4])], {"AXES": [0, 2]})
    case("MEAN", lambda v: v.mean(1, keepdim=True), [("f64", [2, 3, 4])], {"AXES": [1], "KEEPDIMS": 1})
    case("MAX", lambda v: v.amax(-1), [("f64", [3, 6])], {"AXES": [1]}, form="coarse")
    case("MIN", lambda v: v.amin((0, 1)), [("f64", [3, 6])], {"AXES": [0, 1]}, form="coarse")
    case("SOFTMAX", lambda v: v.softmax(1), [("f64", [2, 3, 4])], {"AXIS": 1})
    case("LOG_SOFTMAX", lambda v: v.log_softmax(-1), [("f64", [2, 3, 4])], {"AXIS": -1})
    case("LAYER_NORM", layer_norm, [("f64", [3, 5]), ("f64", [5]), ("f64", [5])], used=7)
    windows()
    case("EMBEDDING", lambda t, i: F.embedding(i, t), [("f64", [4, 3]), ("i32", [2, 5])], limit=4)
    case("EINSUM", lambda a, b: torch.einsum("abk,kc->cab", a, b), [("f64", [2, 3, 4]), ("f64", [4, 2])],
         {"EQUATION": "abk,kc->cab"})
    case("EINSUM", lambda a, b: torch.einsum("ab,cb->c", a, b), [("f64", [2, 3]), ("f64", [4, 3])],
         {"EQUATION": "ab,cb->c"})
    qkv = [("f64", [2, 4, 2, 3])] * 3
    case("ATTENTION", lambda q, k, v: attention(q, k, v, causal=True, scale=0.7), qkv, {"CAUSAL": 1, "SCALE": 0.7})
    case("ATTENTION", lambda q, k, v, m: attention(q, k, v, m, scale=0.5),
         [("f64", [1, 2, 2, 3]), ("f64", [1, 5, 2, 3]), ("f64", [1, 5, 2, 3]), ("f64", [2, 1, 5])], {"SCALE": 0.5}, plain=8)
    logits = [("f64", [2, 3, 6]), ("i32", [2, 3])]
    case("CROSS_ENTROPY", cross_entropy, logits, limit=6, used=3)
    case("CROSS_ENTROPY", lambda v, i: cross_entropy(v, i, ignore_index=3), logits, {"IGNORE_INDEX": 3}, limit=6)
    case("CROSS_ENTROPY", lambda v, i: cross_entropy(v, i, ignore_index=3, label_smoothing=0.1), logits,
         {"IGNORE_INDEX": 3, "LABEL_SMOOTHING": 0.1}, limit=6)
    print("};\n")


def rate_at(schedule, step, lr, min_lr, warmup, total):
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    r = min(1, (step - warmup) / max(1, total - warmup))
    left = {"CONSTANT": None, "LINEAR": 1 - r, "COSINE": 0.5 * (1 + math.cos(math.pi * r)), "SQUARE": (1 - r) ** 2}[schedule]
    return lr if left is None else min_lr + left * (lr - min_lr)


class Trusting(torch.optim.Optimizer):
    """LARS and LAMB, which torch has not, by the rules at the head of passes/optimizer.c, parameter by parameter."""

    def __init__(self, groups, **settings):
        super().__init__(groups, settings)

    @staticmethod
    def ratio(part, whole, factor=1.0):
        """factor part / whole, or 1; `whole` as (norm that must not be 0, denominator)."""
        return factor * part / whole[1] if part > 0 and whole[0] > 0 else torch.tensor(1.0)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.move(p, p.grad, self.state[p], group)


class Lars(Trusting):
    def move(self, p, g, state, o):
        d = o["weight_decay"]
        against = g.norm() + d * p.norm() + o["eps"]
        trust = self.ratio(p.norm(), (g.norm(), against), o["trust"]).clamp(0, 50)
        state["buf"] = o["momentum"] * state.get("buf", torch.zeros_like(p)) + (g + d * p).clamp(-10, 10)
        p -= o["lr"] * trust * state["buf"]


class Lamb(Trusting):
    def move(self, p, g, state, o):
        zeros, (b1, b2) = torch.zeros_like(p), o["betas"]
        state["m"] = b1 * state.get("m", zeros) + (1 - b1) * g
        state["v"] = b2 * state.get("v", zeros) + (1 - b2) * g * g
        u = state["m"] / (state["v"].sqrt() + o["eps"]) + o["weight_decay"] * p
        p -= o["lr"] * self.ratio(p.norm(), (u.norm(), u.norm())) * u


def training(optimizer, schedule, decay, clip, accumulate, momentum=0.9, steps=7, trust=1e-3, bias_scale=1.0):
    weight, bias = wave(1, [3, 2]).requires_grad_(), (bias_scale * wave(2, [2])).requires_grad_()
    groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0}]
    torch_optimizer = {
        "ADAMW": lambda: torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-6),
        "ADAM": lambda: torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-6),
        "SGD": lambda: torch.optim.SGD(groups, lr=1, momentum=momentum),
        "LARS": lambda: Lars(groups, momentum=momentum, trust=trust, eps=1e-6),
        "LAMB": lambda: Lamb(groups, betas=(0.9, 0.99), eps=1e-6),
    }[optimizer]()
    rates, norms = [], []
    for step in range(steps):
        torch_optimizer.zero_grad()
        for micro in range(accumulate):
            k = 10 + step * accumulate + micro
            x, y = wave(k, [4, 3]), wave(50 + k, [4, 2])
            (((x @ weight + bias - y) ** 2).mean() / accumulate).backward()
        norm = torch.nn.utils.clip_grad_norm_([weight, bias], clip if clip else math.inf)
        rate = rate_at(schedule, step, 0.1, 0.01, 2, 6)
        for group in torch_optimizer.param_groups:
            group["lr"] = rate
        torch_optimizer.step()
        rates.append(rate)
        norms.append(norm)
    parameters = list(weight.detach().flatten()) + list(bias.detach())
    print(f"    {{.optimizer = COL_OPTIMIZER_{optimizer}, .schedule = COL_LR_{schedule}, .decay = {decay!r}, .clip = {clip!r},")
    print(f"     .accumulate = {accumulate}, .momentum = {momentum!r}, .trust = {trust!r}, .bias_scale = {bias_scale!r},")
    print(f"     .rates = {{{numbers(rates)}}},")
    print(f"     .norms = {{{numbers(norms)}}},")
    print(f"     .parameters = {{{numbers(parameters)}}}}},")


print("/* Made by torch_ops.py with PyTorch; not to be edited. */")
print("/* clang-format off */")
cases()
print("static const torch_training torch_trainings[] = {")
training("ADAMW", "COSINE", 0.1, 0.5, 1)
training("ADAMW", "CONSTANT", 0.0, 0.0, 1)
training("ADAMW", "LINEAR", 0.1, 0.3, 3)
training("ADAM", "LINEAR", 0.1, 0.5, 1)
training("SGD", "COSINE", 0.1, 0.0, 1)
training("SGD", "CONSTANT", 0.1, 0.5, 2)
training("SGD", "LINEAR", 0.0, 0.5, 1, momentum=0.0)
training("LARS", "SQUARE", 0.3, 0.5, 1, trust=0.2)
training("LARS", "COSINE", 0.1, 0.0, 2, momentum=0.0, trust=1.0, bias_scale=0.0)
training("LARS", "CONSTANT", 0.0, 0.001, 1, trust=1.0)  # ratios above 50
training("LARS", "CONSTANT", 30.0, 0.0, 1, trust=0.5)  # gradients above 10
training("LAMB", "SQUARE", 0.3, 0.5, 1)
training("LAMB", "LINEAR", 0.0, 0.0, 3)
training("LAMB", "CONSTANT", 0.1, 1.0, 1, bias_scale=0.0)
print("};")
