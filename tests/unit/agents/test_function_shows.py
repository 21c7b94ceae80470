"""Functions that show images and files, and what they return that cannot be shown."""

from __future__ import annotations

import base64
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.agents import AgentExecuteFnResult
from rojak_ray.agents.agent import Agent
from rojak_ray.agents.invoke import read_result
from rojak_ray.messages import FilePart, ImagePart, TextPart

PNG = b"\x89PNG\r\n\x1a\n"
IMAGE = ImagePart(data=base64.b64encode(PNG).decode(), media_type="image/png")
PDF = FilePart(data=base64.b64encode(b"%PDF-1.7").decode(), media_type="application/pdf", name="a.pdf")
BOB = Agent(name="Bob", type="plan", model="m")


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (ImagePart(data=PNG), (IMAGE,)),
        ([ImagePart(data=PNG)], (IMAGE,)),
        (["a dot", ImagePart(data=PNG)], (TextPart(text="a dot"), IMAGE)),
        (("", {"size": 2}, PDF, 3), (TextPart(text='{"size": 2}'), PDF, TextPart(text="3"))),
        (TextPart(text="only"), "only"),
        (ImagePart(url="https://example.com/a.png"), (ImagePart(url="https://example.com/a.png"),)),
        (AgentExecuteFnResult(output=[ImagePart(data=PNG)]), (IMAGE,)),
        (AgentExecuteFnResult(value=PDF), (PDF,)),
    ],
)
def test_images_and_files_are_shown(value: Any, output: Any) -> None:
    assert read_result(value, {}, {}).output == output


def test_an_image_and_a_handover_go_together() -> None:
    outcome = read_result(AgentExecuteFnResult(output=ImagePart(data=PNG), agent=BOB), {}, {})
    assert (outcome.output, outcome.agent) == ((IMAGE,), BOB)


class _Picture:
    """What PIL's images are to us."""


_Picture.__module__ = "PIL.Image"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PNG, "TypeError: the function returned bytes"),
        (bytearray(PNG), "returned bytearray"),
        (memoryview(PNG), "returned memoryview"),
        (_Picture(), "PIL image"),
        ({"picture": ImagePart(data=PNG)}, "deep within dict"),
        ([[ImagePart(data=PNG)]], "deep within list"),
        ({"a": [{"b": PDF}]}, "deep within dict"),
        (ImagePart(), "InvalidMessage: What the function returned, part 0: it has neither"),
        (["see", ImagePart(data=b"no image")], "part 1: its data is no image"),
        (ImagePart(url="/tmp/a.png"), "read_bytes()"),
    ],
)
def test_what_cannot_be_shown_is_told_in_words_and_nothing_is_lost(value: Any, words: str) -> None:
    outcome = read_result(value, {"kept": 1}, {"kept": 2})
    assert isinstance(outcome.output, str)
    assert words in outcome.output
    assert "ImagePart(" in outcome.output or outcome.output.startswith("InvalidMessage")
    assert outcome.context_set == {"kept": 2}
    assert len(outcome.output) < 500


@settings(max_examples=40, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.text(max_size=3) | st.integers() | st.sampled_from([IMAGE, PDF, ImagePart(), PNG, types]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=5,
    )
)
def test_whatever_is_returned_has_an_output_that_can_be_stored(value: Any) -> None:
    output = read_result(value, {}, {}).output
    assert isinstance(output, str) or all(isinstance(part, TextPart | ImagePart | FilePart) for part in output)
    told = [output] if isinstance(output, str) else [part.text for part in output if isinstance(part, TextPart)]
    assert not any(IMAGE.data in text for text in told)
