"""Nothing that we send to prove who we are comes back in errors, storage or logs, however a gateway repeats it.

The gateway answers everything with what it was sent. Each way in which a request can be signed is tried with the real
SDKs over real HTTP, with logs at their most talkative.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2
import openai
import pytest
from support.echoes import CANARY, ECHOES, KEY, leaks, serving

from rojak_ray import Agent, AnthropicAgent, OpenAIAgent
from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.errors import InvalidAgent, RojakError
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import AnthropicAgentActivities, AnthropicAgentOptions
from rojak_ray.providers.openai import OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.retrievers.embedders import OpenAIEmbedder
from rojak_ray.retrievers.qdrant import QdrantRetrieverActivities, QdrantRetrieverOptions
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

Wire = tuple[Any, Any, Any, str]
OPENAI: Wire = (OpenAIAgentActivities, OpenAIAgentOptions, openai.AsyncOpenAI, "/v1")
ANTHROPIC: Wire = (AnthropicAgentActivities, AnthropicAgentOptions, anthropic.AsyncAnthropic, "")


async def given_key() -> str:
    return CANARY


def by_client(**given: Any) -> Callable[[Wire, str], dict[str, Any]]:
    """Settings of the SDK's client."""

    def options(wire: Wire, url: str) -> dict[str, Any]:
        made = {name: value() if callable(value) and name == "http_client" else value for name, value in given.items()}
        return {"client": wire[2](base_url=url, **{"api_key": KEY, **made})}

    return options


def by_http(**given: Any) -> Callable[[Wire, str], dict[str, Any]]:
    """Settings of the HTTP client beneath it."""
    return by_client(http_client=lambda: httpx2.AsyncClient(**given))


def by_config(**given: Any) -> Callable[[Wire, str], dict[str, Any]]:
    return lambda wire, url: {"api_key": KEY, "base_url": url, "inference_config": given}


SIGNED: dict[str, Callable[[Wire, str], dict[str, Any]]] = {
    "key": lambda wire, url: {"api_key": CANARY, "base_url": url},
    "header": by_config(extra_headers={"X-Gateway-Key": CANARY}),
    "bearer": by_config(extra_headers={"Authorization": f"Bearer {CANARY}"}),
    "query": by_config(extra_query={"key": CANARY}),
    "user and password": lambda wire, url: {
        "api_key": KEY,
        "base_url": url.replace("//", f"//user:{quote(CANARY, safe='')}@"),
    },
    "token for a user": lambda wire, url: {
        "api_key": KEY,
        "base_url": url.replace("//", f"//{quote(CANARY, safe='')}@"),
    },
    "query of the address": lambda wire, url: {
        "client": wire[2](api_key=KEY, base_url=url, default_query={"sig": CANARY})
    },
    "header of the client": by_client(default_headers={"X-Gateway-Key": CANARY}),
    "cookie of the client": by_http(cookies={"session": CANARY.replace("=", "_")}),
    "sign-in of the HTTP client": by_http(auth=("user", CANARY)),
    "header of the HTTP client": by_http(headers={"X-Team": CANARY}),
}


def question(**given: Any) -> AgentCallParams:
    return AgentCallParams(messages=[ConversationMessage("user", "Hi.")], model="m", timeout_s=30.0, **given)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "anthropic", "httpx2", "httpcore2", "httpx", "httpcore", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


async def trouble(call: Any) -> str:
    """What a call's error says to whoever prints it, with all that is behind it."""
    try:
        await call
    except RojakError as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    return pytest.fail("the gateway refuses everything")


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
@pytest.mark.parametrize("signed", SIGNED)
async def test_what_signs_a_request_comes_back_nowhere(wire: Wire, signed: str, logged: Any) -> None:
    async with serving() as gateway:
        options = wire[1](**SIGNED[signed](wire, f"http://127.0.0.1:{gateway.port}{wire[3]}"))
        activities = wire[0](options)
        for form, echo in ECHOES.items():
            gateway.echo = echo
            for watched in ({}, {"on_delta": lambda _: None}):
                told = await trouble(activities.call(question(**watched)))
                assert not leaks(told, CANARY, KEY), (form, watched, told)
        assert leaks("".join(gateway.sent), CANARY) or "cookie" in signed
        await activities.aclose()
        assert not leaks(logged.text + repr(options) + repr(activities), CANARY, KEY), logged.text


