"""Large values beside the records: stored once, covered by the checksums, removed when nobody needs them."""

import pytest
from support.journals import OWNER, PATHS, Desk, Operation

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.events import AgentAdded, ConfigUpdated, Event, Opened, RunAccepted
from rojak_ray.core.evolve import fold
from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged, StoreUnavailable
from rojak_ray.journal.blobs import BLOB_BYTES
from rojak_ray.journal.replay import read_records, replay
from rojak_ray.messages import DATA_BYTES, ImagePart, Message, TextPart

LARGE = "x" * (BLOB_BYTES + 1)
SPEC = AgentSpec(type="plan", name="A", model="m", instructions="i")


def opening(**context) -> list[Event]:
    digest = SPEC.digest()
    opened = Opened(owner_kind="session", owner_id="s", incarnation="i", agent=digest, context_variables=context)
    return [AgentAdded(digest=digest, spec=SPEC), opened]


def said(text, run_id="r") -> Event:
    return RunAccepted(run_id=run_id, input_digest="d", messages=(Message(role="user", content=text),))


def context(**values) -> Event:
    return ConfigUpdated(context_variables=values)


async def snapshot(desk, journal):
    await journal.save(journal.take_snapshot((await replay(desk.memory, PATHS, OWNER)).state))


@pytest.mark.parametrize(
    "events",
    [
        [said(LARGE)],
        [said("ü" * (BLOB_BYTES // 6 + 1))],
        [*opening(table=list(range(40_000)), small=1, text=LARGE)],
        [*opening(), context(nested={"deep": [LARGE, {"again": LARGE}]})],
        [said(LARGE, "r1"), said(LARGE + "y", "r2"), said(LARGE, "r3")],
    ],
    ids=["text", "escaped text", "context", "nested context", "several"],
)
async def test_large_values_come_back_and_the_record_stays_small(events):
    desk = Desk()
    journal = await desk.opened()
    await journal.append(events)
    assert all(len(data) < BLOB_BYTES for data in desk.objects("log").values())
    assert desk.objects("blob")
    assert (await replay(desk.memory, PATHS, OWNER)).state == fold(
        SessionState(owner_kind="session", owner_id="s"), events
    )


async def test_values_below_the_limit_stay_in_the_record():
    desk = Desk()
    await (await desk.opened()).append([said("x" * 1000) for _ in range(20)])
    assert not desk.objects("blob")


def shown(size, run_id="r") -> Event:
    parts = (TextPart(text="look"), ImagePart(data="A" * size, media_type="image/png"))
    return RunAccepted(run_id=run_id, input_digest="d", messages=(Message(role="user", content=parts),))


async def test_data_of_a_part_lies_beside_the_record_from_a_smaller_size_on():
    desk = Desk()
    journal = await desk.opened()
    events = [*opening(), shown(DATA_BYTES - 2, "r1"), shown(DATA_BYTES + 1, "r2"), said("x" * (DATA_BYTES + 1), "r3")]
    await journal.append(events)
    assert [len(data) for data in desk.objects("blob").values()] == [DATA_BYTES + 3]
    await snapshot(desk, journal)
    await journal.append([shown(DATA_BYTES + 1, "r4")])
    await snapshot(desk, journal)
    assert len(desk.objects("blob")) == 1
    assert not desk.objects("sblo")
    state = (await replay(desk.memory, PATHS, OWNER)).state
    assert state == fold(SessionState(owner_kind="session", owner_id="s"), [*events, shown(DATA_BYTES + 1, "r4")])


async def test_value_is_stored_once_however_many_records_and_snapshots_hold_it():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(opening(kept=LARGE))
    for number in range(4):
        await journal.append([said(LARGE, f"r{number}")])
        await snapshot(desk, journal)
    assert len(desk.objects("blob")) == 1
    assert all(len(data) < BLOB_BYTES for data in desk.objects("snap").values())
    state = (await replay(desk.memory, PATHS, OWNER)).state
    assert state.context_variables == {"kept": LARGE}
    assert [run.messages[0].content for run in state.queue] == [LARGE] * 4


async def test_values_of_records_stay_whatever_the_state_forgets():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(opening(kept=LARGE, dropped=LARGE + "y"))
    for number in range(4):
        await journal.append([context(kept=LARGE), said("hi", f"r{number}")])
        await snapshot(desk, journal)
    assert len(desk.objects("blob")) == 2
    assert not desk.objects("sblo")
    assert (await replay(desk.memory, PATHS, OWNER)).state.context_variables == {"kept": LARGE}
    first = (await read_records(desk.memory, PATHS, OWNER))[1]
    assert first.events[-1].context_variables == {"kept": LARGE, "dropped": LARGE + "y"}


async def test_value_of_snapshots_alone_goes_with_the_last_of_them():
    desk = Desk()
    await (await desk.opened()).append(opening(a=LARGE))
    journal = await desk.opened()
    await snapshot(desk, journal)
    (first,) = desk.objects("sblo")
    await journal.append([context(a=1)])
    for number in range(3):
        await journal.append([said("hi", f"r{number}")])
        await snapshot(desk, journal)
    assert not desk.objects("sblo")
    again = await desk.opened()
    await again.append([context(a=LARGE)])
    third = await desk.opened()
    await snapshot(desk, third)
    (second,) = desk.objects("sblo")
    assert second != first, "a name is used once"
    assert (await replay(desk.memory, PATHS, OWNER)).state.context_variables == {"a": LARGE}


async def test_every_epoch_stores_a_value_of_its_snapshots_once():
    desk = Desk()
    old = await desk.opened()
    await old.append(opening(kept=LARGE, dropped=LARGE + "y"))
    await old.append([context(kept=LARGE)])
    for _ in range(3):
        new = await desk.opened()
        for _ in range(3):
            await new.append([said("hi", f"r{new.position.slot}")])
            await snapshot(desk, new)
        assert (await replay(desk.memory, PATHS, OWNER)).state.context_variables == {"kept": LARGE}
        assert len(desk.objects("sblo")) == 1
    assert len(desk.objects("blob")) == 2


async def test_older_writers_collection_leaves_a_newer_writers_values_alone():
    desk = Desk()
    old = await desk.opened()
    await old.append(opening(a=1))
    await snapshot(desk, old)
    late = old.take_snapshot((await replay(desk.memory, PATHS, OWNER)).state)
    new = await desk.opened()
    await new.append([context(a=LARGE)])
    await old.save(late)
    assert (await replay(desk.memory, PATHS, OWNER)).state.context_variables == {"a": LARGE}


async def test_crash_between_value_and_record_leaves_an_orphan_that_goes_later():
    desk = Desk()
    down = False

    async def weather(operation: Operation):
        if down and operation.place == "put_new log":
            raise StoreUnavailable("gone")
        return await operation.run()

    journal = await desk.opened(weather)
    down = True
    with pytest.raises(StoreUnavailable):
        await journal.append(opening(a=LARGE))
    assert desk.objects("blob")
    fresh = await desk.opened()
    assert fresh.position.seq == 0
    await fresh.append(opening(a=1))
    for number in range(2):
        await fresh.append([said("hi", f"r{number}")])
        await snapshot(desk, fresh)
    assert not desk.objects("blob")


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "swap"])
@pytest.mark.parametrize("snapshots", [0, 2])
async def test_damaged_value_is_named_and_never_reads_as_another(harm, snapshots):
    desk = Desk()
    journal = await desk.opened()
    await journal.append(opening(a=LARGE, b="y" + LARGE))
    for number in range(snapshots):
        await journal.append([said("hi", f"r{number}")])
        await snapshot(desk, journal)
    key, other = sorted(desk.objects("blob"))
    data = desk.objects("blob")[key]
    match harm:
        case "flip":
            desk.replace(key, data[:100] + bytes([data[100] ^ 1]) + data[101:])
        case "cut":
            desk.replace(key, data[:-1])
        case "swap":
            desk.replace(key, desk.objects("blob")[other])
        case _:
            await desk.memory.delete(key)
    with pytest.raises(JournalDamaged) as caught:
        await replay(desk.memory, PATHS, OWNER)
    assert snapshots or caught.value.key == key
