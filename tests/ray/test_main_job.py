"""The main job on a real Ray: agents run, hand over and hold sessions."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import HANG_S, lines, until

from rojak_ray import Rojak, ToolContext, errors, function
from rojak_ray.agents import Agent, AgentActivities, AgentCallParams, AgentExecuteFnResult, AgentResponse
from rojak_ray.runtime.actors import names_of
from rojak_ray.runtime.settings import host_name
from rojak_ray.types import RetryOptions, RetryPolicy
from rojak_ray.workflows import UpdateConfigParams

pytestmark = pytest.mark.ray


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


def pid() -> str:
    """Tell which process runs this."""
    return str(os.getpid())


async def test_run_with_functions_and_handoff_returns_the_whole_story(rojak: Rojak) -> None:
    def greet(name: str, context_variables: dict[str, Any]) -> str:
        """Greet somebody."""
        context_variables["greeted"] = name
        return f"Hello {name}"

    def to_specialist() -> Agent:
        """Hand over."""
        return specialist

    specialist = PlanAgent(name="Specialist", functions=[greet])
    triage = PlanAgent(name="Triage", functions=[to_specialist])

    response = await rojak.run(
        agent=triage,
        messages=plan([["to_specialist", {}]], [["greet", {"name": "Ada"}]], "Done."),
        context_variables={"kept": 1},
    )

    assert [(m.role, m.content, m.sender) for m in response.messages[1:]] == [
        ("assistant", None, "Triage"),
        ("tool", "Transferred to 'Specialist'", "Triage"),
        ("assistant", None, "Specialist"),
        ("tool", "Hello Ada", "Specialist"),
        ("assistant", "Done.", "Specialist"),
    ]
    assert response.agent is not None
    assert response.agent.name == "Specialist"
    assert response.context_variables == {"kept": 1, "greeted": "Ada"}
    assert response.status == "completed"


async def test_functions_by_name_come_from_a_worker_and_the_last_registration_wins(rojak: Rojak, unique: str) -> None:
    def make(answer: str) -> Any:
        def versioned() -> str:
            return answer

        versioned.__name__ = f"versioned_{unique.replace('-', '_')}"
        return versioned

    name = make("").__name__
    agent = PlanAgent(name="A", functions=[name])
    answers = []
    for answer in ("one", "two"):
        await rojak.create_worker([PlanActivities()], functions=[make(answer)])
        answers.append((await rojak.run(agent=agent, messages=plan([[name, {}]]))).messages[-1].content)

    assert answers == ["one", "two"]


async def test_session_keeps_the_conversation_and_the_agent_that_spoke_last(rojak: Rojak, unique: str) -> None:
    def to_second() -> Agent:
        return second

    second = PlanAgent(name="Second")
    first = PlanAgent(name="First", functions=[to_second])
    session = await rojak.create_session(unique, first, context_variables={"a": 1}, history_size=3)

    one = await session.send_messages(plan([["to_second", {}]], "hi"))
    two = await session.send_messages(plan("again"))

    assert one.messages[-1].sender == "Second"
    assert [(m.role, m.sender) for m in two.messages] == [("user", None), ("assistant", "Second")]
    assert [m.content for m in await session.history()] == ["hi", plan("again"), "again"]
    assert (await session.get_result()).messages == two.messages
    await session.update_config(UpdateConfigParams(context_variables={"b": 2}, max_turns=7, debug=True))
    config = await (await rojak.get_session(unique)).get_config()
    assert (config.context_variables, config.max_turns, config.debug) == ({"b": 2}, 7, True)
    with pytest.warns(UserWarning, match="already running"):
        again = await rojak.create_session(unique, first)
    assert again.id == unique


async def test_session_has_an_actor_of_its_own_with_its_id_in_the_name(rojak: Rojak, unique: str) -> None:
    import ray

    await rojak.create_session(unique, PlanAgent(name="A"))

    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    assert any(unique in name for name in names)


async def test_concurrent_messages_of_one_session_are_answered_in_order(rojak: Rojak, unique: str) -> None:
    session = await rojak.create_session(unique, PlanAgent(name="A"), history_size=100)

    answers = await asyncio.gather(*(session.send_messages(plan(f"answer {n}")) for n in range(20)))

    assert [answer.messages[-1].content for answer in answers] == [f"answer {n}" for n in range(20)]
    spoken = [m.content for m in await session.history() if m.role == "assistant"]
    assert spoken == [f"answer {n}" for n in range(20)]


async def test_async_functions_share_a_step_worker_and_sync_ones_run_as_tasks(rojak: Rojak) -> None:
    async def waiting_pid() -> str:
        return str(os.getpid())

    agent = PlanAgent(name="A", functions=[waiting_pid, pid])
    response = await rojak.run(agent=agent, messages=plan([["waiting_pid", {}], ["waiting_pid", {}], ["pid", {}]]))

    one, two, task = [m.content for m in response.messages if m.role == "tool"]
    assert one == two
    assert task != one
    assert str(os.getpid()) not in (one, task)


async def test_independent_calls_run_at_once(rojak: Rojak) -> None:
    async def meet(me: int) -> str:
        """Wait for the other one: alone this never ends."""
        Path(directory, str(me)).touch()
        while not Path(directory, str(1 - me)).exists():
            await asyncio.sleep(0.01)
        return f"met {me}"

    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        agent = PlanAgent(name="A", functions=[meet])
        response = await rojak.run(agent=agent, messages=plan([["meet", {"me": 0}], ["meet", {"me": 1}]]))

    assert response.messages[-1].content == "met 0 | met 1"


async def test_tool_context_tells_the_call_and_its_key(rojak: Rojak, unique: str) -> None:
    def report(context: ToolContext) -> str:
        return json.dumps([context.run_id, context.agent_name, context.tool_call_id, context.attempt])

    response = await rojak.run(unique, PlanAgent(name="A", functions=[report]), plan([["report", {}]]))

    assert json.loads(response.messages[-1].content or "") == [unique, "A", "call-0-0", 1]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_function_that_takes_too_long_is_stopped_and_the_model_is_told(
    rojak: Rojak, effects: Path, kind: str
) -> None:
    path = str(effects)

    @function(timeout=1)
    def sleep_long_sync() -> None:
        time.sleep(60)
        Path(path).write_text("woke")

    @function(timeout=1)
    async def sleep_long_async() -> None:
        await asyncio.sleep(60)
        Path(path).write_text("woke")

    chosen = {"sync": sleep_long_sync, "async": sleep_long_async}[kind]
    response = await rojak.run(agent=PlanAgent(name="A", functions=[chosen]), messages=plan([[chosen.__name__, {}]]))

    assert "TimeoutError" in (response.messages[-1].content or "")
    assert "time" in (response.messages[-1].content or "")


async def test_lost_process_makes_a_function_run_again_with_the_same_key(rojak: Rojak, effects: Path) -> None:
    path = str(effects)

    def dies_once(context: ToolContext) -> str:
        with open(path, "a") as file:
            file.write(f"{context.idempotency_key} {context.attempt}\n")
        if context.attempt == 1:
            os._exit(1)
        return f"attempt {context.attempt}"

    response = await rojak.run(agent=PlanAgent(name="A", functions=[dies_once]), messages=plan([["dies_once", {}]]))

    assert response.messages[-1].content == "attempt 2"
    first, second = (line.split() for line in lines(effects))
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("1", "2")


async def test_at_most_once_function_is_not_run_again_after_its_process_is_lost(rojak: Rojak, effects: Path) -> None:
    path = str(effects)

    @function(at_most_once=True)
    def charge() -> str:
        with open(path, "a") as file:
            file.write("charged\n")
        os._exit(1)

    response = await rojak.run(agent=PlanAgent(name="A", functions=[charge]), messages=plan([["charge", {}]]))

    assert "interrupted" in (response.messages[-1].content or "").lower()
    assert lines(effects) == ["charged"]


async def test_explicit_policy_retries_transient_function_errors_and_then_tells_the_model(
    rojak: Rojak, effects: Path
) -> None:
    path = str(effects)

    def flaky() -> str:
        with open(path, "a") as file:
            file.write("tried\n")
        raise ConnectionError("no route")

    policy = RetryPolicy(initial_interval_in_seconds=0.05, maximum_attempts=3)
    agent = PlanAgent(name="A", functions=[flaky], retry_options=RetryOptions(retry_policy=policy))
    response = await rojak.run(agent=agent, messages=plan([["flaky", {}]]))

    assert response.messages[-1].content == "ConnectionError: no route"
    assert lines(effects) == ["tried"] * 3


async def test_failed_model_call_raises_the_vendors_words_and_leaves_the_session_usable(
    rojak: Rojak, unique: str
) -> None:
    policy = RetryPolicy(initial_interval_in_seconds=0, maximum_attempts=2)
    agent = PlanAgent(name="A", retry_options=RetryOptions(retry_policy=policy))
    session = await rojak.create_session(unique, agent)
    await session.send_messages(plan("before"))

    with pytest.raises(errors.RunFailed, match="status 503"):
        await session.send_messages(plan(503))

    assert (await session.send_messages(plan("after"))).messages[-1].content == "after"
    assert [m.content for m in await session.history() if m.role == "assistant"] == ["before", "after"]


async def test_same_run_id_joins_answers_from_the_record_and_refuses_other_input(rojak: Rojak, unique: str) -> None:
    agent = PlanAgent(name="A", functions=[pid])
    one, two = await asyncio.gather(
        rojak.run(unique, agent, plan([["pid", {}]])), rojak.run(unique, agent, plan([["pid", {}]]))
    )
    three = await rojak.run(unique, agent, plan([["pid", {}]]))

    assert one == two == three == await rojak.get_run_result(unique)
    with pytest.raises(errors.RequestConflict):
        await rojak.run(unique, agent, plan("something else"))
    with pytest.raises(errors.RunNotFound, match="t-unknown"):
        await rojak.get_run_result("t-unknown")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_cancelling_stops_the_running_function(rojak: Rojak, unique: str, effects: Path, kind: str) -> None:
    path = str(effects)

    def note(text: str) -> None:
        with open(path, "a") as file:
            file.write(text + "\n")

    def linger_sync() -> None:
        note(str(os.getpid()))
        time.sleep(60)

    async def linger_async() -> None:
        note(str(os.getpid()))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("cancelled")
            raise

    chosen = {"sync": linger_sync, "async": linger_async}[kind]
    handle = await rojak.start_run(unique, PlanAgent(name="A", functions=[chosen]), plan([[chosen.__name__, {}]]))
    await until(lambda: lines(effects), "the function starts")
    await handle.cancel()

    with pytest.raises(errors.RunCancelled, match="cancel"):
        await handle.result()
    if kind == "async":
        await until(lambda: "cancelled" in lines(effects), "the function is cancelled")
    else:
        process = int(lines(effects)[0])
        await until(lambda: not Path(f"/proc/{process}").exists(), "the function's process ends")


async def test_session_cancel_answers_everybody_who_waits(rojak: Rojak, unique: str) -> None:
    async def linger() -> None:
        await asyncio.sleep(60)

    session = await rojak.create_session(unique, PlanAgent(name="A", functions=[linger]))
    sends = [asyncio.create_task(session.send_messages(plan([["linger", {}]]))) for _ in range(3)]
    await until(lambda: _all_accepted(rojak, unique, 3), "all are accepted")
    await session.cancel()

    for outcome in await asyncio.gather(*sends, return_exceptions=True):
        assert isinstance(outcome, errors.RunCancelled)
    assert (await session.send_messages(plan("still here"))).messages[-1].content == "still here"


async def _all_accepted(rojak: Rojak, session_id: str, count: int) -> bool:
    from rojak_ray.journal.paths import Owner, Paths
    from rojak_ray.journal.replay import replay
    from rojak_ray.storage.open import open_store

    settings = rojak.settings
    owner = Owner("session", session_id)
    state = (await replay(open_store(settings.storage), Paths(settings.namespace), owner)).state
    return len(state.queue) + (state.run is not None) == count


async def test_agent_type_that_nobody_serves_fails_soon_and_names_the_type(rojak: Rojak) -> None:
    class Unserved(Agent):
        type: str = "unserved-type"
        model: str = "m"

    async with asyncio.timeout(HANG_S):
        with pytest.raises(errors.RunFailed, match="unserved-type"):
            await rojak.run(agent=Unserved(name="A"), messages="hello")


async def test_function_that_nobody_registered_fails_soon_and_names_the_function(rojak: Rojak) -> None:
    async with asyncio.timeout(HANG_S):
        with pytest.raises(errors.RunFailed, match="never_registered"):
            await rojak.run(agent=PlanAgent(name="A", functions=["never_registered"]), messages=plan("x"))


async def test_resources_no_node_offers_become_an_answer_not_a_hang(rojak: Rojak) -> None:
    @function(resources={"quantum": 1})
    def entangle() -> str:
        return "done"

    agent = PlanAgent(name="A", functions=[entangle])
    response = await rojak.run(agent=agent, messages=plan([["entangle", {}]]))

    assert "quantum" in (response.messages[-1].content or "")


async def test_namespaces_do_not_meet(rojak: Rojak, installation: dict[str, str], unique: str) -> None:
    class OtherActivities(AgentActivities):
        type = "plan"

        async def call(self, params: AgentCallParams) -> AgentResponse:
            return AgentResponse(type="text", content="other")

    await rojak.create_session(unique, PlanAgent(name="A"))
    async with Rojak(storage=installation["storage"], namespace=f"{installation['namespace']}-other") as other:
        await other.create_worker([OtherActivities()])
        with pytest.raises(errors.SessionNotFound):
            await other.get_session(unique)
        assert (await other.run(agent=PlanAgent(name="A"), messages=plan("mine"))).messages[-1].content == "other"
    assert (await rojak.run(agent=PlanAgent(name="A"), messages=plan("mine"))).messages[-1].content == "mine"


async def test_function_result_object_merges_context_and_hands_over(rojak: Rojak) -> None:
    def decide(context_variables: dict[str, Any]) -> AgentExecuteFnResult:
        return AgentExecuteFnResult(value="decided", agent=PlanAgent(name="Next"), context_variables={"b": 2})

    response = await rojak.run(
        agent=PlanAgent(name="A", functions=[decide]),
        messages=plan([["decide", {}]], "end"),
        context_variables={"a": 1},
    )

    assert response.context_variables == {"a": 1, "b": 2}
    assert response.messages[-1].sender == "Next"


SECOND_DRIVER = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from support.plan import PlanAgent, plan
from rojak_ray import Rojak

def sign_off() -> str:
    import time
    time.sleep(2)
    with open({path!r}, "a") as file:
        file.write("signed off\\n")
    return "bye"

async def main():
    async with Rojak({storage!r}, namespace={namespace!r}, address={address!r}, placement="dedicated") as rojak:
        session = await rojak.get_session({session!r})
        response = await session.send_messages(plan("from the second driver"))
        print(response.messages[-1].content)
        await rojak.start_run({run!r}, PlanAgent(name="A", functions=[sign_off]), plan([["sign_off", {{}}]]))

asyncio.run(main())
"""


async def test_two_drivers_share_a_session_and_a_run_outlives_its_driver(
    rojak: Rojak, installation: dict[str, str], unique: str, effects: Path
) -> None:
    import ray

    session = await rojak.create_session(unique, PlanAgent(name="A"))
    program = SECOND_DRIVER.format(
        **installation,
        tests=str(Path(__file__).parent.parent),
        path=str(effects),
        session=unique,
        run=f"{unique}-run",
        address=ray.get_runtime_context().gcs_address,
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], env=clean, capture_output=True, text=True, timeout=HANG_S
    )

    assert done.returncode == 0, done.stderr
    assert "from the second driver" in done.stdout
    response = await rojak.get_run_result(f"{unique}-run")
    assert response.messages[-1].content == "bye"
    assert lines(effects) == ["signed off"]
    assert [m.content for m in await session.history() if m.role == "assistant"] == ["from the second driver"]


async def test_all_shared_hosts_are_there_before_anybody_asks_for_them(
    installation: dict[str, str], unique: str
) -> None:
    async with Rojak(storage=installation["storage"], namespace=unique, hosts=3) as fresh:
        wanted = {host_name(index) for index in range(3)}
        await until(lambda: wanted <= names_of(fresh.settings), "the catalog has started every host")
