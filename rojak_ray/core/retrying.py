"""Whether a failed step is tried again, and when."""

from __future__ import annotations

import hashlib

from rojak_ray.agents.spec import PolicySpec
from rojak_ray.core.pending import active_run
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import CallFunction, CallModel, Retrieve, Step, StepError
from rojak_ray.errors import ModelMisbehaved, ModelUnavailable
from rojak_ray.retry import DEFAULT_POLICY, RETRIEVAL_POLICY, may_retry, wait_before_retry

MOST_LOSSES = 5
"""Processes one step may take with it before it counts as failed, whatever its retry policy says."""

FIRST_LOSS_WAIT_S = 0.05
"""A process that is lost says nothing against doing its work again at once, the first time."""

LONGEST_RETRIEVAL_WAIT_S = 2.0
"""A retriever that asks for more patience than this is done without."""


def retry_wait(state: SessionState, step: Step, error: StepError) -> float | None:
    """Seconds until the next attempt, or None if there is to be none.

    Functions have side effects: without an explicit policy (their own or their agent's) only a lost process makes
    one run again. A call that may run at most once is never repeated, unless it had not begun. What a retriever would
    find is not worth a long wait, unless the agent's policy says so.
    """
    if not error.transient and not error.lost:
        return None
    given: PolicySpec | None = step.agent.retry.policy
    if isinstance(step, CallFunction):
        if step.plan.at_most_once and error.began:
            return None
        given = step.plan.policy or given
        if given is None and not error.lost:
            return None
    expendable = isinstance(step, Retrieve) and given is None
    policy = given.policy() if given else RETRIEVAL_POLICY if expendable else DEFAULT_POLICY
    attempts = active_run(state).attempts.get(step.step_id)
    failures = 1 + (attempts.failures if attempts else 0)
    losses = attempts.losses if attempts else 0
    if error.lost and losses + 1 >= MOST_LOSSES:
        return None
    if not may_retry(policy, failures, error.error_type):
        return None
    if expendable and (error.retry_after_s or 0.0) > LONGEST_RETRIEVAL_WAIT_S:
        return None
    if error.lost and not losses and given is None:
        return FIRST_LOSS_WAIT_S
    return wait_before_retry(policy, failures, error.retry_after_s, _spread(step, failures))


def is_last_attempt(step: CallModel) -> bool:
    """Whether no other attempt follows where a model does not answer as it should.

    Attempts that a lost process took with it are counted as well: then it is said too early rather than not at all.
    """
    given = step.agent.retry.policy
    policy = given.policy() if given else DEFAULT_POLICY
    kinds = (ModelMisbehaved.__name__, ModelUnavailable.__name__)
    return not all(may_retry(policy, step.attempt, kind) for kind in kinds)


def _spread(step: Step, failures: int) -> float:
    """A number from 0 to 1 that differs between steps and attempts, and is the same whenever it is asked for.

    It follows from the step's own key instead of a source of randomness, so that simulations repeat themselves; that
    recovery waits as long as was decided is due to the record, which has the time.
    """
    text = f"{step.idempotency_key}/{failures}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") / 2**32
