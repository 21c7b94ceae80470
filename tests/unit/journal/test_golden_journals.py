"""What earlier versions stored is read by this one, and goes on."""

import json
from pathlib import Path

import pytest
from support.formats import as_format_2
from support.journals import CountingIds, InstantClock, note

from rojak_ray.core.state import SessionState
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.journal.schema import SCHEMA_VERSION, UPCASTS, upcast
from rojak_ray.storage.memory import MemoryStore

FOLDER = Path(__file__).parents[2] / "data" / "golden"
PATHS = Paths("rojak")


def golden(version):
    document = json.loads((FOLDER / f"journal-v{version}.json").read_text("ascii"))
    store = MemoryStore({key: text.encode("ascii") for key, text in document["objects"].items()})
    states = [upcast("the golden state", {"version": version, "state": state})["state"] for state in document["states"]]
    return store, [SessionState.model_validate(state) for state in states]


def test_every_version_has_a_golden_journal_and_a_way_up():
    versions = range(1, SCHEMA_VERSION + 1)
    assert sorted(FOLDER.glob("*.json")) == [FOLDER / f"journal-v{version}.json" for version in versions]
    assert sorted(UPCASTS) == list(versions)[:-1]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
async def test_golden_journal_folds_to_the_state_it_had(version):
    store, states = golden(version)
    assert len(states) >= 4
    for state in states:
        replayed = await replay(store, PATHS, Owner(state.owner_kind, state.owner_id))
        assert as_format_2(replayed.state) == as_format_2(state)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
async def test_golden_journal_goes_on(version):
    store, states = golden(version)
    for state in states:
        owner = Owner(state.owner_kind, state.owner_id)
        journal = Journal(store, PATHS, owner, InstantClock(), CountingIds("g"))
        assert as_format_2(await journal.open()) == as_format_2(state)
        await journal.append(note("more"))
        again = await replay(store, PATHS, owner)
        assert again.position.seq == journal.position.seq
        assert [run.run_id for run in again.state.queue[len(state.queue) :]]
        await journal.save(journal.take_snapshot(again.state))
        assert (await replay(store, PATHS, owner)).state == again.state
