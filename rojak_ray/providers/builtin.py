"""The activities for agent types that need no registration; their settings come from the environment."""

from __future__ import annotations

from rojak_ray.agents.activities import AgentActivities

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
