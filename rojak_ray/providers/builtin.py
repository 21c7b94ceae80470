"""The activities for agent types that need no registration; their settings come from the environment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.errors import MissingExtra
from rojak_ray.providers.recipe import import_sdk

BUILTIN_TYPES = frozenset({"openai", "anthropic", "offline"})


def builtin_activities(type: str) -> AgentActivities | None:
    """Fresh activities for a built-in agent type (only that provider is loaded), or None if it is not built in."""
    match type:
        case "openai":
            from rojak_ray.providers.openai import OpenAIAgentActivities

            return OpenAIAgentActivities()
        case "anthropic":
            from rojak_ray.providers.anthropic import AnthropicAgentActivities

            return AnthropicAgentActivities()
        case "offline":
            from rojak_ray.providers.offline import OfflineAgentActivities

            return OfflineAgentActivities()
        case _:
            return None


def preload_sdks(environ: Mapping[str, str]) -> None:
    """Import the SDKs whose keys are in the environment: it takes half a second, which the first run need not wait."""
    for package, key in (("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")):
        if environ.get(key):
            with contextlib.suppress(MissingExtra):  # said to whoever needs it
                import_sdk(package)
