"""Offsets of all models of models/: the arena of temporaries is within 1 % of the largest live sum, which no placement
beats; every recipe, for every use, on one device and on meshes.

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
LARGE = [["--mesh", "8x8", "--machine", "h100-dgx:8", "--plan", "tp1d"]]


def cases(recipe):
    """Options of the compilations of a recipe. What fits no single machine goes on a large one."""
    if recipe.stem.startswith(HUGE):
        return [["--for", "train"] + mesh for mesh in LARGE]
    uses = ["train", "forward"] + (["generate"] if recipe.stem.startswith(("gpt", "opt")) else [])
    return [["--for", use] + mesh for use in uses for mesh in (MESHES if use == "train" else MESHES[:2])
            if not (use == "generate" and mesh)]


def gap_of(colc, recipe, options, folder):
    report = folder / "report.json"
    done = subprocess.run([colc, "compile", "--recipe", recipe, "-o", folder / "plan", "--report", report] + options,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{recipe.name} {' '.join(options)}: {done.stderr}"
    with open(report, encoding="utf-8") as file:
        answer = json.load(file)
    offsets = answer.get("placement", answer["solver"])
    assert offsets["problem"] == "offsets", offsets
    assert offsets["bound"] <= offsets["objective"] <= answer["predicted"]["peak_bytes"], offsets
    return offsets["gap"], offsets["seconds"], offsets["objective"]


def main():
    colc, recipes, worst = sys.argv[1], sorted(pathlib.Path(sys.argv[2]).glob("*.yaml")), 0
    assert recipes, "no recipe there"
    with tempfile.TemporaryDirectory() as folder:
        for recipe in recipes:
            for options in cases(recipe):
                gap, seconds, size = gap_of(colc, recipe, options, pathlib.Path(folder))
                worst = max(worst, gap)
                print(f"{recipe.stem:16} {' '.join(options):60} {size:14d} bytes, gap {100 * gap:.3f} %, {seconds:.2f} s",
                      flush=True)
    assert worst <= MOST, f"a placement is {100 * worst:.2f} % above its bound"


if __name__ == "__main__":
    main()
