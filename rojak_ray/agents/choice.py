"""A forced choice of function is for once: it is released after a function ran, or the model could never answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_FREE_WORDS = ("auto", "none")
_FORCING_TYPES = ("any", "required", "tool", "function", "custom")


def released(choice: Any) -> Any:
    """The choice with which the model may answer in text: None (say nothing) where a function was forced.

    Args:
        choice: "auto", "none" and their vendor forms stay as they are. "required", "any", a function's name, and the
            vendors' objects that force a function are released; what else stands in such an object is kept.
    """
    if choice is None or choice in _FREE_WORDS:
        return choice
    if isinstance(choice, str):
        return None
    if not isinstance(choice, Mapping):
        return choice
    given = cast("Mapping[str, Any]", choice)
    if given.get("type") == "allowed_tools":
        return _with_auto_mode(given)
    if given.get("type") in _FORCING_TYPES:
        parallel = given.get("disable_parallel_tool_use")
        return {"type": "auto", "disable_parallel_tool_use": parallel} if parallel is not None else None
    return choice


def _with_auto_mode(choice: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's choice among some functions, which may force one of them: its mode stands beside the list or in it."""
    inner = choice.get("allowed_tools")
    if isinstance(inner, Mapping):
        return {**choice, "allowed_tools": {**cast("Mapping[str, Any]", inner), "mode": "auto"}}
    return {**choice, "mode": "auto"}
