#!/usr/bin/env python3
"""Recomputes an answer of `colc solve sharding` from the raw tables of its problem.

    check_sharding.py PROBLEM.json[.gz] ANSWER.json     prints cost and peak; fails where the answer's differ
    check_sharding.py --colc COLC [--seconds S] [DATA]  solves and checks small problems made here, then the contest's
                                                        under DATA/iopddl (77 without them)

It shares no code with the solver: sums are Python integers, tables are read with the json module.
"""
import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile

INFINITY = 10**18

# Optimum where it is proved, and the best entry of the contest, which limits the cost from above.
CONTEST = {
    "A": (6548553650, 6548641531),
    "B": (532843, 532843),
    "D": (309195190496, 313613524736),
    "G": (217039, 217039),
    "K": (None, 2274276676),
    "M": (None, 49928460991),
    "P": (651833115436, 662197407330),
    "U": (None, 2569342178),
}


def load(path):
    with open(path, "rb") as f:
        data = f.read()
    return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def evaluate(problem, choice):
    """Cost and peak from the raw tables."""
    nodes, edges = problem["nodes"], problem["edges"]
    if len(choice) != len(nodes["costs"]):
        sys.exit(f"{len(choice)} choices for {len(nodes['costs'])} nodes")
    for i, p in enumerate(choice):
        if not 0 <= p < len(nodes["costs"][i]):
            sys.exit(f"node {i} has no strategy {p}")
    cost = sum(costs[p] for costs, p in zip(nodes["costs"], choice))
    for (u, v), table in zip(edges["nodes"], edges["costs"]):
        cost += table[choice[u] * len(nodes["costs"][v]) + choice[v]]
    change = {}
    for (lower, upper), usages, p in zip(nodes["intervals"], nodes["usages"], choice):
        if lower < upper:
            change[lower] = change.get(lower, 0) + usages[p]
            change[upper] = change.get(upper, 0) - usages[p]
    level = peak = 0
    for time in sorted(change):
        level += change[time]
        peak = max(peak, level)
    return cost, peak


def check(problem, answer):
    cost, peak = evaluate(problem, answer["choice"])
    limit = problem["usage_limit"]
    if cost >= INFINITY:
        sys.exit("the cost is infinite")
    if cost != answer["objective"]:
        sys.exit(f"the objective is said to be {answer['objective']}, the tables say {cost}")
    if peak > limit:
        sys.exit(f"the peak {peak} exceeds the limit {limit}")
    if not answer["bound"] <= cost:
        sys.exit(f"the bound {answer['bound']} is above the cost {cost}")
    return cost, peak


def make_small(rng):
    """A random problem of a few nodes, with forbidden pairs and memory that binds."""
    counts = [rng.randint(1, 3) for _ in range(rng.randint(1, 6))]
    edges = [rng.sample(range(len(counts)), 2) for _ in range(6)] if len(counts) > 1 else []
    value = lambda: INFINITY if rng.random() < 0.2 else rng.randint(0, 99)
    lows = [rng.randint(0, 5) for _ in counts]
    return {
        "name": "small",
        "nodes": {
            "intervals": [[low, low + rng.randint(0, 4)] for low in lows],
            "costs": [[rng.randint(0, 99) for _ in range(k)] for k in counts],
            "usages": [[rng.randint(0, 9) for _ in range(k)] for k in counts],
        },
        "edges": {"nodes": edges, "costs": [[value() for _ in range(counts[u] * counts[v])] for u, v in edges]},
        "usage_limit": rng.randint(0, 30),
    }


def brute(problem):
    best = None
    counts = [len(costs) for costs in problem["nodes"]["costs"]]
    choice = [0] * len(counts)
    while True:
        cost, peak = evaluate(problem, choice)
        if cost < INFINITY and peak <= problem["usage_limit"] and (best is None or cost < best):
            best = cost
        i = len(choice) - 1
        while i >= 0 and choice[i] + 1 == counts[i]:
            choice[i] = 0
            i -= 1
        if i < 0:
            return best
        choice[i] += 1


def solve(colc, path, seconds):
    run = subprocess.run([colc, "solve", "sharding", path, "--time-limit", str(seconds)], capture_output=True)
    if run.returncode not in (0, 3):
        sys.exit(f"{path}: status {run.returncode}: {run.stderr.decode()}")
    return run.returncode, json.loads(run.stdout)


def check_small(colc, folder):
    rng = random.Random(1)
    for number in range(40):
        problem = make_small(rng)
        path = os.path.join(folder, "small.json")
        with open(path, "w") as f:
            json.dump({"problem": problem}, f, indent=number % 3 or None)
        status, answer = solve(colc, path, 60)
        best = brute(problem)
        if best is None:
            if status != 3 or answer["status"] != "infeasible":
                sys.exit(f"problem {number}: nothing fits, but the answer is {answer}")
            continue
        cost, _ = check(problem, answer)
        if status != 0 or answer["status"] != "optimal" or cost != best or answer["bound"] != best:
            sys.exit(f"problem {number}: the least cost is {best}, the answer is {answer}")


def check_contest(colc, data, names, seconds):
    for name in names:
        path = os.path.join(data, "iopddl", name + ".json.gz")
        problem = load(path)["problem"]
        _, answer = solve(colc, path, seconds)
        cost, peak = check(problem, answer)
        optimum, best = CONTEST[name]
        print(f"{name}: cost {cost} ({100 * (cost / best - 1):+.4f} % of the best entry), bound {answer['bound']}, "
              f"peak {peak} of {problem['usage_limit']}, {answer['seconds']:.2f} s", flush=True)
        if optimum is not None and (cost != optimum or answer["bound"] != optimum):
            sys.exit(f"{name}: the optimum is {optimum}")
        if cost > 1.01 * best:
            sys.exit(f"{name}: over 1 % above the best entry, {best}")


def check_large(colc, data, names):
    """Problems that take minutes: whatever a few seconds find must be what the answer says that it is."""
    for name in names:
        path = os.path.join(data, "iopddl", name + ".json.gz")
        status, answer = solve(colc, path, 4)
        assert status == 0 or (status == 3 and answer["status"] == "limit"), "%s: status %d" % (name, status)
        if status == 0:
            check(load(path)["problem"], answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--colc")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--instances", default="ABDGP")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    if not options.colc:
        problem, answer = load(options.paths[0])["problem"], load(options.paths[1])
        print("cost %d, peak %d" % check(problem, answer))
        return
    with tempfile.TemporaryDirectory() as folder:
        check_small(options.colc, folder)
    data = options.paths[0] if options.paths else os.environ.get("COL_TEST_DATA", "../shared/data")
    if not os.path.exists(os.path.join(data, "iopddl")):
        print(f"skipped: no contest problems under {data}/iopddl")
        sys.exit(77)
    check_contest(options.colc, data, options.instances, options.seconds)
    check_large(options.colc, data, "KMU")


main()
