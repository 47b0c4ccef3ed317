"""Source files stay near 300-500 lines: a warning above 500, a fault above 1000."""

import tree

WARN, FAIL = 500, 1000


def main():
    faults = []
    paths = tree.files(".c", ".h", ".def", ".py", ".sh", ".proto", "meson.build")
    for path in paths:
        lines = tree.read(path).count("\n")
        if lines > FAIL:
            faults.append(f"{path}: {lines} lines; split it (at most {FAIL})")
        elif lines > WARN:
            print(f"{path}: warning: {lines} lines (better below {WARN})")
    tree.finish(faults, len(paths))


if __name__ == "__main__":
    main()
