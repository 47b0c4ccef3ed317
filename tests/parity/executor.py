"""What the end-to-end tests of the executor share: a temporary folder with bigram plans and a text, and ways to run
colrun and to read what it leaves. Standard library only."""

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile


class Bench:
    """Arguments of every test: COLRUN BIGRAM_PLAN KERNELS.so"""

    def __init__(self):
        self.colrun, self.maker, self.kernels = map(os.path.abspath, sys.argv[1:4])
        self.folder = tempfile.mkdtemp(prefix="colrun_")
        for use in ("step", "micro", "generate", "forward"):
            subprocess.run([self.maker, self.kernels, use, self.path(use + ".plan")], check=True)
        with open(self.path("text.txt"), "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"line {i * i % 97} of the text, and {i * 7 % 13} more words.\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def command(self, *arguments):
        return [self.colrun, *map(str, arguments)]

    def run(self, *arguments, status=0, says="", limit=None):
        """Runs to the end. `says` must stand in standard error; `limit` is the size at which files are full."""

        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        result = subprocess.run(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                                cwd=self.folder, timeout=120, preexec_fn=limited if limit else None)
        errors = result.stderr.decode("utf-8", "replace")
        if result.returncode != status or says not in errors:
            sys.exit(f"{' '.join(self.command(*arguments))}\nended with {result.returncode}, should be {status}"
                     f"{' and say ' + repr(says) if says else ''}:\n{errors}")
        return result.stdout

    def train(self, plan, *arguments, **expected):
        """Trains on the text; the learning rate makes losses move within a few steps."""
        return self.run("train", self.path(plan + ".plan"), "--data", self.path("text.txt"), "--lr", "3", "--threads", "1",
                        *arguments, **expected)

    def start(self, *arguments):
        return subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                cwd=self.folder)


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def checkpoint(folder):
    """The files of a checkpoint, by name."""
    return {name: read_bytes(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def metrics(folder):
    """The lines of metrics.jsonl, without what is measured in seconds."""
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        del row["step_seconds"], row["tokens_per_second"]
    return rows


def tensors(path):
    """A safetensors file as {name: (dtype, shape, bytes)}."""
    data = read_bytes(path)
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
            for name, t in header.items()}


def expect(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def same_tree(a, b, what):
    """Two dicts of bytes are equal; says which entry is not."""
    expect(sorted(a) == sorted(b), f"{what}: {sorted(a)} against {sorted(b)}")
    for name, value in a.items():
        expect(value == b[name], f"{what}: {name} differs")


KILL = signal.SIGKILL
TERMINATE = signal.SIGTERM
INTERRUPT = signal.SIGINT
