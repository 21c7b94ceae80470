"""How a run ends: with its answer, or at one of its bounds. Each function is None where it goes on."""

from __future__ import annotations

from rojak_ray.core.events import RunEnded, RunStatus
from rojak_ray.core.state import RunState, SessionState


def answered(run: RunState) -> RunEnded | None:
    """The end of a run whose last answer asks for nothing more."""
    if run.turn == 0 or run.calls or run.paused or run.messages[-1].role != "assistant":
        return None
    return RunEnded(
        run_id=run.run_id,
        status=RunStatus.COMPLETED,
        finish_reason=run.finish_reason,
        raw_finish_reason=run.raw_finish_reason,
    )


def spent(state: SessionState) -> RunEnded | None:
    """The end of a run that may append no more messages, or ask no model again. Calls under way are waited for."""
    run = state.run
    if run is None or run.calls:
        return None
    if state.max_turns is not None and run.appended >= state.max_turns:
        return RunEnded(
            run_id=run.run_id,
            status=RunStatus.COMPLETED,
            finish_reason="max_turns",
            raw_finish_reason=run.raw_finish_reason,
        )
    if state.max_model_calls is not None and run.turn >= state.max_model_calls:
        return RunEnded(
            run_id=run.run_id,
            status=RunStatus.FAILED,
            error_type="MaxModelCalls",
            error=_too_many_calls(state, run),
            finish_reason="max_model_calls",
            raw_finish_reason=run.raw_finish_reason,
        )
    return None


def _too_many_calls(state: SessionState, run: RunState) -> str:
    calls = "one model call" if run.turn == 1 else f"{run.turn} model calls"
    where = "update_config" if state.owner_kind == "session" else "run, start_run or create_schedule"
    return (
        f"Run {run.run_id!r} had no answer after {calls}, which is all it may make (max_model_calls="
        f"{state.max_model_calls}): agent {state.agents[run.agent].name!r} may be in a loop. If it is not, pass a "
        f'higher max_model_calls to {where}; float("inf") means no limit.'
    )
