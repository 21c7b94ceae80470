"""Which attempt at a question is known to be the last."""

from __future__ import annotations

import pytest

from rojak_ray.agents.spec import AgentSpec, PolicySpec, RetrySpec
from rojak_ray.core.retrying import is_last_attempt
from rojak_ray.core.steps import CallModel


@pytest.mark.parametrize(
    ("policy", "attempt", "expected"),
    [
        (None, 1, False),
        (None, 5, True),
        (PolicySpec(maximum_attempts=1), 1, True),
        (PolicySpec(maximum_attempts=3), 2, False),
        (PolicySpec(maximum_attempts=3), 3, True),
        (PolicySpec(maximum_attempts=0), 1000, False),
        (PolicySpec(non_retryable_error_types=("ModelMisbehaved",)), 1, True),
        (PolicySpec(non_retryable_error_types=("ModelUnavailable",)), 1, True),
        (PolicySpec(non_retryable_error_types=("ValueError",)), 1, False),
    ],
)
def test_last_attempt(policy: PolicySpec | None, attempt: int, expected: bool) -> None:
    agent = AgentSpec.model_construct(retry=RetrySpec(policy=policy))
    assert is_last_attempt(CallModel.model_construct(agent=agent, attempt=attempt)) is expected
