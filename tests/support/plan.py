"""A model that does what the message says: the last user message is a JSON plan of turns.

Each turn is a list of calls `[name, arguments]`, or a text to answer with, or `{"say": text, "state": anything}`: an
answer with something that must come back with it; with `"paused": true` it is not the end of the answer.

It keeps nothing, so it can be asked again after any crash and gives the same answer.
"""

from __future__ import annotations

import json
from typing import Any

from rojak_ray.agents import Agent, AgentActivities, AgentCallParams, AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.errors import ModelUnavailable
from rojak_ray.messages import VendorState


class PlanAgent(Agent):
    """An agent whose model follows the plan in the message."""

    type: str = "plan"
    model: str = "plan-1"


class PlanActivities(AgentActivities):
    """Answers from the plan. A turn that is a number fails that way: an HTTP status."""

    type = "plan"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        last = max(index for index, message in enumerate(params.messages) if message.role == "user")
        turns = json.loads(params.messages[last].text or "[]")
        after = params.messages[last + 1 :]
        number = sum(message.role == "assistant" for message in after)
        if number >= len(turns):
            results = [message.content for message in after if message.role == "tool"]
            return AgentResponse(type="text", content=" | ".join(str(result) for result in results))
        turn = turns[number]
        if isinstance(turn, int):
            raise ModelUnavailable(f"status {turn}", status=turn)
        if isinstance(turn, str):
            return AgentResponse(type="text", content=turn)
        if isinstance(turn, dict):
            state = VendorState(vendor="plan", model=params.model, state=turn.get("state"))
            return AgentResponse(content=turn["say"], vendor=state, paused=turn.get("paused", False))
        calls = [
            AgentToolCall(id=f"call-{number}-{index}", function=ToolCallFunction(name, json.dumps(arguments)))
            for index, (name, arguments) in enumerate(turn)
        ]
        return AgentResponse(type="tool", tool_calls=calls)


def plan(*turns: Any) -> str:
    """A message that makes the model take these turns."""
    return json.dumps(turns)
