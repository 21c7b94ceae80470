"""The pins of constraints.txt, for every Python the project is made for.

python tools/pins.py                 fails unless they are complete and resolve to wheels for each Python
python tools/pins.py --lock          pins what is missing or no longer fits; the other pins stay (--upgrade: all anew)
python tools/pins.py --group NAME    prints a dependency group, one requirement a line
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Those that the pinned Ray has wheels for."""

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
_UV = (Path(sys.executable).parent / "uv", "pip", "compile", "-q", "pyproject.toml", "--group", "dev")
_EVERYTHING = ("--group", "test-optional", "--all-extras", "--no-header", "--no-annotate")


def group(name: str) -> list[str]:
    """The requirements of a dependency group as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [requirement for requirement in project["dependency-groups"][name] if isinstance(requirement, str)]


def pinned(text: str) -> dict[str, str]:
    """Names and versions of a constraints file."""
    lines = (line.partition(";")[0].strip() for line in text.splitlines() if "==" in line and line[0] != "#")
    pairs = (line.split("==") for line in lines)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def check(python: str) -> str | None:
    """What is wrong with the pins for one Python: they conflict, have no wheel, or miss a package; None if nothing."""
    only = ("--python-version", python, "--only-binary", ":all:", "-c", CONSTRAINTS)
    ran = subprocess.run([*_UV, *_EVERYTHING, *only], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        return ran.stderr.strip()
    missing = pinned(ran.stdout).keys() - pinned(CONSTRAINTS.read_text(encoding="utf-8")).keys()
    return f"no pin for {', '.join(sorted(missing))}: run make lock" if missing else None


def lock(*, upgrade: bool) -> int:
    """Write constraints.txt anew, with markers where Pythons and systems differ."""
    options = ["--universal", "--python-version", PYTHONS[0], "-o", CONSTRAINTS.name, *(["--upgrade"] * upgrade)]
    return subprocess.run([*_UV, *_EVERYTHING, *options], cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", action="store_true")
    parser.add_argument("--upgrade", action="store_true")
    parser.add_argument("--group", metavar="NAME")
    asked = parser.parse_args()
    if asked.group:
        print("\n".join(group(asked.group)))
        return 0
    if asked.lock:
        return lock(upgrade=asked.upgrade)
    problems = {python: problem for python in PYTHONS if (problem := check(python))}
    for python in PYTHONS:
        print(f"Pins for Python {python}: {problems.get(python, 'ok')}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
