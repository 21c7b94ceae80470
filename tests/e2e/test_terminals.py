"""The commands on terminals and pipes as they are: narrow ones, without colours, and those whose reader leaves."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import HANG_S

from rojak_ray.testing.runtime import InProcessRuntime

ROJAK = [sys.executable, "-m", "rojak_ray.cli.main"]
SESSION = "customer-4711-of-the-branch-in-singapore-and-of-no-other-branch"
RECORD = "     7  2026-11-30T08:00:00.000  writer 2  events"
FORGED = f"hello\n{RECORD}\r\n{RECORD}\x1b[2J\u202e\u2028{RECORD}"
UNSET = ("RAY_ADDRESS", "ROJAK_DEBUG", "COLUMNS", "NO_COLOR")


async def fill(storage: Path) -> None:
    async with InProcessRuntime(str(storage)) as rojak:
        await rojak.create_worker([PlanActivities()])
        session = await rojak.create_session(SESSION, PlanAgent(name="A"))
        said = [{"role": "assistant", "content": FORGED}, {"role": "user", "content": plan(FORGED)}]
        for _ in range(20):
            await session.send_messages(said)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("terminals") / "storage"
    asyncio.run(fill(place))
    return place


def environment(storage: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in UNSET}
    return kept | {"ROJAK_STORAGE": str(storage), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | more


def on_pipe(storage: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ROJAK, "sessions", *arguments], capture_output=True, text=True, timeout=HANG_S, env=environment(storage)
    )


def on_terminal(arguments: list[str], env: dict[str, str]) -> str:
    """What a terminal of 80 columns gets on standard output and error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*ROJAK, "sessions", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = b""
    while piece := _read(ours):
        seen += piece
    os.close(ours)
    process.wait(HANG_S)
    return seen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("arguments", [["journal"], ["journal", "--json"], ["show"], ["show", "--json"]])
def test_a_reader_that_leaves_is_no_error(arguments: list[str], storage: Path) -> None:
    command = [*ROJAK, "sessions", arguments[0], SESSION, *arguments[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(storage)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(HANG_S) in (0, 141)  # 0: it had written everything before


def test_ids_are_whole_on_a_narrow_terminal(storage: Path) -> None:
    assert SESSION in on_terminal(["list"], environment(storage))


def test_errors_have_colour_only_where_it_is_wanted(storage: Path) -> None:
    command = ["show", "nobody"]
    assert "\x1b[31m" in on_terminal(command, environment(storage))
    assert "\x1b[" not in on_terminal(command, environment(storage, NO_COLOR="1"))


@pytest.mark.parametrize("command", ["journal", "show"])
def test_what_was_said_passes_for_no_record(command: str, storage: Path) -> None:
    done = on_pipe(storage, command, SESSION)
    assert done.returncode == 0, done.stderr
    assert RECORD in done.stdout, "it is shown"
    assert RECORD not in done.stdout.splitlines()
    assert not set(done.stdout) & set("\x1b\r\u202e\u2028")


@pytest.mark.parametrize("command", [["journal"], ["show"], ["tail", "--until-idle"]])
def test_json_drives_no_terminal_and_loses_nothing(command: list[str], storage: Path) -> None:
    done = on_pipe(storage, command[0], SESSION, "--json", *command[1:])
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout) & set("\x1b\r\u202e\u2028")
    assert FORGED in texts(json.loads(line) for line in done.stdout.splitlines())


def texts(value: Any) -> set[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if hasattr(value, "__iter__") else ()
    return {text for each in inner for text in texts(each)}


@pytest.mark.parametrize("options", [[], ["--json"], ["--active"]])
def test_an_empty_list_names_the_place(options: list[str], tmp_path: Path) -> None:
    place = tmp_path / "mistyped"
    done = on_pipe(place, "list", *options)
    assert done.returncode == 0
    assert str(place) in done.stderr
    assert "does not exist" in done.stderr
    assert not place.exists(), "looking makes nothing"
