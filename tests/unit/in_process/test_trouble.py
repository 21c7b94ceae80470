"""Bad input is refused before anything is stored; what goes wrong in a run becomes an answer or a clear error."""

import asyncio
import sys
from typing import Any

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.stories import jittered
from support.worlds import world

from rojak_ray import OpenAIAgent, errors, function
from rojak_ray.agents import Agent, AgentResponse
from rojak_ray.errors import ModelRejected, ModelUnavailable, StoreUnavailable
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import FaultyStore
from rojak_ray.types import RetryOptions, RetryPolicy

ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"messages": []}, errors.InvalidMessage),
        ({"messages": ""}, errors.InvalidMessage),
        ({"messages": [{"role": "wizard", "content": "x"}]}, errors.InvalidMessage),
        ({"messages": [{"content": "x"}]}, errors.InvalidMessage),
        ({"messages": [{"role": "user", "content": ["parts"]}]}, errors.InvalidMessage),
        ({"messages": "half a \ud800 character"}, errors.InvalidMessage),
        ({"messages": 7}, errors.InvalidMessage),
        ({"context_variables": {"x": float("nan")}}, errors.InvalidContext),
        ({"context_variables": {"x": {1, 2}}}, errors.InvalidContext),
        ({"context_variables": {1: "x"}}, errors.InvalidContext),
        ({"context_variables": {"x": ITSELF}}, errors.InvalidContext),
        ({"id": "../up"}, errors.InvalidId),
        ({"id": "nul\0"}, errors.InvalidId),
        ({"id": "x" * 10_240}, errors.InvalidId),
        ({"id": ""}, errors.InvalidId),
        ({"id": 7}, errors.InvalidId),
        ({"max_turns": -1}, errors.InvalidLimit),
        ({"agent": None}, errors.InvalidAgent),
        ({"agent": "Agent A"}, errors.InvalidAgent),
        ({"agent": PlanAgent(name="")}, errors.InvalidAgent),
    ],
)
async def test_bad_request_is_refused_and_nothing_is_stored(arguments: dict[str, Any], error: type[Exception]) -> None:
    async with world() as w:
        before = w.store.snapshot()  # type: ignore[attr-defined]
        with pytest.raises(error) as refusal:
            await w.rojak.run(**{"agent": PlanAgent(name="A"), "messages": "x", **arguments})
        assert isinstance(refusal.value, ValueError | TypeError)
        assert w.store.snapshot() == before  # type: ignore[attr-defined]


async def test_two_functions_of_one_name_are_refused_and_one_listed_twice_is_not() -> None:
    def make() -> Any:
        def same() -> str:
            return "x"

        return same

    def other() -> str:
        return "y"

    other.__name__ = "same"
    async with world() as w:
        one = make()
        with pytest.raises(errors.DuplicateName, match="same"):
            await w.rojak.run(agent=PlanAgent(name="A", functions=[one, other]), messages=plan("x"))
        with pytest.raises(errors.DuplicateName, match="same"):
            await w.rojak.create_worker(functions=[one, other])
        await w.rojak.create_worker(functions=[one, one])


def raising() -> None:
    raise KeyError("nothing there")


def exiting() -> None:
    sys.exit(3)


async def cancelling() -> None:
    raise asyncio.CancelledError


def yielding() -> Any:
    yield 1


def picky(number: int) -> str:
    return str(number)


def littering(context_variables: dict[str, Any]) -> str:
    context_variables["x"] = object()
    return "done"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("raising", {}, "KeyError: 'nothing there'"),
        ("exiting", {}, "SystemExit: 3"),
        ("cancelling", {}, "CancelledError"),
        ("yielding", {}, "TypeError: yielding() returned a generator"),
        ("picky", {}, "TypeError: picky() missing required argument: 'number'"),
        ("picky", {"number": "many"}, "picky"),
        ("littering", {}, "InvalidContext"),
        ("unknown", {}, "FunctionNotFound: Function unknown not found"),
    ],
)
async def test_function_trouble_is_told_to_the_model_at_once(name: str, arguments: dict[str, Any], told: str) -> None:
    functions = [raising, exiting, cancelling, yielding, picky, littering]
    async with world() as w:
        agent = PlanAgent(name="A", functions=functions)
        response = await w.rojak.run(agent=agent, messages=plan([[name, arguments]], "recovered"))

    assert response.messages[-1].content == "recovered"
    assert told in (response.messages[2].content or "")
    assert w.clock.waits == []


