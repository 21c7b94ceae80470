"""Whatever is passed to whatever takes arguments: accepted, or refused in words that name the argument; never stored.

One row an argument: how it is passed, the words of which one names it in a refusal, and the junk that it takes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.junk import JUNK
from support.plan import PlanActivities, PlanAgent, plan
from support.worlds import NEVER_S

from rojak_ray import (
    AgentInstructionOptions,
    OpenAIAgent,
    RojakError,
    RunHandle,
    ScheduleActionStartRun,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleHandle,
    ScheduleIntervalSpec,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    Session,
    UpdateConfigParams,
)
from rojak_ray.errors import RequestError
from rojak_ray.retrievers import Retriever
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

SELDOM = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=20_000))])
TEXTS = ("text", "long", "blank")
"""Of a model that follows plans these are no good; what they are to an argument is a matter of another test."""


@dataclass
class Scene:
    rojak: InProcessRuntime
    session: Session
    run: RunHandle
    schedule: ScheduleHandle


Call = Callable[[Scene, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Row:
    call: Call
    names: tuple[str, ...]
    takes: frozenset[str]


ROWS: dict[str, Row] = {}


def row(name: str, call: Call, takes: Iterable[str] = (), names: Iterable[str] = ()) -> None:
    last = name.rpartition(".")[2].partition("[")[0]
    ROWS[name] = Row(call, tuple(names) or (last,), frozenset(takes))


def agent(**fields: Any) -> PlanAgent:
    return PlanAgent(**{"name": "Marvin", **fields})


async def through(events: Any) -> None:
    async for _ in events:
        pass


async def at_once(call: Callable[[], Any]) -> Any:
    return call()


# Agents

AGENTS: dict[str, tuple[str, ...]] = {
    "type": TEXTS[:2],
    "name": TEXTS[:2],
    "model": TEXTS[:2],
    "instructions": ("none", "empty", "class", *TEXTS),
    "functions": ("list",),
    "tool_choice": ("none", "dict"),
    "parallel_tool_calls": ("true",),
    "reset_tool_choice": ("true",),
    "retriever": ("none", "list"),
    "retry_options": (),
}
for field, takes in AGENTS.items():
    wanted = tuple(one for one in takes if not (field == "instructions" and one == "class"))
    row(
        f"agent.{field}",
        lambda s, v, field=field: s.rojak.create_session(None, agent(**{field: v})),
        wanted,
        () if field in ("name", "retriever") else (field, "Marvin"),
    )
row(
    "agent.inference_config",
    lambda s, v: s.rojak.create_session(None, OpenAIAgent(name="Marvin", inference_config=v)),
    ("none", "dict"),
    ("inference_config", "Marvin"),
)
row("agent.functions[0]", lambda s, v: s.rojak.create_session(None, agent(functions=[v])), (), ("functions", "Marvin"))
row("agent.retriever.type", lambda s, v: s.rojak.create_session(None, agent(retriever=Retriever(v))), TEXTS[:2])
row(
    "agent.instructions.name",
    lambda s, v: s.rojak.create_session(None, agent(instructions=AgentInstructionOptions(v))),
    (),
    ("instructions", "Marvin"),
)

# Runs and sessions

COUNTS = ("none", "five", "inf", "huge")
REQUEST: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "agent": ((), ("agent",)),
    "messages": (TEXTS, ("messages", "Message 0")),
    "context_variables": (("none", "dict"), ("context_variables",)),
    "max_turns": ((*COUNTS, "half"), ("max_turns",)),
    "debug": (("true",), ("debug",)),
    "max_model_calls": (COUNTS, ("max_model_calls",)),
}
for field, (takes, names) in REQUEST.items():
    for verb in ("run", "start_run", "stream"):
        if verb != "start_run" and takes:
            continue  # what begins is followed to its end by tests of runs

        def ask(s: Scene, v: Any, field: str = field, verb: str = verb) -> Awaitable[Any]:
            asked = getattr(s.rojak, verb)(**{"agent": agent(), "messages": plan("x"), field: v})
            return through(asked) if verb == "stream" else asked

        row(f"{verb}.{field}", ask, takes, names)
row("start_run.id", lambda s, v: s.rojak.start_run(v, agent(), plan("x")), ("none", "text"), ("run id",))
for field in ("agent", "context_variables", "max_turns", "history_size", "debug", "max_model_calls"):
    takes, names = REQUEST.get(field, REQUEST["max_turns"])
    row(
        f"create_session.{field}",
        lambda s, v, field=field: s.rojak.create_session(**{"agent": agent(), field: v}),
        takes,
        (field,),
    )
row("create_session.session_id", lambda s, v: s.rojak.create_session(v, agent()), ("none", "text"), ("session id",))
for verb in ("get_run_result", "get_session", "resume_session", "delete_session", "resume_run", "delete_run"):
    what = "run" if "run" in verb else "session"
    row(f"{verb}.id", lambda s, v, verb=verb: getattr(s.rojak, verb)(v), (), (f"{what} id", "some text"))
row("get_run.id", lambda s, v: at_once(lambda: s.rojak.get_run(v)), ("text",), ("run id",))
for field, takes in {
    "messages": ("none", "empty", "list", *TEXTS),
    "context_variables": ("none", "dict"),
    "max_turns": (*COUNTS, "half"),
    "history_size": (*COUNTS, "half"),
    "debug": ("none", "true"),
    "max_model_calls": COUNTS,
}.items():
    row(
        f"update_config.{field}",
        lambda s, v, field=field: s.session.update_config(UpdateConfigParams(**{field: v})),
        takes,
        (field, "Message 0"),
    )
row("update_config.params", lambda s, v: s.session.update_config(v))
row("send_messages.agent", lambda s, v: s.session.send_messages("[]", v), ("none",))
row("send_messages.messages[0]", lambda s, v: s.session.send_messages([v]), (), ("Message 0",))
for field in ("role", "content", "tool_calls", "tool_call_id", "sender"):
    row(
        f"message.{field}",
        lambda s, v, field=field: s.session.update_config(
            UpdateConfigParams(messages=[{"role": "user", "content": "x", field: v}])
        ),
        {
            "role": (),
            "content": TEXTS,
            "tool_calls": ("none", "empty", "list", "dict"),
            "tool_call_id": ("none", "empty", *TEXTS),
            "sender": ("none", "empty", *TEXTS),
        }[field],
        ("Message 0",),
    )
row("message.part", lambda s, v: s.session.send_messages([{"role": "user", "content": [v]}]), (), ("part 0", "Message"))
row("answer.call_id", lambda s, v: s.session.answer(v, "yes"), (), ("call_id", "some text"))
row("answer.answer", lambda s, v: s.session.answer("nothere", v), (), ("nothere", "The answer"))
row("session.events.after", lambda s, v: through(s.session.events(v, until_idle=True)), ("five",))
row("run.events.after", lambda s, v: at_once(lambda: s.run.events(v)), ("five",))
row("session.events.until_idle", lambda s, v: through(s.session.events(until_idle=v)), ("true",))
NAMED: dict[str, Call] = {
    "resume_session": lambda s, v: s.rojak.resume_session(s.session.id, request_id=v),
    "create_session": lambda s, v: s.rojak.create_session(None if v is None else "other", agent(), request_id=v),
    "resume_run": lambda s, v: s.rojak.resume_run("once", request_id=v),
    "take_over": lambda s, v: s.rojak.take_over(request_id=v),
    "send_messages": lambda s, v: s.session.send_messages("[]", request_id=v),
    "update_config": lambda s, v: s.session.update_config(UpdateConfigParams(debug=True), request_id=v),
    "session.cancel": lambda s, v: s.session.cancel(request_id=v),
    "run.cancel": lambda s, v: s.run.cancel(request_id=v),
    "pause": lambda s, v: s.schedule.pause(request_id=v),
    "unpause": lambda s, v: s.schedule.unpause(request_id=v),
    "trigger": lambda s, v: s.schedule.trigger(request_id=v),
    "cancel_backfills": lambda s, v: s.schedule.cancel_backfills(request_id=v),
    "update": lambda s, v: s.schedule.update(request_id=v),
}
for name, call in NAMED.items():
    row(f"{name}.request_id", call, ("none", "text"), ("request id",))
for field in ("agent_activities", "retriever_activities", "functions"):
    row(f"create_worker.{field}", lambda s, v, field=field: s.rojak.create_worker(**{field: v}), ("list",))
    row(
        f"create_worker.{field}[0]",
        lambda s, v, field=field: s.rojak.create_worker(**{field: [v]}),
        (),
        (field, "dict"),
    )

# Schedules


NUMBERS = itertools.count()


def scheduling(**given: Any) -> Callable[[Scene], Awaitable[Any]]:
    asked = {"schedule_spec": SELDOM, "agent": agent(), "messages": "[]", **given}
    return lambda s: s.rojak.create_schedule(f"n{next(NUMBERS)}", **asked)


for field, takes in {
    "schedule_spec": (),
    "agent": (),
    "messages": TEXTS,
    "context_variables": ("none", "dict"),
    "max_turns": (*COUNTS, "half"),
    "debug": ("true",),
    "policy": ("none",),
    "state": ("none",),
    "max_model_calls": COUNTS,
    "request_id": ("none", "text"),
}.items():
    names = {"schedule_spec": ("spec",), "messages": ("messages", "Message 0"), "request_id": ("request id",)}
    row(
        f"create_schedule.{field}",
        lambda s, v, field=field: scheduling(**{field: v})(s),
        takes,
        names.get(field, (field,)),
    )
for verb in ("create_schedule", "get_schedule"):
    arguments: tuple[Any, ...] = (SELDOM, agent(), "[]") if verb == "create_schedule" else ()
    row(
        f"{verb}.schedule_id",
        lambda s, v, verb=verb, arguments=arguments: getattr(s.rojak, verb)(v, *arguments),
        ("text",) if arguments else (),
        ("schedule id", "some text"),
    )
PARTS: dict[str, tuple[Callable[..., Any], dict[str, tuple[str, ...]]]] = {
    "spec": (
        lambda **given: {"schedule_spec": ScheduleSpec(**{"intervals": SELDOM.intervals, **given})},
        {
            "calendars": ("list",),
            "intervals": ("list",),
            "cron_expressions": ("list",),
            "skip": ("list",),
            "start_at": ("none",),
            "end_at": ("none",),
            "jitter": ("none",),
            "time_zone_name": ("none", "empty"),
        },
    ),
    "interval": (
        lambda **given: {
            "schedule_spec": ScheduleSpec(intervals=[ScheduleIntervalSpec(**{"every": timedelta(hours=1), **given})])
        },
        {"every": (), "offset": ("none",)},
    ),
    "calendar": (
        lambda **given: {"schedule_spec": ScheduleSpec(calendars=[ScheduleCalendarSpec(**given)])},
        {
            "second": (),
            "day_of_month": (),
            "year": ("list",),
            "comment": ("none", "empty", "blank", "text"),
        },
    ),
    "range": (
        lambda **given: {
            "schedule_spec": ScheduleSpec(
                calendars=[ScheduleCalendarSpec(minute=[ScheduleRange(**{"start": 0, **given})])]
            )
        },
        {"start": ("five",), "end": ("five", "minus"), "step": ("five",)},
    ),
    "policy": (
        lambda **given: {"policy": SchedulePolicy(**given)},
        {"overlap": (), "catchup_window": ("none",), "pause_on_failure": ("true",), "keep_runs": ("none",)},
    ),
    "state": (
        lambda **given: {"state": ScheduleState(**given)},
        {
            "note": ("none", "empty", "blank", "text"),
            "paused": ("true",),
            "limited_actions": ("true",),
            "remaining_actions": (),
        },
    ),
}
for part, (make, fields_of) in PARTS.items():
    for field, takes in fields_of.items():
        row(
            f"{part}.{field}",
            lambda s, v, make=make, field=field: scheduling(**make(**{field: v}))(s),
            takes,
            ("minute",) if part == "range" else (),
        )
for field in ("start_at", "end_at", "overlap"):
    when = {"start_at": datetime(2026, 1, 1, tzinfo=UTC), "end_at": datetime(2026, 1, 1, tzinfo=UTC)}
    row(
        f"backfill.{field}",
        lambda s, v, field=field, when=when: s.schedule.backfill(ScheduleBackfill(**{**when, field: v})),
        ("none",) if field == "overlap" else (),
    )
row("backfill.backfill[0]", lambda s, v: s.schedule.backfill(v))
row("pause.note", lambda s, v: s.schedule.pause(note=v), ("none", "empty", "blank", "text"))
row("trigger.overlap", lambda s, v: s.schedule.trigger(overlap=v), ("none",))
row("update.updater", lambda s, v: s.schedule.update(v if v is not dict else None), ("none", "class"))
for field in ("action", "spec", "policy", "state"):
    row(f"update.{field}", lambda s, v, field=field: s.schedule.update(**{field: v}), ("none",))
row("update.returned", lambda s, v: s.schedule.update(lambda _: v), ("none",), ("updater",))
row("update.returned.schedule", lambda s, v: s.schedule.update(lambda _: ScheduleUpdate(v)))
row(
    "update.action.agent",
    lambda s, v: s.schedule.update(action=ScheduleActionStartRun(agent=v, messages="[]")),
)
for field, takes in {"statuses": ("none", "list"), "limit": ("five", "huge"), "page_size": ("five", "huge")}.items():
    row(
        f"list_scheduled_runs.{field}",
        lambda s, v, field=field: through(s.rojak.list_scheduled_runs("daily", **{field: v})),
        takes,
    )


@pytest.mark.parametrize("name", ROWS)
async def test_junk_is_refused_in_words_and_nothing_is_stored(name: str) -> None:
    row = ROWS[name]
    wrong: list[str] = []
    store = MemoryStore()
    settings = PoolSettings(sweep_s=NEVER_S, timers_s=NEVER_S, code_wait_s=0.0)
    async with InProcessRuntime(store, settings=settings) as rojak:
        await rojak.create_worker([PlanActivities()])
        session = await rojak.create_session("talk", agent())
        run = await rojak.start_run("once", agent(), plan("x"))
        await run.result()
        scene = Scene(rojak, session, run, await rojak.create_schedule("daily", SELDOM, agent(), "[]"))
        await through(session.events(until_idle=True))
        for what in sorted(JUNK, key=lambda one: one in row.takes):  # those that are taken write something
            before = _kept(store)
            said = await _outcome(row.call, scene, JUNK[what])
            taken = what in row.takes
            if said is None or isinstance(said, RojakError) is False:
                if not taken or said is not None:
                    wrong.append(f"{what}: {said!r:.200}" if said is not None else f"{what} was taken")
            elif taken and isinstance(said, RequestError):
                wrong.append(f"{what} was refused: {said}")
            elif not taken and not any(word in str(said) for word in row.names):
                wrong.append(f"{what} is refused without a name: {said}")
            elif len(str(said)) > 1000:
                wrong.append(f"{what} is refused at length")
            if not taken and _kept(store) != before:
                wrong.append(f"{what} left something in storage: {sorted(set(_kept(store)) ^ set(before))}")
    assert not wrong, "\n".join(wrong)


async def _outcome(call: Call, scene: Scene, value: Any) -> BaseException | None:
    try:
        async with asyncio.timeout(20):
            await call(scene, value)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return error
    return None


def _kept(store: MemoryStore) -> dict[str, bytes]:
    """What is stored, but for who rules."""
    return {key: data for key, data in store.snapshot().items() if "reign" not in key}
