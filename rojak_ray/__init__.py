"""Durable multi-agent orchestration on Ray.

What is listed in `__all__` is stable; everything else may change in any release. Importing this package loads neither
Ray nor a provider's SDK: names are resolved when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rojak_ray.agents.activities import AgentActivities, AgentCallParams
    from rojak_ray.agents.agent import Agent, AgentInstructionOptions, AnthropicAgent, OfflineAgent, OpenAIAgent
    from rojak_ray.agents.function import ToolContext, function
    from rojak_ray.agents.results import AgentExecuteFnResult, AgentResponse, WaitForAnswer
    from rojak_ray.agents.scheduled import ScheduledRun
    from rojak_ray.errors import RojakError
    from rojak_ray.messages import ConversationMessage, FilePart, ImagePart, TextPart, VendorState
    from rojak_ray.retry import RetryOptions, RetryPolicy
    from rojak_ray.runtime.client import Rojak
    from rojak_ray.schedules.handle import ScheduleHandle
    from rojak_ray.schedules.spec import (
        ScheduleBackfill,
        ScheduleCalendarSpec,
        ScheduleIntervalSpec,
        ScheduleOverlapPolicy,
        SchedulePolicy,
        ScheduleRange,
        ScheduleSpec,
        ScheduleState,
    )
    from rojak_ray.schedules.types import (
        Schedule,
        ScheduleActionStartRun,
        ScheduleDescription,
        ScheduleUpdate,
        ScheduleUpdateInput,
    )
    from rojak_ray.sessions.events import (
        AgentEvent,
        ContextChangeEvent,
        FunctionCallEvent,
        FunctionResultEvent,
        HandoffEvent,
        MessageEvent,
        RetrievalEvent,
        RetryEvent,
        RunEndedEvent,
        RunStartedEvent,
        SessionEvent,
        TextDeltaEvent,
        WaitingEvent,
    )
    from rojak_ray.sessions.handles import RunHandle, Session, Worker
    from rojak_ray.sessions.pool_settings import PoolSettings
    from rojak_ray.sessions.types import OrchestratorResponse, UpdateConfigParams

__version__ = "0.1.0"

_HOMES = {
    "Agent": "agents.agent",
    "AgentActivities": "agents.activities",
    "AgentCallParams": "agents.activities",
    "AgentEvent": "sessions.events",
    "AgentExecuteFnResult": "agents.results",
    "AgentInstructionOptions": "agents.agent",
    "AgentResponse": "agents.results",
    "AnthropicAgent": "agents.agent",
    "ContextChangeEvent": "sessions.events",
    "ConversationMessage": "messages",
    "FilePart": "messages",
    "FunctionCallEvent": "sessions.events",
    "FunctionResultEvent": "sessions.events",
    "HandoffEvent": "sessions.events",
    "ImagePart": "messages",
    "MessageEvent": "sessions.events",
    "OfflineAgent": "agents.agent",
    "OpenAIAgent": "agents.agent",
    "OrchestratorResponse": "sessions.types",
    "PoolSettings": "sessions.pool_settings",
    "RetrievalEvent": "sessions.events",
    "RetryEvent": "sessions.events",
    "RetryOptions": "retry",
    "RetryPolicy": "retry",
    "Rojak": "runtime.client",
    "RojakError": "errors",
    "RunEndedEvent": "sessions.events",
    "RunHandle": "sessions.handles",
    "Schedule": "schedules.types",
    "ScheduleActionStartRun": "schedules.types",
    "ScheduleBackfill": "schedules.spec",
    "ScheduleCalendarSpec": "schedules.spec",
    "ScheduleDescription": "schedules.types",
    "ScheduleHandle": "schedules.handle",
    "ScheduleIntervalSpec": "schedules.spec",
    "ScheduleOverlapPolicy": "schedules.spec",
    "SchedulePolicy": "schedules.spec",
    "ScheduleRange": "schedules.spec",
    "ScheduleSpec": "schedules.spec",
    "ScheduleState": "schedules.spec",
    "ScheduleUpdate": "schedules.types",
    "ScheduleUpdateInput": "schedules.types",
    "ScheduledRun": "agents.scheduled",
    "RunStartedEvent": "sessions.events",
    "Session": "sessions.handles",
    "SessionEvent": "sessions.events",
    "TextDeltaEvent": "sessions.events",
    "TextPart": "messages",
    "ToolContext": "agents.function",
    "UpdateConfigParams": "sessions.types",
    "VendorState": "messages",
    "WaitForAnswer": "agents.results",
    "WaitingEvent": "sessions.events",
    "Worker": "sessions.handles",
    "function": "agents.function",
}

__all__ = [
    "Agent",
    "AgentActivities",
    "AgentCallParams",
    "AgentEvent",
    "AgentExecuteFnResult",
    "AgentInstructionOptions",
    "AgentResponse",
    "AnthropicAgent",
    "ContextChangeEvent",
    "ConversationMessage",
    "FilePart",
    "FunctionCallEvent",
    "FunctionResultEvent",
    "HandoffEvent",
    "ImagePart",
    "MessageEvent",
    "OfflineAgent",
    "OpenAIAgent",
    "OrchestratorResponse",
    "PoolSettings",
    "RetrievalEvent",
    "RetryEvent",
    "RetryOptions",
    "RetryPolicy",
    "Rojak",
    "RojakError",
    "RunEndedEvent",
    "RunHandle",
    "Schedule",
    "ScheduleActionStartRun",
    "ScheduleBackfill",
    "ScheduleCalendarSpec",
    "ScheduleDescription",
    "ScheduleHandle",
    "ScheduleIntervalSpec",
    "ScheduleOverlapPolicy",
    "SchedulePolicy",
    "ScheduleRange",
    "ScheduleSpec",
    "ScheduleState",
    "ScheduleUpdate",
    "ScheduleUpdateInput",
    "ScheduledRun",
    "RunStartedEvent",
    "Session",
    "SessionEvent",
    "TextDeltaEvent",
    "TextPart",
    "ToolContext",
    "UpdateConfigParams",
    "VendorState",
    "WaitForAnswer",
    "WaitingEvent",
    "Worker",
    "function",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home; errors and their classes are all in `rojak_ray.errors`."""
    home = _HOMES.get(name)
    if home is not None:
        return getattr(importlib.import_module(f"rojak_ray.{home}"), name)
    errors = importlib.import_module("rojak_ray.errors")
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, errors.RojakError):
        return found
    raise AttributeError(f"module 'rojak_ray' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The stable names."""
    return sorted(__all__)
