"""On Ray: a call reaches the function its agent was given, and a run is answered by the provider of who asked."""

import asyncio
import collections
import functools
import gc
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support.plan import PlanActivities, PlanAgent, plan
from support.vendor import Text, Vendor
from support.waiting import HANG_S, until

from rojak_ray import OpenAIAgent, Rojak
from rojak_ray.agents import AgentExecuteFnResult, OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.agents.schema import name_of

pytestmark = pytest.mark.ray


@pytest_asyncio.fixture(autouse=True)
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


class Slotted:
    __slots__ = ("_owner",)

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def who(self) -> str:
        return self._owner

    def __getstate__(self) -> str:
        return self._owner

    def __setstate__(self, owner: str) -> None:
        self._owner = owner


class Teller:
    def __init__(self, owner: str) -> None:
        self.owner = owner

    def __call__(self) -> str:
        return self.owner


def over(it: Any, read: Callable[[Any], str]) -> Any:
    def who() -> str:
        return read(it)

    return who


def script(owner: str) -> Any:
    namespace = {"__name__": "__main__", "OWNER": owner}
    exec("def who() -> str:\n    return OWNER", namespace)
    return namespace["who"]


def wrapped(owner: str) -> Any:
    inner = over(owner, str)

    @functools.wraps(nobody)
    def wrapper() -> str:
        return inner()

    return wrapper


def nobody() -> str:
    return "nobody"


def waits(fn: Any) -> Any:
    """The same as an asynchronous function, which a step worker runs."""

    async def who() -> str:
        return str(fn())

    return who


FACTORIES: dict[str, Callable[[str], Any]] = {
    "closure": lambda owner: over(owner, str),
    "deque": lambda owner: over(collections.deque([owner]), lambda it: it[0]),
    "slots": lambda owner: over(Slotted(owner), lambda it: it.who()),
    "bound method": lambda owner: Slotted(owner).who,
    "partial": lambda owner: functools.partial(over(owner, str)),
    "callable object": Teller,
    "wrapper": wrapped,
    "script": script,
    "asynchronous": lambda owner: waits(over(owner, str)),
}


def told(response: Any) -> list[str]:
    return [message.content for message in response.messages if message.role == "tool"]


async def test_each_agent_runs_its_own_whatever_a_worker_registers(rojak: Rojak, unique: str) -> None:
    made = [(kind, owner, make(owner)) for kind, make in FACTORIES.items() for owner in ("alice", "bob")]
    others = [over("a worker", str), Teller("a worker")]
    await rojak.create_worker(functions=others)

    async def ask(kind: str, owner: str, fn: Any) -> None:
        agent = PlanAgent(name=owner, functions=[fn])
        response = await rojak.run(agent=agent, messages=plan([[name_of(fn), {}]]))
        assert told(response) == [owner], kind

    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*(ask(*each) for each in made))


async def test_session_runs_its_own_when_the_program_holds_the_function_no_more(rojak: Rojak, unique: str) -> None:
    for owner in ("alice", "bob"):
        await rojak.create_session(f"{unique}-{owner}", PlanAgent(name=owner, functions=[over([owner], "".join)]))
    gc.collect()
    for owner in ("alice", "bob"):
        session = await rojak.get_session(f"{unique}-{owner}")
        assert told(await session.send_messages(plan([["who", {}]]))) == [owner]


async def test_what_two_functions_keep_stays_apart_though_they_were_alike_when_they_were_shipped(
    rojak: Rojak, unique: str
) -> None:
    def notebook() -> list[Any]:
        notes: list[str] = []

        async def note(text: str) -> str:
            notes.append(text)
            return " ".join(notes)

        return [note]

    for owner in ("alice", "bob"):
        await rojak.create_session(f"{unique}-{owner}", PlanAgent(name=owner, functions=notebook()))
    for owner in ("alice", "bob"):
        session = await rojak.get_session(f"{unique}-{owner}")
        seen = told(await session.send_messages(plan([["note", {"text": owner}]])))
        assert seen == [owner], "nobody reads what another noted"


async def test_function_that_is_handed_over_is_the_one_that_was_made(rojak: Rojak, unique: str) -> None:
    def first(owner: str) -> PlanAgent:
        def hand_over() -> AgentExecuteFnResult:
            return AgentExecuteFnResult(output="over", agent=PlanAgent(name=owner, functions=[over(owner, str)]))

        return PlanAgent(name="First", functions=[hand_over])

    sessions = [await rojak.create_session(f"{unique}-{owner}", first(owner)) for owner in ("alice", "bob")]
    for owner, session in zip(("alice", "bob"), sessions, strict=True):
        assert told(await session.send_messages(plan([["hand_over", {}]], [["who", {}]])))[-1] == owner
    for owner, session in zip(("alice", "bob"), sessions, strict=True):
        assert told(await session.send_messages(plan([["who", {}]]))) == [owner]


