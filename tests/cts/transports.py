"""colrun on plans for meshes: as threads, and under mpirun; ranks that differ, die or stop.

    transports.py COLRUN MESH_PLAN local|mpi
"""

import glob
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

COLRUN, MESH_PLAN = map(os.path.abspath, sys.argv[1:3])
TRANSPORT = sys.argv[3]
ROWS, COLUMNS = 24, 1000


def mpirun(ranks):
    return ["mpirun", "--oversubscribe", "--allow-run-as-root", "-n", str(ranks)]


def make_plan(mesh, repeats, *more):
    path = ".".join(["plan", mesh, str(repeats), *more])
    subprocess.run([MESH_PLAN, path, mesh, str(repeats), *more], check=True)
    return path


def write_input():
    header = str({"descr": "<f4", "fortran_order": False, "shape": (ROWS, COLUMNS)}).encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    values = [(i * 2654435761 % 2**32) / 2**31 - 1 for i in range(ROWS * COLUMNS)]
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values)
    with open("x.npy", "wb") as f:
        f.write(data)
    return data[-4 * len(values):]


def command(plan, *more):
    return [COLRUN, "run", plan, "--input", "x=x.npy", *more]


def launcher_crashed(code, error):
    """Open MPI's launcher now and then crashes itself while it ends a job; the ranks are gone all the same."""
    return code < 0 and ("libpmix" in error or "libopen-rte" in error)


def run(argv, want=0):
    for _ in range(5):
        result = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        if not launcher_crashed(result.returncode, result.stderr):
            break
    assert result.returncode == want, f"{argv} ended with {result.returncode}, not {want}\n{result.stdout}{result.stderr}"
    return result


def check_output(expected):
    with open("out/y.npy", "rb") as f:
        assert f.read().endswith(expected), "y is not x"
    shutil.rmtree("out")


def pids_of(plan):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[0] == COLRUN.encode() and plan.encode() in words:
            found.append(int(path.split("/")[2]))
    return found


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_local():
    expected = write_input()
    for mesh, ranks in [("2", 2), ("4", 4), ("2x2", 4), ("2x2x2", 8), ("3", 3)]:
        plan = make_plan(mesh, 2)
        for one in (plan, make_plan(mesh, 20, "started")):
            run(command(one, "--output", "out", "--ranks", str(ranks)))
            check_output(expected)
        error = run(command(plan, "--ranks", "5"), want=2).stderr
        assert f"--ranks 5, but the plan is for {ranks} ranks (mesh {mesh})" in error, error
    info = run([COLRUN, "info", make_plan("2x2", 2)]).stdout
    assert "mesh      2x2: 4 ranks" in info and re.search(r"x +f32\[24, 1000\] S01R", info), info


def test_mpi():
    expected = write_input()
    for mesh, ranks in [("2", 2), ("2x2", 4), ("3", 3)]:
        for plan in (make_plan(mesh, 2), make_plan(mesh, 200, "started")):
            result = run(mpirun(ranks) + command(plan, "--output", "out"))
            assert result.stdout.count("f32[24, 1000]") == 1, result.stdout
            check_output(expected)
    error = run(mpirun(2) + command(make_plan("3", 2)), want=2).stderr
    assert "mpirun started 2 processes, but the plan is for 3 ranks (mesh 3)" in error, error
    run(mpirun(1) + command(make_plan("3", 2), "--comm", "local"))


def test_different_plans():
    """Of two ranks with plans of their own."""
    plans = [make_plan("2", 2), make_plan("2", 3)]
    argv = mpirun(1) + command(plans[0]) + [":", "-n", "1"] + command(plans[1])
    error = run(argv, want=2).stderr
    assert "rank 1 has another plan than rank 0" in error, error


def test_different_options():
    plan = make_plan("2", 2)
    argv = mpirun(1) + command(plan) + [":", "-n", "1"] + command(plan, "--timeout", "7")
    error = run(argv, want=2).stderr
    assert "rank 1 was started with other options than rank 0" in error, error
    run(mpirun(1) + command(plan, "--threads", "1") + [":", "-n", "1"] + command(plan))


def test_rank_that(name, signal_number, timeout, delay, *more):
    """One of three ranks is killed or stopped some seconds after the start: all end."""
    plan = make_plan("3", 400000, *more)
    job = subprocess.Popen(mpirun(3) + command(plan, "--output", "out", "--timeout", str(timeout)),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(pids_of(plan)) == 3, 30, "the ranks do not start")
        time.sleep(delay)
        assert job.poll() is None, f"the run ended before the rank was {name}\n{job.stderr.read()}"
        os.kill(pids_of(plan)[1], signal_number)
        _, error = job.communicate(timeout=60)
    finally:
        job.kill()
    wait_for(lambda: not pids_of(plan), 20, "ranks are left behind")
    assert job.returncode != 0, f"a run with a rank that was {name} ended well"
    assert not os.path.exists("out/y.npy")
    return job.returncode, error


def main():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    try:
        if TRANSPORT == "local":
            test_local()
            return
        test_mpi()
        test_different_plans()
        test_different_options()
        test_rank_that("killed", signal.SIGKILL, 60, 4)
        test_rank_that("killed", signal.SIGKILL, 60, 4, "started")
        for delay, more in ((0, ()), (4, ()), (4, ("started",))):
            code, error = test_rank_that("stopped", signal.SIGSTOP, 8, delay, *more)
            assert code == 4 or launcher_crashed(code, error), f"status {code}\n{error}"
            late = r"rank \d did not come to the [a-z-]+ '\w+', where rank \d waits, within 8 s"
            assert re.search(late, error) or "came to MPI_Init" in error, error  # as far as a busy machine gets
    finally:
        shutil.rmtree(folder)


main()
