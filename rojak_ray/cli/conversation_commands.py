"""What `rojak sessions` and `rojak runs` do.

Looking reads storage and nothing else: it needs no cluster, disturbs nobody and loads no Ray. Changing goes through a
cluster where one runs, and otherwise claims the journal here, without running anything of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import typer
from rich.console import Console
from rich.progress import Progress

from rojak_ray.agents.secret_fields import agents_to_show
from rojak_ray.cli.output import PipeConsole, Voice, as_json, fail
from rojak_ray.cli.place import Place, client_of, way
from rojak_ray.cli.rows import print_rows
from rojak_ray.core.events import Limit
from rojak_ray.core.evolve import evolve
from rojak_ray.core.pending import pending
from rojak_ray.core.state import SessionState
from rojak_ray.display import json_line, one_line
from rojak_ray.errors import JournalDamaged, RunNotFound, SchemaTooNew, SessionNotFound
from rojak_ray.ids import check_id
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import Replayed, exists, inspect, replay, stored_owners, written_at
from rojak_ray.messages import describe_content
from rojak_ray.sessions.events import SessionEvent
from rojak_ray.sessions.markers import active_owners
from rojak_ray.sessions.narration import narrate
from rojak_ray.sessions.requests import view_awaited
from rojak_ray.storage.base import Store
from rojak_ray.storage.open import open_store

__all__ = ["Place", "Tail", "cancel", "delete", "journal", "list_all", "owner_of", "resume", "show", "tail", "way"]

_READS_AT_ONCE = 16
_SHOWN_MESSAGES = 20
_COLUMNS = ("id", "status", "messages", "agent", "queued", "written")


def owner_of(kind: Literal["session", "run"], id: str) -> Owner:
    """The one that was typed."""
    return Owner(kind, check_id(id, kind))


@asynccontextmanager
async def _opened(place: Place) -> AsyncGenerator[Store]:
    store = open_store(place.storage)
    try:
        yield store
    finally:
        await store.aclose()


async def list_all(place: Place, kind: Literal["session", "run"], *, active: bool, as_json: bool) -> None:
    """One line for each."""
    console = PipeConsole(highlight=False)
    async with _opened(place) as store:
        if active:
            owners = [owner for owner in await active_owners(store, place.paths) if owner.kind == kind]
        else:
            owners = await stored_owners(store, place.paths, kind)
        rows = await _rows(store, place.paths, owners, console)
    if as_json:
        for row in rows:
            typer.echo(json_line(row))
    elif rows or not console.is_terminal:
        print_rows(console, f"{len(rows)} {kind}s of {place.namespace}", _COLUMNS, rows)
    if not rows:
        which = f"no {kind}s are open" if active else f"there are no {kind}s"
        typer.echo(one_line(f"rojak: {which} in namespace {place.namespace!r} of {place.words()}."), err=True)
    _note_unreadable(rows, kind)


def _note_unreadable(rows: list[dict[str, Any]], kind: str) -> None:
    """Say on standard error what to do about those that cannot be read, and end with exit code 1 if there are any."""
    unreadable = [row for row in rows if "error" in row]
    for row in unreadable:
        look = f" Look: rojak {kind}s journal {row['id']}" if row["status"] == "damaged" else ""
        typer.echo(one_line(f"rojak: {row['id']}: {row['error']}{look}"), err=True)
    if unreadable:
        raise typer.Exit(1)


async def _rows(store: Store, paths: Paths, owners: list[Owner], console: Console) -> list[dict[str, Any]]:
    limit = asyncio.Semaphore(_READS_AT_ONCE)
    rows: dict[Owner, dict[str, Any]] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=len(owners))

        async def read(owner: Owner) -> None:
            async with limit:
                try:
                    found = await replay(store, paths, owner)
                    if found.state.opened:
                        written = await written_at(store, paths, owner, found.position.slot)
                        rows[owner] = _row(owner, found.state, written)
                except (JournalDamaged, SchemaTooNew) as error:
                    unknown = dict.fromkeys(("messages", "agent", "queued", "written"), "?")
                    status = "damaged" if isinstance(error, JournalDamaged) else "too new"
                    rows[owner] = {"id": owner.id, "status": status, **unknown, "error": error.message}
            progress.advance(task)

        await asyncio.gather(*map(read, owners))
    return [rows[owner] for owner in owners if owner in rows]


def _row(owner: Owner, state: SessionState, written: str | None) -> dict[str, Any]:
    messages = len(state.history) + (len(state.run.messages) if state.run else 0)
    agent = state.agents[state.run.agent if state.run else state.agent].name
    return {
        "id": owner.id,
        "status": _status(state),
        "messages": messages,
        "agent": agent,
        "queued": len(state.queue),
        "written": _to_the_second(written) if written else "?",
    }


def _status(state: SessionState) -> str:
    if state.set_aside is not None:
        return "set aside"
    if state.run is not None:
        return "waiting" if state.awaited and not pending(state) else "running"
    if state.owner_kind == "run" and state.outcomes:
        return str(state.outcomes[-1].status)
    return "queued" if state.queue else "idle"


def _to_the_second(at: str) -> str:
    return at[:19] + "Z"


async def _read(store: Store, place: Place, owner: Owner) -> Replayed[SessionState]:
    if await exists(store, place.paths, owner):
        try:
            found = await replay(store, place.paths, owner)
        except (JournalDamaged, SchemaTooNew) as error:
            fail(f"{error.message} What can be read: rojak {owner.kind}s journal {owner.id}")
        if found.state.opened:
            return found
    missing = SessionNotFound if owner.kind == "session" else RunNotFound
    raise missing(f"There is no {owner.kind} {owner.id!r} in namespace {place.namespace!r} of {place.storage}.")


async def show(place: Place, owner: Owner, *, as_json: bool) -> None:
    """Everything about one."""
    async with _opened(place) as store:
        found = await _read(store, place, owner)
    state = found.state
    if as_json:
        position = {"slot": found.position.slot, "seq": found.position.seq, "epoch": found.position.epoch}
        steps = [step.model_dump(mode="json", include={"step_id", "attempt", "due", "kind"}) for step in pending(state)]
        document = {"status": _status(state), "position": position, "pending": steps, **state.model_dump(mode="json")}
        typer.echo(json_line(agents_to_show(document)))
        return
    _say_state(Voice(), owner, found)


def _say_state(voice: Voice, owner: Owner, found: Replayed[SessionState]) -> None:
    state = found.state
    voice.say(f"{owner.kind} {owner.id}: {_status(state)}", "bold")
    if state.set_aside is not None:
        voice.say(f"  set aside: {state.set_aside}", "red")
        voice.note(f"  rojak {owner.kind}s resume {owner.id}   lets it go on")
    limits = {name: getattr(state, name) for name in get_args(Limit)}
    kept = ", ".join(f"{name}={'unlimited' if value is None else f'{value:g}'}" for name, value in limits.items())
    voice.say(f"  agent {state.agents[state.agent].name}, {kept}")
    voice.say(f"  context {as_json(state.context_variables)}")
    position = found.position
    voice.note(f"  journal: record {position.slot}, event {position.seq}, writer {position.epoch}")
    shown = state.history[-_SHOWN_MESSAGES:]
    if shown:
        voice.say(f"  history ({len(state.history)} messages):")
    for message in shown:
        calls = ", ".join(f"{call.name}({call.arguments})" for call in message.tool_calls)
        said = " ".join(part for part in (describe_content(message.content), f"calls {calls}" if calls else "") if part)
        speaker = f"{message.sender} (function)" if message.role == "tool" else message.sender or message.role
        voice.say(f"    {speaker}: {said}")
    if state.run is not None:
        voice.say(f"  run {state.run.run_id} in progress, {state.run.turn} answers so far:")
    for step in pending(state):
        attempts = state.run.attempts.get(step.step_id) if state.run else None
        error = f"; last error: {attempts.last_error}" if attempts and attempts.last_error else ""
        voice.say(f"    {step.kind} {step.step_id}, attempt {step.attempt}{error}")
        awaited = state.run.awaited_code.get(step.step_id) if state.run else None
        if awaited is not None:
            missing = f"{awaited.what} {awaited.name} of agent {awaited.agent}"
            voice.say(f"      waits for a worker: nobody has registered {missing}")
    for call in view_awaited(state):
        voice.say(f"    {call.name} waits for an answer to {call.call_id}: {call.question}")
    for queued in state.queue:
        voice.say(f"    queued: {queued.run_id}")
    for outcome in state.outcomes:
        why = outcome.error or (outcome.finish_reason if outcome.finish_reason != "stop" else None)
        voice.note(f"  {outcome.run_id}: {outcome.status}{f' ({why})' if why else ''}")


async def journal(place: Place, owner: Owner, *, as_json: bool) -> None:
    """Every record; ends with exit code 1 and what is wrong if the journal is damaged."""
    async with _opened(place) as store:
        if not await exists(store, place.paths, owner):
            await _read(store, place, owner)
        found = await inspect(store, place.paths, owner)
    voice = Voice()
    state = SessionState(owner_kind="run" if owner.kind == "run" else "session", owner_id=owner.id)
    for record in found.records:
        if as_json:
            typer.echo(json_line(agents_to_show(record.model_dump(mode="json"))))
            continue
        voice.say(f"{record.slot:>6}  {record.at[:23]:23}  writer {record.epoch}  {record.kind}", "bold")
        for number, event in enumerate(record.events, start=record.first_seq):
            line = narrate(state, event)
            voice.say(f"        {number:>6}  {event.kind}{f': {line}' if line else ''}")
            state = evolve(state, event)
    if found.damage is not None:
        fail(f"The journal cannot be read any further: {found.damage.message}")


@dataclass(frozen=True)
class Tail:
    """How to follow."""

    after: int
    until_idle: bool
    as_json: bool


async def tail(place: Place, owner: Owner, address: str | None, how: Tail) -> None:
    """Print events as they come."""
    async with client_of(place, address, changes=False) as client:
        if owner.kind == "session":
            events = (await client.get_session(owner.id)).events(after=how.after, until_idle=how.until_idle)
        else:
            events = client.get_run(owner.id).events(after=how.after)
        voice = Voice()
        async for event in events:
            if how.as_json:
                typer.echo(json_line(event.model_dump(mode="json")))
            else:
                voice.say(_line(event))


def _line(event: SessionEvent) -> str:
    told = event.model_dump(mode="json", exclude={"seq", "kind", "run_id"}, exclude_none=True, exclude_defaults=True)
    return f"{event.seq:>12}  {event.kind:16} " + ", ".join(f"{name}={as_json(value)}" for name, value in told.items())


async def resume(place: Place, owner: Owner, address: str | None) -> None:
    """Let it go on."""
    async with client_of(place, address) as client:
        await (client.resume_session(owner.id) if owner.kind == "session" else client.resume_run(owner.id))
    Voice().say(f"{owner.kind} {owner.id} is resumed; without a cluster it goes on when one runs on this storage.")


async def cancel(place: Place, owner: Owner, address: str | None) -> None:
    """Stop what it is doing."""
    async with client_of(place, address) as client:
        if owner.kind == "session":
            await (await client.get_session(owner.id)).cancel()
        else:
            await client.get_run(owner.id).cancel()
    Voice().say(f"{owner.kind} {owner.id} does nothing any more.")


async def delete(place: Place, owner: Owner, address: str | None) -> None:
    """Remove it."""
    async with client_of(place, address) as client:
        await (client.delete_session(owner.id) if owner.kind == "session" else client.delete_run(owner.id))
    Voice().say(f"{owner.kind} {owner.id} is deleted.")
