"""`rojak sessions` while a cluster runs: changes go through it, and only through one that serves the installation."""

import asyncio
import os
import subprocess
import sys

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import HANG_S

from rojak_ray import Rojak, SessionNotFound
from rojak_ray.errors import RunCancelled
from rojak_ray.runtime import cluster

pytestmark = pytest.mark.ray


def never() -> str:
    """Never return."""
    import time

    time.sleep(600)
    return ""


async def typed(*arguments: str, installation: dict[str, str]) -> str:
    import ray

    where = ["--storage", installation["storage"], "--namespace", installation["namespace"]]
    address = ["--address", ray.get_runtime_context().gcs_address]
    command = [sys.executable, "-m", "rojak_ray.cli.main", *arguments, *where, *address]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        stdin=subprocess.DEVNULL,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


async def test_cancelling_and_deleting_reach_the_process_that_holds_the_session(
    rojak: Rojak, installation: dict[str, str], unique: str
) -> None:
    async with await rojak.create_worker([PlanActivities()]):
        session = await rojak.create_session(unique, PlanAgent(name="A", functions=[never]))
        waiting = asyncio.create_task(session.send_messages(plan([["never", {}]])))
        async for event in session.events():
            if event.kind == "function_call":
                break
        await typed("sessions", "cancel", unique, installation=installation)
        with pytest.raises(RunCancelled):
            await waiting
        await typed("sessions", "delete", unique, "--yes", installation=installation)
        with pytest.raises(SessionNotFound):
            await rojak.get_session(unique)


async def test_cluster_is_told_from_one_that_serves_others(rojak: Rojak, installation: dict[str, str]) -> None:
    place = rojak.settings.storage
    assert cluster.hosts_installation(place, installation["namespace"])
    assert not cluster.hosts_installation(place, "somebody-else")
    assert not cluster.hosts_installation(f"{place}/elsewhere", installation["namespace"])
