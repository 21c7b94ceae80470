"""A step with everything the process that runs it must know: which code serves its functions and its provider."""

from __future__ import annotations

from dataclasses import dataclass, field

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.core.steps import Step


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt of a step, ready to run anywhere."""

    step: Step
    functions: dict[FunctionKey, str] = field(default_factory=dict["FunctionKey", str])
    """Parcel of each function the step needs."""

    provider: str | None = None
    """Parcel of its provider or retriever; None: a built-in one with settings of the node's environment."""


FunctionKey = tuple[str, str | None]


def function_key(ref: FunctionRef) -> FunctionKey:
    """A reference as a dictionary key."""
    return (ref.name, ref.ref)
