"""What both providers promise, against a server that speaks their wire, through the vendors' own SDKs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from support.vendor import Calls, Drip, Drop, Hold, Raw, Request, Status, Text, Vendor
from support.waiting import HANG_S

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.errors import MissingExtra, MissingKey, ModelMisbehaved, ModelRejected, ModelUnavailable, RojakError
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import AnthropicAgentActivities, AnthropicAgentOptions
from rojak_ray.providers.builtin import builtin_activities
from rojak_ray.providers.openai import OpenAIAgentActivities, OpenAIAgentOptions

KEY = "sk-very-secret-0123456789"
ADD = FunctionSchema(
    name="add",
    description="Add two numbers.",
    parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
)


@dataclass(frozen=True)
class Provider:
    """One implementation under test."""

    name: str
    activities: Any
    options: Any
    async_client: Any
    sync_client: Any

    @property
    def key_variable(self) -> str:
        return f"{self.name.upper()}_API_KEY"

    @property
    def url_variable(self) -> str:
        return f"{self.name.upper()}_BASE_URL"

    def url(self, vendor: Vendor) -> str:
        return vendor.openai_url if self.name == "openai" else vendor.anthropic_url

    def make(self, vendor: Vendor, **options: Any) -> Any:
        return self.activities(self.options(**{"api_key": KEY, "base_url": self.url(vendor), **options}))


PROVIDERS = [
    Provider("openai", OpenAIAgentActivities, OpenAIAgentOptions, openai.AsyncOpenAI, openai.OpenAI),
    Provider(
        "anthropic", AnthropicAgentActivities, AnthropicAgentOptions, anthropic.AsyncAnthropic, anthropic.Anthropic
    ),
]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.name)
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Provider:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    return request.param


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as running:
        yield running


def params(**given: Any) -> AgentCallParams:
    messages = [
        ConversationMessage("system", "Be brief."),
        ConversationMessage("user", "Hi.", sender="somebody"),
    ]
    return AgentCallParams(**{"messages": messages, "model": "m-1", "timeout_s": 10.0, **given})


async def failure_of(activities: Any, **given: Any) -> RojakError:
    """The error of one call, checked to be fit for another process and free of the key."""
    from ray import cloudpickle

    with pytest.raises(RojakError) as caught:
        await activities.call(params(**given))
    error = caught.value
    assert error.__cause__ is None
    copy = cloudpickle.loads(cloudpickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert KEY not in "".join(traceback.format_exception(error))
    return error


async def test_a_text_answer(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text("Hello there."))
    response = await provider.make(vendor).call(params(idempotency_key="step-7"))
    assert (response.type, response.content, response.tool_calls) == ("text", "Hello there.", None)
    assert response.usage.model_dump() == {
        "requests": 1,
        "input_tokens": 5,
        "output_tokens": 2,
        "cached_input_tokens": 0,
        "reasoning_tokens": 0,
        "cache_write_tokens": 0,
    }
    [asked] = vendor.requests
    assert asked.wire == provider.name
    assert asked.headers["Idempotency-Key"] == "step-7"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "m-1"


async def test_nothing_is_sent_that_nobody_asked_for(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text())
    await provider.make(vendor).call(params(tool_choice="required", parallel_tool_calls=False))
    required = {"openai": {"model", "messages"}, "anthropic": {"model", "messages", "system", "max_tokens"}}
    assert set(vendor.requests[0].body) == required[provider.name]
    assert "Idempotency-Key" not in vendor.requests[0].headers


async def test_configs_are_merged_key_by_key(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text())
    activities = provider.make(vendor, inference_config={"max_tokens": 7, "seed": 1, "metadata": {"a": "b"}})
    await activities.call(
        params(
            inference_config={
                "seed": 2,
                "metadata": None,
                "stream": True,
                "extra_body": {"extra": 1},
                "extra_headers": {"x-team": "blue"},
                "extra_query": {"q": "1"},
            }
        )
    )
    body = vendor.requests[0].body
    assert (body["max_tokens"], body["seed"], body["extra"]) == (7, 2, 1)
    assert not {"metadata", "stream", "extra_body", "extra_headers", "extra_query"} & set(body)
    assert vendor.requests[0].headers["x-team"] == "blue"


async def test_tool_calls(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Calls([("add", {"a": 1}), ("add", {"a": 2})], text="Adding."))
    response = await provider.make(vendor).call(params(functions=[ADD], function_names=["add"]))
    assert (response.type, response.content) == ("tool", "Adding.")
    calls = [(call.id, call.function.name, call.function.arguments) for call in response.tool_calls]
    assert calls == [("call_add_0", "add", '{"a": 1}'), ("call_add_1", "add", '{"a": 2}')]
    [tool] = vendor.requests[0].body["tools"]
    assert (tool.get("function") or tool)["name"] == "add"


async def test_missing_call_ids_are_made_up(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Calls([("add", {}), ("add", {})], ids=[None, None]))
    response = await provider.make(vendor).call(params(functions=[ADD]))
    assert [call.id for call in response.tool_calls] == ["call_0", "call_1"]


async def test_malformed_arguments_are_passed_on(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Calls([("add", '{"a": ')]))
    response = await provider.make(vendor).call(params(functions=[ADD]))
    assert response.tool_calls[0].function.arguments == '{"a": '


async def test_an_empty_text_is_an_answer(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text(""))
    response = await provider.make(vendor).call(params())
    assert (response.type, response.content) == ("text", "")


async def test_half_characters_are_replaced(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text("a\ud800b"), Calls([("add", {"a": "\udc00"})], text="x\ud800"))
    activities = provider.make(vendor)
    assert (await activities.call(params())).content == "a?b"
    response = await activities.call(params(functions=[ADD]))
    assert response.content == "x?"
    response.tool_calls[0].function.arguments.encode()


async def test_text_cut_by_the_limit_is_kept(provider: Provider, vendor: Vendor) -> None:
    word = {"openai": "length", "anthropic": "max_tokens"}[provider.name]
    vendor.enqueue(Text("and then", finish=word))
    response = await provider.make(vendor).call(params())
    assert (response.content, response.finish_reason) == ("and then", word)


async def test_calls_cut_by_the_limit_are_an_error(provider: Provider, vendor: Vendor) -> None:
    word = {"openai": "length", "anthropic": "max_tokens"}[provider.name]
    vendor.enqueue(Calls([("add", '{"a": 1')], finish=word))
    error = await failure_of(provider.make(vendor), functions=[ADD])
    assert isinstance(error, ModelMisbehaved)
    assert "limit" in str(error)


async def test_rate_limit_with_retry_after(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Status(429, "slow down", code="rate_limit_exceeded", headers={"Retry-After": "3600"}))
    error = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelUnavailable)
    assert (error.status, error.retry_after_s) == (429, 3600.0)
    assert "slow down" in str(error)
    assert len(vendor.requests) == 1, "the SDK must not retry by itself"


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 529])
async def test_statuses_that_may_pass(provider: Provider, vendor: Vendor, status: int) -> None:
    vendor.enqueue(Status(status, "not now"))
    error = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelUnavailable)
    assert (error.status, error.retry_after_s) == (status, None)
    assert f"{status}: not now" in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_statuses_that_will_not(provider: Provider, vendor: Vendor, status: int) -> None:
    vendor.enqueue(Status(status, f"wrong, says the vendor to {KEY}", headers={"x-request-id": "req-1"}))
    error = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelRejected)
    assert error.status == status
    assert "wrong, says the vendor to ***" in str(error)
    assert "req-1" in str(error)


async def test_an_empty_account_is_not_tried_again(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Status(429, "You exceeded your current quota", code="insufficient_quota"))
    error = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelRejected)
    assert "quota" in str(error)


async def test_an_error_page_is_quoted(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Status(502, payload="<html>Bad gateway</html>" + " " * 100 + "x" * 10_000))
    error = await failure_of(provider.make(vendor))
    assert "Bad gateway" in str(error)
    assert len(str(error)) < 2_000


@pytest.mark.parametrize("reply", [Drop(), Drop(after=100)], ids=["before", "within"])
async def test_a_lost_connection(provider: Provider, vendor: Vendor, reply: Drop) -> None:
    vendor.enqueue(reply, Text("back"))
    activities = provider.make(vendor)
    error = await failure_of(activities)
    assert isinstance(error, ModelUnavailable)
    assert error.status is None
    assert (await activities.call(params())).content == "back"


async def test_nobody_listens(provider: Provider) -> None:
    async with Vendor() as gone:
        activities = provider.make(gone)
    assert isinstance(await failure_of(activities), ModelUnavailable)


@pytest.mark.parametrize(
    "reply",
    [
        Raw({"hello": 1}),
        Raw([]),
        Raw({"choices": [], "content": None}),
        Raw({"choices": [{"finish_reason": "stop"}], "content": ["hi"]}),
        Raw({"choices": [{"message": {"tool_calls": [{"id": "x"}]}}], "content": [{"type": "tool_use", "id": "x"}]}),
        Raw({"error": {"message": f"upstream failed for {KEY}"}}),
        Raw("I am a teapot.", content_type="text/plain"),
        Raw(b'{"choices": [{"message"'),
        Raw(b""),
        Raw(b"\xff\xfe\xfd"),
        Raw(b"[" * 100_000),
    ],
)
async def test_an_answer_of_the_wrong_shape(provider: Provider, vendor: Vendor, reply: Raw) -> None:
    vendor.enqueue(reply)
    error = await failure_of(provider.make(vendor))
    assert isinstance(error, ModelMisbehaved)
    assert len(str(error)) < 1_000


async def test_a_call_that_takes_too_long(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Hold())
    error = await failure_of(provider.make(vendor), timeout_s=0.3)
    assert isinstance(error, ModelUnavailable)
    assert "time" in str(error) or "within" in str(error)
    assert await vendor.dropped(vendor.requests[0])


async def test_the_time_is_for_the_whole_call_not_for_each_read(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Drip(), Text())
    activities = provider.make(vendor)
    error = await failure_of(activities, timeout_s=0.4)
    assert isinstance(error, ModelUnavailable)
    assert "0.4 s" in str(error)
    assert await vendor.dropped(vendor.requests[0])
    await activities.call(params(timeout_s=1200.0))
    read_timeout = float(vendor.requests[1].headers["x-stainless-read-timeout"])
    assert read_timeout == 1200.0, "a shorter timeout of the SDK would cut a call that may take longer"


async def test_cancelling_drops_the_connection(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Hold())
    task = asyncio.create_task(provider.make(vendor).call(params()))
    [asked] = await vendor.arrived()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await vendor.dropped(asked)


async def test_no_key(provider: Provider) -> None:
    activities = provider.activities()
    with pytest.raises(MissingKey, match=provider.key_variable):
        await activities.call(params())


async def test_key_and_url_come_from_the_environment_of_the_call(
    provider: Provider, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.enqueue(Text(), Text())
    plain = provider.activities()
    shipped = provider.activities(
        provider.options.from_environment(
            {provider.key_variable: "key-of-the-driver\n", provider.url_variable: provider.url(vendor)}
        )
    )
    monkeypatch.setenv(provider.key_variable, "key-of-the-node")
    monkeypatch.setenv(provider.url_variable, provider.url(vendor))
    await plain.call(params())
    await shipped.call(params())
    keys = [asked.headers["Authorization"] for asked in vendor.requests]
    assert keys == ["Bearer key-of-the-node", "Bearer key-of-the-driver"]


async def test_a_key_no_header_can_carry(provider: Provider, vendor: Vendor) -> None:
    error = await failure_of(provider.make(vendor, api_key=f"{KEY}…"))
    assert "API key" in str(error)


async def test_missing_extra(provider: Provider, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    activities = provider.make(vendor)
    monkeypatch.setitem(sys.modules, provider.name, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'rojak-ray\[{provider.name}\]'"):
        await activities.call(params())


async def test_a_given_async_client_is_used_as_it_is(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text(), Status(500))
    async with provider.async_client(
        api_key=KEY, base_url=provider.url(vendor), default_headers={"x-mine": "1"}, max_retries=5
    ) as client:
        activities = provider.activities(provider.options(client=client))
        await activities.call(params())
        await activities.aclose()
        await failure_of(activities)
        assert not client.is_closed()
    assert [asked.headers["x-mine"] for asked in vendor.requests] == ["1", "1"]
    assert vendor.connections == 1


async def test_options_win_over_the_client(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text(), Text())
    async with provider.async_client(api_key="other-key", base_url="http://127.0.0.1:9") as client:
        await provider.make(vendor, client=client).call(params())
    with provider.sync_client(api_key="other-key", base_url="http://127.0.0.1:9") as client:
        await provider.make(vendor, client=client).call(params())
    assert {asked.headers["Authorization"] for asked in vendor.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("shipped", [False, True])
async def test_a_given_sync_client_lends_its_settings(provider: Provider, vendor: Vendor, shipped: bool) -> None:
    from ray import cloudpickle

    vendor.enqueue(Text(), Status(500))
    with provider.sync_client(api_key=KEY, base_url=provider.url(vendor), default_headers={"x-mine": "1"}) as client:
        activities = provider.activities(provider.options(client=client))
        if shipped:
            activities = cloudpickle.loads(cloudpickle.dumps(activities))
        await activities.call(params())
        await failure_of(activities)
    assert [asked.headers["x-mine"] for asked in vendor.requests] == ["1", "1"]


async def test_activities_travel_after_use(provider: Provider, vendor: Vendor) -> None:
    from ray import cloudpickle

    vendor.enqueue(Text(), Text())
    activities = provider.activities(provider.make(vendor).options, type="mine")
    await activities.call(params())
    copy = cloudpickle.loads(cloudpickle.dumps(activities))
    assert copy.type == "mine"
    await copy.call(params())
    assert vendor.connections == 2, "the copy has a pool of its own"


async def test_a_client_in_use_travels_as_its_settings(provider: Provider, vendor: Vendor) -> None:
    from ray import cloudpickle

    vendor.enqueue(Text(), Hold())
    async with provider.async_client(api_key=KEY, base_url=provider.url(vendor), timeout=0.3) as client:
        activities = provider.activities(provider.options(client=client))
        await activities.call(params())
        copy = cloudpickle.loads(cloudpickle.dumps(activities))
    assert KEY not in repr(copy) + repr(copy.options) + repr(vars(copy.options))
    error = await failure_of(copy)
    assert isinstance(error, ModelUnavailable), "the client's own timeout travels too"


async def test_the_key_is_never_shown(provider: Provider, vendor: Vendor) -> None:
    vendor.enqueue(Text())
    activities = provider.make(vendor, base_url=provider.url(vendor).replace("://", f"://user:{KEY}@"))
    shown = f"{activities} {activities!r} {activities.options!r} {vars(activities)}"
    assert KEY not in shown
    assert "'***'" in shown
    await activities.call(params())
    assert KEY not in f"{activities!r} {vars(activities)}"


async def test_two_endpoints_side_by_side(provider: Provider, vendor: Vendor) -> None:
    async with Vendor([Text("second")]) as other:
        vendor.enqueue(Text("first"))
        one = provider.make(vendor)
        two = provider.activities(provider.options(api_key="key-two", base_url=provider.url(other)), type="second")
        answers = await asyncio.gather(one.call(params()), two.call(params()))
    assert (one.type, two.type, provider.activities.type) == (provider.name, "second", provider.name)
    assert [answer.content for answer in answers] == ["first", "second"]
    assert other.requests[0].headers["Authorization"] == "Bearer key-two"


async def test_a_subclass_may_name_its_type(provider: Provider) -> None:
    class Mine(provider.activities):
        type = "mine"

    assert Mine().type == "mine"


async def test_many_calls_at_once_share_one_pool(provider: Provider, vendor: Vendor) -> None:
    many = 150
    vendor.enqueue(*[Hold(Text(str(index))) for index in range(many)])
    activities = provider.make(vendor)
    calls = [asyncio.create_task(activities.call(params())) for _ in range(many)]
    await vendor.arrived(many)
    vendor.release()
    answers = await asyncio.gather(*calls)
    assert {answer.content for answer in answers} == {str(index) for index in range(many)}
    assert vendor.connections == many, "each waits on a connection of its own"
    vendor.enqueue(*[Text()] * many)
    await asyncio.gather(*(activities.call(params()) for _ in range(many)))
    assert vendor.connections == many, "and all of them are used again"


def test_each_event_loop_has_its_own_pool(provider: Provider) -> None:
    with Vendor([Text("one"), Text("two"), Text("three")]) as vendor:
        activities = provider.make(vendor)

        async def ask_twice() -> list[str]:
            answers = [await activities.call(params()) for _ in range(2)]
            await activities.aclose()
            return [answer.content for answer in answers]

        async def ask_once() -> str:
            return (await activities.call(params())).content

        assert asyncio.run(ask_twice()) == ["one", "two"]
        assert asyncio.run(ask_once()) == "three"
        assert [asked.connection for asked in vendor.requests] == [0, 0, 1]
        vendor.enqueue(Text("four"))
        assert asyncio.run(ask_once()) == "four"
        assert len(activities._endpoint._connections) == 1, "pools of closed loops are forgotten"


async def test_a_scripted_answer_may_depend_on_the_question(provider: Provider) -> None:
    def echo(asked: Request) -> Text:
        return Text(asked.body["messages"][-1]["content"])

    async with Vendor(echo) as vendor:
        assert (await provider.make(vendor).call(params())).content == "Hi."


def test_built_in_types(provider: Provider) -> None:
    assert type(builtin_activities(provider.name)) is provider.activities
    assert builtin_activities("no-such-type") is None


def test_importing_the_providers_loads_no_sdk() -> None:
    code = (
        "import sys, rojak_ray.providers.openai, rojak_ray.providers.anthropic, rojak_ray.providers.builtin;"
        "print(sorted({'openai', 'anthropic', 'httpx2', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_S)
    assert done.stdout.strip() == "[]"
