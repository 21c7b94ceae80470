"""Which model the demo speaks to: from what a person writes to agents and the provider that answers for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.agent import Agent, AnthropicAgent, OfflineAgent, OpenAIAgent
from rojak_ray.errors import MissingKey
from rojak_ray.retry import RetryOptions, RetryPolicy

Provider = Literal["offline", "openai", "anthropic"]

KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
FORMS = "offline, openai:NAME or anthropic:NAME"

_PATIENCE = RetryOptions(timeout_in_seconds=60, retry_policy=RetryPolicy(maximum_attempts=3))
"""A person is waiting, so a model that cannot be reached is given up early."""


@dataclass(frozen=True)
class ModelChoice:
    """A provider, its model, and where to find it."""

    provider: Provider = "offline"
    name: str = "offline"
    base_url: str | None = None

    @classmethod
    def parse(cls, model: str, base_url: str | None = None) -> ModelChoice:
        """Read `PROVIDER:NAME`.

        Raises:
            ValueError: It has another form, or the address does not belong to it.
        """
        provider, _, name = model.strip().partition(":")
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ValueError(f"The base URL {base_url!r} must begin with http:// or https://.")
        if provider == "offline" and not name:
            if base_url is not None:
                raise ValueError("The offline model has no server; pass --model openai:NAME with --base-url.")
            return cls()
        if provider not in KEYS or not name.strip():
            raise ValueError(f"{model!r} names no model; use {FORMS}.")
        return cls(cast("Provider", provider), name.strip(), base_url)

    @property
    def make_agent(self) -> Callable[..., Agent]:
        """The agent class, with model and limits filled in."""
        kinds: dict[Provider, type[Agent]] = {
            "offline": OfflineAgent,
            "openai": OpenAIAgent,
            "anthropic": AnthropicAgent,
        }
        return partial(kinds[self.provider], model=self.name, retry_options=_PATIENCE)

    def activities(self) -> list[AgentActivities]:
        """The provider with the key and address of this environment; empty if the built-in one does.

        Raises:
            MissingKey: The vendor wants a key and the environment holds none.
            MissingExtra: The vendor's package is not installed.
        """
        if self.provider == "offline":
            return []
        from rojak_ray.providers.recipe import import_sdk

        import_sdk(self.provider)
        if self.provider == "openai":
            from rojak_ray.providers.openai import OpenAIAgentActivities as Activities
        else:
            from rojak_ray.providers.anthropic import AnthropicAgentActivities as Activities
        options = Activities.options_class.from_environment(os.environ)
        if self.base_url is not None:
            # Servers of one's own rarely want a key, but the vendor's client always does.
            options = replace(options, base_url=self.base_url, api_key=options.api_key or "unused")
        elif options.api_key is None:
            variable = KEYS[self.provider]
            raise MissingKey(f"There is no API key: set {variable}, or leave --model away for the offline model.")
        return [Activities(options)]

    def describe(self) -> str:
        """For a person, with the way to another model."""
        if self.provider != "offline":
            where = f" at {self.base_url}" if self.base_url else ""
            return f"Model: {self.provider}:{self.name}{where}."
        found = [provider for provider, variable in KEYS.items() if os.environ.get(variable)]
        hint = "; ".join(f"--model {provider}:NAME uses your {KEYS[provider]}" for provider in found)
        return (
            "Model: offline, a stand-in without key or network that matches words to functions. "
            f"For a real one: {hint or '--model openai:NAME or anthropic:NAME, with the key in the environment'}."
        )
