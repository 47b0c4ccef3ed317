"""colc sweep on a small model: the rows and figures of the CSV against those of colc compile, the picture as XML,
the search for a batch, the measured figures, and every bad list.

    sweep.py COLC MLP.ir GPT2.ir
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SMALL = ["--set", "layers=1", "--set", "width=32", "--set", "heads=2", "--set", "vocab=64", "--set", "context=16",
         "--batch", "2", "--seq", "16"]
SVG = "{http://www.w3.org/2000/svg}"


def run(folder, *arguments):
    return subprocess.run([str(a) for a in arguments], cwd=folder, capture_output=True, text=True)


def sweep(folder, colc, model, *arguments, status=0):
    done = run(folder, colc, "sweep", model, "-o", "s.csv", *arguments)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    if status not in (0, 3):
        return done.stderr
    with open(folder / "s.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    picture = xml.etree.ElementTree.parse(folder / "s.svg").getroot()
    titles = [t.text for t in picture.iter(SVG + "text") if t.get("class") == "title"]
    assert len(titles) == 2, titles
    assert len(done.stdout.splitlines()) >= len(rows) + 1, done.stdout
    return rows, picture, done


def compile_report(folder, colc, model, *arguments):
    done = run(folder, colc, "compile", model, "-o", "p.plan", "--report", "r.json", *arguments)
    assert done.returncode == 0, done.stderr
    with open(folder / "r.json", encoding="utf-8") as file:
        return json.load(file)["predicted"]


def check_limits(folder, colc, model):
    rows, picture, _ = sweep(folder, colc, model, "--batch", "32", "--memory", "70%,100%,1MiB,120%")
    assert [r["checkpoint"] for r in rows] == ["none", "all", "sqrt"] + 4 * ["auto"]
    assert [r["limit"] for r in rows[3:]] == ["70%", "100%", "1MiB", "120%"]
    whole = compile_report(folder, colc, model, "--batch", "32")
    assert int(rows[0]["peak_bytes"]) == whole["peak_bytes"]
    assert abs(float(rows[0]["step_seconds"]) / whole["step_seconds"] - 1) < 1e-6
    assert int(rows[3]["limit_bytes"]) == whole["peak_bytes"] * 70 // 100
    for row in rows[3:]:
        if row["status"] == "ok":
            assert int(row["peak_bytes"]) <= int(row["limit_bytes"]), row
            assert float(row["overhead"]) >= 0, row
        else:
            assert row["status"] == "infeasible" and "--memory" in row["reason"], row
            assert int(row["least_bytes"]) > int(row["limit_bytes"]), row
    assert rows[4]["status"] == rows[6]["status"] == "ok"
    assert float(rows[4]["overhead"]) == 0
    assert any(e.get("class") == "diagonal" for e in picture.iter())
    _, _, done = sweep(folder, colc, model, "--memory", "64B", status=3)
    assert "the smallest memory known to do is" in done.stderr


def check_batches(folder, colc, model):
    rows, _, done = sweep(folder, colc, model, "--batch", "8,4", "--memory", "1GiB")
    assert [(r["batch"], r["checkpoint"]) for r in rows] == [
        (b, k) for b in ("8", "4") for k in ("none", "all", "sqrt", "auto")]
    assert "best: batch " in done.stdout
    limit = compile_report(folder, colc, model, "--batch", "40", "--checkpoint", "none")["peak_bytes"]
    rows, _, done = sweep(folder, colc, model, "--batch", "auto", "--memory", f"{limit}B")
    auto = [r for r in rows if r["checkpoint"] == "auto" and r["status"] == "ok"]
    best = max(auto, key=lambda r: float(r["samples_per_second"]))
    assert f"best: batch {best['batch']}," in done.stdout
    assert all(int(r["peak_bytes"]) <= limit for r in auto)
    assert [r["checkpoint"] for r in rows if r["batch"] == best["batch"]] == ["none", "all", "sqrt", "auto"]


def check_measured(folder, colc, model):
    rows, picture, _ = sweep(folder, colc, model, *SMALL, "--memory", "100%", "--measure", "--measure-steps", "2")
    for row in (rows[0], rows[3]):
        assert float(row["measured_step_seconds"]) > 0, row
        assert row["measured_peak_bytes"] == row["peak_bytes"], row
    assert any(e.get("class") == "seen" for e in picture.iter())


def check_refusals(folder, colc, model):
    cases = {
        ("--memory", "0%"): "leaves no memory",
        ("--memory", "60%,60%"): "given twice",
        ("--memory", "60%,"): "entry 2",
        ("--memory", "-1"): "not a size",
        ("--memory", "2000%"): "outside",
        ("--batch", "0,1"): "outside",
        ("--batch", "8,8"): "given twice",
        ("--batch", "4,8", "--memory", "1GiB,2GiB"): "one limit",
        ("--checkpoint", "all"): "leave it out",
        ("--stop-after", "fuse"): "leave it out",
        ("--measure", "--for", "forward"): "with a loss",
        ("--measure-steps", "0"): "measure-steps",
        ("--measure",): "the model has the input 'x'",
    }
    for arguments, text in cases.items():
        (folder / "s.csv").write_text("kept")
        said = sweep(folder, colc, model, *arguments, status=2)
        assert text in said, (arguments, said)
        assert (folder / "s.csv").read_text() == "kept"
    done = run(folder, colc, "sweep", model, "-o", "x.txt")
    assert done.returncode == 2 and ".csv" in done.stderr
    done = run(folder, colc, "sweep", model, "-o", "none/x.csv")
    assert done.returncode == 2 and "none/x.csv" in done.stderr
    assert sorted(p.name for p in folder.iterdir() if "tmp" in p.name) == []


def main():
    colc, model, gpt2 = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_limits(folder, colc, model)
        check_batches(folder, colc, model)
        check_measured(folder, colc, gpt2)
        check_refusals(folder, colc, model)


if __name__ == "__main__":
    main()
