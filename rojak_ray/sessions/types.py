"""What callers pass to and get from a client: the ancestor's request and response types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rojak_ray.agents.agent import Agent
from rojak_ray.core.events import DEFAULT_MODEL_CALLS
from rojak_ray.messages import ContextVariables, ConversationMessage, MessageInput, Usage


@dataclass
class OrchestratorResponse:
    """A run's answer.

    Example:
        response = await rojak.run(agent=agent, messages="Book a table for 4 guests.")
        assert [message.role for message in response.messages] == ["user", "assistant", "tool", "assistant"]
        assert (response.agent.name, response.finish_reason) == ("Host", "stop")
    """

    messages: list[ConversationMessage]
    """The input and what the run appended."""

    agent: Agent | None
    """Who would answer next: the last agent, after handoffs."""

    context_variables: ContextVariables = field(default_factory=dict[str, Any])
    id: str = ""
    status: str = "completed"
    usage: Usage = field(default_factory=Usage)
    output: str = ""
    """Text of the last answer; empty if there was none, or it had none."""

    finish_reason: str | None = None
    """Why it ended, one of `rojak_ray.agents.FinishReason`. "stop": the answer is whole. "length", "content_filter",
    "refusal": it was cut, withheld or refused. "max_turns": that bound came first. None: an old record does not say."""

    raw_finish_reason: str | None = None
    """The vendor's word for how the last answer ended."""


@dataclass
class SendMessagesParams:
    """What `Session.send_messages` takes."""

    messages: MessageInput
    agent: Agent | None = None


@dataclass
class UpdateConfigParams:
    """Session settings to change; None leaves one as it is. `float("inf")` lifts a limit.

    Example:
        await session.update_config(UpdateConfigParams(messages=[], history_size=float("inf")))
    """

    messages: MessageInput | None = None
    """Replaces the history; an empty list clears it."""

    context_variables: ContextVariables | None = None
    """Replaces all of them."""

    max_turns: int | float | None = None
    history_size: int | float | None = None
    debug: bool | None = None
    max_model_calls: int | float | None = None


@dataclass
class GetConfigResponse:
    """A session's settings and history."""

    messages: list[ConversationMessage]
    context_variables: ContextVariables
    max_turns: int | float
    history_size: int | float
    debug: bool
    max_model_calls: int | float = DEFAULT_MODEL_CALLS


@dataclass
class OrchestratorBaseParams:
    """What a conversation is made with."""

    agent: Agent
    context_variables: ContextVariables = field(default_factory=dict[str, Any])
    max_turns: int | float = float("inf")
    messages: list[ConversationMessage] = field(default_factory=list[ConversationMessage])
    debug: bool = False


@dataclass
class OrchestratorParams(OrchestratorBaseParams):
    """What a session is made with."""

    history_size: int | float = 10


@dataclass
class ShortOrchestratorParams(OrchestratorBaseParams):
    """What a run is made with."""
