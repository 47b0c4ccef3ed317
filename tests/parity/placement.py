"""Offsets of all models of models/: the arena of temporaries is within 1 % of the largest live sum, which no placement
beats; every recipe, for every use, on one device and on meshes, for the CPU and for CUDA, with several batches, and with
recomputation, forced and under limits.

    placement.py COLC RECIPES      (the folder)
"""

import json
import pathlib
import subprocess
import sys
import tempfile

MOST = 0.01
MESHES = [[], ["--mesh", "2x2", "--machine", "h200x4", "--plan", "zero3"],
          ["--mesh", "2x2", "--machine", "h200x4", "--plan", "auto"]]
HUGE = ("gpt3", "opt_13b", "opt_30b", "opt_66b", "opt_175b")
SHARES = (85, 60, 45)  # of the temporaries' memory where everything is kept
INFEASIBLE = 3
LARGE = [["--mesh", "8x8", "--machine", "h100-dgx:8", "--plan", "tp1d"]]


def cases(recipe):
    """Options of the compilations of a recipe. What fits no single machine goes on a large one."""
    if recipe.stem.startswith(HUGE):
        return [["--for", "train"] + mesh for mesh in LARGE]
    uses = ["train", "forward"] + (["generate"] if recipe.stem.startswith(("gpt", "opt")) else [])
    return [["--for", use] + mesh for use in uses for mesh in (MESHES if use == "train" else MESHES[:2])
            if not (use == "generate" and mesh)]


def more_cases(recipe, find_peak):
    """Of what fits one device: other batches and targets, and recomputation. `find_peak`: options to the report's figures."""
    if recipe.stem.startswith(HUGE):
        return []
    own = ["--machine", "h200"]
    found = [own + ["--batch", str(batch)] for batch in (1, 3, 24)]
    found += [own + ["--target", "cuda"], own + ["--target", "cuda", "--precision", "bf16"]]
    found += [own + ["--checkpoint", kind] for kind in ("all", "sqrt")]
    kept = find_peak(own + ["--checkpoint", "none"])
    for percent in SHARES:
        limit = kept["state_bytes"] + (kept["peak_bytes"] - kept["state_bytes"]) * percent // 100
        found.append(own + ["--memory", str(limit)])
        found.append(own + ["--target", "cuda", "--memory", str(limit)])
    return found


def compile_report(colc, recipe, options, folder):
    """The report, or None where the memory does not suffice."""
    report = folder / "report.json"
    done = subprocess.run([colc, "compile", "--recipe", recipe, "-o", folder / "plan", "--report", report] + options,
                          capture_output=True, text=True, check=False)
    if done.returncode == INFEASIBLE and "--memory" in options:
        return None
    assert done.returncode == 0, f"{recipe.name} {' '.join(options)}: {done.stderr}"
    with open(report, encoding="utf-8") as file:
        return json.load(file)


def check(answer):
    """Gap, seconds and bytes of the placement."""
    offsets = answer.get("placement", answer["solver"])
    assert offsets["problem"] == "offsets", offsets
    assert offsets["bound"] <= offsets["objective"] <= answer["predicted"]["peak_bytes"], offsets
    return offsets["gap"], offsets["seconds"], offsets["objective"]


def main():
    colc, recipes, gaps = sys.argv[1], sorted(pathlib.Path(sys.argv[2]).glob("*.yaml")), []
    assert recipes, "no recipe there"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for recipe in recipes:
            more = more_cases(recipe, lambda options: compile_report(colc, recipe, options, folder)["predicted"])
            for options in cases(recipe) + more:
                answer = compile_report(colc, recipe, options, folder)
                if not answer:
                    print(f"{recipe.stem:16} {' '.join(options):60} not within this memory", flush=True)
                    continue
                gap, seconds, size = check(answer)
                gaps.append(gap)
                print(f"{recipe.stem:16} {' '.join(options):60} {size:14d} bytes, gap {100 * gap:.3f} %, {seconds:.2f} s",
                      flush=True)
    print(f"{len(gaps)} plans, {sum(gap == 0 for gap in gaps)} equal to their bound, at most {100 * max(gaps):.2f} % above it")
    assert max(gaps) <= MOST, f"a placement is {100 * max(gaps):.2f} % above its bound"


if __name__ == "__main__":
    main()
