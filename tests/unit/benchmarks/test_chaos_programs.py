"""What outlives the programs of the chaos run, and how a program goes on with what an earlier one had asked."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.waiting import until

from benchmarks.chaos.__main__ import show
from benchmarks.chaos.audit import Report
from benchmarks.chaos.diary import Diary, Note
from benchmarks.chaos.driver import Driver
from benchmarks.chaos.load import Conversation, Load, conversations
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime


def test_diary_of_a_killed_program_has_whole_notes_only(tmp_path: Path) -> None:
    path = tmp_path / "diary.txt"
    diary = Diary(path)
    assert diary.read() == []
    notes = [Note("s", "sent", "s-0", 1), Note("s", "wrong", "s-0", 2, "text\nin lines")]
    for note in notes:
        diary.write(note)
    with path.open("a") as file:
        file.write('{"conversation": "s", "wo')

    assert diary.read() == notes


def test_message_that_is_sent_again_by_another_program_is_one_message() -> None:
    one = Conversation("r", "shared", False)
    for note in (Note("r", "sent", "r-0", 1), Note("r", "sent", "r-0", 2)):
        one.take(note)
    assert (one.sent, one.under_way) == (["r-0"], "r-0")

    one.take(Note("r", "answered", "r-0", 3))

    assert (one.acknowledged, one.under_way) == ({"r-0": 3}, None)


@pytest.mark.filterwarnings("ignore:A session with this ID")
async def test_program_finds_the_answers_that_an_earlier_one_waited_for(tmp_path: Path) -> None:
    """A message the session never got has no outcome and is not sent again; a run of a known id is."""
    effects, diary = tmp_path / "effects.txt", Diary(tmp_path / "diary.txt")
    effects.touch()
    stop = asyncio.Event()
    async with InProcessRuntime(MemoryStore()) as runtime:
        clients: Any = {"shared": runtime}
        earlier = Load(clients, [Conversation("ss0", "shared", True)], effects, work_s=0.0)
        await earlier.prepare()
        sending = asyncio.create_task(earlier.run(stop))
        await until(lambda: earlier.conversations[0].acknowledged, "the session has answered")
        stop.set()
        await sending
        answered, never, run = known = conversations(["shared"], 2)
        for one in known:
            one.take(Note(one.name, "sent", f"{one.name}-0", 1))

        await Load(clients, known, effects, work_s=0.0, diary=diary).run(stop)

    assert list(answered.acknowledged) == ["ss0-0"]
    assert (list(never.acknowledged), never.unknown) == ([], ["ss1-0"])
    assert list(run.acknowledged) == ["sr0-0"]
    assert [note.word for note in diary.read() if note.conversation == "sr0"] == ["sent", "answered"]


def test_programs_of_one_run_share_its_conversations_out(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.txt")
    diary.write(Note("ds0", "sent", "ds0-0", 1))
    whole = Driver(
        address="", storage="", namespaces={"shared": "a", "dedicated": "b"}, effects="",
        diary=str(tmp_path / "diary.txt"), sessions=4, work_s=0.0,
    )  # fmt: skip
    half = Driver(**{**vars(whole), "namespaces": {"dedicated": "b"}})

    assert [one.name for one in half.known()] == ["ds0", "ds1", "dr0"]
    assert [one.under_way for one in half.known()] == ["ds0-0", None, None]
    assert {one.name for one in half.known()} < {one.name for one in whole.known()}


def test_report_of_two_parts_says_what_was_left_out() -> None:
    report = Report(seed=7)
    report.add(Report(seed=7, sent=3, acknowledged=3, kills={"task": 2}, recovery_s={"process": [0.1, 0.3]}))
    other = Report(seed=7, sent=2, acknowledged=2, kills={"head": 1}, recovery_s={"head": [9.0]})
    other.faults["hangs"].append("s-1")
    report.add(Report.from_json(other.as_json()))
    report.left_out.append("nodes: no [Redis] here")
    printed = io.StringIO()

    show(report, Console(file=printed, width=200))

    text = printed.getvalue()
    assert "sent 5, acknowledged 5" in text
    assert "kills: 1 x head, 2 x task" in text
    assert "from kill to answer of what was under way, head: p50 9.00 s" in text
    assert "left out: nodes: no [Redis] here" in text
    assert "hangs: s-1" in text
    assert text.endswith("NOT ok\n")
