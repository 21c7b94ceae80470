"""Commands beside a program that works on the same storage: looks read, changes are refused by its name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

PROGRAM = """
import asyncio, sys
from rojak_ray import OfflineAgent
from rojak_ray.schedules import ScheduleSpec
from rojak_ray.testing.runtime import InProcessRuntime

async def main():
    async with InProcessRuntime(sys.argv[1]) as rojak:
        session = await rojak.create_session("s", OfflineAgent())
        await session.send_messages("hello")
        await rojak.create_schedule("d", ScheduleSpec(cron_expressions=["0 0 1 1 *"]), OfflineAgent(), "hello")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def ruler(tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "storage")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def rojak(storage: Path, *arguments: str) -> tuple[int, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "ROJAK_DEBUG")}
    done = subprocess.run(
        [sys.executable, "-m", "rojak_ray.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env=kept | {"ROJAK_STORAGE": str(storage), "RAY_TMPDIR": str(storage)},
    )
    return done.returncode, done.stdout + done.stderr


def objects(storage: Path) -> set[str]:
    found = {str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file()}
    return {path for path in found if "/alive/" not in path and "/tail/" not in path}


def test_looks_read_and_changes_are_refused_by_naming_the_program_until_it_ends(tmp_path, ruler):
    storage = tmp_path / "storage"
    before = objects(storage)
    for look in (
        ("sessions", "list"),
        ("sessions", "show", "s"),
        ("sessions", "tail", "s", "--until-idle"),
        ("schedules", "list"),
        ("schedules", "show", "d"),
    ):
        code, said = rojak(storage, *look)
        assert code == 0, said
    code, said = rojak(storage, "doctor", "--json")
    assert (code, json.loads(said)["reign"]) == (0, 1)
    assert f"process {ruler.pid}" in said
    assert "working" in said
    for change in (("sessions", "delete", "s", "--yes"), ("schedules", "pause", "d")):
        code, said = rojak(storage, *change)
        assert code == 1
        assert f"process {ruler.pid}" in said
        assert "bug" not in said
    assert objects(storage) == before

    ruler.communicate("\n", timeout=HANG_S)
    code, said = rojak(storage, "schedules", "pause", "d", "--note", "holiday")
    assert code == 0, said
    code, said = rojak(storage, "schedules", "list")
    assert "paused" in said
    code, said = rojak(storage, "sessions", "delete", "s", "--yes")
    assert code == 0, said
    code, said = rojak(storage, "doctor")
    assert code == 0
    assert "is over" in said


def test_a_storage_whose_ruler_was_killed_is_changed_at_once(tmp_path, ruler):
    ruler.kill()
    ruler.wait()
    code, said = rojak(tmp_path / "storage", "doctor")
    assert code == 0
    assert "dead" in said
    code, said = rojak(tmp_path / "storage", "sessions", "cancel", "s")
    assert code == 0, said
