"""shellcheck on every shell script; skips where it is not installed."""

import shutil
import subprocess

import tree


def main():
    if not shutil.which("shellcheck"):
        tree.skip("no shellcheck")
    scripts = tree.shell_scripts()
    result = subprocess.run(["shellcheck", "--severity=warning", "--format=gcc", *scripts], cwd=tree.ROOT,
                            capture_output=True, text=True)
    faults = (result.stdout + result.stderr).splitlines()
    if result.returncode and not faults:
        faults = [f"shellcheck failed with {result.returncode}"]
    tree.finish(faults, len(scripts))


if __name__ == "__main__":
    main()
