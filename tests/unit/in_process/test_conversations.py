"""The API on one process: what programs see of runs, sessions, agents and functions."""

import asyncio
import json
from typing import Any

import pytest
from support.plan import PlanAgent, plan
from support.worlds import world

from rojak_ray import errors
from rojak_ray.agents import Agent, AgentExecuteFnResult, AgentInstructionOptions, Retriever
from rojak_ray.journal.schema import SCHEMA_VERSION
from rojak_ray.retrievers import RetrieverActivities
from rojak_ray.types import ConversationMessage
from rojak_ray.workflows import UpdateConfigParams


@pytest.mark.parametrize(
    "messages",
    [
        plan("hi"),
        {"role": "user", "content": plan("hi")},
        ConversationMessage(role="user", content=plan("hi")),
        [{"role": "user", "content": plan("hi"), "ignored": 1}],
    ],
)
async def test_run_takes_messages_in_every_form(messages: Any) -> None:
    async with world() as w:
        response = await w.rojak.run(agent=PlanAgent(name="A"), messages=messages)

    assert [(m["role"], m.sender) for m in response.messages] == [("user", None), ("assistant", "A")]
    assert response.status == "completed"
    assert response.id


async def test_response_agent_equals_the_agent_that_was_passed() -> None:
    def helper() -> str:
        return "x"

    async with world() as w:
        agent = PlanAgent(name="A", functions=[helper, "named"], tool_choice="auto")
        await w.rojak.create_worker(functions=[_named])
        response = await w.rojak.run(agent=agent, messages=plan("hi"))

    assert response.agent == agent


def _named() -> str:
    return "named"


_named.__name__ = "named"


async def test_instructions_of_every_kind_reach_the_model() -> None:
    def with_context(context_variables: dict[str, Any]) -> str:
        return f"Speak {context_variables['language']}."

    async def without_context() -> str:
        return "Async."

    async with world() as w:
        await w.rojak.create_worker(functions=[with_context])
        for instructions in (
            "Plain.",
            with_context,
            without_context,
            lambda context_variables: f"Lambda {context_variables['language']}.",
            AgentInstructionOptions(name="with_context"),
            {"type": "function", "name": "with_context"},
        ):
            agent = PlanAgent(name="A", instructions=instructions)
            await w.rojak.run(agent=agent, messages=plan("hi"), context_variables={"language": "Malay"})

    told = [params.messages[0].content for params in w.model.asked]
    assert told == ["Plain.", "Speak Malay.", "Async.", "Lambda Malay.", "Speak Malay.", "Speak Malay."]


async def test_agent_settings_reach_the_provider_and_no_other_agent() -> None:
    class Tuned(PlanAgent):
        inference_config: dict[str, Any] | None = None

    def f() -> str:
        return "x"

    async with world() as w:
        tuned = Tuned(name="A", functions=[f], inference_config={"seed": 7}, tool_choice="required")
        tuned.parallel_tool_calls = False
        tuned.retry_options.timeout_in_seconds = 120
        await w.rojak.run(agent=tuned, messages=plan("hi"))
        await w.rojak.run(agent=PlanAgent(name="B"), messages=plan("hi"))

    first, second = w.model.asked
    assert (first.inference_config, first.tool_choice, first.parallel_tool_calls) == ({"seed": 7}, "required", False)
    assert first.timeout_s == 120  # a limit above a minute is passed on as it is
    assert [schema.name for schema in first.functions] == first.function_names == ["f"]
    assert (second.inference_config, second.tool_choice, second.parallel_tool_calls) == (None, None, True)


async def test_context_changes_of_sequential_calls_are_seen_by_the_next_and_merged() -> None:
    def first(context_variables: dict[str, Any]) -> str:
        context_variables["seen"] = ["first"]
        del context_variables["gone"]
        return "1"

    def second(context_variables: dict[str, Any]) -> AgentExecuteFnResult:
        return AgentExecuteFnResult(output=str(context_variables["seen"]), context_variables={"added": True})

    async with world() as w:
        response = await w.rojak.run(
            agent=PlanAgent(name="A", functions=[first, second]),
            messages=plan([["first", {}], ["second", {}]], "end"),
            context_variables={"gone": 1, "kept": 2},
        )

    assert [m.content for m in response.messages if m.role == "tool"] == ["1", "['first']"]
    assert response.context_variables == {"kept": 2, "seen": ["first"], "added": True}


async def test_last_handoff_of_an_answer_wins_and_all_results_are_kept() -> None:
    def to_b() -> Agent:
        return PlanAgent(name="B")

    def to_c() -> Agent:
        return PlanAgent(name="C")

    async with world() as w:
        agent = PlanAgent(name="A", functions=[to_b, to_c])
        response = await w.rojak.run(agent=agent, messages=plan([["to_b", {}], ["to_c", {}]], "end"))

    assert response.messages[-1].sender == "C"
    assert sum(m.role == "tool" for m in response.messages) == 2


