"""Each header compiles alone, and twice: it includes what it needs, and its guard holds.

    headers.py BUILD

The flags are those of a source in the same folder, from BUILD/compile_commands.json. A folder that is not
built here (an accelerator's, without its libraries) is named and left out.
"""

import json
import os
import shlex
import subprocess
import sys

import tree


def flags_by_folder(build):
    """For each source folder: the compiler and its -I -isystem -D -std -pthread flags, in order of appearance."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    flags = {}
    for entry in commands:
        source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), tree.ROOT)
        words = shlex.split(entry["command"])
        kept = [w for i, w in enumerate(words)
                if w.startswith(("-I", "-isystem", "-D", "-std", "-pthread", "-m")) or words[i - 1] == "-isystem"]
        kept = [w for w in kept if not w.startswith(("-MD", "-MQ", "-MF"))]
        # Where the compiler is called through a wrapper (ccache), its name follows.
        compiler = words[:2] if os.path.basename(words[0]) in ("ccache", "distcc") else words[:1]
        entry_flags = flags.setdefault(os.path.dirname(source), (compiler, []))
        entry_flags[1].extend(w for w in kept if w not in entry_flags[1])
    return flags


def main():
    build = os.path.abspath(sys.argv[1])
    flags = flags_by_folder(build)
    faults, checked = [], 0
    for header in tree.files(".h"):
        folder = os.path.dirname(header)
        if folder not in flags:
            print(f"{header}: not checked, {folder} is not built here")
            continue
        compiler, options = flags[folder]
        source = f'#include "{header}"\n' * 2 + "typedef int col_not_empty;\n"
        command = [*compiler, *options, "-I", tree.ROOT, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-"]
        result = subprocess.run(command, cwd=build, input=source, text=True, capture_output=True)
        checked += 1
        if result.returncode:
            faults.append(f"{header}: does not compile alone\n{result.stderr.rstrip()}")
        guard = "COL_" + header.split("/", 1)[-1].upper().replace("/", "_").replace(".", "_").replace("-", "_")
        whole = "COL_" + header.upper().replace("/", "_").replace(".", "_").replace("-", "_")
        if f"#ifndef {guard}\n" not in tree.read(header) and f"#ifndef {whole}\n" not in tree.read(header):
            faults.append(f"{header}: the include guard should be {whole} or {guard}")
    tree.finish(faults, checked)


if __name__ == "__main__":
    main()
