"""The answers in `tests/data/answers`: what servers send, plainly and streamed, and what has to be read from it.

Each file is about one server and names its sources: documentation of its wire, and reports of what it sends besides.
A case has the body of the plain answer (`plain`), the events of the streamed one (`stream`: data, or the bytes of an
event as text), and either the `answer` that both stand for or the class of the `error`. `told` is the text that a
watcher is told, where that is not the answer's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rojak_ray.agents.finish import read_finish_reason
from rojak_ray.agents.results import AgentResponse

FOLDER = Path(__file__).parents[1] / "data" / "answers"


@dataclass(frozen=True)
class Case:
    """One recorded answer."""

    wire: str
    server: str
    name: str
    plain: Any
    stream: bytes
    answer: dict[str, Any] | None
    error: str | None
    told: str | None

    def __str__(self) -> str:
        return f"{self.server}: {self.name}"


def cases() -> list[Case]:
    """Every recorded answer."""
    return [
        Case(
            wire=document["wire"],
            server=path.stem,
            name=case["name"],
            plain=case["plain"],
            stream=b"".join(_event(document["wire"], event) for event in case["stream"]),
            answer=case.get("answer"),
            error=case.get("error"),
            told=case.get("told"),
        )
        for path in sorted(FOLDER.glob("*.json"))
        for document in [json.loads(path.read_text("utf-8"))]
        for case in document["cases"]
    ]


def _event(wire: str, event: Any) -> bytes:
    if isinstance(event, str):
        return event.encode()
    name = f"event: {event['type']}\n" if wire == "anthropic" else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def as_recorded(response: AgentResponse) -> dict[str, Any]:
    """A response in the form of a case's answer."""
    calls = response.tool_calls or []
    reason = "refusal" if response.refused else read_finish_reason(response.finish_reason, calls=bool(calls))
    return {
        "content": response.content or "",
        "calls": [[call.id, call.function.name, call.function.arguments] for call in calls],
        "finish_reason": reason,
        "tokens": [response.usage.input_tokens, response.usage.output_tokens] if response.usage else None,
    }


class StreamOf:
    """What `receive` uses of an SDK's stream, over bytes in given pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.response = self
        self.headers = {"content-type": "text/event-stream; charset=utf-8"}
        self._pieces = pieces

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
