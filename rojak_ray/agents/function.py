"""`@function`: how a function is run (limits, retries, resources), and what it may ask to know about its call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, overload

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.messages import LEAST_RESULT_BYTES, MOST_RESULT_BYTES, RESULT_BYTES
from rojak_ray.retry import RetryPolicy

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

SETTINGS_ATTRIBUTE = "__rojak_function__"


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """How to run one function. Everything has a default: an undecorated function has these."""

    timeout_s: float | None = None
    """Seconds one attempt may take; None: the agent's `timeout_in_seconds`."""

    retry_policy: RetryPolicy | None = None
    """Retry transient errors (connection, timeout) of this function; None: the agent's explicit policy, if any."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    """Bytes of heap the task asks the cluster for."""

    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    runtime_env: Mapping[str, Any] | None = None
    at_most_once: bool = False
    """Never run again after an interruption: the model is told that the call was interrupted."""

    max_result_bytes: int = RESULT_BYTES
    """Bytes of its result that the model is given; of a longer one the beginning and the end, and how long it was."""


@dataclass(frozen=True)
class ToolContext:
    """What a function can know about the call it serves: annotate a parameter with this class to get it.

    Functions that write instructions get it, too; they serve no call, so that `tool_call_id` is empty.
    """

    run_id: str
    session_id: str | None
    """None for a run outside any session."""

    agent_name: str
    tool_call_id: str
    """The vendor's id of the call; some repeat theirs."""

    idempotency_key: str
    """The same for every attempt of this call and of no other; pass it on to services that deduplicate."""

    attempt: int = 1
    """Grows with each retry, and when a lost process makes the call run again."""

    context_variables: dict[str, Any] = field(default_factory=dict[str, Any])
    call_id: str = ""
    """Ours, unique for as long as the conversation lives: what `Session.answer` takes if the function waits."""
    schedule: ScheduledRun | None = None
    """What a run that a schedule started can know about it; None for any other."""


@overload
def function(fn: AnyFunction, /) -> AnyFunction: ...


@overload
def function(
    *,
    timeout: float | timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    resources: Mapping[str, float] | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    at_most_once: bool = False,
    max_result_bytes: int = RESULT_BYTES,
) -> Callable[[AnyFunction], AnyFunction]: ...


def function(
    fn: Any = None,
    /,
    *,
    timeout: float | timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    resources: Mapping[str, float] | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    at_most_once: bool = False,
    max_result_bytes: int = RESULT_BYTES,
) -> Any:
    """Say how a function is to be run. The function itself stays an ordinary, callable function.

    Args:
        fn: The function, when used without parentheses.
        timeout: Seconds (or a timedelta) one attempt may take.
        retry_policy: Retries of this function's transient errors.
        num_cpus: CPUs the Ray task of a synchronous function reserves; Ray's own default is 1.
        num_gpus: GPUs it reserves.
        memory: Bytes of memory it reserves.
        resources: Custom resources it reserves.
        runtime_env: Ray runtime environment of its task.
        at_most_once: Report an interrupted call instead of running it again.
        max_result_bytes: Bytes of the result's text that the model is given and the conversation keeps. Of a longer
            one it gets the beginning, the end and the size. From 1 KiB to 4 MiB: what is larger belongs into a place of
            your own, with its name as the result.

    Raises:
        ValueError: `timeout` is not positive, or `max_result_bytes` not within its bounds.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and seconds <= 0:
        raise ValueError(f"A function's timeout must be positive, not {seconds}.")
    if not LEAST_RESULT_BYTES <= max_result_bytes <= MOST_RESULT_BYTES:
        raise ValueError(
            f"A function's max_result_bytes must be from {LEAST_RESULT_BYTES:,} to {MOST_RESULT_BYTES:,}, not "
            f"{max_result_bytes!r}. Keep larger results in a file or bucket of your own and return their place."
        )
    settings = FunctionSettings(
        timeout_s=seconds,
        retry_policy=retry_policy,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=memory,
        resources=dict(resources or {}),
        runtime_env=dict(runtime_env) if runtime_env is not None else None,
        at_most_once=at_most_once,
        max_result_bytes=max_result_bytes,
    )

    def decorate(target: AnyFunction) -> AnyFunction:
        setattr(target, SETTINGS_ATTRIBUTE, settings)
        return target

    return decorate if fn is None else decorate(fn)


def settings_of(fn: Callable[..., Any]) -> FunctionSettings:
    """The settings `@function` left on `fn`, or the defaults."""
    found = getattr(fn, SETTINGS_ATTRIBUTE, None)
    return found if isinstance(found, FunctionSettings) else FunctionSettings()
