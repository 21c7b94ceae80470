"""The programs of the README on a real Ray, with the vendors' real SDKs against a loopback server."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support.vendor import Calls, Hold, Status, Text, Vendor
from support.waiting import HANG_S, until

from rojak_ray import AnthropicAgent, ImagePart, OpenAIAgent, Rojak, TextPart, errors
from rojak_ray.agents import (
    AnthropicAgentActivities,
    AnthropicAgentOptions,
    OpenAIAgentActivities,
    OpenAIAgentOptions,
)
from rojak_ray.types import RetryOptions, RetryPolicy

pytestmark = pytest.mark.ray


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as server:
        yield server


@pytest_asyncio.fixture
async def fresh(installation: dict[str, str], unique: str) -> AsyncIterator[Rojak]:
    """An installation in which nobody has registered anything."""
    async with Rojak(storage=installation["storage"], namespace=f"fresh-{unique}") as client:
        yield client


def transfer_to_agent_b() -> Any:
    """Hand the conversation to Agent B."""
    return agent_b


agent_a = OpenAIAgent(name="Agent A", instructions="You are a helpful agent.", functions=[transfer_to_agent_b])
agent_b = OpenAIAgent(name="Agent B", instructions="Only speak in haikus.")


async def test_newcomers_program_needs_only_a_key_in_the_environment(
    fresh: Rojak, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-drivers-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", vendor.openai_url)
    vendor.enqueue(Calls([("transfer_to_agent_b", {})]), Text("Hope flows through the rain"))

    response = await fresh.run(agent=agent_a, messages="I want to talk to agent B.")

    assert response.messages[-1].content == "Hope flows through the rain"
    assert response.messages[-1].sender == "Agent B"
    assert response.usage.requests == 2
    first, second = vendor.requests
    assert first.headers["Authorization"] == "Bearer sk-from-the-drivers-environment"
    assert first.body["messages"][0] == {"role": "system", "content": "You are a helpful agent."}
    assert second.body["messages"][0]["content"] == "Only speak in haikus."


async def test_ancestors_program_with_a_worker_and_functions_by_name(fresh: Rojak, vendor: Vendor) -> None:
    options = OpenAIAgentOptions(api_key="sk-worker", base_url=vendor.openai_url, all_functions=[transfer_to_agent_b])
    vendor.enqueue(Calls([("transfer_to_agent_b", {})]), Text("Agent B here"))

    worker = await fresh.create_worker(agent_activities=[OpenAIAgentActivities(options)])
    async with worker:
        agent = OpenAIAgent(name="Agent A", functions=["transfer_to_agent_b"])
        response = await fresh.run(
            id="unique-id", agent=agent, messages=[{"role": "user", "content": "Agent B, please."}]
        )

    assert response.messages[-1]["content"] == "Agent B here"
    assert response.agent is not None
    assert response.agent.name == "Agent B"


async def test_two_endpoints_and_two_vendors_serve_side_by_side(fresh: Rojak, vendor: Vendor) -> None:
    def to_claude() -> Any:
        return AnthropicAgent(name="Claude")

    await fresh.create_worker(
        [
            OpenAIAgentActivities(OpenAIAgentOptions(api_key="sk-one", base_url=vendor.openai_url)),
            OpenAIAgentActivities(OpenAIAgentOptions(api_key="sk-two", base_url=vendor.openai_url), type="local"),
            AnthropicAgentActivities(AnthropicAgentOptions(api_key="sk-three", base_url=vendor.anthropic_url)),
        ]
    )
    vendor.enqueue(Text("one"), Text("two"), Calls([("to_claude", {})]), Text("three"))

    one = await fresh.run(agent=OpenAIAgent(name="A"), messages="hi")
    two = await fresh.run(agent=OpenAIAgent(name="B", type="local"), messages="hi")
    three = await fresh.run(agent=OpenAIAgent(name="C", functions=[to_claude]), messages="hi")

    assert [r.messages[-1].content for r in (one, two, three)] == ["one", "two", "three"]
    keys = [request.headers["Authorization"] for request in vendor.requests]
    assert keys == ["Bearer sk-one", "Bearer sk-two", "Bearer sk-one", "Bearer sk-three"]


async def test_overload_is_waited_out_as_long_as_the_vendor_asks(fresh: Rojak, vendor: Vendor) -> None:
    await fresh.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="sk", base_url=vendor.openai_url))])
    vendor.enqueue(Status(429, headers={"Retry-After": "1"}), Text("now"))
    quick = RetryOptions(retry_policy=RetryPolicy(initial_interval_in_seconds=0))

    response = await fresh.run(agent=OpenAIAgent(name="A", retry_options=quick), messages="hi")

    assert response.messages[-1].content == "now"
    keys = {request.headers["Idempotency-Key"] for request in vendor.requests}
    assert len(keys) == 1


async def test_cancelling_a_run_drops_the_vendors_connection(fresh: Rojak, vendor: Vendor) -> None:
    await fresh.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="sk", base_url=vendor.openai_url))])
    vendor.enqueue(Hold())

    handle = await fresh.start_run(agent=OpenAIAgent(name="A"), messages="hi")
    await until(lambda: vendor.requests, "the request arrives")
    await handle.cancel()

    with pytest.raises(errors.RunCancelled, match="cancel"):
        await handle.result()
    await until(vendor.requests[0].dropped.is_set, "the connection is dropped")


async def test_without_any_key_the_error_names_the_variable(fresh: Rojak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async with asyncio.timeout(HANG_S):
        with pytest.raises(errors.RunFailed, match="OPENAI_API_KEY"):
            await fresh.run(agent=OpenAIAgent(name="A"), messages="hi")


PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4096


def photograph() -> ImagePart:
    """Take a photograph, in a Ray task."""
    return ImagePart(data=PICTURE)


async def scan() -> list[Any]:
    """Scan a page, on a step worker."""
    return ["the page:", ImagePart(data=PICTURE)]


async def test_images_of_a_megabyte_pass_every_channel_whole(fresh: Rojak, vendor: Vendor) -> None:
    calls = Calls([("photograph", {}), ("scan", {})])
    vendor.enqueue(calls, Text("Seen."), Text("Still seen."))
    options = AnthropicAgentOptions(api_key="k", base_url=vendor.anthropic_url)
    await fresh.create_worker([AnthropicAgentActivities(options)])
    session = await fresh.create_session(agent=AnthropicAgent(model="m", functions=[photograph, scan]))
    asked = [{"role": "user", "content": [TextPart(text="Look."), ImagePart(data=PICTURE)]}]

    response = await session.send_messages(asked)
    again = await session.send_messages("And now?")

    assert (response.output, again.output) == ("Seen.", "Still seen.")
    data = base64.b64encode(PICTURE).decode()
    for request in vendor.requests[1:]:
        blocks = [block for message in request.body["messages"][:3] for block in message["content"]]
        shown = [part for block in blocks for part in [block, *(block.get("content") or [])] if part["type"] == "image"]
        assert [part["source"]["data"] == data for part in shown] == [True] * 3
    history = await session.history()
    assert sum(isinstance(message.content, list) for message in history) == 3
