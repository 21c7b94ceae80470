"""Secrets in data that users give are found by the names of its fields, and nothing harmless is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from rojak_ray.agents.secret_fields import agents_to_show
from rojak_ray.redaction import first_secret, without_secrets

SECRET: list[Any] = [
    {"extra_headers": {"Authorization": "s"}},
    {"extra_headers": {"X-Team-Thing": "s"}},
    {"extra_headers": [["Authorization", "s"]]},
    {"extra_headers": "Authorization: s"},
    {"extra_query": {"key": "s"}},
    {"default_headers": {"api-key": "s"}},
    {"extra_body": {"extra_headers": {"x-api-key": "s"}}},
    {"extra_body": {"api_key": "s"}},
    {"api_key": "s"},
    {"mcp_servers": [{"type": "url", "url": "https://x", "authorization_token": "s"}]},
    {"mcp_servers": [{"type": "url", "url": "https://me:s@x"}]},
    {"tools": [{"type": "mcp", "server_url": "https://x", "headers": {"Authorization": "s"}}]},
    {"tools": [{"type": "mcp", "headers": [{"name": "X-Mine", "value": "s"}]}]},
    {"extra_body": {"data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": "s"}}}]}},
    {"data_sources": [{"parameters": {"authentication": {"type": "connection_string", "connection_string": "s"}}}]},
]

HARMLESS: list[Any] = [
    None,
    {},
    {"temperature": 0.5, "max_tokens": 10, "stop": ["token"], "user": "me", "metadata": {"user_id": "u"}},
    {"extra_headers": {"anthropic-beta": "files", "X-Title": "mine", "Authorization": None}},
    {"extra_query": {"api-version": "2024-02-01"}},
    {"extra_headers": None, "extra_query": {}},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"password": "x"}}}}},
    {"tools": [{"function": {"parameters": {"type": "object", "properties": {"headers": {"type": "object"}}}}}]},
    {"tools": [{"name": "sign_in", "input_schema": {"properties": {"api_key": {"const": "x"}}}}]},
    {"logit_bias": {"50256": -100}, "prompt_cache_key": "team-1", "safety_identifier": "u"},
    {"data_sources": [{"parameters": {"authentication": {"type": "system_assigned_managed_identity"}}}]},
]


@pytest.mark.parametrize("data", SECRET, ids=str)
def test_secrets_are_found_and_hidden(data: Any) -> None:
    assert first_secret(data) is not None
    shown = without_secrets(data)
    assert "'s'" not in str(shown)
    assert ":s@" not in str(shown)
    assert ": s'" not in str(shown)
    assert shown.keys() == data.keys()


@pytest.mark.parametrize("data", HARMLESS, ids=str)
def test_harmless_data_stays(data: Any) -> None:
    assert first_secret(data) is None
    assert without_secrets(data) is data


def test_agents_of_older_versions_are_shown_without_their_secrets() -> None:
    agent = {
        "model": "m",
        "name": "A",
        "inference_config": {"temperature": 1, "extra_headers": {"X-Key": "s-123456"}},
        "extra": {"api_key": "s-123456"},
        "retriever": {"type": "x", "settings": {"url": "https://me:s-123456@host"}},
    }
    shown = agents_to_show({"agents": {"d": agent}, "context_variables": {"password": "the user's own"}})
    assert "s-123456" not in str(shown)
    assert shown["agents"]["d"]["inference_config"]["temperature"] == 1
    assert shown["context_variables"] == {"password": "the user's own"}
