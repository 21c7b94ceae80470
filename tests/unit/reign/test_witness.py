"""A dead process on this machine is known to be dead; in doubt it lives."""

import asyncio
import os
import subprocess
import sys

import pytest

from rojak_ray.reign.witness import begin_life, end_life, is_dead, witness_of


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


async def test_a_living_process_lives_and_a_killed_one_is_dead_also_before_it_is_reaped(process):
    witness = witness_of(process.pid)
    assert not await is_dead(witness)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert await is_dead(witness)
    process.wait()
    assert await is_dead(witness)


@pytest.mark.parametrize("field", ["machine", "processes"])
async def test_a_process_that_would_not_be_seen_from_here_lives(process, field):
    witness = witness_of(process.pid)
    process.kill()
    process.wait()
    assert not await is_dead(witness.model_copy(update={field: "another"}))


async def test_a_number_that_is_used_again_is_another_process(process):
    witness = witness_of(process.pid)
    assert await is_dead(witness.model_copy(update={"started": witness.started - 1}))


async def test_a_cluster_that_still_listens_lives_though_its_process_is_gone(process):
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    witness = witness_of(process.pid, f"127.0.0.1:{port}")
    process.kill()
    process.wait()
    assert not await is_dead(witness)
    assert not await is_dead(witness.model_copy(update={"network": "another"}))
    server.close()
    await server.wait_closed()
    assert await is_dead(witness)


@pytest.mark.parametrize("address", ["nonsense", "host:", "127.0.0.1:99999999"])
async def test_an_address_that_means_nothing_says_nothing(process, address):
    witness = witness_of(process.pid, address)
    process.kill()
    process.wait()
    assert not await is_dead(witness)


async def test_a_keeper_of_this_process_is_dead_when_it_has_ended_or_its_loop_is_closed():
    witness = witness_of(os.getpid(), life="one")
    begin_life("one")
    assert not await is_dead(witness)
    end_life("one")
    assert await is_dead(witness)

    async def begin() -> None:
        begin_life("two")

    await asyncio.to_thread(asyncio.run, begin())
    assert await is_dead(witness.model_copy(update={"life": "two"}))


async def test_nothing_is_concluded_where_nothing_can_be_seen(tmp_path):
    assert witness_of(os.getpid(), proc=tmp_path) is None
    assert not await is_dead(None)
    assert not await is_dead(witness_of(os.getpid()), proc=tmp_path)
