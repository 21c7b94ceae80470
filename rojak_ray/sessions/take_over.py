"""How a host goes on with what the one before it left: at once, or on probation if that ended processes."""

from __future__ import annotations

import asyncio

from rojak_ray.clock import Clock
from rojak_ray.core.commands import PassProbation, Recover
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.sessions.inbox import Inbox
from rojak_ray.sessions.probation import Suspicion

logger = get_logger(__name__)


async def take_over(
    owner: Owner, recoveries: int, inbox: Inbox, suspicion: Suspicion, progress: asyncio.Event, clock: Clock
) -> None:
    """Have a conversation taken over, in its turn.

    Args:
        owner: Whose.
        recoveries: How many hosts in a row were lost while it ran.
        inbox: Of the host.
        suspicion: How long a suspect has to live on.
        progress: Set by the host once a result was recorded.
        clock: Time and sleep.
    """
    recover = Recover(most_recoveries=suspicion.most_recoveries)
    probation = suspicion.probation
    if probation is None or not probation.concerns(recoveries):
        inbox.post(recover)
        return
    logger.warning("%s is on probation: %d hosts in a row were lost while it ran", owner, recoveries)
    async with probation.turn(recoveries):
        progress.clear()
        inbox.post(recover)
        waiting = asyncio.create_task(clock.sleep(suspicion.probation_s))
        moving = asyncio.create_task(progress.wait())
        try:
            await asyncio.wait({waiting, moving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            moving.cancel()
        # Durable before the next one's turn, which may be the end of this process.
        passed = inbox.post(PassProbation(), answered=True)
        await asyncio.wait([passed])  # an error is not raised: whoever ended the host has said why
