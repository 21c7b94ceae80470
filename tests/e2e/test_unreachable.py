"""What cannot work says so in a line, soon, and loses nothing: storage and Ray that are not there."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

from rojak_ray import OfflineAgent, Rojak, errors
from rojak_ray.testing.runtime import InProcessRuntime


async def test_cluster_nobody_listens_at_is_refused_within_seconds(tmp_path: Path) -> None:
    async with asyncio.timeout(HANG_S):
        with pytest.raises(errors.RayUnavailable, match=r"127\.0\.0\.1:1"):
            await Rojak(str(tmp_path), address="127.0.0.1:1").run(agent=OfflineAgent(name="A"), messages="hi")


NO_RAY = """
import asyncio, sys
from rojak_ray import OfflineAgent, Rojak, errors

async def main():
    rojak = Rojak(sys.argv[1], address="local", ray_options={"_temp_dir": sys.argv[2]})
    try:
        await rojak.run(agent=OfflineAgent(name="A"), messages="hi")
    except errors.RayUnavailable as error:
        print(error)

asyncio.run(main())
"""


def test_ray_that_cannot_start_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", NO_RAY, str(tmp_path), str(tmp_path / "file" / "ray")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)

    assert done.returncode == 0, done.stderr
    assert "could not be started here" in done.stdout
    assert "address=" in done.stdout


async def test_storage_below_a_file_is_refused_and_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises((errors.StorageError, errors.InvalidStorage), match="file"):
        async with InProcessRuntime(str(tmp_path / "file" / "storage")) as runtime:
            await runtime.run(agent=OfflineAgent(name="A"), messages="hi")


@pytest.mark.parametrize("url", ["memory://", "http://example.test/x", "s3://key:secret@bucket/x", "zip://a.zip"])
def test_storage_that_cannot_be_durable_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.InvalidStorage) as refusal:
        Rojak(url)
    assert "secret" not in str(refusal.value)
