"""`colc verify` on models whose plans are right, and on a plan that was made wrong.

    verify.py COLC GPT2 MLP DAMAGE_PLAN
"""

import os
import re
import subprocess
import sys
import tempfile

SMALL = ["--set", "layers=2", "--set", "width=48", "--set", "heads=4", "--set", "vocab=61", "--set", "context=32"]


def run(*command, status=0):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == status, f"{' '.join(command)}: status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def worst(output):
    """The largest relative difference of each program."""
    return [float(x) for x in re.findall(r"worst (\S+) ", output)]


def check_right(colc, gpt2, mlp):
    for options in ([], ["--accumulate", "3"], ["--optimizer", "sgd"], ["--optimizer", "adam", "--clip", "0"],
                    ["--set", "dropout=0.2"], ["--cpu", "sse2"], ["--for", "forward"], ["--for", "generate"],
                    ["--batch", "1", "--seq", "1"], ["--seed", "7", "--schedule", "linear"]):
        output = run(colc, "verify", gpt2, *SMALL, *options).stdout
        assert "all agree" in output and "WRONG" not in output
        assert worst(output) and max(worst(output)) < 1e-5, output
        trains = "--for" not in options
        assert ("the whole model" in output) == trains and ("grad.wte.weight" in output) == trains
    output = run(colc, "verify", mlp).stdout
    assert len(re.findall(r"^  gradient ", output, re.M)) == 4


TWO_SCATTERS = """model two()
input i : i32[4]
input u : f32[4, 1]
a = constant(shape = [9, 1], value = 0.0, dtype = "f32")
b = constant(shape = [9, 1], value = 0.0, dtype = "f32")
o = constant(shape = [4, 1], value = 1.0, dtype = "f32")
output x = scatter_add(a, i, o)
output y = scatter_add(b, i, u)
"""


def check_shared_base(colc, folder):
    """Two nodes that each overwrite a base, and the bases are equal."""
    path = os.path.join(folder, "two.ir")
    with open(path, "w", encoding="utf-8") as f:
        f.write(TWO_SCATTERS)
    assert "all agree" in run(colc, "verify", path).stdout


def check_plan(colc, mlp, damage, folder):
    plan, wrong = os.path.join(folder, "a.plan"), os.path.join(folder, "wrong.plan")
    run(colc, "compile", mlp, "--optimizer", "sgd", "--momentum", "0.5", "--set", "hidden=24", "-o", plan)
    output = run(colc, "verify", plan).stdout
    assert "fc1.weight.momentum" in output and "f32[8, 24]" in output and "grad.fc1.weight" in output
    run(damage, plan, wrong)
    result = run(colc, "verify", wrong, status=1)
    assert re.search(r"^  output +loss .* WRONG$", result.stdout, re.M), result.stdout
    assert "tensors are wrong" in result.stderr


def check_meshes(colc, gpt2, folder):
    """Plans of several ranks, with every gradient and every updated parameter."""
    plan = os.path.join(folder, "mesh.plan")
    for options in (["--mesh", "2"], ["--mesh", "2x2", "--plan", "tp2d", "--optimizer", "sgd"],
                    ["--mesh", "4", "--plan", "zero3", "--accumulate", "2", "--set", "dropout=0.2"],
                    ["--mesh", "2", "--plan", "tp1d", "--for", "forward"], ["--mesh", "2", "--for", "generate"]):
        run(colc, "compile", gpt2, *SMALL, *([] if "generate" in options else ["--batch", "4"]), *options, "-o", plan)
        output = run(colc, "verify", plan).stdout
        assert "all agree" in output and max(worst(output)) < 1e-5, output
        kinds = re.findall(r"^  (gradient|parameter) +(?:grad\.)?(\S+) ", output, re.M)
        of = {kind: {name for k, name in kinds if k == kind and not name.endswith(".grad")} for kind, _ in kinds}
        assert "--for" in options or (of["gradient"] == of["parameter"] and len(of["gradient"]) == 28), output


def check_refusals(colc, gpt2, mlp, folder):
    def refused(words, *command):
        result = run(colc, "verify", *command, status=2)
        assert words in result.stderr, result.stderr

    plan = os.path.join(folder, "a.plan")
    refused("usage", "--seed", "1")
    refused("has no effect on a plan", plan, "--batch", "4")
    refused("--set layers=2", gpt2, "--set", "layers=96", "--set", "width=12288", "--set", "heads=96", "--time-limit", "1e9")
    refused("--time-limit", gpt2, *SMALL, "--time-limit", "0.001")
    refused("tolerance", mlp, "--tolerance", "-1")
    refused("no-such", os.path.join(folder, "no-such.ir"))


def main():
    colc, gpt2, mlp, damage = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as folder:
        check_right(colc, gpt2, mlp)
        check_plan(colc, mlp, damage, folder)
        check_shared_base(colc, folder)
        check_meshes(colc, gpt2, folder)
        check_refusals(colc, gpt2, mlp, folder)
    print("plans agree with the reference")


if __name__ == "__main__":
    main()
