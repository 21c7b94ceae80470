"""Runs that wait for people, on Ray: no process holds them, and an answer or the alarm clock brings them back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from support.waiting import lines, until

from rojak_ray import OfflineAgent, Rojak, WaitForAnswer
from rojak_ray.runtime import actors
from rojak_ray.sessions.pool_settings import PoolSettings

PROMPT = PoolSettings(session_idle_s=0.5, run_idle_s=0.5, sweep_s=0.2, timers_s=0.5)


@pytest_asyncio.fixture
async def prompt(installation: dict[str, str]) -> AsyncIterator[Rojak]:
    """An installation that lets go of everything soon."""
    async with Rojak(**{**installation, "namespace": installation["namespace"] + "-prompt"}, pool=PROMPT) as client:
        yield client


def asking(effects: Path, timeout_s: float | None) -> OfflineAgent:
    def request_refund(amount: float) -> WaitForAnswer:
        """Request a refund of some amount."""
        with effects.open("a") as file:
            file.write("asked\n")
        return WaitForAnswer(f"Refund {amount}?", timeout_in_seconds=timeout_s)

    return OfflineAgent(name="Refunds", functions=[request_refund])


async def test_session_that_waits_has_no_actor_until_somebody_answers(prompt: Rojak, unique: str, effects: Path):
    session = await prompt.create_session(unique, asking(effects, 86400))
    waiting = asyncio.create_task(session.send_messages("I request a refund of 12 dollars."))
    await until(session.open_questions, "a question")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    name = f"SessionActor-{unique}"
    await until(lambda: actors.find(name, prompt.settings) is None, "the actor to end")
    (question,) = await session.open_questions()
    assert actors.find(name, prompt.settings) is None, "looking wakes nobody"
    await session.answer(question.call_id, "granted by Mei")

    async def answered() -> bool:
        return any("granted by Mei" in (message.content or "") for message in await session.history())

    await until(answered, "the answer")
    assert lines(effects) == ["asked"]


async def test_alarm_clock_wakes_a_run_that_nobody_answered(prompt: Rojak, unique: str, effects: Path):
    handle = await prompt.start_run(unique, asking(effects, 6), "I request a refund of 12 dollars.")
    await until(handle.open_questions, "a question")
    answer = await until(handle.result, "the end of the run")
    assert any("nobody answered" in (message.content or "") for message in answer.messages)
    assert lines(effects) == ["asked"]
