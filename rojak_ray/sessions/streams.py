"""Async iterators over events: they ask again and again, and go on where they stopped when what they follow moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from rojak_ray.core.commands import Command
from rojak_ray.core.events import RunStatus
from rojak_ray.errors import SessionSetAside, StorageError
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.batches import Batch, Follow
from rojak_ray.sessions.caller import Caller, run_error
from rojak_ray.sessions.events import RunEndedEvent, SessionEvent
from rojak_ray.sessions.requests import Ask

_POLL_S = 20.0
_PATIENCE_S = 60.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0

Events = AsyncGenerator[SessionEvent, None]


async def follow(caller: Caller, owner: Owner, after: int, *, until_idle: bool) -> Events:
    """Everything behind `after`, without end; with `until_idle` up to where nothing runs or waits.

    Raises:
        SessionNotFound: There is no such session, or it was deleted meanwhile.
        StorageError: The storage has not answered for a minute.
    """
    question = Follow(after=after, wait_s=_POLL_S, until_idle=until_idle)
    while True:
        batch = await _ask(caller, owner, question)
        for event in batch.events:
            yield event
        if until_idle and batch.idle:
            return
        question = _behind(question, batch)


async def follow_run(caller: Caller, owner: Owner, run_id: str, after: int) -> Events:
    """One run's events behind `after`, up to its end.

    Raises:
        RunNotFound: There is no such run.
        SessionSetAside: It kept ending its process and waits for a person.
        StorageError: The storage has not answered for a minute.
    """
    question = Follow(after=after, run_id=run_id, wait_s=_POLL_S, until_idle=True)
    async for event in _to_the_end(caller, owner, question, await _ask(caller, owner, question)):
        yield event


async def stream_run(caller: Caller, owner: Owner, run_id: str, commands: tuple[Command, ...]) -> Events:
    """Start a run and tell its events; what it ended in is raised behind the last one, unless it is an answer.

    Raises:
        RequestError: The commands were refused.
        RunError: The run failed or was cancelled.
        StorageError: The outcome is unknown.
    """
    question = Follow(after=None, run_id=run_id, wait_s=_POLL_S, until_idle=True)
    batch = (await caller.ask(owner, Ask(commands=commands, follow=question))).batch or Batch()
    async for event in _to_the_end(caller, owner, question, batch):
        yield event
        if isinstance(event, RunEndedEvent) and event.status is not RunStatus.COMPLETED:
            raise run_error(event.status, event.error, run_id, event.error_type, event.finish_reason)


async def _to_the_end(caller: Caller, owner: Owner, question: Follow, batch: Batch) -> Events:
    while True:
        for event in batch.events:
            yield event
            if isinstance(event, RunEndedEvent):
                return
        if batch.idle:
            if batch.set_aside is not None:
                raise SessionSetAside(batch.set_aside)
            return  # it ended before the place it was followed from
        question = _behind(question, batch)
        batch = await _ask(caller, owner, question)


def _behind(question: Follow, batch: Batch) -> Follow:
    return question.model_copy(update={"after": batch.after, "seen": batch.seen})


async def _ask(caller: Caller, owner: Owner, question: Follow) -> Batch:
    """Ask once; while storage or the host's process come back, again: reading twice changes nothing."""
    wait = _FIRST_WAIT_S
    waited = 0.0
    while True:
        try:
            return (await caller.ask(owner, Ask(follow=question))).batch or Batch(after=question.after or 0)
        except StorageError as error:
            if not error.retryable or waited > _PATIENCE_S:
                raise
        await asyncio.sleep(wait)
        waited += wait
        wait = min(2 * wait, _LONGEST_WAIT_S)
