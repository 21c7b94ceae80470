"""The ancestor's import path for what belongs to OpenAI."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rojak_ray.agents.agent import OpenAIAgent as OpenAIAgent

if TYPE_CHECKING:
    from rojak_ray.providers.openai import OpenAIAgentActivities as OpenAIAgentActivities
    from rojak_ray.providers.openai import OpenAIAgentOptions as OpenAIAgentOptions

if not TYPE_CHECKING:  # or type checkers would take any name

    def __getattr__(name: str) -> Any:
        """Load the provider when one of its classes is asked for."""
        if name not in {"OpenAIAgentActivities", "OpenAIAgentOptions"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("rojak_ray.providers.openai"), name)