async def test_a_key_from_a_callable_comes_back_nowhere(logged: Any) -> None:
    async with serving() as gateway:
        client = openai.AsyncOpenAI(api_key=given_key, base_url=f"http://127.0.0.1:{gateway.port}/v1")
        activities = OpenAIAgentActivities(OpenAIAgentOptions(client=client))
        for form, echo in ECHOES.items():
            gateway.echo = echo
            assert not leaks(told := await trouble(activities.call(question())), CANARY), (form, told)
        assert CANARY in gateway.sent[-1]
        assert not leaks(logged.text, CANARY)


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_what_signs_in_at_a_proxy_comes_back_nowhere(
    wire: Wire, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:{quote(CANARY, safe='')}@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        activities = wire[0](wire[1](api_key=KEY, base_url=f"http://vendor.example{wire[3]}"))
        for form, echo in {**ECHOES, "as a proxy": lambda sent: (407, "text/plain", sent)}.items():
            proxy.echo = echo
            told = await trouble(activities.call(question()))
            assert not leaks(told, CANARY, KEY), (form, told)
        assert proxy.sent
        monkeypatch.setenv("HTTP_PROXY", f"http://user:{quote(CANARY, safe='')}@127.0.0.1:1")
        silent = wire[0](wire[1](api_key=KEY, base_url=f"http://vendor.example{wire[3]}"))
        assert not leaks(await trouble(silent.call(question())), CANARY, KEY)
        assert not leaks(logged.text, CANARY, KEY), logged.text


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY, "base_url": f"http://user:{CANARY}@host:port/v1"},
        {"api_key": KEY, "base_url": f"http://user:{CANARY}@[::1/v1"},
        {"api_key": KEY, "inference_config": {"extra_headers": {"X-Key": f"{CANARY}\nx: y"}}},
        {"api_key": KEY, "inference_config": {"extra_headers": {"X-Key": f"{CANARY}é"}}},
        {"api_key": f"{CANARY}\né"},
    ],
    ids=["address", "worse address", "line break", "letter", "key"],
)
async def test_what_cannot_be_sent_is_not_quoted(wire: Wire, options: dict[str, Any], logged: Any) -> None:
    async with serving() as gateway:
        url = f"http://127.0.0.1:{gateway.port}{wire[3]}"
        activities = wire[0](wire[1](**{"base_url": url, **options}))
        assert not leaks(await trouble(activities.call(question())), CANARY, KEY)
    assert not leaks(logged.text, CANARY, KEY)


@pytest.mark.parametrize(("wire", "agent"), [(OPENAI, OpenAIAgent), (ANTHROPIC, AnthropicAgent)])
@pytest.mark.parametrize("signed", ["key", "header", "query", "user and password"])
async def test_nothing_of_it_is_stored(wire: Wire, agent: type[Agent], signed: str, logged: Any) -> None:
    store = MemoryStore()
    async with serving() as gateway, InProcessRuntime(store) as runtime:
        options = SIGNED[signed](wire, f"http://127.0.0.1:{gateway.port}{wire[3]}")
        await runtime.create_worker([wire[0](wire[1](**options))])
        told = await trouble(runtime.run("r", agent=agent(model="m"), messages="hi"))
        handle = runtime.get_run("r")
        events = [repr(event) async for event in handle.events()]
    stored = b"".join(store.snapshot().values()).decode()
    assert "403" in stored
    assert not leaks(stored + told + "".join(events) + logged.text, CANARY, KEY)


@pytest.mark.parametrize(
    "config",
    [{"extra_headers": {"X-Key": CANARY}}, {"extra_query": {"sig": CANARY}}, {"extra_body": {"api_key": CANARY}}],
)
async def test_an_agent_may_hold_none(config: dict[str, Any]) -> None:
    store = MemoryStore()
    async with InProcessRuntime(store) as runtime:
        agent = OpenAIAgent(name="Clerk", model="m", inference_config=config)
        with pytest.raises(InvalidAgent, match=r"'Clerk'.*extra_.*OpenAIAgentOptions\(inference_config=") as refused:
            await runtime.run(agent=agent, messages="hi")
        with pytest.raises(InvalidAgent):
            await runtime.create_session("s", agent)
        assert CANARY not in str(refused.value)
    assert store.snapshot() == {}


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
async def test_keys_of_retrievers_come_back_nowhere(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with serving() as gateway:
        url = f"127.0.0.1:{gateway.port}"
        options = QdrantRetrieverOptions(url=f"http://{url}", collection_name="c", embedder=lambda text: [1.0])
        database = QdrantRetrieverActivities(options)
        embedder = OpenAIEmbedder(base_url=f"http://user:{quote(CANARY, safe='')}@{url}/v1")
        for form, echo in ECHOES.items():
            gateway.echo = echo
            for call in (database.retrieve("x"), embedder("x")):
                told = await trouble(call)
                assert not leaks(told, CANARY, KEY), (form, told)
        await database.aclose()
        await embedder.aclose()
        shown = repr(options) + repr(database) + repr(embedder)
    assert not leaks(logged.text + shown, CANARY, KEY), logged.text
