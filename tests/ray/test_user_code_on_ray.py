"""Whatever user code does wrong on a cluster: told as it is in one process, once, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support import trouble
from support.plan import PlanActivities, PlanAgent, plan
from support.trouble import WHATS
from support.waiting import lines

from rojak_ray import Rojak, errors, function
from rojak_ray.agents import Agent, AgentActivities, AgentResponse, Retriever, WaitForAnswer
from rojak_ray.retrievers import RetrieverActivities
from rojak_ray.sessions.events import RetrievalEvent
from rojak_ray.types import RetryOptions, RetryPolicy

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

ONCE = RetryOptions(timeout_in_seconds=20, retry_policy=RetryPolicy(maximum_attempts=1))


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


async def told_of(rojak: Rojak, fn: Callable[..., Any]) -> str:
    """What the model is told of a function."""
    agent = PlanAgent(name="A", functions=[fn])
    response = await rojak.run(agent=agent, messages=plan([[fn.__name__, {}]], "end"))
    assert response.messages[-1].content == "end"
    return str(response.messages[2].content)


def noting(path: Path, what: str, do: Callable[[], Any], *, asynchronous: bool) -> Callable[..., Any]:
    """A function that notes that it ran, and then does it."""

    def plain() -> Any:
        with path.open("a") as file:
            file.write(what + "\n")
        return do()

    async def later() -> Any:
        plain()

    return later if asynchronous else plain


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_each_trouble_of_a_function_is_told_and_ran_once(rojak: Rojak, effects: Path, how: str) -> None:
    async def one(what: str) -> None:
        do, told = WHATS[what]
        seen = await told_of(rojak, noting(effects, what, do, asynchronous=how == "async"))
        assert told in seen, what
        assert len(seen) < 5000
        assert "ray" not in seen

    await asyncio.gather(*(one(what) for what in WHATS))
    assert sorted(lines(effects)) == sorted(WHATS)


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_each_trouble_of_instructions_fails_the_run_and_ran_once(rojak: Rojak, effects: Path, how: str) -> None:
    async def one(what: str) -> None:
        do, told = WHATS[what]
        write = noting(effects, what, do, asynchronous=how == "async")
        with pytest.raises(errors.RunFailed) as failure:
            await rojak.run(agent=PlanAgent(name="A", instructions=write, retry_options=ONCE), messages=plan("x"))
        assert told in str(failure.value), what

    await asyncio.gather(*(one(what) for what in WHATS))
    assert sorted(lines(effects)) == sorted(WHATS)


async def test_each_trouble_of_a_provider_fails_the_run(rojak: Rojak) -> None:
    class Other(Agent):
        type: str = "troubled"
        model: str = "m"

    class Activities(AgentActivities):
        type = "troubled"

        async def call(self, params: Any) -> Any:
            WHATS[str(params.messages[-1].content)][0]()

    async def one(what: str) -> None:
        with pytest.raises(errors.RunFailed) as failure:
            await rojak.run(agent=Other(name="A", retry_options=ONCE), messages=what)
        assert WHATS[what][1] in str(failure.value), what

    async with await rojak.create_worker([Activities()]):
        await asyncio.gather(*(one(what) for what in WHATS))


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_each_trouble_of_a_retriever_is_told_and_the_run_goes_on(rojak: Rojak, effects: Path, how: str) -> None:
    path = effects

    def find(self: Any, text: str) -> Any:
        with path.open("a") as file:
            file.write(text + "\n")
        return WHATS[text][0]()

    async def find_later(self: Any, text: str) -> Any:
        return find(self, text)

    class Library(RetrieverActivities):
        type = f"library-{how}"

        retrieve_and_combine_results = find_later if how == "async" else find  # type: ignore[assignment]

    class Asked(Agent):
        type: str = "asked"
        model: str = "m"

    class Answers(AgentActivities):
        type = "asked"

        async def call(self, params: Any) -> AgentResponse:
            return AgentResponse(content="end")

    async def one(what: str) -> None:
        asked = Asked(name="A", retriever=Retriever(f"library-{how}"), retry_options=ONCE)
        handle = await rojak.start_run(agent=asked, messages=what)
        assert (await handle.result()).output == "end"
        found = [event async for event in handle.events() if isinstance(event, RetrievalEvent)]
        assert WHATS[what][1] in str(found[-1].error), what

    async with await rojak.create_worker([Answers()], [Library()]):
        await asyncio.gather(*(one(what) for what in WHATS))
    assert sorted(lines(effects)) == sorted(WHATS)


async def test_each_trouble_of_a_synchronous_provider_fails_the_run(rojak: Rojak) -> None:
    class Blocking(Agent):
        type: str = "blocking"
        model: str = "m"

    class Activities(AgentActivities):
        type = "blocking"

        def call(self, params: Any) -> Any:  # type: ignore[override]
            WHATS[str(params.messages[-1].content)][0]()

    async def one(what: str) -> None:
        with pytest.raises(errors.RunFailed) as failure:
            await rojak.run(agent=Blocking(name="A", retry_options=ONCE), messages=what)
        assert WHATS[what][1] in str(failure.value), what

    async with await rojak.create_worker([Activities()]):
        await asyncio.gather(*(one(what) for what in WHATS))


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_result_that_means_nothing_where_it_stands_is_refused_in_words(rojak: Rojak, how: str) -> None:
    def asks_in_a_list() -> Any:
        return [WaitForAnswer("May I?")]

    async def asks_in_a_list_later() -> Any:
        return [WaitForAnswer("May I?")]

    async def other() -> str:
        return "never"

    def forgets_to_await() -> Any:
        return [other()]

    async def forgets_to_await_later() -> Any:
        return other()

    asks, forgets = (
        (asks_in_a_list, forgets_to_await) if how == "sync" else (asks_in_a_list_later, forgets_to_await_later)
    )
    assert "nothing waits for an answer" in await told_of(rojak, asks)
    assert "coroutine" in await told_of(rojak, forgets)


async def test_exit_in_a_task_of_the_users_leaves_the_step_worker_alone(rojak: Rojak) -> None:
    async def exits() -> None:
        await trouble.in_a_group(lambda: trouble.exit_with(3))

    async def pid() -> str:
        return str(os.getpid())

    before = await told_of(rojak, pid)
    assert "SystemExit: 3" in await told_of(rojak, exits)
    assert await told_of(rojak, pid) == before


@function(timeout=0.5)
async def takes_no_notice() -> None:
    await trouble.deaf()


@function(timeout=0.5)
def goes_on_and_on() -> None:
    while True:
        with contextlib.suppress(Exception):
            threading.Event().wait()


@function(timeout=0.5)
def refuses_everything_once() -> str:
    try:
        threading.Event().wait()
    except BaseException:  # noqa: BLE001
        return "late"
    return ""


@function(timeout=0.5)
def waits_for_a_thread_that_never_ends() -> None:
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "fn", [takes_no_notice, goes_on_and_on, refuses_everything_once, waits_for_a_thread_that_never_ends]
)
async def test_function_that_overruns_is_told_so_and_its_process_lives(rojak: Rojak, fn: Any) -> None:
    async with asyncio.timeout(60):
        assert await told_of(rojak, fn) == f"TimeoutError: {fn.__name__} did not finish in time (0.5 s)."


async def test_process_that_is_really_lost_is_called_lost_and_an_exit_is_not(rojak: Rojak, effects: Path) -> None:
    path = str(effects)

    @function(retry_policy=RetryPolicy(maximum_attempts=2, initial_interval_in_seconds=1))
    def dies() -> None:
        with open(path, "a") as file:
            file.write("died\n")
        os._exit(1)

    @function(at_most_once=True)
    def charge() -> None:
        with open(path, "a") as file:
            file.write("charged\n")
        os.kill(os.getpid(), signal.SIGKILL)

    assert await told_of(rojak, dies) == "ProcessLost: the process that ran it died."
    told = await told_of(rojak, charge)
    assert "interrupted (the process that ran it died)" in told
    assert "unknown" in told
    assert lines(effects) == ["died", "died", "charged"]


async def test_call_whose_environment_cannot_be_set_up_never_began_and_says_why(rojak: Rojak) -> None:
    @function(at_most_once=True, runtime_env={"working_dir": "/nowhere/at/all.zip"})
    def charge() -> None: ...

    told = await told_of(rojak, charge)
    assert "unknown" not in told
    assert "nowhere" in told


async def test_result_that_is_no_data_and_a_change_that_cannot_be_kept_are_told_once(rojak: Rojak) -> None:
    def odd(context_variables: dict[str, Any]) -> Any:
        context_variables |= {"kept": 1, "bad": threading}
        return trouble.Oddness()

    agent = PlanAgent(name="A", functions=[odd])
    response = await rojak.run(agent=agent, messages=plan([["odd", {}]], "end"))
    assert response.context_variables == {"kept": 1}
    assert "Oddness that has no text" in str(response.messages[2].content)
    assert "InvalidContext" in str(response.messages[2].content)


async def test_agent_that_cannot_be_shipped_is_not_handed_over_to_and_the_rest_stands(rojak: Rojak) -> None:
    def refund(context_variables: dict[str, Any]) -> Any:
        lock = threading.Lock()

        def locked() -> None:
            lock.acquire()

        context_variables["refunded"] = True
        return PlanAgent(name="B", functions=[locked])

    agent = PlanAgent(name="A", functions=[refund])
    response = await rojak.run(agent=agent, messages=plan([["refund", {}]], "end"))
    assert response.context_variables == {"refunded": True}
    assert "nothing was handed over" in str(response.messages[2].content)
    assert response.messages[-1].sender == "A"


async def test_blocking_instructions_hold_up_no_other_run_of_a_step_worker(rojak: Rojak, tmp_path: Path) -> None:
    go = str(tmp_path / "go")

    def writes() -> str:
        pause = threading.Event()
        while not os.path.exists(go):
            pause.wait(0.02)
        return "Be kind."

    async def quick() -> str:
        return "quick"

    handles = [
        await rojak.start_run(agent=PlanAgent(name="A", instructions=writes), messages=plan(f"slow {n}"))
        for n in range(4)
    ]
    async with asyncio.timeout(60):
        assert await told_of(rojak, quick) == "quick"
        Path(go).touch()
        assert [(await handle.result()).messages[-1].content for handle in handles] == [f"slow {n}" for n in range(4)]
