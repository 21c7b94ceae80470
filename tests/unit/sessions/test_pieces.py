"""Words leave at once when they are the first, and together after that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rojak_ray.sessions.pieces import Pace, Pieces


async def test_the_first_word_leaves_at_once_and_the_rest_together() -> None:
    told: list[str] = []
    with Pieces(told.append, Pace()) as pieces:
        pieces.add("one ")
        assert told == ["one "]
        pieces.add("two ")
        pieces.add("three")
        assert told == ["one "]
    assert told == ["one ", "two three"]


async def test_words_held_back_leave_by_themselves() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    with Pieces(told.put_nowait, Pace()) as pieces:
        pieces.add("one ")
        pieces.add("two ")
        assert [await told.get(), await told.get()] == ["one ", "two "]


async def test_words_of_a_failed_answer_are_not_told_afterwards() -> None:
    told: list[str] = []
    pace = Pace()
    pieces = Pieces(told.append, pace)

    def answer_breaks_off() -> None:
        with pieces:
            pieces.add("one ")
            pieces.add("two ")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        answer_breaks_off()
    pieces.add("three")
    assert told == ["one "]
    assert pace.streams == 0


async def test_words_may_come_from_a_thread() -> None:
    told: list[str] = []
    with Pieces(told.append, Pace()) as pieces:
        await asyncio.to_thread(pieces.add, "from afar")
        await asyncio.sleep(0)
    assert told == ["from afar"]


async def test_half_a_character_waits_for_the_other_half() -> None:
    told: list[str] = []
    with Pieces(told.append, Pace()) as pieces:
        pieces.add("smile \ud83d")
        assert told == ["smile "]
        pieces.add("\ude00!")
    assert "".join(told) == "smile 😀!"


def test_many_streams_send_less_often() -> None:
    pace = Pace()
    few = pace.interval_s
    pace.streams = 500
    assert few == 0.025
    assert pace.streams / pace.interval_s <= 600


@pytest.mark.parametrize("piece", [None, 5, b"x", ["a"], object()])
async def test_what_is_no_text_is_left_out_and_the_answer_goes_on(piece: Any) -> None:
    told: list[str] = []
    with Pieces(told.append, Pace()) as pieces:
        pieces.add(piece)
        pieces.add("text")
        pieces.add(piece)
    assert told == ["text"]
