"""Recorded answers of many servers are read alike, plainly and streamed, however the bytes of the stream are cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from support.answers import FOLDER, Case, StreamOf, as_recorded, cases

from rojak_ray.errors import ModelCutShort, StepError
from rojak_ray.providers.anthropic import read_message
from rojak_ray.providers.anthropic_stream import MessageAssembly
from rojak_ray.providers.failures import reply_failure, stream_failure
from rojak_ray.providers.openai import read_completion
from rojak_ray.providers.openai_stream import ChunkAssembly
from rojak_ray.providers.streaming import ErrorEvent, Telling, receive
from rojak_ray.providers.wire import CutReply, FailedReply
from rojak_ray.redaction import NO_SECRETS

READ: dict[str, Any] = {"openai": read_completion, "anthropic": read_message}
ASSEMBLY: dict[str, Any] = {"openai": ChunkAssembly, "anthropic": MessageAssembly}
CASES = cases()


def read(wire: str, reply: Any) -> dict[str, Any] | type[StepError]:
    """What is read from a plain answer: the answer, or the class of the error."""
    try:
        return as_recorded(READ[wire](reply))
    except CutReply:
        return ModelCutShort
    except FailedReply as error:
        return type(reply_failure("Vendor", str(error), error.error, NO_SECRETS))


async def read_stream(wire: str, pieces: Sequence[bytes]) -> tuple[dict[str, Any] | type[StepError], str]:
    """The same from a stream, and the text that was told while it came."""
    told: list[str] = []
    assembly = ASSEMBLY[wire]()
    try:
        await receive(StreamOf(pieces), Telling(told.append), assembly)
    except ErrorEvent as error:
        return type(stream_failure("Vendor", error.body, "", NO_SECRETS)), "".join(told)
    assert assembly.complete, "the stream has its end"
    return read(wire, json.loads(json.dumps(assembly.reply()))), "".join(told)


def assert_as_recorded(case: Case, found: dict[str, Any] | type[StepError]) -> None:
    if case.error is not None:
        assert getattr(found, "__name__", found) == case.error
        return
    assert case.answer is not None
    assert isinstance(found, dict), found
    assert {name: found[name] for name in case.answer} == case.answer


def test_every_file_names_its_sources_and_every_case_is_whole():
    documents = [json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")]
    assert len(documents) >= 12
    for document in documents:
        assert document["sources"]
        assert all(source.startswith("https://") for source in document["sources"])
        for case in document["cases"]:
            assert ("answer" in case) != ("error" in case), case["name"]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_plain_and_streamed_answers_are_read_alike(case: Case):
    assert_as_recorded(case, read(case.wire, case.plain))
    found, told = await read_stream(case.wire, [case.stream])
    assert_as_recorded(case, found)
    if case.answer is not None:
        assert told == (case.answer["content"] if case.told is None else case.told)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_every_byte_of_a_stream_may_come_alone_or_in_any_company(case: Case):
    whole = await read_stream(case.wire, [case.stream])
    assert await read_stream(case.wire, [bytes([byte]) for byte in case.stream]) == whole
    for seed in range(8):
        random = Random(seed)
        cuts = sorted(random.sample(range(len(case.stream)), k=min(len(case.stream) - 1, 1 + 3 * seed)))
        pieces = [case.stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(case.stream)], strict=True)]
        assert await read_stream(case.wire, pieces) == whole, f"seed {seed}"
