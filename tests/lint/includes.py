"""Who may include what: the arrows of docs/architecture.md, and the foreign libraries of each folder.

A folder always sees itself and ir/base. Anything not listed here is refused, so a new arrow or a new
dependency is a change of this table that a reader of the history can see.
"""

import re

import tree

# Our own folders, longest match first.
ARROWS = {
    "ir/base": [],
    "ir/plan": [],
    "ir": [],
    "solver": [],
    "passes": ["ir", "solver"],
    "codegen": ["ir", "ir/plan"],
    "runtime": ["ir/plan"],
    "frontend": ["ir", "ir/plan", "passes", "solver", "codegen"],
}

# Single headers that a folder sees of another: the executor's public face. `colc verify` runs plans through
# sessions, and checks the options that it hands to `colrun`; importers read and write the files that it reads.
FACES = {
    "frontend": ["runtime/command_options.h", "runtime/session.h", "runtime/store/checkpoint.h",
                 "runtime/store/npy.h", "runtime/store/safetensors.h", "runtime/store/weights.h"],
}

# Foreign headers by library. What is in no list and not in LIBC is refused everywhere but in tests.
LIBRARIES = {
    "llvm": r"llvm-c/.*",
    "glpk": r"glpk\.h",
    "protobuf": r"protobuf-c/.*",
    "jansson": r"jansson\.h",
    "yaml": r"yaml\.h",
    "zlib": r"zlib\.h",
    "pcre2": r"pcre2\.h",
    "xxhash": r"xxhash\.h",
    "isal": r"isa-l\.h|isa-l/.*",
    "dnnl": r"dnnl.*\.h|oneapi/dnnl/.*",
    "microhttpd": r"microhttpd\.h",
    "openmp": r"omp\.h",
    "cuda": r"cuda.*\.h|cublas.*\.h|cudnn.*\.h|nvrtc\.h|nvml\.h|nvToolsExt\.h|nvtx3/.*",
    "nccl": r"nccl\.h",
    "mpi": r"mpi\.h",
}
ALLOWED = {
    "ir/base": [],
    "ir/plan": ["protobuf", "xxhash"],
    "ir": [],
    "solver": ["glpk"],
    "passes": [],
    "codegen": ["llvm"],
    "runtime": ["protobuf", "jansson", "pcre2", "xxhash", "isal", "dnnl", "microhttpd", "openmp", "cuda", "nccl",
                "mpi", "zlib"],
    "frontend": ["protobuf", "jansson", "yaml", "zlib", "xxhash"],
}
# Libraries that one file only may include, whichever it is.
ONE_FILE = ["glpk"]

LIBC = re.compile(
    r"(assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdalign|stdarg|"
    r"stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|tgmath|threads|time|uchar|wchar|wctype|"
    r"byteswap|cpuid|dirent|dlfcn|elf|endian|fcntl|fnmatch|ftw|getopt|glob|immintrin|langinfo|libgen|link|malloc|"
    r"netdb|poll|pthread|pwd|sched|semaphore|spawn|termios|ucontext|unistd|x86intrin|execinfo|"
    r"(sys|linux|arpa|netinet|net|sanitizer)/[\w./-]+)\.h")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def folder_of(path, table):
    """The longest folder of the table that holds the path, or None."""
    holders = [f for f in table if path.startswith(f + "/")]
    return max(holders, key=len, default=None)


def check(path, text, users):
    """Faults of one file; notes in `users` which file uses which one-file library."""
    faults = []
    folder = folder_of(path, ARROWS)
    for match in INCLUDE.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        name = match[2]
        library = next((lib for lib, pattern in LIBRARIES.items() if re.fullmatch(pattern, name)), None)
        if library in ONE_FILE:
            users.setdefault(library, set()).add(path)
        if folder is None:
            if path.startswith("tests/"):
                continue
            faults.append(f"{where}: source outside the folders of the design")
        elif name.startswith("tests/"):
            faults.append(f"{where}: {folder} may not include '{name}'")
        elif folder_of(name, ARROWS):
            target = folder_of(name, ARROWS)
            if target not in (folder, "ir/base", *ARROWS[folder]) and name not in FACES.get(folder, []):
                allowed = ", ".join(ARROWS[folder]) or "nothing"
                faults.append(f"{where}: {folder} may not include '{name}' (besides itself and ir/base: {allowed})")
        elif match[1] == '"':
            faults.append(f"{where}: '{name}' is not written from the root of the tree")
        elif library:
            if library not in ALLOWED[folder]:
                faults.append(f"{where}: {folder} may not include <{name}> ({library} belongs to "
                              f"{', '.join(f for f in ALLOWED if library in ALLOWED[f])})")
        elif not LIBC.fullmatch(name):
            faults.append(f"{where}: <{name}> belongs to no library listed in tests/lint/includes.py")
    return faults


def self_test():
    """The checker finds what it should: each case is a path, a line, and whether it is a fault."""
    cases = [
        ("ir/base/a.c", "<stdio.h>", False), ("ir/base/a.c", '"ir/base/b.h"', False),
        ("ir/base/a.c", '"ir/graph.h"', True), ("ir/base/a.c", "<jansson.h>", True),
        ("ir/plan/a.c", "<protobuf-c/protobuf-c.h>", False), ("ir/plan/a.c", '"ir/plan/plan.pb-c.h"', False),
        ("ir/plan/a.c", '"ir/graph.h"', True), ("ir/a.c", '"ir/plan/plan.h"', True), ("ir/a.c", '"ir/a.h"', False),
        ("solver/a.c", "<glpk.h>", False), ("solver/a.c", '"ir/graph.h"', True), ("passes/a.c", "<glpk.h>", True),
        ("passes/a.c", '"solver/lp.h"', False), ("passes/a.c", '"codegen/x.h"', True),
        ("codegen/a.c", "<llvm-c/Core.h>", False), ("codegen/a.c", '"passes/pass.h"', True),
        ("frontend/a.c", "<llvm-c/Core.h>", True), ("frontend/a.c", '"passes/pass.h"', False),
        ("frontend/a.c", '"runtime/exec.h"', True), ("frontend/a.c", '"runtime/command_options.h"', False), ("frontend/a.c", '"runtime/session.h"', False), ("runtime/cpu/a.c", '"runtime/hal.h"', False),
        ("runtime/cpu/a.c", '"ir/graph.h"', True), ("runtime/cuda/a.c", "<cuda.h>", False),
        ("codegen/a.c", "<cuda.h>", True), ("runtime/a.c", '"exec.h"', True), ("runtime/a.c", "<boost/x.h>", True),
        ("runtime/a.c", "<sys/mman.h>", False), ("runtime/a.c", '"tests/unit/unit.h"', True),
        ("tests/unit/a.c", "<cmocka.h>", False), ("tools/a.c", "<stdio.h>", True),
    ]
    wrong = [c for c in cases if bool(check(c[0], f"# include {c[1]}\n", {})) != c[2]]
    return [f"self-test: {path}: {include} is {'accepted' if bad else 'refused'}" for path, include, bad in wrong]


def main():
    faults, users = self_test(), {}
    paths = tree.files(".c", ".h", ".def")
    for path in paths:
        faults += check(path, tree.read(path), users)
    for library, where in users.items():
        inside = sorted(p for p in where if not p.startswith("tests/"))
        if len(inside) > 1:
            faults.append(f"{library} is included by {len(inside)} files, one may: {', '.join(inside)}")
    tree.finish(faults, len(paths))


if __name__ == "__main__":
    main()