async def test_malformed_arguments_are_told_to_the_model() -> None:
    class Sloppy(PlanActivities):
        async def call(self, params: Any) -> AgentResponse:
            response = await super().call(params)
            for call in response.tool_calls or []:
                call.function.arguments = '{"number": '
            return response

    async with world() as w:
        await w.rojak.create_worker([Sloppy()])
        agent = PlanAgent(name="A", functions=[picky])
        response = await w.rojak.run(agent=agent, messages=plan([["picky", {}]], "recovered"))

    assert "not valid JSON" in (response.messages[2].content or "")
    assert response.messages[-1].content == "recovered"


async def test_passing_trouble_of_the_model_is_waited_out_as_long_as_it_asks() -> None:
    async with world() as w:
        left = [ModelUnavailable("slow down", status=429, retry_after_s=17), ConnectionError("no route")]

        def trouble(_: Any) -> None:
            if left:
                raise left.pop(0)

        w.model.before = trouble
        response = await w.rojak.run(agent=PlanAgent(name="A"), messages=plan("at last"))

    assert response.messages[-1].content == "at last"
    assert w.clock.waits == jittered(17, 2)
    assert len({params.idempotency_key for params in w.model.asked}) == 1


async def test_model_that_stays_away_fails_the_run_with_its_words() -> None:
    async with world() as w:
        with pytest.raises(errors.RunFailed, match=r"after 5 attempts.*status 503") as failure:
            await w.rojak.run(agent=PlanAgent(name="A"), messages=plan(503))

    assert failure.value.error_type == "ModelUnavailable"
    assert w.clock.waits == jittered(1, 2, 4, 8)


async def test_refused_question_is_not_asked_again() -> None:
    async with world() as w:

        def refuse(_: Any) -> None:
            raise ModelRejected("no such model", status=404)

        w.model.before = refuse
        with pytest.raises(errors.RunFailed, match="no such model"):
            await w.rojak.run(agent=PlanAgent(name="A"), messages=plan("x"))

    assert len(w.model.asked) == 1


async def test_explicit_policy_is_kept_by_name_and_number() -> None:
    tried: list[str] = []

    def flaky() -> None:
        tried.append("flaky")
        raise ConnectionError("no route")

    @function(retry_policy=RetryPolicy(maximum_attempts=2, initial_interval_in_seconds=3))
    def own() -> None:
        tried.append("own")
        raise TimeoutError("late")

    policy = RetryPolicy(maximum_attempts=4, non_retryable_error_types=["ConnectionError"])
    async with world() as w:
        agent = PlanAgent(name="A", functions=[flaky, own], retry_options=RetryOptions(retry_policy=policy))
        response = await w.rojak.run(agent=agent, messages=plan([["flaky", {}], ["own", {}]], "end"))

    assert sorted(tried) == ["flaky", "own", "own"]
    assert w.clock.waits == jittered(3)
    assert [m.content for m in response.messages if m.role == "tool"] == [
        "ConnectionError: no route",
        "TimeoutError: late",
    ]


async def test_function_over_its_time_is_stopped_and_the_model_is_told() -> None:
    @function(timeout=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    async with world() as w:
        agent = PlanAgent(name="A", functions=[endless])
        response = await w.rojak.run(agent=agent, messages=plan([["endless", {}]], "end"))

    assert response.messages[2].content == "TimeoutError: endless did not finish in time (0.05 s)."


async def test_type_that_nobody_serves_and_missing_key_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unserved(Agent):
        type: str = "unserved"
        model: str = "m"

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with world() as w:
        with pytest.raises(errors.RunFailed, match="'unserved'"):
            await w.rojak.run(agent=Unserved(name="A"), messages="x")
        with pytest.raises(errors.RunFailed, match="OPENAI_API_KEY"):
            await w.rojak.run(agent=OpenAIAgent(name="A"), messages="x")


async def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    monkeypatch.setitem(sys.modules, "openai", None)
    async with world() as w:
        with pytest.raises(errors.RunFailed, match=r"rojak-ray\[openai\]"):
            await w.rojak.run(agent=OpenAIAgent(name="A"), messages="x")


async def test_storage_outage_is_told_and_the_session_goes_on_when_it_is_over() -> None:
    store = FaultyStore(MemoryStore(), lambda call: None)
    async with world(store) as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        await session.send_messages(plan("before"))
        store.outage = True
        with pytest.raises(StoreUnavailable):
            await session.send_messages(plan("during"))
        store.outage = False
        response = await session.send_messages(plan("after"))

    assert response.messages[-1].content == "after"
    assert "before" in [m.content for m in await _history_of(store)]


async def _history_of(store: Any) -> Any:
    async with world(store) as w:
        return await (await w.rojak.get_session("s")).history()
