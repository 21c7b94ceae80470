"""Large values: what the model is given of them, what is refused, and that nothing of ours waits for them."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray import Agent, AgentActivities, AgentResponse, function
from rojak_ray.agents.invoke import read_result
from rojak_ray.agents.results import AgentExecuteFnResult, AgentToolCall, ToolCallFunction
from rojak_ray.errors import InvalidContext, InvalidMessage, RunFailed
from rojak_ray.messages import (
    RESULT_BYTES,
    TEXT_BYTES,
    ImagePart,
    TextPart,
    bounded_text,
    clean_text,
    read_context,
    weighs_more,
)
from rojak_ray.messages import text as text_module
from rojak_ray.messages.bounds import size_of
from rojak_ray.testing.runtime import InProcessRuntime

PNG = b"\x89PNG\r\n\x1a\n"


@given(text=st.text(max_size=3000), most=st.integers(0, 2500))
@settings(max_examples=100, deadline=None)
def test_a_text_is_whole_or_has_its_beginning_its_end_and_the_size(text: str, most: int) -> None:
    told = bounded_text(text, most)
    size = len(text.encode("utf-8", "replace"))
    if size <= most:
        assert told == text
        return
    assert len(told.encode("utf-8", "replace")) <= most + 250
    assert f"{size:,} bytes" in told
    begin, _, end = told.partition("\n[... ")[0], ..., told.rpartition(" ...]\n")[2]
    assert text.encode("utf-8", "replace").startswith(begin.encode())
    assert text.encode("utf-8", "replace").endswith(end.encode())


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        "ü" * 5_000_000,
        "\ud800" * 1_000_000,
        list(range(1_000_000)),
        {"rows": ["x" * 100] * 50_000},
        AgentExecuteFnResult(output="x" * 10_000_000),
        [TextPart(text="x" * 5_000_000), ImagePart(data=PNG), TextPart(text="y" * 5_000_000)],
        ["x" * 5_000_000, ImagePart(data=PNG)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_model_is_given_a_part_of_a_large_result(value: Any) -> None:
    output = read_result(value, {}, {}).output
    text = output if isinstance(output, str) else "".join(p.text for p in output if isinstance(p, TextPart))
    assert RESULT_BYTES * 0.9 < len(text.encode()) < RESULT_BYTES + 1000
    assert "bytes were cut here" in text
    assert isinstance(output, str) or any(isinstance(part, ImagePart) for part in output)


def test_what_shows_too_much_is_named() -> None:
    picture = PNG + b"x" * (15 << 20)
    output = read_result([ImagePart(data=picture), ImagePart(data=picture)], {}, {}).output
    assert [type(part) for part in output] == [ImagePart, TextPart]
    assert "image left out: it has 15,728," in str(output[1])


def test_a_function_says_how_much() -> None:
    with pytest.raises(ValueError, match="max_result_bytes must be from 1,024 to 4,194,304"):
        function(max_result_bytes=60 << 20)
    with pytest.raises(ValueError, match="max_result_bytes"):
        function(max_result_bytes=0)


def test_a_large_context_variable_is_refused_in_words() -> None:
    with pytest.raises(InvalidContext, match=r"at 'log' is larger than 4 MiB.*pass its name"):
        read_context({"log": ["x" * TEXT_BYTES]})
    outcome = read_result("ok", {"log": "before"}, {"log": "x" * (TEXT_BYTES + 1)})
    assert outcome.context_set == {}
    assert "larger than 4 MiB" in str(outcome.output)
    assert str(outcome.output).startswith("ok\n")


@dataclass
class Row:
    name: str
    inner: Any = None
    more: list[Any] = field(default_factory=list[Any])


@pytest.mark.parametrize(
    "value", ["x" * 70_000, [["x" * 100] * 1000], {"k" * 70_000: 1}, Row("x" * 70_000), b"x" * 70_000]
)
def test_what_weighs_much(value: Any) -> None:
    assert weighs_more(value, 65_536)
    assert not weighs_more(value, 1_000_000)


def test_weighing_what_holds_itself_ends() -> None:
    row = Row("x")
    row.inner, row.more = row, [row]
    assert weighs_more(row, 65_536)


class Scripted(Agent):
    type = "scripted"


class Activities(AgentActivities):
    """Calls the agent's function, then says how much it got."""

    type = "scripted"

    def __init__(self, answer: str = "") -> None:
        super().__init__()
        self.answer = answer

    async def call(self, params: Any) -> AgentResponse:
        if params.function_names and params.messages[-1].role == "user":
            call = AgentToolCall(id="c", function=ToolCallFunction(params.function_names[0], "{}"))
            return AgentResponse(type="tool", tool_calls=[call])
        return AgentResponse(content=self.answer or str(len(params.messages[-1].content or "")))


