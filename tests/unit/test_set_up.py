"""What a newcomer meets who types `make demo`: each thing in the way ends in one line that says what to do."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from support.setting_up import ROOT, assert_one_line, set_up


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A machine with the usual commands and no Python of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "awk", "df", "dirname", "grep", "rm", "seq", "tail", "tr", "uname", "printf"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return {"PATH": str(folder), "HOME": str(tmp_path)}


def fake_python(folder: Path, name: str, version: tuple[int, int], *, venv: str = "") -> Path:
    """A Python that says it has this version; `venv` is what making an environment runs."""
    real = f'exec {sys.executable} -c "import sys; sys.version_info = {(*version, 0)}; exec(sys.argv.pop(1))" "$2"'
    return program(folder / name, f'case "$1" in -c) {real} ;; *) {venv or "exit 3"} ;; esac')


@pytest.mark.parametrize("there", [None, "exit 127"], ids=["no command", "a shim that leads nowhere"])
def test_no_python_says_to_install_one(tmp_path: Path, bare: dict[str, str], there: str | None) -> None:
    if there:
        program(tmp_path / "bin" / "python3", there)
    assert_one_line(set_up("python3", tmp_path / "venv", **bare), "Python 3.11", "no python3", "install")


def test_old_python_names_a_newer_one_that_is_here(tmp_path: Path, bare: dict[str, str]) -> None:
    fake_python(tmp_path / "bin", "python3", (3, 9))
    assert_one_line(set_up("python3", tmp_path / "venv", **bare), "Python 3.11", "python3 is 3.9", "install")
    newer = fake_python(tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin", "python3", (3, 12))
    assert_one_line(set_up("python3", tmp_path / "venv", **bare), "python3 is 3.9", f"make PYTHON={newer}")
    assert not (tmp_path / "venv").exists()


def test_no_venv_module_names_the_package(tmp_path: Path, bare: dict[str, str]) -> None:
    words = "The virtual environment was not created successfully because ensurepip is not available."
    fake_python(tmp_path / "bin", "python3", (3, 12), venv=f'echo "{words}"; exit 1')
    assert_one_line(set_up("python3", tmp_path / "venv", **bare), "apt-get install python3.12-venv")


def installer(folder: Path, words: str, code: int = 1) -> Path:
    """An environment whose pip says these words."""
    (folder / "said").parent.mkdir(parents=True, exist_ok=True)
    (folder / "said").write_text(words)
    fake_python(folder / "bin", "python", (3, 12), venv=f"cat {folder}/said; exit {code}")
    return folder


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", "disk is full"),
        ("OSError: [Errno 122] Disk quota exceeded: '/x'", "disk is full"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/ray/\n"
            "ERROR: No matching distribution found for ray==2.60.0 (from rojak-ray)\n",
            "package index can't be reached",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'", "can't be written"),
        (
            "ERROR: Could not find a version that satisfies the requirement ray\n"
            "ERROR: No matching distribution found for ray==2.60.0\n",
            "no Ray for Python 3.12",
        ),
        ("ERROR: Cannot install a and b because these conflict.\n\n[notice] A new release\n", "these conflict."),
        ("", "it said nothing"),
    ],
)
def test_what_pip_says_becomes_one_line_of_advice(tmp_path: Path, said: str, advice: str) -> None:
    assert_one_line(set_up("python3", installer(tmp_path / "venv", said)), advice)


def test_what_only_some_tests_need_fails_no_set_up(tmp_path: Path) -> None:
    """Everything installs but one package of the optional group."""
    pip = 'case "$*" in *pins.py*) echo seaweedfs; echo moto ;; *"--group test-optional"* | *seaweedfs*) exit 1 ;; esac'
    fake_python(tmp_path / "venv" / "bin", "python", (3, 13), venv=f"{pip}; exit 0")
    ended = set_up("python3", tmp_path / "venv", "all")
    assert (ended.code, ended.err) == (0, "")
    assert re.findall(r"^Not installed.*skipped: (.*)$", ended.out, re.MULTILINE) == ["seaweedfs"]


def test_pythons_that_were_tried_are_among_those_the_pins_resolve_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tried = [name.rpartition(" :: ")[2] for name in project["classifiers"] if ":: Python :: 3." in name]
    source = (ROOT / "tools" / "pins.py").read_text()
    assert tried
    assert all(f'"{version}"' in source for version in tried)
    assert f'requires-python = ">={tried[0]}"' in (ROOT / "pyproject.toml").read_text()
