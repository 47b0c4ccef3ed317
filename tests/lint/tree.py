"""What the lint tests share: the files of the source tree, and how a test reports."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = 77


def files(*suffixes):
    """Paths from the root of the files git knows or would add; of all files where there is no git checkout."""
    paths = None
    if os.path.exists(os.path.join(ROOT, ".git")):
        try:
            listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
            paths = listing.stdout.decode().split("\0")
        except (OSError, subprocess.CalledProcessError):
            pass
    if paths is None:
        paths = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if not f.startswith(("build", ".git", "__pycache__"))]
            paths += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return sorted(p for p in paths if p.endswith(suffixes or "") and os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def shell_scripts():
    """Files that start with a shell's #! line."""
    def is_script(path):
        with open(os.path.join(ROOT, path), "rb") as file:
            return file.readline(64).rstrip() in (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")
    return [p for p in files() if p.endswith(".sh") or is_script(p)]


def finish(faults, checked):
    """Prints the faults, one `path[:line]: what is wrong` each, and ends the test."""
    for fault in faults:
        print(fault)
    print(f"{checked} checked, {len(faults)} faults")
    sys.exit(1 if faults or not checked else 0)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)
