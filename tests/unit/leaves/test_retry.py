"""Retry policies: what is refused, and the arithmetic of waits."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.retry import (
    DEFAULT_POLICY,
    LONGEST_WAIT_S,
    RetryOptions,
    RetryPolicy,
    delay_before_retry,
    may_retry,
    wait_before_retry,
)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"initial_interval_in_seconds": -1}, "Initial interval cannot be negative"),
        ({"backoff_coefficient": 0.5}, "Backoff coefficient cannot be less than 1"),
        ({"maximum_interval_in_seconds": -1}, "Maximum interval cannot be negative"),
        (
            {"initial_interval_in_seconds": 5, "maximum_interval_in_seconds": 4},
            "Maximum interval cannot be less than initial interval",
        ),
        ({"maximum_attempts": -1}, "Maximum attempts cannot be negative"),
    ],
)
def test_policy_that_makes_no_schedule_is_refused(fields, text):
    with pytest.raises(ValueError) as refused:
        RetryPolicy(**fields)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    "fields",
    [
        {"initial_interval_in_seconds": -1},
        {"backoff_coefficient": 0},
        {"maximum_interval_in_seconds": -1},
        {"initial_interval_in_seconds": 5, "maximum_interval_in_seconds": 4},
    ],
)
def test_policy_of_one_attempt_is_not_checked(fields):
    RetryPolicy(maximum_attempts=1, **fields)


def test_policy_defaults_are_the_ancestors():
    assert RetryPolicy() == RetryPolicy(1, 2.0, None, 0, None)
    assert RetryOptions() == RetryOptions(60, None)


@pytest.mark.parametrize("seconds", [0, 0.5, -1, -math.inf])
def test_timeout_below_a_second_is_refused(seconds):
    with pytest.raises(ValueError) as refused:
        RetryOptions(timeout_in_seconds=seconds)
    assert str(refused.value) == "Timeout cannot be less than one second"


@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_timeout_that_is_no_finite_number_is_refused(seconds):
    """It would be accepted here and then refused by the journal, whose JSON has no such number."""
    with pytest.raises(ValueError):
        RetryOptions(timeout_in_seconds=seconds)


@pytest.mark.parametrize("field", ["initial_interval_in_seconds", "backoff_coefficient", "maximum_interval_in_seconds"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_policy_with_a_number_that_is_not_finite_is_refused(field, value):
    with pytest.raises(ValueError):
        RetryPolicy(**{field: value})


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (RetryPolicy(), [1, 2, 4, 8, 16, 32, 64, 100, 100]),
        (RetryPolicy(initial_interval_in_seconds=3, backoff_coefficient=1), [3, 3, 3]),
        (RetryPolicy(initial_interval_in_seconds=2, backoff_coefficient=3, maximum_interval_in_seconds=10), [2, 6, 10]),
        (RetryPolicy(initial_interval_in_seconds=0), [0, 0, 0]),
        (RetryPolicy(initial_interval_in_seconds=0.5), [0.5, 1, 2]),
        (RetryPolicy(initial_interval_in_seconds=7, maximum_interval_in_seconds=7), [7, 7]),
    ],
)
def test_waits_grow_by_the_coefficient_up_to_the_longest(policy, waits):
    assert [delay_before_retry(policy, failures) for failures in range(1, len(waits) + 1)] == waits


@pytest.mark.parametrize("failures", [1_000, 5_000, 10**6, 10**9])
def test_wait_after_a_huge_number_of_failures_is_the_longest(failures):
    assert delay_before_retry(RetryPolicy(), failures) == 100
    assert delay_before_retry(RetryPolicy(maximum_interval_in_seconds=30, backoff_coefficient=1e300), failures) == 30


def test_wait_of_a_policy_without_waits_stays_zero_after_a_huge_number_of_failures():
    assert delay_before_retry(RetryPolicy(initial_interval_in_seconds=0), 5_000) == 0


def test_waits_never_shrink():
    for policy in (RetryPolicy(), RetryPolicy(backoff_coefficient=1.0001), RetryPolicy(initial_interval_in_seconds=0)):
        waits = [delay_before_retry(policy, failures) for failures in range(1, 3000)]
        assert waits == sorted(waits)
        assert all(isinstance(wait, float) and math.isfinite(wait) for wait in waits)


@pytest.mark.parametrize(("attempts", "tried"), [(0, 10**6), (1, 1), (2, 2), (5, 5)])
def test_attempts_are_counted_with_the_first(attempts, tried):
    policy = RetryPolicy(maximum_attempts=attempts)
    allowed = next((failures for failures in range(1, 100) if not may_retry(policy, failures, "X")), 10**6)
    assert allowed == tried


def test_non_retryable_names_are_whole_class_names():
    policy = RetryPolicy(non_retryable_error_types=["ValueError"])
    assert not may_retry(policy, 1, "ValueError")
    assert may_retry(policy, 1, "Value")
    assert may_retry(policy, 1, "MyValueError")
    assert may_retry(RetryPolicy(non_retryable_error_types=[]), 1, "ValueError")


def test_default_policy_makes_five_attempts():
    assert [may_retry(DEFAULT_POLICY, failures, "X") for failures in range(1, 6)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(),
        RetryPolicy(0.25, 1.5, 9, 3, ("A", "B")),
        RetryPolicy(maximum_attempts=1, initial_interval_in_seconds=-1),
        RetryPolicy(non_retryable_error_types=[]),
    ],
)
def test_policy_stored_and_back_means_the_same(policy):
    spec = PolicySpec.of(policy)
    assert PolicySpec.of(spec.policy()) == spec
    assert PolicySpec.model_validate_json(spec.model_dump_json()) == spec
    for failures in range(1, 5):
        assert delay_before_retry(spec.policy(), failures) == delay_before_retry(policy, failures)
        assert may_retry(spec.policy(), failures, "A") == may_retry(policy, failures, "A")


@for_all(
    st.floats(0, 1e300),
    st.floats(1, 1e300),
    st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
    st.floats(0, 1),
    st.integers(1, 10_000),
)
def test_every_wait_can_be_kept_whatever_a_policy_and_a_server_say(initial, coefficient, asked, spread, failures):
    policy = RetryPolicy(initial_interval_in_seconds=initial, backoff_coefficient=coefficient)
    wait = wait_before_retry(policy, failures, asked, spread)
    assert 0 <= wait <= LONGEST_WAIT_S
    datetime(9000, 1, 1, tzinfo=UTC) + timedelta(seconds=wait)
    assert wait >= (asked if asked is not None and 0 <= asked <= 300 else 0)
    assert wait >= min(delay_before_retry(policy, failures), LONGEST_WAIT_S)


def test_waits_are_spread_over_a_quarter_and_keep_the_longest_one():
    policy = RetryPolicy(initial_interval_in_seconds=4, maximum_interval_in_seconds=8)
    assert [wait_before_retry(policy, 1, None, spread) for spread in (0, 0.5, 1)] == [4, 4.5, 5]
    assert [round(wait_before_retry(policy, 9, None, spread), 6) for spread in (0, 0.5, 1)] == [6.4, 7.2, 8]
    assert [wait_before_retry(policy, 1, 20, spread) for spread in (0, 1)] == [20, 25], "never before the server asked"


@pytest.mark.parametrize(("asked", "bound", "wait"), [(300, 300, 300), (301, 300, 1), (301, 400, 301), (5, 0, 1)])
def test_server_that_asks_for_more_than_the_bound_is_asked_when_the_policy_says(asked, bound, wait):
    policy = RetryPolicy(maximum_retry_after_in_seconds=bound)
    assert wait_before_retry(policy, 1, asked, 0) == wait


@pytest.mark.parametrize("bound", [-1, math.inf, math.nan, 1e12])
def test_bound_on_retry_after_that_cannot_be_kept_is_refused(bound):
    with pytest.raises(ValueError, match="Retry-After"):
        RetryPolicy(maximum_retry_after_in_seconds=bound)
