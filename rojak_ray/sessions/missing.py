"""Steps whose code nobody has: what they wait for, and how long."""

from __future__ import annotations

from rojak_ray.core.events import CodeKind
from rojak_ray.core.steps import MissingCode, Step, StepError, StepResult
from rojak_ray.errors import FunctionNotFound
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.pool_settings import PoolSettings


def owner_of(step: Step) -> Owner:
    """The conversation that a step belongs to."""
    return Owner("session", step.session_id) if step.session_id is not None else Owner("run", step.run_id)


def missing_code(step: Step, result: StepResult) -> MissingCode | None:
    """What has to be registered before a step can be run at all, if that is why there is no other result."""
    if not isinstance(result, StepError) or result.missing_code is None:
        return None
    kinds: dict[str, CodeKind] = {"retrieve": "retriever", "call_model": "provider"}
    what = "function" if result.error_type == FunctionNotFound.__name__ else kinds.get(step.kind, "function")
    return MissingCode(what=what, name=result.missing_code)


def patience(settings: PoolSettings, step: Step) -> float:
    """Seconds to wait for what runs a step."""
    return settings.code_wait_after_loss_s if step.recovered else settings.code_wait_s