class ReadIn:
    """Notes which thread is asked for its text."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.text = "x" * 1_000_000

    def __str__(self) -> str:
        self.thread = threading.get_ident()
        return self.text


async def test_a_large_result_of_an_async_function_is_read_off_the_loop() -> None:
    thing = ReadIn()

    async def look() -> ReadIn:
        """Look."""
        return thing

    async with InProcessRuntime() as runtime:
        await runtime.create_worker([Activities()])
        response = await runtime.run(agent=Scripted(name="A", model="m", functions=[look]), messages="hi")
    assert thing.thread not in (None, threading.get_ident())
    assert RESULT_BYTES < int(response.output) < RESULT_BYTES + 1000


async def test_each_function_has_its_own_bound() -> None:
    @function(max_result_bytes=2048)
    def short() -> str:
        """Look."""
        return "x" * 10_000

    async with InProcessRuntime() as runtime:
        await runtime.create_worker([Activities()])
        response = await runtime.run(agent=Scripted(name="A", model="m", functions=[short]), messages="hi")
    assert 2048 < int(response.output) < 2400


async def test_what_a_person_or_model_says_has_bounds() -> None:
    async with InProcessRuntime() as runtime:
        await runtime.create_worker([Activities("x" * (TEXT_BYTES + 1))])
        agent = Scripted(name="A", model="m")
        with pytest.raises(InvalidMessage, match="message 0 is larger than 4 MiB"):
            await runtime.run(agent=agent, messages="x" * (TEXT_BYTES + 1))
        parts = [{"role": "user", "content": [{"type": "text", "text": "x" * (TEXT_BYTES + 1)}]}]
        with pytest.raises(InvalidMessage, match="message 0 is larger than 4 MiB"):
            await runtime.run(agent=agent, messages=parts)
        with pytest.raises(RunFailed, match="more than 4 MiB"):
            await runtime.run(agent=agent, messages="hi")


def test_large_structures_are_written_as_small_ones_are() -> None:
    rows = [{"name": "ü", "rows": (1, 2.5, None, True), "row": Row("x")}] * 50_000
    told = str(read_result(rows, {}, {}, 4 << 20).output)
    small = str(read_result(rows[:1], {}, {}).output)
    assert json.loads(small)[0]["row"] == {"name": "x", "inner": None, "more": []}
    assert told.startswith(small[:-1])


async def test_the_loop_goes_on_while_a_large_result_is_read() -> None:
    """Measured in turns of the loop, not in time: it turns while the value is read."""
    turns = 0
    reading = threading.Event()

    class Slow(ReadIn):
        def __str__(self) -> str:
            reading.set()
            turned.wait(30)
            return self.text

    turned = threading.Event()

    async def look() -> Slow:
        """Look."""
        return Slow()

    async def turn() -> None:
        nonlocal turns
        while turns < 10:
            turns += reading.is_set()
            await asyncio.sleep(0)
        turned.set()

    async with InProcessRuntime() as runtime:
        await runtime.create_worker([Activities()])
        turning = asyncio.create_task(turn())
        await runtime.run(agent=Scripted(name="A", model="m", functions=[look]), messages="hi")
        await turning
    assert turns == 10


@given(text=st.text(st.sampled_from("ab \u00fc\u4f60\U0001f369\ud800\udfff"), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_text_is_measured_and_cleaned_in_pieces_as_in_one(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "_PIECE", 3)
        assert size_of(text) == len(text.encode("utf-8", "replace"))
        assert clean_text(text) == text.encode("utf-8", "replace").decode()


async def test_large_results_are_read_one_at_a_time() -> None:
    reading, most = [0], [0]

    class Slow:
        def __init__(self) -> None:
            self.text = "x" * 2_000_000

        def __str__(self) -> str:
            reading[0] += 1
            most[0] = max(most[0], reading[0])
            threading.Event().wait(0.001)
            reading[0] -= 1
            return self.text

    def large() -> Any:
        return Slow()

    async with InProcessRuntime() as runtime:
        await runtime.create_worker([Activities()])
        agent = Scripted(name="A", model="m", functions=[large])
        await asyncio.gather(*(runtime.run(agent=agent, messages="hi") for _ in range(8)))
    assert most == [1]
