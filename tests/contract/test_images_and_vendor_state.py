"""Images, thoughts, signatures and paused answers through whole runs: real SDKs, a strict vendor, plain or streamed."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.strict_vendors import anthropic_faults, openai_faults
from support.vendor import Raw, Request, Status, Vendor

from rojak_ray import AnthropicAgent, ImagePart, OpenAIAgent
from rojak_ray.agents import (
    AnthropicAgentActivities,
    AnthropicAgentOptions,
    OpenAIAgentActivities,
    OpenAIAgentOptions,
)
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
OWN_FIELDS = frozenset({"reasoning_content", "extra_content"})


@asynccontextmanager
async def runtime(vendor: Vendor, store: MemoryStore | None = None):
    async with InProcessRuntime(store or MemoryStore()) as made:
        openai = OpenAIAgentActivities(OpenAIAgentOptions(api_key="k", base_url=vendor.openai_url))
        claude = AnthropicAgentActivities(AnthropicAgentOptions(api_key="k", base_url=vendor.anthropic_url))
        await made.create_worker([openai, claude], functions=[weather])
        yield made


def said(wire: str, **message: Any) -> Raw:
    """An answer of the vendor, on its wire."""
    if wire == "openai":
        return Raw(
            {
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop"}
                ]
            }
        )
    return Raw(
        {"type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "usage": {}, **message}
    )


def streamed(answer: Raw) -> Raw:
    """The same answer as the events of a stream."""
    body: Any = answer.payload
    if "choices" in body:
        [choice] = body["choices"]
        delta = {
            **choice["message"],
            "tool_calls": [{"index": i, **c} for i, c in enumerate(choice["message"].get("tool_calls", []))],
        }
        events = [
            {"choices": [{"index": 0, "delta": delta}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        return Raw(
            "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n", "text/event-stream"
        )
    events = [{"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}]
    for index, block in enumerate(body["content"]):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": body["stop_reason"]}, "usage": {}})
    events.append({"type": "message_stop"})
    return Raw(
        "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events), "text/event-stream"
    )


def scripted(*answers: Raw | Status) -> Any:
    """A strict vendor: it refuses what its table forbids, else gives the answers one by one, streamed if so asked."""
    left = list(answers)

    def answer(request: Request) -> Raw | Status:
        if request.wire == "openai":
            faults = openai_faults(request.body, own_fields=OWN_FIELDS)
        else:
            last = request.body["messages"][-1]
            faults = anthropic_faults(request.body, paused=last["role"] == "assistant")
        if faults:
            return Status(400, message="; ".join(faults))
        following = left.pop(0)
        return streamed(following) if request.body.get("stream") and isinstance(following, Raw) else following

    return answer


async def ask(session: Any, text: str, *, watched: bool) -> Any:
    if not watched:
        return await session.send_messages(text)
    async for _ in session.stream_messages(text):
        pass
    return await session.get_result()


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "c2ln"}}}
THOUGHT = {"type": "thinking", "thinking": "They want the weather.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "oslo"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}


@pytest.mark.parametrize("watched", [False, True])
async def test_signatures_and_reasoning_come_back_on_openais_wire(watched: bool) -> None:
    first = said("openai", reasoning_content="I look it up.", tool_calls=[SIGNED])
    answers = scripted(first, said("openai", content="Sun."), said("openai", content="Bye."))
    async with Vendor(answers) as vendor, runtime(vendor) as made:
        session = await made.create_session("s", OpenAIAgent(model="m", functions=[weather]))
        assert (await ask(session, "Weather in Oslo?", watched=watched)).output == "Sun."
        assert (await ask(session, "Thanks.", watched=watched)).output == "Bye."
    for request in vendor.requests[1:]:
        answer = next(message for message in request.body["messages"] if message["role"] == "assistant")
        assert answer["reasoning_content"] == "I look it up."
        assert answer["tool_calls"] == [SIGNED]


@pytest.mark.parametrize("watched", [False, True])
async def test_thoughts_come_back_on_anthropics_wire_also_after_a_restart(watched: bool) -> None:
    store = MemoryStore()
    first = said("anthropic", content=[THOUGHT, REDACTED, USE], stop_reason="tool_use")
    second = said("anthropic", content=[THOUGHT, {"type": "text", "text": "Sun."}])
    third = said("anthropic", content=[{"type": "text", "text": "Bye."}])
    config = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    async with Vendor(scripted(first, second, third)) as vendor:
        async with runtime(vendor, store) as made:
            agent = AnthropicAgent(model="m", functions=[weather], inference_config=config)
            session = await made.create_session("s", agent)
            assert (await ask(session, "Weather in Oslo?", watched=watched)).output == "Sun."
        async with runtime(vendor, store) as made:
            session = await made.get_session("s")
            assert (await ask(session, "Thanks.", watched=watched)).output == "Bye."
    answers = [m["content"] for m in vendor.requests[2].body["messages"] if m["role"] == "assistant"]
    assert answers == [[THOUGHT, REDACTED, USE], [THOUGHT, {"type": "text", "text": "Sun."}]]


@pytest.mark.parametrize("watched", [False, True])
async def test_a_paused_answer_goes_on_by_itself(watched: bool) -> None:
    paused = said("anthropic", content=[{"type": "text", "text": "I search."}, SEARCH], stop_reason="pause_turn")
    rest = said("anthropic", content=[FOUND, {"type": "text", "text": "Sun."}])
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    async with Vendor(scripted(paused, rest)) as vendor, runtime(vendor) as made:
        agent = AnthropicAgent(model="m", functions=[weather], inference_config={"tools": tools})
        session = await made.create_session("s", agent)
        response = await ask(session, "Weather in Oslo?", watched=watched)
    assert response.output == "Sun."
    assert response.usage.requests == 2
    assert vendor.requests[1].body["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "I search."}, SEARCH]}
    ]
    assert [tool["name"] for tool in vendor.requests[1].body["tools"]] == ["weather", "web_search"]


async def test_an_answer_that_pauses_for_ever_ends_at_the_bound_of_model_calls() -> None:
    paused = said("anthropic", content=[SEARCH], stop_reason="pause_turn")
    async with Vendor(lambda request: paused) as vendor, runtime(vendor) as made:
        handle = await made.start_run(agent=AnthropicAgent(model="m"), messages="go", max_model_calls=4)
        with pytest.raises(Exception, match="max_model_calls=4"):
            await handle.result()
    assert len(vendor.requests) == 4


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_an_image_reaches_the_vendor_from_the_user_and_from_functions(wire: str) -> None:
    def draw() -> Any:
        """Draw something."""
        return ["A dot:", ImagePart(data=PNG)]

    def write() -> str:
        """Write something."""
        return "words"

    if wire == "openai":
        kind: Any = OpenAIAgent
        names = [("c1", "draw"), ("c2", "write")]
        calls = [{"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}} for i, n in names]
        first = said(wire, tool_calls=calls)
        last = said(wire, content="Seen.")
    else:
        kind = AnthropicAgent
        uses = [{"type": "tool_use", "id": i, "name": n, "input": {}} for i, n in (("c1", "draw"), ("c2", "write"))]
        first = said(wire, content=uses, stop_reason="tool_use")
        last = said(wire, content=[{"type": "text", "text": "Seen."}])
    shown = [{"type": "text", "text": "Like this?"}, ImagePart(url="https://example.com/a.png")]
    async with Vendor(scripted(first, last)) as vendor, runtime(vendor) as made:
        agent = kind(model="m", functions=[draw, write])
        response = await made.run(agent=agent, messages={"role": "user", "content": shown})
    assert response.output == "Seen."
    [result] = [m for m in response.messages if m.role == "tool" and m.tool_call_id == "c1"]
    assert [part.type for part in result.content] == ["text", "image"]
    body = [message for message in vendor.requests[1].body["messages"] if message["role"] != "system"]
    data = result.content[1].data
    if wire == "openai":
        assert body[0]["content"][1] == {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        assert [message["role"] for message in body] == ["user", "assistant", "tool", "tool", "user"]
        assert body[2]["content"] == "A dot:\n[image image/png, 1 KB]"
        assert body[4]["content"] == [
            {"type": "text", "text": "[What draw returned:]"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        ]
    else:
        assert body[0]["content"][1] == {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
        assert body[2]["content"][0]["content"] == [{"type": "text", "text": "A dot:"}, image]


async def test_the_readmes_handoff_works_with_anthropic_agents() -> None:
    def transfer_to_agent_b() -> AnthropicAgent:
        """Hand the conversation to Agent B."""
        return AnthropicAgent(name="Agent B", model="m", instructions="Only speak in haikus.")

    use = {"type": "tool_use", "id": "t1", "name": "transfer_to_agent_b", "input": {}}
    first = said("anthropic", content=[use], stop_reason="tool_use")
    answers = scripted(first, said("anthropic", content=[{"type": "text", "text": "A haiku."}]))
    async with Vendor(answers) as vendor, runtime(vendor) as made:
        agent = AnthropicAgent(name="Agent A", model="m", functions=[transfer_to_agent_b])
        response = await made.run(agent=agent, messages="I want to talk to agent B.")
    assert response.output == "A haiku."
    second = vendor.requests[1].body
    assert second["tool_choice"] == {"type": "none"}
    assert [tool["name"] for tool in second["tools"]] == ["transfer_to_agent_b"]


@pytest.mark.parametrize("to", ["openai", "anthropic"])
async def test_a_conversation_goes_on_with_the_other_vendor_without_the_first_ones_secrets(to: str) -> None:
    first = {
        "anthropic": said("openai", reasoning_content="hm", tool_calls=[{**SIGNED, "id": "functions.weather:0"}]),
        "openai": said("anthropic", content=[THOUGHT, SEARCH, FOUND, USE], stop_reason="tool_use"),
    }[to]
    there = AnthropicAgent(model="m") if to == "anthropic" else OpenAIAgent(model="m")
    here = (
        OpenAIAgent(model="m", functions=[weather])
        if to == "anthropic"
        else AnthropicAgent(model="m", functions=[weather])
    )
    done = {
        "openai": said("openai", content="ok"),
        "anthropic": said("anthropic", content=[{"type": "text", "text": "ok"}]),
    }
    from_ = "openai" if to == "anthropic" else "anthropic"
    async with Vendor(scripted(first, done[from_], done[to])) as vendor, runtime(vendor) as made:
        session = await made.create_session("s", here)
        await session.send_messages("Weather?")
        assert (await session.send_messages("And now?", there)).output == "ok"
    text = json.dumps(vendor.requests[2].body)
    assert "weather" in text
    assert not any(word in text for word in ("signature", "reasoning", "thinking", "server_tool_use", "b3BhcXVl"))