async def test_max_turns_counts_appended_messages_and_never_cuts_a_step() -> None:
    def to_b() -> Agent:
        return PlanAgent(name="B")

    async with world() as w:
        agent = PlanAgent(name="A", functions=[to_b])
        story = plan([["to_b", {}]], "never said")
        none = await w.rojak.run(agent=agent, messages=story, max_turns=0)
        two = await w.rojak.run(agent=agent, messages=story, max_turns=2)
        one = await w.rojak.run(agent=agent, messages=story, max_turns=1)

    assert [m.role for m in none.messages] == ["user"]
    assert [m.role for m in two.messages] == [m.role for m in one.messages] == ["user", "assistant", "tool"]
    assert two.agent is not None
    assert two.agent.name == "B"
    assert len(w.model.asked) == 2


async def test_history_is_cut_without_leaving_orphans_and_config_can_replace_it() -> None:
    def f() -> str:
        return "result"

    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A", functions=[f]), history_size=2)
        response = await session.send_messages(plan([["f", {}]], "end"))
        assert len(response.messages) == 4
        assert [m.role for m in await session.history()] == ["assistant"]

        await session.update_config(UpdateConfigParams(messages=[], history_size=float("inf"), max_turns=5))
        config = await session.get_config()
        assert (config.messages, config.history_size, config.max_turns) == ([], float("inf"), 5)
        await session.update_config(UpdateConfigParams(messages=[{"role": "user", "content": "Hello"}]))
        assert (await session.get_config()).messages[-1].content == "Hello"


async def test_result_before_the_first_answer_is_empty() -> None:
    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        result = await session.get_result()

    assert (result.messages, result.agent, result.context_variables) == ([], None, {})


async def test_retriever_adds_to_the_instructions_and_its_failure_does_not_stop_the_run() -> None:
    class Library(RetrieverActivities):
        type = "library"

        async def retrieve_and_combine_results(self, text: str) -> str:
            if text == plan("fail"):
                raise ValueError("closed")
            return f"about {text}"

    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[Library()])
        agent = PlanAgent(name="A", instructions="Answer.", retriever=Retriever(type="library"))
        await w.rojak.run(agent=agent, messages=plan("hi"))
        await w.rojak.run(agent=agent, messages=plan("fail"))

    told = [params.messages[0].content for params in w.model.asked]
    assert told == [
        f"Answer.\nHere is the context to use to answer the user's question:\nabout {plan('hi')}",
        "Answer.",
    ]


async def test_question_asked_while_its_request_is_written_is_asked_once() -> None:
    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A"))
        for number in range(5):
            await session.send_messages(plan(f"{number}"))

    assert len(w.model.asked) == 5


async def test_callers_own_cancellation_does_not_stop_the_run() -> None:
    gate = asyncio.Event()

    async def wait() -> str:
        await gate.wait()
        return "waited"

    async with world() as w:
        calling = asyncio.create_task(
            w.rojak.run("r", PlanAgent(name="A", functions=[wait]), plan([["wait", {}]], "end"))
        )
        while not w.model.asked:
            await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        gate.set()
        response = await w.rojak.get_run_result("r")

    assert response.messages[-1].content == "end"


async def test_cancelled_session_answers_all_who_wait_and_goes_on() -> None:
    stopped: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append("linger")
            raise

    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A", functions=[linger]))
        sends = [asyncio.create_task(session.send_messages(plan([["linger", {}]]))) for _ in range(3)]
        while not w.model.asked:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        await session.cancel()
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        after = await session.send_messages(plan("after"))

    assert [type(outcome) for outcome in outcomes] == [errors.RunCancelled] * 3
    assert all("cancel" in str(outcome) for outcome in outcomes)
    assert stopped == ["linger"]
    assert after.messages[-1].content == "after"


async def test_ids_that_differ_in_case_are_different_sessions() -> None:
    async with world() as w:
        one = await w.rojak.create_session("Order", PlanAgent(name="A"), context_variables={"n": 1})
        two = await w.rojak.create_session("order", PlanAgent(name="A"), context_variables={"n": 2})
        values = [(await session.get_config()).context_variables for session in (one, two)]

    assert values == [{"n": 1}, {"n": 2}]


async def test_stored_objects_are_json_behind_a_checksum() -> None:
    async with world() as w:
        await w.rojak.run("r", PlanAgent(name="A"), plan("hi"))
        objects = w.store.snapshot()  # type: ignore[attr-defined]

    records = [data for key, data in objects.items() if "/log/" in key]
    assert records
    for data in records:
        head, body = data.split(b"\n", 1)
        assert head.startswith(b"rojak-record sha256=")
        assert json.loads(body)["version"] == SCHEMA_VERSION
