"""What the model is told of calls of one answer that handed over to several agents: only the last one is obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.state import CallState
from rojak_ray.messages import Content, TextPart


def told_outputs(calls: Sequence[CallState], agents: Mapping[str, AgentSpec]) -> list[Content]:
    """The output of each call, in the model's order; what a later call made untrue is put right.

    Args:
        calls: All of one answer, with results.
        agents: By the keys the calls name them with.
    """
    names = [agents[call.agent].name if call.agent else None for call in calls]
    obeyed = next((name for name in reversed(names) if name is not None), None)
    return [
        call.output or "" if name in (None, obeyed) else _put_right(call.output or "", name or "", obeyed or "")
        for call, name in zip(calls, names, strict=True)
    ]


def _put_right(output: Content, name: str, obeyed: str) -> Content:
    truth = f"Not transferred to '{name}': a later call of the same answer transferred to '{obeyed}'"
    if not isinstance(output, str):
        return (*output, TextPart(text=truth))
    return truth if output == f"Transferred to '{name}'" else f"{output}\n{truth}"
