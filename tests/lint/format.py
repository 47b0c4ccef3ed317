"""clang-format 14 on every C file; `--fix` rewrites (`make format`). Other versions differ in details, so they
are not asked: the test skips where version 14 is absent."""

import re
import shutil
import subprocess
import sys

import tree

VERSION = 14


def find_formatter():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        if path:
            output = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if re.search(rf"version {VERSION}\.", output):
                return path
    return None


def main():
    formatter = find_formatter()
    fix = sys.argv[1:] == ["--fix"]
    if not formatter:
        if fix:
            sys.exit(f"clang-format-{VERSION} is missing: run tests/install-dependencies check")
        tree.skip(f"no clang-format {VERSION}")
    paths = tree.files(".c", ".h")
    if fix:
        subprocess.run([formatter, "-i", *paths], cwd=tree.ROOT, check=True)
        return
    faults = []
    for path in paths:
        result = subprocess.run([formatter, "--dry-run", "-Werror", path], cwd=tree.ROOT, capture_output=True, text=True)
        if result.returncode:
            first = result.stderr.splitlines()[0] if result.stderr else path
            faults.append(first.replace("error: code should be clang-formatted", "not formatted; run `make format`"))
    tree.finish(faults, len(paths))


if __name__ == "__main__":
    main()
