"""Functions that show images and files, and what they return that cannot be shown."""

from __future__ import annotations

import base64
import functools
import json
import types
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from rojak_ray.agents import AgentExecuteFnResult
from rojak_ray.agents.agent import Agent
from rojak_ray.agents.invoke import read_result, result_text
from rojak_ray.agents.shown import answered
from rojak_ray.errors import InvalidMessage
from rojak_ray.messages import FilePart, ImagePart, TextPart

PNG = b"\x89PNG\r\n\x1a\n"
IMAGE = ImagePart(data=base64.b64encode(PNG).decode(), media_type="image/png")
PDF = FilePart(data=base64.b64encode(b"%PDF-1.7").decode(), media_type="application/pdf", name="a.pdf")
DATA_URL = f"data:image/png;base64,{IMAGE.data}"
PDF_URL = f"data:application/pdf;base64,{PDF.data}"


@dataclass
class Album:
    name: str
    cover: Any


class Page(BaseModel):
    picture: ImagePart


class _Picture:
    """What PIL's images are to us."""


_Picture.__module__ = "PIL.Image"


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
        ([TextPart(text="a"), TextPart(text="b")], "a\nb"),
        ([TextPart(text="a"), {"size": 2}], 'a\n{"size": 2}'),
        ({"type": "image_url", "image_url": {"url": DATA_URL}}, (IMAGE,)),
        ({"type": "input_image", "image_url": DATA_URL}, (IMAGE,)),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE.data}}, (IMAGE,)),
        ({"type": "image", "data": IMAGE.data, "mimeType": "image/png"}, (IMAGE,)),
        (
            [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": DATA_URL}}],
            (TextPart(text="see"), IMAGE),
        ),
        ({"type": "file", "file": {"file_data": PDF_URL, "filename": "a.pdf"}}, (PDF,)),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF.data},
            },
            (PDF,),
        ),
        (AgentExecuteFnResult(output=[ImagePart(data=PNG)]), (IMAGE,)),
        (AgentExecuteFnResult(output={"type": "image_url", "image_url": {"url": DATA_URL}}), (IMAGE,)),
        (AgentExecuteFnResult(value=PDF), (PDF,)),
    ],
)
def test_images_and_files_are_shown(value: Any, output: Any) -> None:
    assert read_result(value, {}, {}).output == output


@pytest.mark.parametrize(
    "value",
    [
        {"type": "file", "name": "a.txt", "url": "https://example.com/a.txt"},
        {"type": "image", "name": "a.png"},
        {"type": "image_url"},
        {"type": "document", "source": "archive"},
        {"rows": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        [{"type": "text", "text": "a"}],
        {"file": {"file_data": 5}},
    ],
)
def test_plain_data_that_only_looks_like_a_part_is_told_as_it_is(value: Any) -> None:
    assert read_result(value, {}, {}).output == json.dumps(value)


@pytest.mark.parametrize("value", [PNG, {"a": PNG}, [[IMAGE]], Album("x", IMAGE), {"a": {"b": PDF}}])
def test_answer_that_would_be_told_as_base64_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="The answer is"):
        answered(value, result_text)


def test_an_image_and_a_handover_go_together() -> None:
    outcome = read_result(AgentExecuteFnResult(output=ImagePart(data=PNG), agent=BOB), {}, {})
    assert (outcome.output, outcome.agent) == ((IMAGE,), BOB)


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
        ({"a": PNG}, "deep within dict"),
        (Album("x", ImagePart(data=PNG)), "deep within Album"),
        ([Album("x", bytearray(PNG))], "deep within list"),
        (Page(picture=ImagePart(data=PNG)), "deep within Page"),
        (functools.reduce(lambda inner, _: {"a": inner}, range(30), ImagePart(data=PNG)), "deep within dict"),
        ({"got": {"type": "image_url", "image_url": {"url": DATA_URL}}}, "deep within dict"),
        ({"got": [{"type": "image", "source": {"type": "base64", "data": "aGk="}}]}, "deep within dict"),
        ({"picture": _Picture()}, "PIL image deep within dict"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "no http or https address"),
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


def test_a_list_with_images_beside_an_image_is_deep_already() -> None:
    looped: list[Any] = [IMAGE]
    looped.append(looped)
    for value in ([IMAGE, [IMAGE]], [IMAGE, ["a", (PDF,)]], looped):
        shown, refused = read_result(value, {}, {}).output
        assert shown == IMAGE
        assert isinstance(refused, TextPart)
        assert "deep within list" in refused.text


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
