"""The log of a plan that computes forward values again: turns, prices and both memory lines, in all three formats; and
nothing of it for a plan that keeps everything.

    recompute.py COLC GPT2.ir
"""

import json
import pathlib
import subprocess
import sys
import tempfile

SMALL = ["--set", "layers=3", "--set", "width=64", "--set", "heads=2", "--set", "vocab=64", "--set", "context=32",
         "--batch", "4", "--seq", "32"]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def explain(colc, model, folder, checkpoint):
    plan = folder / (checkpoint + ".plan")
    run(colc, "compile", model, *SMALL, "--checkpoint", checkpoint, "-o", plan)
    return (json.loads(run(colc, "explain", plan, "--format", "json")), run(colc, "explain", plan),
            run(colc, "explain", plan, "--format", "html"))


def main():
    colc, model = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        kept, text, page = explain(colc, model, folder, "none")
        assert not any("recomputation" in m for m in kept["memory"])
        assert "recomputation in" not in text and "Recomputation" not in page
        log, text, page = explain(colc, model, folder, "all")
    step = next(m for m in log["memory"] if m["program"] == "step")
    again, program = step["recomputation"], next(p for p in log["programs"] if p["name"] == "step")
    instructions = [i for turn in again["turns"] for i in turn["instructions"]]
    listed = {i["index"]: i for i in instructions}
    assert len(listed) == len(instructions) > 0
    for index, entry in listed.items():
        instruction = program["instructions"][index]
        assert entry["name"] == instruction["name"] and ".again" in entry["name"] and instruction["phase"] == 1, entry
        assert entry["seconds"] == instruction["compute_seconds"], entry
        if "bytes" in entry:
            assert entry["not_held_from"] <= entry["not_held_to"] == index, entry
    total = sum(i["seconds"] for i in instructions)
    assert abs(again["seconds"] - total) <= 1e-9 * total
    for turn in again["turns"]:
        assert abs(turn["seconds"] - sum(i["seconds"] for i in turn["instructions"])) <= 1e-9 * total
        assert turn["bytes"] == sum(i.get("bytes", 0) for i in turn["instructions"])
    assert len(again["live_bytes"]) == len(again["kept_bytes"]) == len(program["instructions"])
    assert max(again["live_bytes"]) == again["peak_bytes"] == step["live_bound"]
    before = next(m for m in kept["memory"] if m["program"] == "step")["live_bound"]
    assert again["peak_bytes"] < again["kept_peak_bytes"] <= 1.05 * before, (again["kept_peak_bytes"], before)
    assert "recomputation in step: " in text and f", in {len(again['turns'])} turns" in text
    assert "<h2>Recomputation</h2>" in page and page.count("computed again</th>") == len(again["turns"])


if __name__ == "__main__":
    main()
