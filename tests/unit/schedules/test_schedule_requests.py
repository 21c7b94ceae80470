"""A request to a schedule is taken once: repeated at once, after a restart, a thousand others, or a deletion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.plans import MONDAY
from support.scheduling import World

from rojak_ray import OfflineAgent
from rojak_ray.errors import (
    InvalidId,
    RequestConflict,
    RojakError,
    ScheduleExists,
    ScheduleNotFound,
)
from rojak_ray.schedules import ScheduleBackfill, ScheduleOverlapPolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.client import SchedulingClient
from rojak_ray.schedules.commands import PauseSchedule, Request
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

NEVER = ScheduleSpec(cron_expressions=["0 0 1 1 *"])
SPAN = ScheduleBackfill(MONDAY - timedelta(days=365 * 2), MONDAY, ScheduleOverlapPolicy.ALLOW_ALL)


async def create(client: SchedulingClient, **given: Any) -> None:
    await client.create_schedule("s", given.pop("spec", NEVER), OfflineAgent(), "hi", request_id="r", **given)


async def ask(client: SchedulingClient, name: str, **given: Any) -> None:
    handle = client._handle("s")
    if name == "backfill":
        await handle.backfill(given.pop("span", SPAN), request_id="r")
    else:
        await getattr(handle, name)(request_id="r", **given)


async def look(client: SchedulingClient) -> Any:
    try:
        found = await (await client.get_schedule("s")).describe()
    except ScheduleNotFound:
        return None
    info = found.info
    return info.num_actions, info.last_updated_at, found.state, found.spec, len(info.backfills)


REQUESTS = {
    "pause": {"note": "why"},
    "unpause": {},
    "trigger": {},
    "backfill": {},
    "cancel_backfills": {},
    "update": {"spec": ScheduleSpec(cron_expressions=["0 0 2 1 *"])},
    "delete": {},
}


async def disturb(client: SchedulingClient) -> None:
    """Others change the schedule back, and ask for many things."""
    try:
        handle = await client.get_schedule("s")
    except ScheduleNotFound:
        handle = await client.create_schedule("s", NEVER, OfflineAgent(), "another")
    await handle.update(spec=NEVER, state=ScheduleState(paused=True, note="others"))
    for number in range(40):
        await handle.pause(note=str(number), request_id=f"other-{number}")


@pytest.mark.parametrize("name", REQUESTS)
async def test_repetition_changes_nothing_whatever_happened_meanwhile(name):
    store, clock = MemoryStore(), FakeClock(MONDAY)
    async with InProcessRuntime(store, clock=clock) as client:
        await client.create_schedule("s", NEVER, OfflineAgent(), "hi", state=ScheduleState(paused=name == "unpause"))
        before = await look(client)
        await ask(client, name, **REQUESTS[name])
        await clock.advance(3)
        assert name in {"cancel_backfills"} or await look(client) != before
        await disturb(client)
        await clock.advance(3)
        settled = await look(client)
        await ask(client, name, **REQUESTS[name])
        assert await look(client) == settled
    async with InProcessRuntime(store, clock=clock) as client:
        await ask(client, name, **REQUESTS[name])
        await clock.advance(3)
        assert await look(client) == settled
        await client._handle("s").delete()
        await ask(client, name, **REQUESTS[name])  # it was taken: nobody has to find out whether the schedule is there
        assert await look(client) is None


async def test_creation_is_repeated_without_a_second_schedule_also_when_it_was_deleted():
    store, clock = MemoryStore(), FakeClock(MONDAY)
    async with InProcessRuntime(store, clock=clock) as client:
        await create(client)
        await create(client)
        with pytest.raises(ScheduleExists):
            await client.create_schedule("s", NEVER, OfflineAgent(), "hi", request_id="other")
        await client._handle("s").delete()
        await create(client)
    async with InProcessRuntime(store, clock=clock) as client:
        await create(client)
        assert await look(client) is None
        await client.create_schedule("s", NEVER, OfflineAgent(), "hi", request_id="other")
        assert await look(client) is not None


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("pause", {"note": "another"}),
        ("trigger", {"overlap": ScheduleOverlapPolicy.SKIP}),
        ("backfill", {"span": ScheduleBackfill(MONDAY, MONDAY)}),
        ("update", {"state": ScheduleState(paused=True)}),
        ("create", {"spec": ScheduleSpec(cron_expressions=["@daily"])}),
    ],
)
async def test_name_of_a_request_that_is_used_for_something_else_is_refused(name, other):
    async with InProcessRuntime(clock=FakeClock(MONDAY)) as client:
        await create(client)
        if name != "create":
            await ask(client, name, **REQUESTS[name])
        with pytest.raises(RequestConflict, match="'r'"):
            await (create(client, **other) if name == "create" else ask(client, name, **other))
        with pytest.raises(InvalidId):
            await client._handle("s").pause(request_id="")


class LosesReplies(MemoryStore):
    """Storage that fails once, before or after the record is there."""

    fails: bool | None = None

    async def put_new(self, key: str, data: bytes) -> None:
        if self.fails is None or "/log/" not in key or "/scheduler/" not in key:
            await super().put_new(key, data)
            return
        landed, self.fails = self.fails, None
        if landed:
            await super().put_new(key, data)
        raise RuntimeError("nobody hears whether it is stored")


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("name", ["create", *REQUESTS])
async def test_request_whose_reply_was_lost_is_asked_again(name, landed):
    store, clock = LosesReplies(), FakeClock(MONDAY)
    async with InProcessRuntime(store, clock=clock) as client:
        await client.create_schedule("s" if name != "create" else "x", NEVER, OfflineAgent(), "hi")

        async def act() -> None:
            await (create(client) if name == "create" else ask(client, name, **REQUESTS[name]))

        store.fails = landed
        with pytest.raises(RojakError):
            await act()
        await act()
        await act()
        await clock.advance(5)
        found = await look(client)
        assert (found is None) is (name == "delete")
        if name == "trigger":
            assert found[0] == 1
        if name == "backfill":
            assert found[0] == 2


async def test_thousand_requests_later_each_is_still_known_and_small():
    world = World()
    async with world.open() as desk:
        await desk.create()
        for number in range(1000):
            await desk.tell(PauseSchedule(note=str(number), request=Request(id=f"r{number}", input="i")))
    async with world.open() as desk:
        for number in (0, 1, 500):
            await desk.tell(PauseSchedule(note="again", request=Request(id=f"r{number}", input="i")))
        assert (await desk.look()).state.note == "999"
        state = desk.service._opening.result()._state
        assert len(state.requests) == 1000
        assert len(state.model_dump_json()) < 100_000
