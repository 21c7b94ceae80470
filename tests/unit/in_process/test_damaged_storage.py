"""Whatever happens to a stored object at rest, a session reads as it was, or as damaged: never as a shorter one."""

import asyncio
import json
from pathlib import Path
from random import Random

import pytest
from support.journals import CountingIds, InstantClock

from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import read_records, replay
from rojak_ray.storage.memory import MemoryStore

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "journal-v2.json"
PATHS = Paths("rojak")


async def at_rest() -> tuple[dict[str, bytes], dict[Owner, SessionState]]:
    """The golden conversations of every kind, after a quiet moment: their last records are marked."""
    document = json.loads(GOLDEN.read_text("ascii"))
    store = MemoryStore({key: text.encode("ascii") for key, text in document["objects"].items()})
    states: dict[Owner, SessionState] = {}
    for state in map(SessionState.model_validate, document["states"]):
        owner = Owner(state.owner_kind, state.owner_id)
        journal = Journal(store, PATHS, owner, InstantClock(), CountingIds("rest"))
        states[owner] = await journal.open()
        await journal.mark_tail()
    return store.snapshot(), states


OBJECTS, STATES = asyncio.run(at_rest())
KEYS = sorted(key for key in OBJECTS if "/active/" not in key)


def owner_of(key: str) -> Owner:
    return next(owner for owner in STATES if key.startswith(PATHS.owner(owner)))


async def reads_as_it_was_or_as_damaged(objects: dict[str, bytes], owner: Owner, *, writing: bool) -> str:
    try:
        state = (await replay(MemoryStore(objects), PATHS, owner)).state
    except JournalDamaged as error:
        outcome = "damaged" if error.key else "damaged, but who knows where"
    else:
        assert state == STATES[owner]
        outcome = "whole"
    if writing:
        journal = Journal(MemoryStore(objects), PATHS, owner, InstantClock(), CountingIds("after"))
        try:
            assert await journal.open() == STATES[owner]
        except JournalDamaged:
            assert outcome == "damaged"
    return outcome


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.split("/", 4)[-1][:60])
async def test_object_removed_cut_or_altered(key):
    owner, data, random = owner_of(key), OBJECTS[key], Random(key)
    place = random.randrange(len(data))
    flipped = data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]
    rest = {other: content for other, content in OBJECTS.items() if other != key}
    removed = await reads_as_it_was_or_as_damaged(rest, owner, writing=True)
    if "/log/" in key:
        assert removed == "damaged" or key < max(k for k in OBJECTS if k.startswith(PATHS.snapshots(owner)))
    for harmed in (flipped, data[: random.randrange(len(data))], data[:-1], data + b"\n", b"{}"):
        await reads_as_it_was_or_as_damaged({**rest, key: harmed}, owner, writing="/log/" in key)


@pytest.mark.parametrize("folder", ["log", "snap", "blob", "epoch", "tail"])
async def test_objects_swapped(folder):
    keys = [key for key in KEYS if f"/{folder}/" in key]
    random = Random(folder)
    for key in keys:
        for other in random.sample(keys, min(6, len(keys))):
            if key != other:
                swapped = {**OBJECTS, key: OBJECTS[other], other: OBJECTS[key]}
                for owner in {owner_of(key), owner_of(other)}:
                    await reads_as_it_was_or_as_damaged(swapped, owner, writing=False)


async def test_every_single_bit_of_one_object_of_each_kind():
    for folder in ("log", "snap", "blob"):
        key = min((key for key in KEYS if f"/{folder}/" in key), key=lambda key: len(OBJECTS[key]))
        data, owner = OBJECTS[key], owner_of(key)
        for place in range(0, len(data), 1 if len(data) < 600 else 7):
            flipped = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
            await reads_as_it_was_or_as_damaged({**OBJECTS, key: flipped}, owner, writing=False)


@pytest.mark.parametrize("owner", list(STATES), ids=str)
async def test_everything_a_person_can_list_is_whole_or_damaged_without_the_last_record(owner):
    last = max(key for key in OBJECTS if key.startswith(PATHS.log(owner)))
    rest = {key: data for key, data in OBJECTS.items() if key != last}
    with pytest.raises(JournalDamaged):
        await read_records(MemoryStore(rest), PATHS, owner)
