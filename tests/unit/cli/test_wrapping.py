"""Lines end with a word, also when the text comes in pieces that cut words."""

import io
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rojak_ray.cli.output import Voice
from rojak_ray.cli.wrapping import Wrapping, wrap
from rojak_ray.display import width_of

texts = st.text(st.sampled_from("ab 饭 \n-"), max_size=80)


@settings(max_examples=150)
@given(texts, st.integers(8, 30), st.lists(st.integers(0, 80), max_size=6))
def test_pieces_give_what_the_whole_gives(text: str, width: int, cuts: list[int]) -> None:
    wrapping = Wrapping(width, "  ")
    at = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    assert "".join(map(wrapping.feed, pieces)) + wrapping.end() == wrap(text, width, "  ")


@settings(max_examples=150)
@given(texts, st.integers(8, 30))
def test_no_word_is_lost_or_cut_and_only_long_words_reach_over_the_edge(text: str, width: int) -> None:
    wrapped = wrap(text, width, "  ")
    assert wrapped.split() == text.split()
    for line in wrapped.split("\n"):
        assert width_of(line.rstrip()) <= width or len(line.split()) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_voice_wraps_on_a_terminal_alone(terminal: bool) -> None:
    out = io.StringIO()
    voice = Voice(Console(file=out, force_terminal=terminal, width=30, color_system=None, highlight=False))
    words = "According to show_menu: rojak and laksa and satay"
    voice.piece("Orders", words[:20], begins=True)
    voice.piece("Orders", words[20:], begins=False)
    voice.piece_ends()
    voice.say(f"  {words}")
    voice.tell(f"Go on with it: {words}", whole=True)
    lines = re.sub(r"\x1b\[[^m]*m", "", out.getvalue()).splitlines()
    if not terminal:
        assert lines == [f"Orders: {words}", f"  {words}", f"Go on with it: {words}"]
        return
    *answer, last = lines
    assert last == f"Go on with it: {words}"
    assert answer[:3] == ["Orders: According to", "  | show_menu: rojak and laksa", "  | and satay"]
    assert answer[3:] == ["  According to show_menu:", "    | rojak and laksa and", "    | satay"]