PROGRAM = """
import asyncio, sys
sys.path[:0] = {path!r}
from rojak_ray import Rojak
from support.plan import PlanAgent, plan

OWNER = {owner!r}

def who() -> str:
    return OWNER

async def main():
    async with Rojak({storage!r}, namespace={namespace!r}, address={address!r}) as rojak:
        session = await rojak.create_session({session!r}, PlanAgent(name=OWNER, functions=[who]))
        print((await session.send_messages(plan([["who", {{}}]]))).messages[2].content, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def test_two_programs_made_of_one_script_are_two(rojak: Rojak, installation: dict[str, str], unique: str) -> None:
    import ray

    def start(owner: str) -> subprocess.Popen[str]:
        text = PROGRAM.format(
            path=[os.getcwd(), os.path.join(os.getcwd(), "tests")],
            owner=owner,
            storage=installation["storage"],
            namespace=installation["namespace"],
            address=ray.get_runtime_context().gcs_address,
            session=f"{unique}-{owner}",
        )
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(text)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    programs = {owner: start(owner) for owner in ("alice", "bob")}
    try:
        for owner, program in programs.items():
            assert (await asyncio.to_thread(program.stdout.readline)).strip() == owner  # type: ignore[union-attr]
        for owner in programs:
            session = await rojak.get_session(f"{unique}-{owner}")
            assert told(await session.send_messages(plan([["who", {}]]))) == [owner]
    finally:
        for program in programs.values():
            program.communicate("\n")
    for owner in programs:  # the programs are gone, what their sessions name is not
        session = await rojak.get_session(f"{unique}-{owner}")
        assert told(await session.send_messages(plan([["who", {}]]))) == [owner]


async def test_function_that_nobody_has_is_waited_for_by_name(rojak: Rojak, unique: str) -> None:
    def late() -> str:
        return "here"

    late.__name__ = name = f"late_{unique.replace('-', '_')}"
    handle = await rojak.start_run(unique, PlanAgent(name="A", functions=[name]), plan([[name, {}]], "x"))
    async with asyncio.timeout(HANG_S):
        async for event in handle.events():
            if event.kind == "waiting":
                break
        assert (event.reason, event.what, event.name, event.agent) == ("worker", "function", name, "A")
        await rojak.create_worker(functions=[late])
        assert told(await handle.result()) == ["here"]


async def test_functions_made_for_one_request_are_forgotten(rojak: Rojak) -> None:
    catalog: Any = rojak._gateway._catalog  # type: ignore[attr-defined]
    before = (await catalog.call("statistics")).needed_functions

    async def request(number: int) -> None:
        agent = PlanAgent(name="A", functions=[waits(over(f"request {number}", str))])
        assert told(await rojak.run(agent=agent, messages=plan([["who", {}]]))) == [f"request {number}"]

    for batch in range(10):
        await asyncio.gather(*(request(10 * batch + number) for number in range(10)))
    gc.collect()

    async def forgotten() -> bool:
        statistics = await catalog.call("statistics")
        return statistics.functions >= before + 100 and statistics.needed_functions <= before + 2

    await until(forgotten, "nobody needs the functions of requests that are over")


@pytest.fixture
def vendors() -> Iterator[dict[str, Vendor]]:
    with Vendor() as mine, Vendor() as hers, Vendor() as workers:
        yield {"mine": mine, "hers": hers, "workers": workers}


def key_in(vendor: Vendor) -> str:
    return str(vendor.requests[-1].headers["Authorization"])


async def test_program_with_a_key_of_its_own_keeps_its_provider_and_others_have_the_installations(
    installation: dict[str, str], unique: str, vendors: dict[str, Vendor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A's session, B's session and one of a program without a key, asked in turn, also about a default that comes."""
    arguments = {**installation, "namespace": f"providers-{unique}"}
    agent = OpenAIAgent(name="A", model="m")

    async def ask(rojak: Rojak, who: str, name: str) -> None:
        vendors[name].enqueue(Text("ok"))
        session = await rojak.get_session(who)
        async with asyncio.timeout(HANG_S):
            await session.send_messages(f"of {who}")
        assert [request.body["messages"][-1]["content"] for request in vendors[name].requests][-1] == f"of {who}"
        assert key_in(vendors[name]) == f"Bearer sk-{name}-{'k' * 20}"

    def environment(name: str | None) -> None:
        for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(variable, raising=False)
        if name is not None:
            monkeypatch.setenv("OPENAI_API_KEY", f"sk-{name}-{'k' * 20}")
            monkeypatch.setenv("OPENAI_BASE_URL", vendors[name].openai_url)

    async with Rojak(**arguments) as a, Rojak(**arguments) as b, Rojak(**arguments) as worker:
        for client, who in ((a, "a"), (b, "b"), (worker, "nobody")):
            await client.create_session(who, agent)
        for turn in range(2):
            environment("mine")
            await ask(a, "a", "mine")
            environment("hers")
            await ask(b, "b", "hers")
            environment(None)
            if turn == 0:
                options = OpenAIAgentOptions(api_key=f"sk-workers-{'k' * 20}", base_url=vendors["workers"].openai_url)
                await worker.create_worker([OpenAIAgentActivities(options)])
            await ask(worker, "nobody", "workers")
        environment("hers")
        await ask(worker, "nobody", "workers")  # its own registration wins over its environment
    assert len(vendors["mine"].requests) == 2
    assert len(vendors["hers"].requests) == 2
