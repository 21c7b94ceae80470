"""The first question to a vendor loads its SDK: in a thread, before the call's time begins, once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rojak_ray.agents import AgentActivities, AgentCallParams, AgentResponse, OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.agents.agent import Agent
from rojak_ray.providers import loading
from rojak_ray.testing.runtime import InProcessRuntime


async def test_an_sdk_is_loaded_once_and_not_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, bool]] = []
    here = threading.get_ident()

    def load(package: str) -> None:
        loaded.append((package, threading.get_ident() == here))

    monkeypatch.setattr(loading, "load_sdk", load)
    activities = OpenAIAgentActivities(OpenAIAgentOptions(api_key="k"))
    for _ in range(3):
        await activities.make_ready()
    assert loaded == [("openai", False)]


def test_an_sdk_that_is_not_there_is_nobody_s_error_yet() -> None:
    loading.load_sdk("rojak_has_no_such_package")


class Noting(AgentActivities):
    """Notes what it is asked, in order."""

    type = "noting"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def make_ready(self) -> None:
        self.asked.append("make_ready")

    def slot(self) -> Any:
        self.asked.append("slot")
        return super().slot()

    async def call(self, params: AgentCallParams) -> AgentResponse:
        self.asked.append("call")
        return AgentResponse(type="text", content="ok")


def noting_agent() -> Agent:
    return Agent(type="noting", model="m")


async def test_what_takes_long_is_done_before_a_place_is_held_and_the_time_begins() -> None:
    noting = Noting()
    async with InProcessRuntime() as runtime:
        await runtime.create_worker([noting])
        await runtime.run(agent=noting_agent(), messages="hi")
    assert noting.asked == ["make_ready", "slot", "call"]
