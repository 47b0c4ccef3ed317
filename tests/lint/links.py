"""Relative links of the Markdown files lead somewhere, also to the heading they name; and each top folder has
its README.md."""

import os
import re

import tree

LINK = re.compile(r"\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]\n]+\]:\s*<?(\S+?)>?\s*$", re.M)
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.M | re.S)
FOLDERS = ("ir", "frontend", "passes", "solver", "codegen", "runtime", "models", "tests", "docs")


def without_code(text):
    """The text with code blanked, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])
    return re.sub(r"`[^`\n]+`", blank, FENCE.sub(blank, text))


def anchors(text):
    """The heading anchors of a Markdown text, as GitHub makes them."""
    found, seen = set(), {}
    for match in re.finditer(r"^#{1,6}\s+(.*?)\s*#*$", FENCE.sub("", text), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return found


def main():
    faults = [f"{folder}/README.md is missing" for folder in FOLDERS
              if not os.path.exists(os.path.join(tree.ROOT, folder, "README.md"))]
    paths = tree.files(".md")
    for path in paths:
        text = without_code(tree.read(path))
        for match in [*LINK.finditer(text), *REFERENCE.finditer(text)]:
            target = match[1]
            if re.match(r"[a-zA-Z][\w+.-]*:", target):
                continue
            where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            file, _, anchor = target.partition("#")
            full = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            if file.startswith("/") or full.startswith("..") or not os.path.exists(os.path.join(tree.ROOT, full)):
                faults.append(f"{where}: '{target}' leads nowhere")
            elif anchor and full.endswith(".md") and anchor not in anchors(tree.read(full)):
                faults.append(f"{where}: '{full}' has no heading '#{anchor}'")
    tree.finish(faults, len(paths))


if __name__ == "__main__":
    main()
