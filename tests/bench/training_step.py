#!/usr/bin/env python3
"""Seconds of a training step of GPT-2 124M in fp32 on this machine's cores, beside other systems in the same run.

The systems take turns, a step each: all are started, and all but one are stopped (SIGSTOP) at any time, so that what
else the machine does falls on all alike. Wall time is what a user waits; CPU time (of all threads, from /proc) is beside
it, because a busy machine stretches only the first.

usage: training_step.py COLC MODEL [--batch N] [--seq N] [--steps N] [--warm-up N] [--llmc FOLDER] [--torch PYTHON]

FOLDER holds llm.c's train_gpt2 and the files that llmc_files.py wrote; PYTHON has PyTorch and transformers.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("colc")
parser.add_argument("model")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq", type=int, default=64)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--warm-up", type=int, default=2)
parser.add_argument("--llmc", default=os.environ.get("LLMC"))
parser.add_argument("--torch", default=os.environ.get("TORCH_PYTHON"))
options = parser.parse_args()
total = options.steps + options.warm_up


class System:
    def __init__(self, name, command, **named):
        self.name, self.seconds, self.cpu, self.peak = name, [], [], 0
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
                                        **named)
        self.process.send_signal(signal.SIGSTOP)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def step(self):
        """Runs to the next line that tells of a step; other lines (a validation) start the clock anew."""
        self.process.send_signal(signal.SIGCONT)
        while True:
            start, cpu = time.monotonic(), self.cpu_seconds()
            line = self.process.stdout.readline()
            end = time.monotonic()
            if not line:
                sys.exit(f"{self.name} ended with status {self.process.wait()}")
            if line.startswith("step "):
                break
        self.seconds.append(end - start)
        self.cpu.append(self.cpu_seconds() - cpu)
        self.process.send_signal(signal.SIGSTOP)
        with open(f"/proc/{self.process.pid}/status") as f:
            self.peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))

    def end(self):
        self.process.kill()
        self.process.wait()


with tempfile.TemporaryDirectory() as folder:
    plan = os.path.join(folder, "gpt2.plan")
    shape = ["--batch", str(options.batch), "--seq", str(options.seq)]
    subprocess.run([options.colc, "compile", options.model, *shape, "-o", plan], check=True, stdout=subprocess.DEVNULL)
    systems = [System("colc", [options.colc, "train", plan, "--data", "synthetic", "--steps", str(total), "--val-every", "0"])]
    if options.llmc:
        if (options.batch, options.seq) != (4, 64):
            sys.exit("llm.c's program trains batches of 4 x 64 tokens only")
        systems.append(System("llm.c", ["stdbuf", "-oL", "./train_gpt2"], cwd=options.llmc))
    if options.torch:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_step.py")
        systems.append(System("PyTorch", [options.torch, script, str(options.batch), str(options.seq), str(total)]))
    for _ in range(total):
        for system in systems:
            system.step()
    print(f"GPT-2 124M fp32, batch {options.batch} x {options.seq}, {len(os.sched_getaffinity(0))} cores; "
          f"{options.steps} steps after {options.warm_up}; load {os.getloadavg()[0]:.1f}")
    print(f"{'system':10} {'median s':>9} {'best s':>9} {'CPU s':>9} {'of first':>9} {'of its CPU':>10} {'peak MiB':>9}")
    first = systems[0]
    for system in systems:
        wall, cpu = system.seconds[options.warm_up:], statistics.median(system.cpu[options.warm_up:])
        ratio = statistics.median(wall) / statistics.median(first.seconds[options.warm_up:])
        print(f"{system.name:10} {statistics.median(wall):9.3f} {min(wall):9.3f} {cpu:9.3f} {ratio:9.2f} "
              f"{cpu / statistics.median(first.cpu[options.warm_up:]):10.2f} {system.peak / 1024:9.0f}")
        system.end()
