"""The set-up of the Makefile, run as it runs it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HINTS = ("PIP_", "UV_", "PYENV_", "MISE_", "ASDF_", "RUNNER_", "VIRTUAL_ENV", "MAKE")
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(HINTS)}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def set_up(python: str, folder: Path, what: str = "demo", **environ: str) -> Ended:
    """Run the set-up as the Makefile does, in a copy of nothing: it only reads the checkout."""
    ran = subprocess.run(
        [ROOT / "tools" / "set_up.sh", python, str(folder), what],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        env=PLAIN | environ,
        check=False,
    )
    return Ended(ran.returncode, ran.stdout, ran.stderr)


def assert_one_line(ended: Ended, *words: str) -> None:
    assert ended.code == 1, ended
    assert ended.err.count("\n") == 1, ended.err
    for word in words:
        assert word in ended.err
