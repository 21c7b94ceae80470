"""Whatever happens to a stored object at rest, a session reads as it was, or as damaged: never as a shorter one."""

import asyncio
import itertools
import json
from pathlib import Path
from random import Random

import pytest
from support.formats import as_format_2
from support.journals import CountingIds, InstantClock
from support.plan import PlanAgent
from support.worlds import world

from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import JournalRecord
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


async def told_by(objects: dict[str, bytes], owner: Owner) -> list[JournalRecord]:
    """The whole history, as those who follow it are told; raises what they are told of damage."""
    return await read_records(MemoryStore(objects), PATHS, owner)


OBJECTS, STATES = asyncio.run(at_rest())
HISTORIES = {owner: asyncio.run(told_by(OBJECTS, owner)) for owner in STATES}
FOLDERS = ["log", "snap", "arch", "blob", "epoch", "tail"]
KEYS = sorted(key for key in OBJECTS if "/active/" not in key)


def owner_of(key: str) -> Owner:
    return next(owner for owner in STATES if key.startswith(PATHS.owner(owner)))


async def reads_as_it_was_or_as_damaged(objects: dict[str, bytes], owner: Owner, *, writing: bool) -> str:
    try:
        state = (await replay(MemoryStore(objects), PATHS, owner)).state
    except JournalDamaged as error:
        outcome = "damaged" if error.key else "damaged, but who knows where"
    else:
        assert as_format_2(state) == as_format_2(STATES[owner])
        outcome = "whole"
    if writing:
        journal = Journal(MemoryStore(objects), PATHS, owner, InstantClock(), CountingIds("after"))
        try:
            assert as_format_2(await journal.open()) == as_format_2(STATES[owner])
        except JournalDamaged as error:
            assert outcome == "damaged" or "/epoch/" in error.key  # noqa: PT017  (readers need no claims)
    try:
        assert await told_by(objects, owner) == HISTORIES[owner]
    except JournalDamaged as error:
        assert error.key  # noqa: PT017
    assert outcome != "damaged, but who knows where"
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


@pytest.mark.parametrize("folder", ["log", "snap", "arch", "blob", "epoch", "tail"])
async def test_objects_swapped(folder):
    keys = [key for key in KEYS if f"/{folder}/" in key]
    random = Random(folder)
    for key in keys:
        for other in random.sample(keys, min(6, len(keys))):
            if key != other:
                swapped = {**OBJECTS, key: OBJECTS[other], other: OBJECTS[key]}
                for owner in {owner_of(key), owner_of(other)}:
                    await reads_as_it_was_or_as_damaged(swapped, owner, writing=False)


async def test_records_of_one_conversation_swapped_each_with_each():
    owner = max(STATES, key=lambda owner: len([key for key in KEYS if key.startswith(PATHS.log(owner))]))
    keys = [key for key in KEYS if key.startswith(PATHS.log(owner))]
    assert len({json.loads(OBJECTS[key].split(b"\n")[1])["epoch"] for key in keys}) > 1
    for key, other in itertools.combinations(keys, 2):
        swapped = {**OBJECTS, key: OBJECTS[other], other: OBJECTS[key]}
        await reads_as_it_was_or_as_damaged(swapped, owner, writing=False)


@pytest.mark.parametrize("folder", FOLDERS)
async def test_objects_of_different_kinds_swapped(folder):
    random = Random(folder)
    others = [key for key in KEYS if f"/{folder}/" not in key]
    for key in [key for key in KEYS if f"/{folder}/" in key]:
        for other in random.sample(others, 1):
            swapped = {**OBJECTS, key: OBJECTS[other], other: OBJECTS[key]}
            for owner in {owner_of(key), owner_of(other)}:
                await reads_as_it_was_or_as_damaged(swapped, owner, writing=True)


@pytest.mark.parametrize("owner", list(STATES), ids=str)
@pytest.mark.parametrize("folder", FOLDERS)
async def test_all_objects_of_a_kind_removed(folder, owner):
    gone = f"{PATHS.owner(owner)}{folder}/"
    rest = {key: data for key, data in OBJECTS.items() if not key.startswith(gone)}
    outcome = await reads_as_it_was_or_as_damaged(rest, owner, writing=True)
    if folder == "log":
        assert outcome == "damaged"
    if folder in ("epoch", "tail"):
        assert outcome == "whole"


@pytest.mark.parametrize("owner", list(STATES), ids=str)
async def test_newest_records_before_the_mark_removed(owner):
    log = [key for key in KEYS if key.startswith(PATHS.log(owner))]
    for count in range(1, len(log)):
        rest = {key: data for key, data in OBJECTS.items() if key not in log[-count:]}
        assert await reads_as_it_was_or_as_damaged(rest, owner, writing=True) == "damaged"


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", ["README", "zzz", "0", f"{7:020}-x", f"{999:020}"])
async def test_foreign_object_is_named_or_harmless(folder, name):
    for owner in STATES:
        key = f"{PATHS.owner(owner)}{folder}/{name}"
        await reads_as_it_was_or_as_damaged({**OBJECTS, key: b"who put this here"}, owner, writing=True)


async def test_session_without_its_log_is_damaged_for_everybody_who_asks_for_it():
    owner = Owner("session", "golden")
    rest = {key: data for key, data in OBJECTS.items() if not key.startswith(PATHS.log(owner))}
    async with world(MemoryStore(rest)) as w:
        for ask in (w.rojak.get_session(owner.id), w.rojak.create_session(owner.id, PlanAgent(name="New"))):
            with pytest.raises(JournalDamaged) as met:
                await ask
            assert met.value.key.startswith(PATHS.log(owner))


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
