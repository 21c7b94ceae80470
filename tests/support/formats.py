"""States compared by what formats 1 and 2 say of them.

What a later format adds is folded from events, so a conversation read from its events has it, and one read from a
snapshot that an older version took does not. Nothing that is missing then is needed to go on.
"""

from __future__ import annotations

from typing import Any

from rojak_ray.core.state import SessionState

_RUN = frozenset({"settled", "called", "finish_reason", "raw_finish_reason"})
_OUTCOME = frozenset({"settled", "input_length", "finish_reason", "raw_finish_reason"})


def as_format_2(state: SessionState) -> dict[str, Any]:
    """The state without what format 3 added to runs and outcomes."""
    data = state.model_dump(mode="json")
    if data["run"] is not None:
        data["run"] = _without(data["run"], _RUN)
    data["outcomes"] = [_without(outcome, _OUTCOME) for outcome in data["outcomes"]]
    return data


def _without(data: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}
