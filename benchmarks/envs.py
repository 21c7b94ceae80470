"""An environment for each peer, made once from its pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVS = Path(__file__).parent / ".envs"
PEERS = Path(__file__).parent / "peers"
_INSTALL_S = 600


class Unavailable(Exception):
    """A system cannot be had on this machine; says why."""


def interpreter(version: str) -> str:
    """A Python of this version (3.12), from the path or from pyenv; this one if none is named."""
    if not version or version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python"), reverse=True)
    for candidate in [*map(str, pyenv), shutil.which(f"python{version}")]:
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    raise Unavailable(f"needs Python {version}, which is not on this machine")


def prepare(peer: str, python: str = "") -> Path:
    """The interpreter of a peer's environment; this project's own peer uses the one that runs.

    Raises:
        Unavailable: It could not be installed.
    """
    requirements = PEERS / peer / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    folder = ENVS / peer
    found = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(found), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)]
    for command in ([interpreter(python), "-m", "venv", str(folder)], install):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        except subprocess.TimeoutExpired as late:
            raise Unavailable(f"installing took over {_INSTALL_S} s") from late
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
            raise Unavailable(f"could not be installed: {errors[-1]}")
    stamp.write_text(wanted)
    return found


def program(peer: str, name: str) -> Path:
    """The path of a command in an environment."""
    return prepare(peer).with_name(name)
