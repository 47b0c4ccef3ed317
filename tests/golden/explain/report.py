"""The JSON report and log: the fields that the documentation promises, of the right types, and figures that agree
with one another and with the text.

    report.py COLC MODEL
"""

import json
import os
import subprocess
import sys
import tempfile

NUMBER = (int, float)
FIELDS = {
    "model": str, "target": str, "machine": str, "precision": str, "optimizer": str, "use": str, "ops": int,
    "parameters": int, "compile_seconds": NUMBER, "passes": list, "settings": dict, "producer": str,
    "mesh": {"shape": list},
    "predicted": {"step_seconds": NUMBER, "compute_seconds": NUMBER, "communication_seconds": NUMBER,
                  "exposed_communication_seconds": NUMBER, "peak_bytes": int,
                  "state_bytes": int, "communication_bytes": int},
    "solver": {"status": str, "objective": NUMBER, "bound": NUMBER, "gap": NUMBER, "seconds": NUMBER, "variables": int,
               "rows": int},
}
INSTRUCTION = {"name": str, "kind": str, "phase": int, "writes": list, "reads": list, "flops": NUMBER, "bytes": NUMBER,
               "compute_seconds": NUMBER, "communication_seconds": NUMBER, "memory_bytes": NUMBER}


def check(value, shape, where):
    if isinstance(shape, dict):
        assert isinstance(value, dict), f"{where} is no object"
        for key, inner in shape.items():
            assert key in value, f"{where}.{key} is missing"
            check(value[key], inner, f"{where}.{key}")
    else:
        assert isinstance(value, shape) and not isinstance(value, bool), f"{where} is {value!r}"


def run(*command, status=0):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == status, f"{' '.join(command)}: status {result.returncode}\n{result.stderr}"
    return result


def close(a, b):
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-12)


def check_report(report):
    check(report, FIELDS, "report")
    solver, predicted = report["solver"], report["predicted"]
    assert solver["status"] in ("optimal", "feasible") and solver["bound"] <= solver["objective"]
    assert (solver["gap"] == 0) == (solver["status"] == "optimal")
    assert predicted["step_seconds"] > 0 and predicted["communication_bytes"] == 0
    assert predicted["peak_bytes"] >= predicted["state_bytes"] + solver["objective"]
    for i, entry in enumerate(report["passes"]):
        check(entry, {"name": str, "seconds": NUMBER}, f"passes[{i}]")
    assert report["compile_seconds"] >= sum(p["seconds"] for p in report["passes"]) * 0.5


def check_log(log, report):
    for key in FIELDS:
        assert log[key] == report[key], f"{key} differs between report and log"
    seconds = 0
    for program in log["programs"]:
        for i, instruction in enumerate(program["instructions"]):
            check(instruction, INSTRUCTION, f"{program['name']}[{i}]")
        total = sum(i["compute_seconds"] for i in program["instructions"])
        assert close(total, program["seconds"])
        seconds += total * program["runs_per_step"]
    assert close(seconds, log["predicted"]["step_seconds"])
    counts = {p["name"]: len(p["instructions"]) for p in log["programs"]}
    for memory in log["memory"]:
        count = counts[memory["program"]]
        assert memory["peak_instruction"] < count and memory["live_bound"] <= memory["temporary_bytes"]
        live = [0] * (count + 1)
        for b in memory["buffers"]:
            assert b["first"] <= b["last"] <= count and b["offset"] % 64 == 0
            end = b["offset"] + b["bytes"]
            assert memory["state_bytes"] <= b["offset"] and end <= log["predicted"]["peak_bytes"]
            for at in range(b["first"], b["last"] + 1):
                live[at] += (b["bytes"] + 63) // 64 * 64
        for i, a in enumerate(memory["buffers"]):
            for b in memory["buffers"][:i]:
                apart = a["offset"] + a["bytes"] <= b["offset"] or b["offset"] + b["bytes"] <= a["offset"]
                never = a["last"] < b["first"] or b["last"] < a["first"]
                assert apart or never, f"{a['name']} and {b['name']} overlap"
    parameters = sum(v["bytes"] // 4 for v in log["variables"] if v["kind"] == "parameter")
    assert parameters == log["parameters"]


def check_text(colc, plan, log):
    text = run(colc, "explain", plan).stdout
    for program in log["programs"]:
        for instruction in program["instructions"]:
            lines = [line for line in text.splitlines() if line.startswith(instruction["name"] + " ")]
            assert any(" compute " in line and " comm 0 " in line and " mem " in line for line in lines), instruction
    for memory in log["memory"]:
        assert f"memory of {memory['program']}:" in text


def main():
    colc, model = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        plan, report_file, log_file = (os.path.join(folder, name) for name in ("a.plan", "report.json", "log.json"))
        for options in ([], ["--accumulate", "4"], ["--for", "forward"], ["--optimizer", "sgd", "--machine", "cpu:7"]):
            run(colc, "compile", model, *options, "-o", plan, "--report", report_file)
            run(colc, "explain", plan, "--format", "json", "--variables", "-o", log_file)
            with open(report_file, encoding="utf-8") as file:
                report = json.load(file)
            with open(log_file, encoding="utf-8") as file:
                log = json.load(file)
            check_report(report)
            check_log(log, report)
            check_text(colc, plan, log)
        assert report["machine"] == "cpu:7"

        def refused(words, *command, status=2):
            error = run(*command, status=status).stderr
            assert words in error, error

        refused("none of: text, json, html", colc, "explain", plan, "--format", "pdf")
        refused("no program 'nothing'", colc, "explain", plan, "--program", "nothing")
        refused("not a plan", colc, "explain", model)
        refused("usage", colc, "explain")
        refused("no-such", colc, "explain", os.path.join(folder, "no-such.plan"))
        refused("folder", colc, "explain", plan, "-o", os.path.join(folder, "no", "folder"))
        refused("unknown machine 'abacus'", colc, "compile", model, "--machine", "abacus", "-o", plan)
        with open(plan, "r+b") as file:
            file.seek(100)
            byte = file.read(1)
            file.seek(100)
            file.write(bytes([byte[0] ^ 1]))
        refused("damaged", colc, "explain", plan)
        refused("damaged", colc, "verify", plan)
    print("report, log and text agree")


if __name__ == "__main__":
    main()
