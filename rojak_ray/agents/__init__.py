"""What a user writes: agents, functions, and who answers for an agent type.

The built-in providers' classes are offered here because users' import paths name this package. They live further
out, in `rojak_ray.providers`, and are loaded when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rojak_ray.agents.activities import AgentActivities as AgentActivities
from rojak_ray.agents.activities import AgentCallParams as AgentCallParams
from rojak_ray.agents.activities import AgentOptions as AgentOptions
from rojak_ray.agents.activities import FunctionSchema as FunctionSchema
from rojak_ray.agents.agent import Agent as Agent
from rojak_ray.agents.agent import AgentInstructionOptions as AgentInstructionOptions
from rojak_ray.agents.agent import AnthropicAgent as AnthropicAgent
from rojak_ray.agents.agent import OfflineAgent as OfflineAgent
from rojak_ray.agents.agent import OpenAIAgent as OpenAIAgent
from rojak_ray.agents.agent import Retriever as Retriever
from rojak_ray.agents.finish import FinishReason as FinishReason
from rojak_ray.agents.function import ToolContext as ToolContext
from rojak_ray.agents.function import function as function
from rojak_ray.agents.results import AgentExecuteFnResult as AgentExecuteFnResult
from rojak_ray.agents.results import AgentResponse as AgentResponse
from rojak_ray.agents.results import AgentToolCall as AgentToolCall
from rojak_ray.agents.results import ToolCallFunction as ToolCallFunction
from rojak_ray.agents.results import WaitForAnswer as WaitForAnswer
from rojak_ray.agents.scheduled import ScheduledRun as ScheduledRun

if TYPE_CHECKING:
    from rojak_ray.providers.anthropic import AnthropicAgentActivities as AnthropicAgentActivities
    from rojak_ray.providers.anthropic import AnthropicAgentOptions as AnthropicAgentOptions
    from rojak_ray.providers.offline import OfflineAgentActivities as OfflineAgentActivities
    from rojak_ray.providers.openai import OpenAIAgentActivities as OpenAIAgentActivities
    from rojak_ray.providers.openai import OpenAIAgentOptions as OpenAIAgentOptions

_PROVIDERS = {
    "AnthropicAgentActivities": "anthropic",
    "AnthropicAgentOptions": "anthropic",
    "OfflineAgentActivities": "offline",
    "OpenAIAgentActivities": "openai",
    "OpenAIAgentOptions": "openai",
}

if not TYPE_CHECKING:  # or type checkers would take any name

    def __getattr__(name: str) -> Any:
        """Load a provider's class when it is asked for."""
        home = _PROVIDERS.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"rojak_ray.providers.{home}"), name)
