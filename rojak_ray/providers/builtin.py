"""The activities for agent types that need no registration; their settings come from the environment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.errors import MissingExtra
from rojak_ray.providers.recipe import import_sdk
from rojak_ray.providers.vendor_activities import VendorActivities

BUILTIN_TYPES = frozenset({"openai", "anthropic", "offline"})


def builtin_activities(type: str) -> AgentActivities | None:
    """Fresh activities for a built-in agent type (only that provider is loaded), or None if it is not built in."""
    if type == "offline":
        from rojak_ray.providers.offline import OfflineAgentActivities

        return OfflineAgentActivities()
    vendor = vendor_class(type)
    return vendor() if vendor is not None else None


def preload_sdks(environ: Mapping[str, str]) -> None:
    """Import the SDKs whose keys are in the environment: it takes half a second, which the first run need not wait."""
    for type in sorted(BUILTIN_TYPES):
        vendor = vendor_class(type)
        if vendor is not None and vendor.from_environment(environ) is not None:
            with contextlib.suppress(MissingExtra):  # said to whoever needs it
                import_sdk(vendor.vendor.package)


def vendor_class(agent_type: str) -> type[VendorActivities] | None:
    """The activities of a vendor, loaded now; None if the type is not a vendor's."""
    match agent_type:
        case "openai":
            from rojak_ray.providers.openai import OpenAIAgentActivities

            return OpenAIAgentActivities
        case "anthropic":
            from rojak_ray.providers.anthropic import AnthropicAgentActivities

            return AnthropicAgentActivities
        case _:
            return None
