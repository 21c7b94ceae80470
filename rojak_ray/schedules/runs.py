"""`GatewayRuns`: scheduled runs are ordinary runs outside sessions, reached like any other."""

from __future__ import annotations

from typing import Any, cast

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.core.commands import CancelRun, OpenSession, StartRun
from rojak_ray.core.events import RunStatus
from rojak_ray.errors import InternalError, RojakError
from rojak_ray.ids import digest
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.messages import content_text
from rojak_ray.schedules.events import Action
from rojak_ray.schedules.ports import Outcome
from rojak_ray.sessions.ports import Gateway
from rojak_ray.sessions.requests import Ask, Reply

logger = get_logger(__name__)

_ENDED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}


class GatewayRuns:
    """`Runs` over the gateway that programs use, too."""

    def __init__(self, gateway: Gateway) -> None:
        """Nothing is connected yet."""
        self._gateway = gateway

    async def start(self, run_id: str, request: str, action: Action, schedule: ScheduledRun) -> None:
        """See `Runs`. What a run knows of the ones before is not part of the request: a repetition may know more.

        Every repetition has the same incarnation: one that comes after the run was deleted does not run it again.
        """
        opening = OpenSession(
            owner_kind="run",
            owner_id=run_id,
            incarnation=digest({"scheduled": request}),
            agent=action.agent,
            context_variables=action.context_variables,
            schedule=schedule,
            max_turns=action.max_turns,
            max_model_calls=action.max_model_calls,
            debug=action.debug,
        )
        start = StartRun(
            run_id=run_id,
            input_digest=digest({"scheduled": request}),
            messages=action.messages,
            providers=action.providers,
        )
        await self._ask(run_id, Ask(commands=(opening, start)))

    async def outcome(self, run_id: str, wait_s: float) -> Outcome | None:
        """See `Runs`."""
        run = (await self._ask(run_id, Ask(await_run=run_id, wait_s=wait_s))).run
        if run is None or run.status not in _ENDED:
            return None
        answered = run.status is RunStatus.COMPLETED and run.messages
        result = content_text(run.messages[-1].content) if answered else None
        return Outcome(cast("Any", str(run.status)), result, run.error)

    async def cancel(self, run_id: str) -> None:
        """See `Runs`."""
        await self._ask(run_id, Ask(commands=(CancelRun(run_id=run_id),)))

    async def _ask(self, run_id: str, ask: Ask) -> Reply:
        try:
            await self._gateway.connect()
            return await self._gateway.ask(Owner("run", run_id), ask)
        except RojakError:
            raise
        except Exception as error:
            logger.exception("a run cannot be reached", extra={"run_id": run_id})
            raise InternalError(f"Run {run_id!r} cannot be reached: {type(error).__name__}: {error}") from error
