"""Whatever user code does wrong, wherever it runs in this process: one outcome, told in words, and it ran once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import trouble
from support.plan import PlanActivities, PlanAgent, plan
from support.trouble import WHATS
from support.worlds import world

from rojak_ray import errors, function
from rojak_ray.agents import (
    Agent,
    AgentActivities,
    AgentExecuteFnResult,
    AgentResponse,
    Retriever,
    WaitForAnswer,
)
from rojak_ray.messages import ImagePart
from rojak_ray.retrievers import RetrieverActivities
from rojak_ray.types import RetryOptions, RetryPolicy

# What swallows even its being closed complains when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ONCE = RetryOptions(timeout_in_seconds=5, retry_policy=RetryPolicy(maximum_attempts=1))
Do = Callable[[], Any]


class Other(Agent):
    type: str = "other"
    model: str = "m"


async def as_function(fn: Callable[..., Any]) -> str:
    """What the model is told of a function."""
    async with world() as w:
        agent = PlanAgent(name="A", functions=[fn])
        response = await w.rojak.run(agent=agent, messages=plan([[fn.__name__, {}]], "end"))
    assert response.messages[-1].content == "end"
    return str(response.messages[2].content)


async def as_instructions(write: Callable[..., Any]) -> str:
    """What the caller is told of a run whose instructions fail."""
    async with world() as w:
        with pytest.raises(errors.RunFailed) as failure:
            await w.rojak.run(agent=PlanAgent(name="A", instructions=write, retry_options=ONCE), messages=plan("x"))
    return str(failure.value)


async def as_provider(answer: Callable[..., Any]) -> str:
    class Activities(AgentActivities):
        type = "other"

        call = answer  # type: ignore[assignment]

    async with world() as w:
        await w.rojak.create_worker([Activities()])
        with pytest.raises(errors.RunFailed) as failure:
            await w.rojak.run(agent=Other(name="A", retry_options=ONCE), messages="x")
    return str(failure.value)


async def as_retriever(find: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> str:
    class Library(RetrieverActivities):
        type = "library"

        retrieve_and_combine_results = find  # type: ignore[assignment]

    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[Library()])
        agent = PlanAgent(name="A", retriever=Retriever("library"), retry_options=ONCE)
        with caplog.at_level(logging.WARNING):
            response = await w.rojak.run(agent=agent, messages=plan("end"))
    assert response.messages[-1].content == "end"
    return caplog.text


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("where", ["function", "instructions", "retriever", "provider"])
async def test_each_trouble_everywhere_is_told_and_ran_once(
    where: str, how: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    do, told = WHATS[what]
    ran: list[str] = []

    def troubled(*_: Any) -> Any:
        ran.append(what)
        return do()

    async def troubled_later(*_: Any) -> Any:
        ran.append(what)
        await asyncio.sleep(0)
        return do()

    def plain() -> Any:
        return troubled()

    async def later() -> Any:
        return await troubled_later()

    asynchronous = how == "async"
    async with asyncio.timeout(10):
        if where == "function":
            seen = await as_function(later if asynchronous else plain)
        elif where == "instructions":
            seen = await as_instructions(later if asynchronous else plain)
        elif where == "retriever":
            seen = await as_retriever(troubled_later if asynchronous else troubled, caplog)
        else:
            seen = await as_provider(troubled_later if asynchronous else troubled)

    assert told in seen
    assert ran == [what]
    if where == "function":
        assert len(seen) < 5000
        assert "\x1b" not in seen


async def test_stop_iteration_is_told_alike_wherever_it_ended_something() -> None:
    def ends() -> Any:
        return next(iter(()))

    async def ends_later() -> Any:
        return next(iter(()))

    def ends_in_a_generator() -> Any:
        return list(next(iter(())) for _ in range(1))  # noqa: C400  (it is the generator that matters)

    told = {await as_function(fn) for fn in (ends, ends_later, ends_in_a_generator)}
    assert told == {"StopIteration: StopIteration()"}


async def gives_nothing() -> str:
    return "never"


async def returns_a_coroutine() -> Any:
    return gives_nothing()


def returns_a_coroutine_of_a_coroutine() -> Any:
    return returns_a_coroutine()


def returns_coroutines() -> Any:
    return [gives_nothing()]


async def asks_a_number() -> Any:
    return WaitForAnswer(5)  # type: ignore[arg-type]


async def asks_in_a_list() -> Any:
    return [WaitForAnswer("May I?")]


async def asks_and_hands_over() -> Any:
    return AgentExecuteFnResult(output=WaitForAnswer("May I?"), agent=PlanAgent(name="B"))


async def returns_the_class() -> Any:
    return {"it": WaitForAnswer}


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (returns_a_coroutine, "a coroutine that nobody awaited"),
        (returns_a_coroutine_of_a_coroutine, "a coroutine that nobody awaited"),
        (returns_coroutines, "a coroutine within another value"),
        (asks_a_number, "question of WaitForAnswer must be text, not 5"),
        (asks_in_a_list, "nothing waits for an answer"),
        (asks_and_hands_over, "nothing waits for an answer"),
        (returns_the_class, "the class WaitForAnswer"),
    ],
)
async def test_result_that_means_nothing_where_it_stands_is_refused_in_words(fn: Any, words: str) -> None:
    assert words in await as_function(fn)


async def test_question_may_come_with_context() -> None:
    def asks() -> Any:
        return AgentExecuteFnResult(output=WaitForAnswer("May I?"), context_variables={"asked": True})

    async with world() as w:
        session = await w.rojak.create_session(agent=PlanAgent(name="A", functions=[asks]))
        running = asyncio.create_task(session.send_messages(plan([["asks", {}]], "end")))
        async with asyncio.timeout(10):
            while not (asked := await session.open_questions()):
                await asyncio.sleep(0)
            await session.answer(asked[0].call_id, "yes")
            response = await running
    assert (asked[0].question, response.context_variables) == ("May I?", {"asked": True})
    assert response.messages[2].content == "yes"


CALL = {"id": "c", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "NoneType instead of AgentResponse"),
        ("text", "str instead of AgentResponse"),
        (AgentResponse, "type instead of AgentResponse"),
        (AgentResponse(content=5), "content of type int"),  # type: ignore[arg-type]
        (AgentResponse(content=b"x"), "content of type bytes"),  # type: ignore[arg-type]
        (AgentResponse(content=["x"]), "content of type list"),  # type: ignore[arg-type]
        (AgentResponse(tool_calls={"a": 1}), "tool_calls of type dict"),  # type: ignore[arg-type]
        (AgentResponse(tool_calls=[5]), "tool_calls[0].function.name of type NoneType"),  # type: ignore[list-item]
        (AgentResponse(tool_calls=[{"id": "c", "function": {"arguments": "{}"}}]), "function.name of type str"),  # type: ignore[list-item]
        (AgentResponse(tool_calls=[{**CALL, "id": object()}]), "tool_calls[0].id of type object"),  # type: ignore[list-item]
        (AgentResponse(tool_calls=[{**CALL, "function": {"name": "f", "arguments": 5}}]), "arguments of type int"),  # type: ignore[list-item]
        (AgentResponse(tool_calls=[{**CALL, "function": {"name": "f", "arguments": {"a": 1j}}}]), "no JSON"),  # type: ignore[list-item]
        (AgentResponse(content="x", usage={"requests": 1}), "usage of type dict"),  # type: ignore[arg-type]
        (AgentResponse(content="x", vendor="openai"), "vendor of type str"),  # type: ignore[arg-type]
        (trouble.Oddness(), "Oddness instead of AgentResponse"),
    ],
)
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_provider_that_answers_with_something_else_is_told_what_was_wrong(
    how: str, answer: Any, words: str
) -> None:
    async def later(self: Any, params: Any) -> Any:
        return answer

    def at_once(self: Any, params: Any) -> Any:
        return answer

    assert words in await as_provider(later if how == "async" else at_once)


async def test_provider_may_give_arguments_as_an_object() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    class Plain(AgentActivities):
        type = "other"

        async def call(self, params: Any) -> AgentResponse:
            if params.messages[-1].role == "tool":
                return AgentResponse(content=params.messages[-1].content)
            call = {"id": 7, "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
            return AgentResponse(type="tool", tool_calls=[call])  # type: ignore[list-item]

    async with world() as w:
        await w.rojak.create_worker([Plain()])
        response = await w.rojak.run(agent=Other(name="A", functions=[add]), messages="x")
    assert response.output == "3"


async def forgets_to_await(self: Any, text: str) -> Any:
    return gives_nothing()


async def finds_an_image(self: Any, text: str) -> Any:
    return [ImagePart(url="https://example.com/a.png")]


@pytest.mark.parametrize(
    ("find", "words"),
    [(forgets_to_await, "nobody awaited"), (finds_an_image, "retrievers return text")],
)
async def test_what_a_retriever_must_not_return_is_told(
    find: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert words in await as_retriever(find, caplog)


@pytest.mark.parametrize("spread", [trouble.in_a_group, trouble.in_a_crowd])
@pytest.mark.parametrize("what", ["base exception", "system exit", "keyboard interrupt", "exception"])
async def test_what_ends_a_loop_in_a_task_of_the_users_does_not_end_ours(spread: Any, what: str) -> None:
    do, told = WHATS[what]

    async def spreads() -> None:
        await spread(do)

    def spreads_in_a_thread() -> None:
        asyncio.run(spread(do))

    assert told in await as_function(spreads)
    assert told.partition(":")[0] in await as_function(spreads_in_a_thread)


async def test_group_of_passing_errors_is_passing() -> None:
    tried: list[int] = []
    policy = RetryPolicy(maximum_attempts=2)

    @function(retry_policy=policy)
    async def flaky() -> str:
        tried.append(1)
        if len(tried) == 1:
            raise ExceptionGroup("net", [ConnectionError("no route"), TimeoutError("late")])
        return "through"

    assert await as_function(flaky) == "through"
    assert len(tried) == 2


# Time


def limited(fn: Any) -> Any:
    return function(timeout=0.1)(fn)


@limited
async def takes_no_notice() -> None:
    await trouble.deaf()


@limited
async def takes_no_notice_of_anything() -> None:
    await trouble.deaf(BaseException)


@limited
async def gives_a_late_answer() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "late"
    return ""


@limited
def returns_what_never_comes() -> Any:
    return trouble.deaf()


@limited
def blocks() -> None:
    threading.Event().wait()


@limited
def runs_a_loop_of_its_own() -> None:
    asyncio.run(trouble.deaf())


class Never:
    def __await__(self) -> Any:
        return asyncio.Event().wait().__await__()


@limited
def returns_an_awaitable_that_is_no_coroutine() -> Any:
    return Never()


@pytest.mark.parametrize(
    "fn",
    [
        takes_no_notice,
        takes_no_notice_of_anything,
        gives_a_late_answer,
        returns_what_never_comes,
        blocks,
        runs_a_loop_of_its_own,
        returns_an_awaitable_that_is_no_coroutine,
    ],
)
async def test_function_that_overruns_is_answered_for_and_nobody_waits_for_it(fn: Any) -> None:
    async with asyncio.timeout(10):
        assert await as_function(fn) == f"TimeoutError: {fn.__name__} did not finish in time (0.1 s)."


@pytest.mark.parametrize("write", [takes_no_notice, blocks])
async def test_instructions_that_overrun_fail_the_run(write: Any) -> None:
    options = RetryOptions(timeout_in_seconds=1, retry_policy=RetryPolicy(maximum_attempts=1))
    async with asyncio.timeout(10), world() as w:
        with pytest.raises(errors.RunFailed, match="instructions of agent 'A' did not finish in time"):
            await w.rojak.run(agent=PlanAgent(name="A", instructions=write, retry_options=options), messages=plan("x"))


@pytest.mark.parametrize("fn", [takes_no_notice, takes_no_notice_of_anything, blocks, returns_what_never_comes])
async def test_closing_waits_for_no_function(fn: Any) -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    if asyncio.iscoroutinefunction(fn):

        async def endless() -> None:
            began.set()
            await fn()
    else:

        def endless() -> Any:  # type: ignore[misc]
            loop.call_soon_threadsafe(began.set)
            return fn()

    async with asyncio.timeout(10), world() as w:
        await w.rojak.start_run("r", PlanAgent(name="A", functions=[endless]), plan([["endless", {}]], "end"))
        await began.wait()


async def test_blocking_instructions_and_retrievers_hold_nobody_up() -> None:
    go = threading.Event()

    def writes() -> str:
        assert go.wait(10)
        return "Be kind."

    class Library(RetrieverActivities):
        type = "library"

        def retrieve_and_combine_results(self, text: str) -> str:  # type: ignore[override]
            assert go.wait(10)
            return "found"

    async with asyncio.timeout(10), world() as w:
        await w.rojak.create_worker(retriever_activities=[Library()])
        slow = PlanAgent(name="A", instructions=writes, retriever=Retriever("library"))
        handle = await w.rojak.start_run("r", slow, plan("slow"))
        quick = await w.rojak.run(agent=PlanAgent(name="B"), messages=plan("quick"))
        go.set()
        assert (await handle.result()).messages[-1].content == "slow"
    assert quick.messages[-1].content == "quick"
    assert (w.model.asked[-1].messages[0].content or "").startswith("Be kind.")
    assert (w.model.asked[-1].messages[0].content or "").endswith("found")


async def test_instructions_that_return_nothing_are_empty() -> None:
    async with world() as w:
        await w.rojak.run(agent=PlanAgent(name="A", instructions=lambda: None), messages=plan("x"))
    assert not w.model.asked[0].messages[0].content


async def test_function_may_run_the_runtime_it_runs_in() -> None:
    async with asyncio.timeout(10), world() as w:

        def asks_another() -> str:
            """Ask with a loop of its own, as code written for no loop does."""
            response = asyncio.run(w.rojak.run(agent=PlanAgent(name="B"), messages=plan("from within")))
            return str(response.messages[-1].content)

        agent = PlanAgent(name="A", functions=[asks_another])
        response = await w.rojak.run(agent=agent, messages=plan([["asks_another", {}]], "end"))
        assert response.messages[2].content == "from within"
        session = await w.rojak.create_session("s", PlanAgent(name="B"))
        assert (await session.send_messages(plan("after"))).messages[-1].content == "after"


# Context and results


async def test_concurrent_calls_that_change_the_context_through_tool_context_lose_nothing() -> None:
    from rojak_ray import ToolContext

    seen: list[int] = []

    async def count(call: ToolContext) -> str:
        n = call.context_variables.get("n", 0)
        seen.append(n)
        await asyncio.sleep(0)
        call.context_variables["n"] = n + 1
        return str(n)

    def count_too(call: ToolContext, context_variables: dict[str, Any]) -> str:
        assert call.context_variables is context_variables
        context_variables["n"] += 1
        return "too"

    async with world() as w:
        agent = PlanAgent(name="A", functions=[count, count_too])
        calls = [["count", {}], ["count_too", {}], ["count", {}], ["count", {}]]
        response = await w.rojak.run(agent=agent, messages=plan(calls, "end"))
    assert response.context_variables == {"n": 4}
    assert seen == [0, 2, 3]


async def test_what_a_function_did_stands_though_its_agent_or_result_cannot_be_used() -> None:
    def refund(context_variables: dict[str, Any]) -> Any:
        context_variables["refunded"] = True
        return PlanAgent(name="B", functions=[lambda: None])

    def odd(context_variables: dict[str, Any]) -> Any:
        context_variables["odd"] = True
        return trouble.Oddness()

    async with world() as w:
        agent = PlanAgent(name="A", functions=[refund, odd])
        response = await w.rojak.run(agent=agent, messages=plan([["refund", {}]], [["odd", {}]], "end"))
    assert response.context_variables == {"refunded": True, "odd": True}
    assert response.agent is not None
    assert response.agent.name == "A"
    assert "InvalidAgent" in str(response.messages[2].content)
    assert "nothing was handed over" in str(response.messages[2].content)
    assert "Oddness that has no text" in str(response.messages[4].content)


async def test_provider_and_retriever_need_not_be_asynchronous() -> None:
    class Plain(AgentActivities):
        type = "other"

        def call(self, params: Any) -> Any:  # type: ignore[override]
            assert threading.current_thread() is not threading.main_thread()
            return PlanActivities().call(params)

    async with world() as w:
        await w.rojak.create_worker([Plain()])
        response = await w.rojak.run(agent=Other(name="A"), messages=plan("answered"))
    assert response.messages[-1].content == "answered"
