"""Retrieval in a whole conversation: how often, what it costs when it fails, and what a crash repeats."""

import asyncio
import logging
from typing import Any

import pytest
from support.plan import PlanAgent, plan
from support.stories import jittered
from support.waiting import HANG_S
from support.worlds import world

from rojak_ray import errors
from rojak_ray.agents import Retriever
from rojak_ray.errors import RetrieverUnavailable
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.retrievers import RetrieverActivities
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import FailBefore, FaultyStore
from rojak_ray.types import RetryOptions, RetryPolicy

BEFORE = "\nHere is the context to use to answer the user's question:\n"


class Library(RetrieverActivities):
    """Answers with what it was asked, or does what `trouble` does."""

    def __init__(self, type: str = "library", trouble: Any = None) -> None:
        super().__init__()
        self.type = type  # type: ignore[misc]
        self.trouble = trouble
        self.asked: list[str] = []

    async def retrieve_and_combine_results(self, text: str) -> str:
        self.asked.append(text)
        if self.trouble is not None:
            return await self.trouble(text)
        return f"{self.type} about {text}"


def nothing() -> str:
    """Do nothing."""
    return "done"


def told(w: Any) -> list[str]:
    return [params.messages[0].content for params in w.model.asked]


async def test_one_retrieval_serves_all_answers_to_a_message() -> None:
    library, message = Library(), plan([["nothing", {}]], [["nothing", {}]], "end")
    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[library])
        agent = PlanAgent(name="A", instructions="Answer.", functions=[nothing], retriever=Retriever("library"))
        session = await w.rojak.create_session("s", agent)
        await session.send_messages(message)
        assert told(w) == [f"Answer.{BEFORE}library about {message}"] * 3
        await session.send_messages(plan("next"))

    assert library.asked == [message, plan("next")]
    assert told(w)[3] == f"Answer.{BEFORE}library about {plan('next')}"


async def test_handoff_asks_the_other_agents_retrievers_and_the_answer_has_them_all() -> None:
    one, two = Library("one"), Library("two")
    both = PlanAgent(name="B", instructions="B.", retriever=[Retriever("two"), Retriever("one")])

    def hand_over() -> Any:
        return both

    message = plan([["hand_over", {}]], "end")
    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[one, two])
        agent = PlanAgent(name="A", instructions="A.", functions=[hand_over], retriever=Retriever("one"))
        response = await w.rojak.run(agent=agent, messages=message)

    assert told(w) == [f"A.{BEFORE}one about {message}", f"B.{BEFORE}two about {message}\none about {message}"]
    assert (one.asked, two.asked) == ([message], [message])
    assert response.agent is not None
    assert [retriever.type for retriever in response.agent.retriever] == ["two", "one"]  # type: ignore[union-attr]


async def broken(_: str) -> str:
    raise ValueError("closed on Mondays")


async def unreachable(_: str) -> str:
    raise ConnectionError("no route")


async def busy(_: str) -> str:
    raise RetrieverUnavailable("come back later", retry_after_s=30)


async def endless(_: str) -> str:
    return str(await asyncio.Event().wait())


async def ending(_: str) -> str:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("trouble", "words", "waits"),
    [
        (broken, "ValueError: closed on Mondays", []),
        (unreachable, "ConnectionError: no route", [0.5]),
        (busy, "RetrieverUnavailable: come back later", []),
        (endless, "TimeoutError: Retriever 'library' did not finish in time (0.05 s).", []),
        (ending, "SystemExit: 3", []),
    ],
)
async def test_run_goes_on_without_a_retriever_that_fails_soon_and_says_so(
    trouble: Any, words: str, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    library = Library(trouble=trouble)
    library.timeout_s = 0.05
    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[library])
        agent = PlanAgent(name="A", instructions="Answer.", retriever=Retriever("library"))
        with caplog.at_level(logging.WARNING):
            response = await w.rojak.run("r", agent=agent, messages=plan("answered"))

    assert response.messages[-1].content == "answered"
    assert told(w) == ["Answer."]
    assert w.clock.waits == jittered(*waits)
    assert f"run r goes on without retriever 'library': {words}" in caplog.text
    stored = b"".join(w.store.snapshot().values()).decode()  # type: ignore[attr-defined]
    assert '"kind":"retrieved"' in stored
    assert words.partition(":")[0] in stored


