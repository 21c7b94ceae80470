"""A program of its own, since Ray keeps the token it has first seen: `python -m support.hosts_follow FOLDER`.

A node comes and goes under sessions at work. Exit code 0 if shared hosts became more and fewer, owners moved, and none
that worked was cut short.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import ray
from support.effects import count, effects_in, make_steps, story
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import until

from benchmarks.chaos.nodes import Cluster
from rojak_ray import Rojak
from rojak_ray.runtime import actors
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.settings import SHARED_HOST
from rojak_ray.sessions.pool_settings import PoolSettings

SESSIONS = [f"s{number}" for number in range(8)]


async def host_map(rojak: Rojak) -> HostMap:
    catalog: Any = actors.find("CatalogActor", rojak.settings)
    found: HostMap = await catalog.hosts.remote()
    return found


async def hosts_of(rojak: Rojak) -> dict[str, tuple[HostMap, str]]:
    """By name, the map each shared host knows and its node."""
    names = [name for name in actors.names_of(rojak.settings) if name.startswith(SHARED_HOST)]
    handles: dict[str, Any] = {name: actors.find(name, rojak.settings) for name in names}
    return {name: await handle.describe.remote() for name, handle in handles.items() if handle is not None}


async def follow(rojak: Rojak, cluster: Cluster, effects: Path) -> None:
    """The story; an `AssertionError` where it goes wrong."""
    functions = make_steps(str(effects))
    await rojak.create_worker([PlanActivities()], functions=functions)
    agent = PlanAgent(name="A", functions=[each.__name__ for each in functions])
    sessions = [await rojak.create_session(each, agent) for each in SESSIONS]
    busy = [asyncio.create_task(each.send_messages(story("wait_for_go"))) for each in sessions[:4]]
    await until(lambda: count(effects, "waiting") == 4, "half of them work")
    assert (await host_map(rojak)).count == 2

    one, two = cluster.nodes["one"].node_id, cluster.add_node("two", num_cpus=8).node_id
    await until(lambda: _grown(rojak), "there are four hosts, and some owners are still where they were")
    nodes = Counter(node for _, node in (await hosts_of(rojak)).values())
    assert nodes[two] >= 1, nodes
    assert abs(nodes[one] - nodes[two]) <= 1, f"spread over the nodes with CPUs: {nodes} of {one} and {two}"
    late = await asyncio.gather(*(each.send_messages(plan("hello")) for each in sessions[4:]))
    assert all(response.messages[-1].content == "hello" for response in late)
    also = [asyncio.create_task(each.send_messages(plan("also"))) for each in sessions[:4]]
    Path(f"{effects}.go").touch()
    await asyncio.gather(*busy, *also)
    assert {effect.attempt for effect in effects_in(effects)} == {1}, "nothing was interrupted"
    assert count(effects, "waiting") == 4

    await until(lambda: _settled(rojak, 4), "all have moved")
    cluster.kill("two")
    await until(lambda: _settled(rojak, 2), "there are two hosts again", within_s=300)
    await until(lambda: _names(rojak, 2), "and no others")
    again = await asyncio.gather(*(each.send_messages(plan("more")) for each in sessions))
    assert all(response.messages[-1].content == "more" for response in again)


async def _grown(rojak: Rojak) -> bool:
    found = await host_map(rojak)
    return found.count == 4 and found.former == (2,)


async def _settled(rojak: Rojak, count: int) -> bool:
    found = await host_map(rojak)
    return found.count == count and not found.former


async def _names(rojak: Rojak, count: int) -> bool:
    return len([name for name in actors.names_of(rojak.settings) if name.startswith(SHARED_HOST)]) == count


async def main(folder: Path) -> None:
    """Two nodes on loopback, a head without CPUs and one with room for two hosts; then the story."""
    cluster, effects = Cluster(), folder / "effects"
    # Of the many CPUs that the nodes claim to have none is for functions: no process need be ready for each.
    idle = {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}
    cluster.environment |= idle | {"RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]}
    effects.touch()
    try:
        cluster.start_head()
        cluster.add_node("one", num_cpus=8)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False, _node_ip_address="127.0.0.2")
        pool = PoolSettings(fewer_hosts_after_s=1.0)
        async with Rojak(str(folder / "storage"), placement="shared", pool=pool) as rojak:
            await follow(rojak, cluster, effects)
    finally:
        ray.shutdown()
        cluster.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
