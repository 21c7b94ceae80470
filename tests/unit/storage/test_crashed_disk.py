"""A real file system that stops in the middle of writing and is mounted again."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rojak_ray.storage.local import LocalStore

SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, (2).to_bytes(4, sys.byteorder)

WRITER = """
import asyncio, sys
from rojak_ray.storage.local import LocalStore

async def main(root):
    store = LocalStore(root)
    async def write(task):
        number = 0
        while True:
            number += 1
            key, size = f"{task}/{number}", 1 + (task * 7919 + number * 104729) % 9000
            await store.put_new(key, content(key, size))
            print("put", key, size, flush=True)
            if number % 5 == 0:
                await store.delete(f"{task}/{number - 2}")
                print("deleted", f"{task}/{number - 2}", 0, flush=True)
    await asyncio.gather(*(write(task) for task in range(4)))

def content(key, size):
    return (key.encode() + b".") * (size // len(key) + 1)

asyncio.run(main(sys.argv[1]))
"""


def run(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def content(key: str, size: int) -> bytes:
    return (key.encode() + b".") * (size // len(key) + 1)


def size_of(key: str) -> int:
    task, number = map(int, key.split("/"))
    return 1 + (task * 7919 + number * 104729) % 9000


@pytest.mark.parametrize("lines", [40, 400])
async def test_acknowledged_writes_survive_a_file_system_that_stops(tmp_path: Path, lines: int):
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    maker = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    if (
        os.geteuid() != 0
        or maker is None
        or not run(maker, "-q", image)
        or not run("mount", "-o", "loop", image, mount)
    ):
        pytest.skip("needs root, mkfs.ext4 and loop devices")
    writer = None
    try:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(mount / "root")], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(lines)]
        disk = os.open(mount, os.O_RDONLY)
        fcntl.ioctl(disk, SHUTDOWN, WITHOUT_FLUSH)
        os.close(disk)
        writer.kill()
        told += writer.communicate()[0].splitlines(keepends=True)
        assert run("umount", mount)
        assert run("mount", "-o", "loop", image, mount)
        await check(mount / "root", [line.split() for line in told if line.endswith("\n")])
    finally:
        if writer is not None:
            writer.kill()
            writer.wait()
        run("umount", mount) or run("umount", "-l", mount)


async def check(root: Path, told: list[list[str]]) -> None:
    store = LocalStore(root)
    keys = await store.list("")
    written = {key for word, key, _ in told if word == "put"}
    deleted = {key for word, key, _ in told if word == "deleted"}
    lost = written - deleted - set(keys)
    # A delete that was not answered may have been done.
    last = {task: max(int(key.split("/")[1]) for key in written if key.startswith(f"{task}/")) for task in "0123"}
    assert {key for key in lost if int(key.split("/")[1]) != last[key[0]] - 2} == set()
    assert deleted & set(keys) == set()
    for key in keys:
        assert await store.get(key) == content(key, size_of(key)), f"{key} is torn"
    await store.aclose()
