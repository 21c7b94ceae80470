"""A call reaches the very object its agent was given, whatever looks like it: drawn from factories of callables."""

import asyncio
import collections
import functools
import gc
import itertools
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr
from support.plan import PlanAgent, plan
from support.worlds import World, world

from rojak_ray.agents import AgentExecuteFnResult
from rojak_ray.agents.schema import name_of

HANG_S = 30


class Slotted:
    __slots__ = ("_owner",)

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def who(self) -> str:
        return self._owner


class Inherited(Slotted):
    __slots__ = ()


class Private(BaseModel):
    _owner: str = PrivateAttr("")


class Callable_:
    def __init__(self, owner: str) -> None:
        self.owner = owner

    def __call__(self) -> str:
        return self.owner

    def who(self) -> str:
        return self.owner

    @classmethod
    def of(cls, owner: str) -> Any:
        return type(
            owner, (cls,), {"tell": classmethod(lambda kind: kind.__name__), "say": staticmethod(lambda: owner)}
        )


class Counted(list[str]):
    """A container with an attribute."""


@dataclass(eq=False)
class Locked:
    owner: str
    lock: Any = field(default_factory=threading.Lock)


def over(it: Any, read: Callable[[Any], str]) -> Any:
    def who() -> str:
        return read(it)

    return who


def connection(owner: str) -> Any:
    made = sqlite3.connect(":memory:", check_same_thread=False)
    made.execute("create table owner (name)")
    made.execute("insert into owner values (?)", (owner,))
    return over(made, lambda it: str(it.execute("select name from owner").fetchone()[0]))


def private(owner: str) -> Any:
    made = Private()
    made._owner = owner
    return over(made, lambda it: it._owner)


def container(owner: str) -> Any:
    made = Counted()
    made.owner = owner  # type: ignore[attr-defined]
    return over(made, lambda it: it.owner)


def filled_later(owner: str) -> Any:
    made: list[str] = []
    who = over(made, lambda it: it[0])
    LATER.append(lambda: made.append(owner))
    return who


def set_later(owner: str) -> Any:
    name = ""

    def who() -> str:
        return name

    def fill() -> None:
        nonlocal name
        name = owner

    LATER.append(fill)
    return who


def script(owner: str) -> Any:
    namespace = {"__name__": "__main__", "OWNER": owner}
    exec("def who() -> str:\n    return OWNER", namespace)
    return namespace["who"]


def script_with_the_same_at_first(owner: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "__main__", "STATE": {}}
    exec("def who() -> str:\n    return STATE['owner']", namespace)
    LATER.append(lambda: namespace["STATE"].update(owner=owner))
    return namespace["who"]


def decorated(owner: str) -> Any:
    inner = over(owner, str)

    @functools.wraps(base)
    def wrapper() -> str:
        return inner()

    return wrapper


def base() -> str:
    return "nobody"


def in_a_loop(owner: str) -> Any:
    made, *_ = [(lambda name=name: name) for name in (owner, "another", "a third")]
    made.__name__ = "who"
    return functools.partial(made)


def cached(owner: str) -> Any:
    return functools.lru_cache(over(owner, str))


def nested(owner: str) -> Any:
    return over(over(over(owner, str), lambda it: it()), lambda it: it())


def of_a_million(owner: str) -> Any:
    return over([*range(100_000), owner], lambda it: it[-1])


def hostile(owner: str) -> Any:
    class Hostile:
        def __reduce__(self) -> Any:
            raise SystemExit("no")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        __hash__ = None  # type: ignore[assignment]

    made = Hostile()
    vars(made)["owner"] = owner
    return over(made, lambda it: vars(it)["owner"])


def queue(owner: str) -> Any:
    return over(collections.deque([owner]), lambda it: it[0])


LATER: list[Callable[[], object]] = []
FACTORIES: dict[str, Callable[[str], Any]] = {
    "text": lambda owner: over(owner, str),
    "connection": connection,
    "lock": lambda owner: over(Locked(owner), lambda it: it.owner),
    "deque": queue,
    "slot": lambda owner: over(Inherited(owner), lambda it: it.who()),
    "private attribute": private,
    "container with an attribute": container,
    "list filled later": filled_later,
    "variable set later": set_later,
    "closure": nested,
    "bound method": lambda owner: Callable_(owner).who,
    "bound method of slots": lambda owner: Inherited(owner).who,
    "class method": lambda owner: Callable_.of(owner).tell,
    "static method": lambda owner: Callable_.of(owner).say,
    "partial": lambda owner: functools.partial(lambda name: name, owner),
    "callable object": Callable_,
    "lambda in a loop": in_a_loop,
    "wrapper": decorated,
    "cached": cached,
    "exec": script,
    "exec, the same at first": script_with_the_same_at_first,
    "large": of_a_million,
    "hostile": hostile,
}
OWNERS = ("alice", "bob", "carol")


def make(kind: str, owner: str) -> Any:
    """A callable that tells whose it is, with a name that a model can call."""
    fn = FACTORIES[kind](owner)
    inner = fn.func if isinstance(fn, functools.partial) else getattr(fn, "__func__", fn)
    if getattr(inner, "__name__", "") == "<lambda>":
        inner.__name__ = "who"
    return fn


async def go_to_storage(w: World) -> None:
    """Every session leaves memory; the next message brings it back."""
    pool = w.rojak._local._pool
    for host in pool._open_hosts():
        await pool._let_go(host)


async def who_ran(kinds: list[str], *, instructions: bool, handed_over: bool) -> None:
    """Each owner's agents, of every kind drawn, say whose they are; also when only storage remembers the session."""
    LATER.clear()
    async with world() as w:
        sessions = []
        for kind, owner in itertools.product(kinds, OWNERS):
            fn = make(kind, owner)
            name = name_of(fn) if not instructions else ""
            agent = PlanAgent(name=owner, instructions=fn) if instructions else PlanAgent(name=owner, functions=[fn])
            agent = first(agent) if handed_over else agent
            sessions.append((kind, owner, name, await w.rojak.create_session(f"{kind} {owner}", agent)))
            del fn, agent
        for fill in LATER:
            fill()
        for turn in range(2):
            gc.collect()
            for kind, owner, name, session in sessions:
                moves: list[Any] = [["hand_over", {}]] if handed_over and turn == 0 else []
                calls: list[Any] = [] if instructions else [[name, {}]]
                async with asyncio.timeout(HANG_S):
                    response = await session.send_messages(plan(*([each] for each in (*moves, *calls)), "end"))
                said = [message.content for message in response.messages if message.role == "tool"]
                ran = w.model.asked[-1].messages[0].content if instructions else said[-1]
                assert ran == owner, f"{kind}: {owner}'s agent ran {ran}"
            await go_to_storage(w)


def first(other: PlanAgent) -> PlanAgent:
    def hand_over() -> AgentExecuteFnResult:
        return AgentExecuteFnResult(output="over", agent=other)

    return PlanAgent(name="First", functions=[hand_over])


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize("instructions", [False, True])
@pytest.mark.parametrize("kind", FACTORIES)
async def test_each_agent_runs_its_own(kind: str, instructions: bool, handed_over: bool) -> None:
    await who_ran([kind], instructions=instructions, handed_over=handed_over)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(sorted(FACTORIES)), min_size=2, max_size=5, unique=True), st.booleans(), st.booleans())
def test_each_agent_runs_its_own_among_others(kinds: list[str], instructions: bool, handed_over: bool) -> None:
    asyncio.run(who_ran(kinds, instructions=instructions, handed_over=handed_over))
