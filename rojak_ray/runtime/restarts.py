"""Whether this actor's process is its first one."""

from __future__ import annotations

import warnings

import ray


def was_started_again() -> bool:
    """Whether an earlier process of this actor was lost. Ray asks the head for it, so not on a loop that others use."""
    # Ray's answer uses a property of its own that it has given up, and would say so on the user's terminal.
    warnings.filterwarnings("ignore", message="This API is deprecated", module=r"ray\.runtime_context")
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)
