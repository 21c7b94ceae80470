"""The way from a driver to the scheduler of its namespace."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from rojak_ray.errors import RojakError, StoreUnavailable
from rojak_ray.runtime import actors
from rojak_ray.runtime.gateway import RayGateway
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply

_REPLY_S = 60.0
_REACH_S = 60.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0


class RayScheduler:
    """A `Scheduler` that is an actor, started with the first schedule and found again when it was restarted."""

    def __init__(self, gateway: RayGateway) -> None:
        """Nothing is looked up yet."""
        self._gateway = gateway
        self._handle: Any = None

    async def ask(self, ask: ScheduleAsk) -> ScheduleReply:
        """See `Scheduler.ask`; a scheduler that dies on the way is asked again."""
        await self._gateway.connect()
        packed = ask.model_dump_json().encode()
        wait, waited = _FIRST_WAIT_S, 0.0
        while True:
            try:
                if self._handle is None:
                    self._handle = await asyncio.to_thread(actors.start_scheduler, self._gateway.settings)
                async with asyncio.timeout(_REPLY_S):
                    answer: bytes | RojakError = await self._handle.ask.remote(packed)
            except (ActorDiedError, ActorUnavailableError) as error:
                self._handle = None
                if waited > _REACH_S:
                    raise StoreUnavailable(f"The scheduler does not come back: {error}") from error
            except TimeoutError as error:
                raise StoreUnavailable("The scheduler did not answer in time; ask again.") from error
            except RayError as error:
                raise StoreUnavailable(f"The scheduler failed: {error}") from error
            else:
                if isinstance(answer, RojakError):
                    raise answer
                return ScheduleReply.model_validate_json(answer)
            await asyncio.sleep(wait)
            waited += wait
            wait = min(2 * wait, _LONGEST_WAIT_S)