async def test_agents_policy_makes_it_patient() -> None:
    library, left = Library(), [ConnectionError("no route"), RetrieverUnavailable("busy", retry_after_s=9)]

    async def trouble(text: str) -> str:
        if left:
            raise left.pop(0)
        return "found"

    library.trouble = trouble
    options = RetryOptions(retry_policy=RetryPolicy(initial_interval_in_seconds=2, maximum_attempts=3))
    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[library])
        agent = PlanAgent(name="A", instructions="A.", retriever=Retriever("library"), retry_options=options)
        await w.rojak.run(agent=agent, messages=plan("x"))

    assert told(w) == [f"A.{BEFORE}found"]
    assert w.clock.waits == jittered(2, 9)


async def test_one_that_nobody_serves_is_named_and_done_without(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        response = await w.rojak.run(agent=PlanAgent(name="A", retriever=Retriever("nowhere")), messages=plan("x"))

    assert response.messages[-1].content == "x"
    assert "No worker serves the retriever type 'nowhere'" in caplog.text


@pytest.mark.parametrize("found", [None, ""])
async def test_nothing_found_adds_nothing(found: Any) -> None:
    async def silent(_: str) -> Any:
        return found

    async with world() as w:
        await w.rojak.create_worker(retriever_activities=[Library(trouble=silent)])
        agent = PlanAgent(name="A", instructions="Answer.", retriever=Retriever("library"))
        await w.rojak.run(agent=agent, messages=plan("x"))

    assert told(w) == ["Answer."]


async def test_crash_between_retrieval_and_answer_retrieves_nothing_again() -> None:
    library, store, asked = Library(), MemoryStore(), asyncio.Event()
    agent = PlanAgent(name="A", instructions="Answer.", retriever=Retriever("library"))
    async with world(store) as w:
        await w.rojak.create_worker(retriever_activities=[library])

        async def hold(params: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

        w.model.call = hold  # type: ignore[method-assign]
        await w.rojak.start_run("r", agent, plan("answer"))
        await asyncio.wait_for(asked.wait(), 5)
        async with asyncio.timeout(HANG_S):  # asked early: what was found is being written meanwhile
            while not (await replay(store, Paths("rojak"), Owner("run", "r"))).state.run.found:  # type: ignore[union-attr]
                await asyncio.sleep(0)
    async with world(store) as w:
        await w.rojak.create_worker(retriever_activities=[library])
        async with asyncio.timeout(HANG_S):
            response = await w.rojak.get_run_result("r")

    assert response.messages[-1].content == "answer"
    assert library.asked == [plan("answer")]
    assert told(w) == [f"Answer.{BEFORE}library about {plan('answer')}"]


async def test_what_was_found_but_not_written_is_looked_up_again_by_the_next_host() -> None:
    """The storage fails exactly when the result is to be recorded: nothing was used that is not in the journal."""
    library, inner = Library(), MemoryStore()
    agent = PlanAgent(name="A", instructions="Answer.", retriever=Retriever("library"))

    def script(call: Any) -> Any:
        return FailBefore() if library.asked and not recovered and call.operation == "put" else None

    recovered: list[bool] = []
    store = FaultyStore(inner, script)
    async with world(store) as w:
        await w.rojak.create_worker(retriever_activities=[library])
        with pytest.raises(errors.StorageError):
            await w.rojak.run("r", agent, plan("answer"))
        recovered.append(True)
        async with asyncio.timeout(HANG_S):
            response = await w.rojak.run("r", agent, plan("answer"))

    assert response.messages[-1].content == "answer"
    assert library.asked == [plan("answer")] * 2
