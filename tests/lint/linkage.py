"""colrun links neither LLVM nor GLPK, directly or through another library (ldd follows them all).

    linkage.py BUILD
"""

import os
import subprocess
import sys

import tree

BANNED = ("libLLVM", "libglpk", "libclang")


def main():
    program = os.path.join(sys.argv[1], "colrun")
    if not os.path.exists(program):
        tree.skip(f"{program} is not built")
    result = subprocess.run(["ldd", program], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"ldd {program} failed: {result.stderr}")
    libraries = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    faults = [f"colrun links {name}" for name in libraries if os.path.basename(name).startswith(BANNED)]
    tree.finish(faults, len(libraries))


if __name__ == "__main__":
    main()
