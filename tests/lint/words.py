"""Words that do not belong here: paths of one machine anywhere, and notes of unfinished work in code."""

import re

import tree

# Spelt so that this file does not find itself.
MACHINE = re.compile(r"(?<![\w.-])/(?:" + "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + r"me/\w+"]) + r")/")
UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
TEXT = (".c", ".h", ".def", ".py", ".sh", ".md", ".ir", ".yaml", ".json", ".proto", ".txt", ".build", ".expected",
        "Makefile", "NOTICE")
CODE = (".c", ".h", ".def", ".py", ".sh", ".ir", ".proto", ".build", "Makefile")


def main():
    faults = []
    scripts = set(tree.shell_scripts())
    paths = sorted(set(tree.files(*TEXT)) | scripts)
    for path in paths:
        code = path.endswith(CODE) or path in scripts
        for number, line in enumerate(tree.read(path).splitlines(), 1):
            if MACHINE.search(line):
                faults.append(f"{path}:{number}: a path of one machine: {line.strip()[:80]}")
            if code and UNFINISHED.search(line):
                faults.append(f"{path}:{number}: unfinished work: {line.strip()[:80]}")
    tree.finish(faults, len(paths))


if __name__ == "__main__":
    main()
