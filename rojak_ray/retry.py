"""When to try a failed step again: policies as data, and the pure arithmetic over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rojak_ray.checks import check_list, check_number, shown
from rojak_ray.errors import InvalidSetting

DEFAULT_MAXIMUM_ATTEMPTS = 5
"""Attempts without an explicit policy: four retries over about 15 seconds."""

LONGEST_RETRY_AFTER_S = 300.0
"""Seconds that a server may ask for by Retry-After unless a policy says otherwise."""

LONGEST_WAIT_S = 366 * 86_400.0
"""No wait is longer, whatever a policy says: times behind the calendar's end cannot be kept."""

_MAXIMUM_INTERVAL_FACTOR = 100
_JITTER = 0.25


@dataclass
class RetryPolicy:
    """How often and how patiently a failed step is tried again.

    Example:
        patient = RetryPolicy(initial_interval_in_seconds=2, maximum_attempts=10)
    """

    initial_interval_in_seconds: int | float = 1
    """Wait before the first retry."""

    backoff_coefficient: float = 2.0
    """Each wait is this many times the one before."""

    maximum_interval_in_seconds: int | float | None = None
    """Longest wait; None means 100 times the initial one."""

    maximum_attempts: int = 0
    """Attempts in all, the first included; 0 means no limit."""

    non_retryable_error_types: Sequence[str] | None = None
    """Names of exception classes that are never tried again."""

    maximum_retry_after_in_seconds: int | float = LONGEST_RETRY_AFTER_S
    """Longest wait that a server may ask for (Retry-After). Where it asks for more, its wish is set aside: the next
    attempt comes when this policy says, and counts."""

    def __post_init__(self) -> None:
        """Refuse values that make no schedule."""
        check_retry_policy(self)


@dataclass
class RetryOptions:
    """The time one attempt of a step may take, and what to do when it fails.

    Example:
        options = RetryOptions(timeout_in_seconds=300, retry_policy=RetryPolicy(maximum_attempts=2))
        await rojak.run(agent=OfflineAgent(name="Slow", retry_options=options), messages="Hello!")
    """

    timeout_in_seconds: int | float = 60
    """Seconds one attempt of a model call or function may take."""

    retry_policy: RetryPolicy | None = field(default=None)
    """None: only transient errors are retried, the model's a few times and a retriever's once."""

    def __post_init__(self) -> None:
        """Refuse a time that no call can keep."""
        check_retry_options(self)


def check_retry_options(options: RetryOptions) -> None:
    """Refuse options that no step can follow; they may have been changed since they were made.

    Raises:
        InvalidSetting: The text names the field.
    """
    timeout = _a_number(options.timeout_in_seconds, "timeout_in_seconds")
    if timeout < 1:
        raise InvalidSetting("Timeout cannot be less than one second")
    if not math.isfinite(timeout):
        raise InvalidSetting("Timeout must be a finite number of seconds")
    if options.retry_policy is not None:
        if not isinstance(options.retry_policy, RetryPolicy):
            raise InvalidSetting(f"retry_policy must be a RetryPolicy or None, not {shown(options.retry_policy)}.")
        check_retry_policy(options.retry_policy)


def check_retry_policy(policy: RetryPolicy) -> None:
    """Refuse a policy that makes no schedule (none is made when there is one attempt only).

    Raises:
        InvalidSetting: The text names the field.
    """
    initial = _a_number(policy.initial_interval_in_seconds, "initial_interval_in_seconds")
    coefficient = _a_number(policy.backoff_coefficient, "backoff_coefficient")
    longest = policy.maximum_interval_in_seconds
    longest = _a_number(longest, "maximum_interval_in_seconds") if longest is not None else None
    if not all(math.isfinite(value) for value in (initial, coefficient, longest or 0)):
        raise InvalidSetting("Intervals and the backoff coefficient must be finite numbers")
    _check_error_types(policy.non_retryable_error_types)
    _check_attempts(policy.maximum_attempts)
    retry_after = _a_number(policy.maximum_retry_after_in_seconds, "maximum_retry_after_in_seconds")
    if not 0 <= retry_after <= LONGEST_WAIT_S:
        raise InvalidSetting(f"Maximum Retry-After must be from 0 to {LONGEST_WAIT_S:g} seconds")
    if policy.maximum_attempts == 1:
        return
    if initial < 0:
        raise InvalidSetting("Initial interval cannot be negative")
    if coefficient < 1:
        raise InvalidSetting("Backoff coefficient cannot be less than 1")
    if longest is not None and longest < 0:
        raise InvalidSetting("Maximum interval cannot be negative")
    if longest is not None and longest < initial:
        raise InvalidSetting("Maximum interval cannot be less than initial interval")


def _check_attempts(attempts: object) -> None:
    if isinstance(attempts, int) and not isinstance(attempts, bool) and attempts < 0:
        raise InvalidSetting("Maximum attempts cannot be negative")
    most = 10**15
    check_number(attempts, "maximum_attempts", InvalidSetting, most=most, whole=True, why="0 means no limit.")


def _check_error_types(given: object) -> None:
    if given is None:
        return
    for one in check_list(given, "non_retryable_error_types", InvalidSetting, "names of exception classes"):
        if not isinstance(one, str | type):
            raise InvalidSetting(f'non_retryable_error_types must hold names such as "ValueError", not {shown(one)}.')


def _a_number(value: object, name: str) -> float:
    """A number, as a float, which holds no larger ones than infinity; raises InvalidSetting naming the field."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSetting(f"{name} must be a number, not {shown(value)}.")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


DEFAULT_POLICY = RetryPolicy(maximum_attempts=DEFAULT_MAXIMUM_ATTEMPTS)

RETRIEVAL_POLICY = RetryPolicy(
    initial_interval_in_seconds=0.5, maximum_attempts=2, non_retryable_error_types=["TimeoutError"]
)
"""For retrievers, which a run can do without: one quick retry, none where an attempt has used up its time."""


def delay_before_retry(policy: RetryPolicy, failures: int) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1 for the first)."""
    initial = policy.initial_interval_in_seconds
    if initial == 0:
        return 0.0
    longest = policy.maximum_interval_in_seconds
    if longest is None:
        longest = _MAXIMUM_INTERVAL_FACTOR * max(initial, 1)
    try:
        wait = initial * policy.backoff_coefficient ** (failures - 1)
    except OverflowError:
        wait = longest
    return float(min(wait, longest, LONGEST_WAIT_S))


def wait_before_retry(policy: RetryPolicy, failures: int, asked_s: float | None, spread: float) -> float:
    """Seconds to wait before the next attempt, so that those who failed together do not come back together.

    Args:
        policy: Whose waits are meant.
        failures: Failures in a row so far, at least 1.
        asked_s: The server's Retry-After; None if it sent none. What makes no sense counts as none.
        spread: From 0 to 1: up to a quarter is added by it, within the policy's longest wait.
    """
    longest = policy.maximum_interval_in_seconds
    wait = delay_before_retry(policy, failures)
    if longest is not None:
        wait = min(wait, longest / (1 + _JITTER))
    asked = asked_s if asked_s is not None and 0 <= asked_s <= policy.maximum_retry_after_in_seconds else 0.0
    return min(max(wait, asked) * (1 + _JITTER * spread), LONGEST_WAIT_S)


def may_retry(policy: RetryPolicy, failures: int, error_type: str) -> bool:
    """Whether the policy allows another attempt after `failures` failures, the last of class `error_type`."""
    if policy.non_retryable_error_types and error_type in policy.non_retryable_error_types:
        return False
    return policy.maximum_attempts == 0 or failures < policy.maximum_attempts
