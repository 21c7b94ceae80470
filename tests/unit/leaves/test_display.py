"""Nothing that somebody else wrote drives a terminal or passes for a line of ours."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rojak_ray.display import CONTINUED, hanging, json_line, one_line, printable, width_of

HOSTILE = "\x1b[2J \x9b31m \u202e \u2066 \u2028 \x85 \r \x0b \x0c \x00 \x7f \ud800 \ufeff"
anything = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE)))
documents = st.recursive(
    st.none() | st.integers() | anything, lambda inner: st.lists(inner) | st.dictionaries(anything, inner)
)


def drives(text: str) -> list[str]:
    """The characters that are more than marks on a line."""
    found = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    return [mark for mark in text if unicodedata.category(mark) in found and mark not in "\n\t\u200c\u200d"]


@settings(max_examples=150)
@given(anything)
@example(HOSTILE)
def test_nothing_drives_the_terminal(text: str) -> None:
    assert not drives(printable(text))
    assert not drives(hanging(text, 4))
    assert not drives(one_line(text))
    assert not set(one_line(text)) & set("\n\t")
    assert not drives(json_line(text))
    assert "\n" not in json_line(text)


@settings(max_examples=150)
@given(anything, st.integers(0, 12))
@example("hello\n     7  2026-11-30T08:00:00.000  writer 2  events", 8)
def test_every_further_line_is_marked(text: str, indent: int) -> None:
    _, *further = hanging(text, indent).split("\n")
    assert all(line.startswith(" " * indent + CONTINUED) for line in further)


@settings(max_examples=150)
@given(documents)
def test_json_is_read_back_as_it_was(value: object) -> None:
    assert json.loads(json_line(value)) == value


def test_words_in_any_script_and_emoji_stay() -> None:
    said = "Sèlamat pagi, 你好, سلام می‌کنم, 👩‍🍳"
    assert printable(said) == one_line(said) == hanging(said) == said
    assert json_line(said) == json.dumps(said, ensure_ascii=False)


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("你好", 4), ("e\u0301", 1), ("", 0)])
def test_widths_on_a_terminal(text: str, columns: int) -> None:
    assert width_of(text) == columns
