"""Options and clients on their way to another process, and what people see of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anthropic
import openai
import pytest
from support.vendor import Hold, Text, Vendor

from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.errors import ConfigError
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.anthropic import AnthropicAgentActivities, AnthropicAgentOptions
from rojak_ray.providers.openai import OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.providers.recipe import ClientRecipe, recipe_of

SECRET = "aws-secret-0123456789"


def helper() -> str:
    return ""


def travelled(value: Any) -> Any:
    from ray import cloudpickle

    return cloudpickle.loads(cloudpickle.dumps(value))


def question(**given: Any) -> AgentCallParams:
    return AgentCallParams(messages=[ConversationMessage("user", "Hi.")], model="m.1:0", timeout_s=10.0, **given)


def test_repr() -> None:
    options = OpenAIAgentOptions(
        api_key="sk-secret",
        base_url="http://me:sk-secret@host/v1",
        inference_config={"extra_headers": {"authorization": "sk-secret"}},
        all_functions=[helper],
    )
    assert repr(options) == (
        "OpenAIAgentOptions(api_key='***', client=None, base_url='http://***@host/v1', "
        "inference_config=['extra_headers'], all_functions=['helper'])"
    )


def test_environment_fills_what_is_open() -> None:
    environ = {"OPENAI_API_KEY": " from-env\n", "OPENAI_BASE_URL": "http://env/v1"}
    found = OpenAIAgentOptions.from_environment(environ)
    assert (found.api_key, found.base_url) == ("from-env", "http://env/v1")
    own = OpenAIAgentOptions(api_key="own", all_functions=[helper]).completed(environ)
    assert (own.api_key, own.base_url, own.all_functions) == ("own", "http://env/v1", [helper])
    assert OpenAIAgentOptions.from_environment({"OPENAI_API_KEY": ""}).api_key is None
    with_client = OpenAIAgentOptions(client=object())
    assert with_client.completed(environ) is with_client


def test_activities_of_the_environment() -> None:
    environ = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://x"}
    found = AnthropicAgentActivities.from_environment(environ)
    assert found is not None
    assert vars(found.options)["api_key"] == "k"
    assert OpenAIAgentActivities.from_environment(environ) is None


def test_options_of_another_provider() -> None:
    with pytest.raises(TypeError, match="OpenAIAgentOptions"):
        OpenAIAgentActivities(AnthropicAgentOptions(api_key="sk-secret"))


async def test_connections_of_a_burst_are_closed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rojak_ray.providers.connection._KEEPALIVE_S", 0.2)
    many = 200
    async with Vendor([Hold()] * many) as vendor:
        activities = OpenAIAgentActivities(OpenAIAgentOptions(api_key="key", base_url=vendor.openai_url))
        burst = [asyncio.create_task(activities.call(question())) for _ in range(many)]
        await vendor.arrived(many)
        assert vendor.open_connections == many
        vendor.release()
        await asyncio.gather(*burst)
        await vendor.closed_down_to(0)
        await activities.aclose()


def test_options_without_a_client_travel_whole() -> None:
    options = AnthropicAgentOptions(api_key="k", inference_config={"a": 1}, all_functions=[helper])
    copy = travelled(options)
    assert vars(copy) == vars(options)


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_an_openai_client_as_settings(kind: Any) -> None:
    client = kind(api_key="k", base_url="http://x/v1", organization="o", project="p", timeout=3, default_query={"a": 1})
    recipe = travelled(OpenAIAgentOptions(client=client)).client
    assert isinstance(recipe, ClientRecipe)
    assert repr(recipe) == "ClientRecipe(openai.AsyncOpenAI)"
    made = recipe.build()
    assert isinstance(made, openai.AsyncOpenAI)
    assert (made.api_key, str(made.base_url), made.organization, made.project) == ("k", "http://x/v1/", "o", "p")
    assert (made.timeout, dict(made.default_query)) == (3, {"a": 1})


def test_a_key_that_is_a_function_travels() -> None:
    async def key() -> str:
        return "k"

    made = travelled(recipe_of(openai.AsyncOpenAI(api_key=key))).build()
    assert made._api_key_provider is not None


async def test_azure() -> None:
    async with Vendor([Text(), Text()]) as vendor:
        client = openai.AzureOpenAI(api_key="azure-key", azure_endpoint=vendor.url, api_version="2024-10-21")
        token = openai.AsyncAzureOpenAI(azure_ad_token="token", azure_endpoint=vendor.url, api_version="2024-10-21")
        for given in (client, token):
            activities = travelled(OpenAIAgentActivities(OpenAIAgentOptions(client=given)))
            await activities.call(question())
            await activities.aclose()
    first, second = vendor.requests
    assert first.path == second.path == "/openai/deployments/m.1:0/chat/completions"
    assert first.headers["api-key"] == "azure-key"
    assert second.headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize("kind", [anthropic.AnthropicBedrock, anthropic.AsyncAnthropicBedrock])
@pytest.mark.parametrize("shipped", [False, True])
async def test_bedrock(kind: Any, shipped: bool) -> None:
    async with Vendor([Text("from the rock")]) as vendor:
        client = kind(
            aws_region="eu-west-1", aws_access_key="AKIA0123456789", aws_secret_key=SECRET, base_url=vendor.url
        )
        activities = AnthropicAgentActivities(AnthropicAgentOptions(client=client))
        activities = travelled(activities) if shipped else activities
        assert SECRET not in f"{activities!r} {vars(activities)} {vars(activities.options)}"
        response = await activities.call(question(idempotency_key="k1"))
        await activities.aclose()
    assert response.content == "from the rock"
    [asked] = vendor.requests
    assert asked.path == "/model/m.1:0/invoke"
    assert "/eu-west-1/bedrock/" in asked.headers["Authorization"]


def test_clients_that_cannot_travel() -> None:
    class Mine(openai.AsyncOpenAI):
        pass

    for client in (Mine(api_key="k"), object()):
        with pytest.raises(ConfigError, match="another process"):
            travelled(OpenAIAgentOptions(client=client))


async def test_sampling_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Vendor([Text()] * 4) as vendor:
        options = AnthropicAgentOptions(
            api_key="key", base_url=vendor.url, inference_config={"temperature": 0.0, "max_tokens": 5}
        )
        activities = AnthropicAgentActivities(options)
        with caplog.at_level(logging.WARNING):
            await activities.call(question())
            await activities.call(question(inference_config={"top_p": 0.5}))
            await activities.call(question(inference_config={"temperature": None}))
        await activities.aclose()
    warned = [record.getMessage() for record in caplog.records if record.name.startswith("rojak_ray")]
    assert ["'temperature'" in text or "'top_p'" in text for text in warned] == [True, True]
    assert not any({"temperature", "top_p"} & set(asked.body) for asked in vendor.requests)
