"""`@function`: how a function is run (limits, retries, resources), and what it may ask to know about its call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, overload

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.checks import check_flag, check_kind, check_mapping, check_number, reason_of, shown
from rojak_ray.errors import InvalidSetting, RojakError
from rojak_ray.messages import LEAST_RESULT_BYTES, MOST_RESULT_BYTES, RESULT_BYTES
from rojak_ray.retry import LONGEST_WAIT_S, RetryPolicy

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

SETTINGS_ATTRIBUTE = "__rojak_function__"
_MOST_OF_ANYTHING = 10**15
"""Of CPUs, bytes or whatever else a task reserves."""


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

    keep_result: bool = False
    """Of a longer one the whole is stored beside the conversation: `Session.whole_result`."""


@dataclass(frozen=True)
class ToolContext:
    """What a function can know about the call it serves: annotate a parameter with this class to get it.

    Functions that write instructions get it, too; they serve no call, so that `tool_call_id` is empty.

    Example:
        def charge(amount: float, call: ToolContext) -> str:
            '''Charge an amount to the card.'''
            return f"charged {amount} under {call.idempotency_key}"  # the same key if a lost process makes it run again

        await rojak.run(agent=OfflineAgent(functions=[charge]), messages="Charge an amount of 12.5.")
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
    keep_result: bool = False,
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
    keep_result: bool = False,
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
            one it gets the beginning, the end and the size. From 1 KiB to 4 MiB.
        keep_result: Store the whole of a longer one, up to 256 MiB, beside the conversation, until that is deleted:
            `Session.whole_result` and `RunHandle.whole_result` give it back. The process that ran the function writes
            it, so it needs the credentials of the storage.

    Raises:
        InvalidSetting (a ValueError): A setting is of another kind or not within its bounds, or what it is said of is
            no function, or one that takes no notes.

    Example:
        @function(timeout=10, retry_policy=RetryPolicy(maximum_attempts=3))
        async def exchange_rate(currency: str) -> float:
            '''Look up the exchange rate of a currency.'''
            return 0.77

        await rojak.run(agent=OfflineAgent(functions=[exchange_rate]), messages="What is the exchange rate of USD?")
    """
    if retry_policy is not None:
        check_kind(retry_policy, "retry_policy of a function", InvalidSetting, RetryPolicy)
    settings = FunctionSettings(
        timeout_s=_seconds(timeout),
        retry_policy=retry_policy,
        num_cpus=_amount(num_cpus, "num_cpus"),
        num_gpus=_amount(num_gpus, "num_gpus"),
        memory=_amount(memory, "memory"),
        resources=_resources(resources),
        runtime_env=_mapping(runtime_env, "runtime_env") if runtime_env is not None else None,
        at_most_once=check_flag(at_most_once, "at_most_once of a function", InvalidSetting),
        max_result_bytes=result_bytes(max_result_bytes, "A function", InvalidSetting),
        keep_result=check_flag(keep_result, "keep_result of a function", InvalidSetting),
    )

    def decorate(target: AnyFunction) -> AnyFunction:
        if not callable(target):
            raise InvalidSetting(f"@function is for functions, not for {shown(target)}.")
        try:
            setattr(target, SETTINGS_ATTRIBUTE, settings)
        except Exception as error:
            raise InvalidSetting(
                f"@function cannot note its settings on {shown(target)} ({reason_of(error)}). Write a function with "
                "def that calls it, and decorate that."
            ) from error
        return target

    return decorate if fn is None else decorate(fn)


def _seconds(timeout: object) -> float | None:
    seconds: Any = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is None:
        return None
    name = "timeout of a function"
    if check_number(seconds, name, InvalidSetting, most=LONGEST_WAIT_S, why="It is seconds, or a timedelta.") == 0:
        raise InvalidSetting(f"{name} must be positive, not {seconds}.")
    return seconds


def result_bytes(given: object, whose: str, error: type[RojakError]) -> int:
    """A bound of results; raises `error` for what is none."""
    if not isinstance(given, int) or isinstance(given, bool) or not LEAST_RESULT_BYTES <= given <= MOST_RESULT_BYTES:
        raise error(
            f"{whose}'s max_result_bytes must be from {LEAST_RESULT_BYTES:,} to {MOST_RESULT_BYTES:,}, not "
            f"{shown(given)}. The whole of larger results is stored with @function(keep_result=True)."
        )
    return given


def _amount(given: object, name: str) -> float | None:
    if given is None:
        return None
    return check_number(given, f"{name} of a function", InvalidSetting, most=_MOST_OF_ANYTHING)


def _resources(given: object) -> dict[str, float]:
    pairs = _mapping(given, "resources") if given is not None else {}
    return {name: _amount(amount, f"resources[{name!r}]") or 0.0 for name, amount in pairs.items()}


def _mapping(given: object, name: str) -> dict[str, Any]:
    return check_mapping(given, f"{name} of a function", InvalidSetting)


def settings_of(fn: Callable[..., Any]) -> FunctionSettings:
    """The settings `@function` left on `fn`, or the defaults."""
    found = getattr(fn, SETTINGS_ATTRIBUTE, None)
    return found if isinstance(found, FunctionSettings) else FunctionSettings()
