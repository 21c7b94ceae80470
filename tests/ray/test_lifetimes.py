"""Whose Ray a program uses: never one that ends with another program; and if it joined such a one, it outlives it.

Each program is a process of its own, with a real Ray.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
import rojak_ray
from rojak_ray import OfflineAgent, Rojak
from rojak_ray.errors import RojakError

async def main(place, address, then):
    options = {"_temp_dir": f"{place}/ray", "num_cpus": 1, "log_to_driver": False}
    async with Rojak(f"{place}/storage", address=address or None, ray_options=options) as rojak:
        session = await rojak.create_session("s", OfflineAgent())
        await session.send_messages("hi")
        import ray
        print(ray.get_runtime_context().gcs_address, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        if then == "wait until it is gone":
            while not rojak._gateway._head.gone:
                await asyncio.sleep(1)
        try:
            await session.send_messages("hi again")
            print("answered", flush=True)
        except RojakError as told:
            print(f"told: {type(told).__name__}", flush=True)

try:
    asyncio.run(main(*sys.argv[1:]))
except RojakError as told:
    print(f"{type(told).__name__}: {told}", flush=True)
"""


class Program:
    """A program that says at which Ray it is, and asks again when it is told to go on."""

    def __init__(self, place: Path, address: str = "", then: str = "", **environ: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(place), address, then]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=kept | environ
        )

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def ended(self) -> int:
        return self._process.wait(200)

    def end(self) -> None:
        """Let it come to its end, so that its Ray ends with it."""
        if self._process.poll() is None:
            self._process.communicate(timeout=200)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because Ray puts sockets below it."""
    with tempfile.TemporaryDirectory(prefix="rj", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture
def first(folder: Path) -> Iterator[Program]:
    """A program that started Ray for itself."""
    program = Program(folder / "one", "local")
    yield program
    program.end()


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_two_programs_of_one_user_do_not_share_a_ray_that_ends_with_one_of_them(folder: Path, first: Program) -> None:
    """Nor does the kernel of a notebook that was started again find the Ray of the old one."""
    there = first.says()
    second = Program(folder / "two", RAY_TMPDIR=str(folder / "no-ray-was-started-to-stay"))
    try:
        assert second.says() not in {"", there}
        first.go_on()
        assert first.says() == "answered"
        assert first.ended() == 0
        second.go_on()
        assert second.says() == "answered"
        assert second.ended() == 0
    finally:
        second.end()


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_program_outlives_the_ray_of_another_that_it_was_told_to_join(folder: Path, first: Program) -> None:
    there = first.says()
    second = Program(folder / "two", there, "wait until it is gone")
    try:
        assert second.says() == there
        first.go_on()
        assert first.says() == "answered"
        assert first.ended() == 0
        second.go_on()
        assert second.says() == "told: RayUnavailable"
        assert second.ended() == 0
    finally:
        second.end()


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_a_cluster_whose_token_is_anothers_is_said(folder: Path, first: Program) -> None:
    """As the second user of a machine meets it."""
    there = first.says()
    second = Program(folder / "two", there, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        told = second.says()
        assert told.startswith("RayUnavailable"), told
        assert "token" in told
        assert second.ended() == 0
    finally:
        second.end()
