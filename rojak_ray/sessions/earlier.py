"""Waiting for what the cluster that ruled before still has open."""

from __future__ import annotations

from rojak_ray.clock import Clock
from rojak_ray.errors import StandsBy
from rojak_ray.journal.paths import Owner
from rojak_ray.reign.reign import Reign
from rojak_ray.sessions.markers import Markers

_HANDOVER_LOOK_S = 0.5


async def wait_for_earlier_reigns(owner: Owner, reign: Reign, markers: Markers, clock: Clock) -> None:
    """Return when no other cluster has the owner open, as far as this one can know.

    Raises:
        StandsBy: Nothing may be opened here, or the cluster before is still at work on this owner.
    """
    ends_at = clock.monotonic() + reign.patience_s
    while True:
        standing = reign.standing
        if not reign.rules:
            raise standing.refusal()
        if not standing.handover or not await markers.held_before(owner, standing.number):
            return
        if clock.monotonic() >= ends_at:
            raise StandsBy(f"{owner} is being finished by the cluster that ruled before; ask again in a minute.")
        await reign.news(standing, _HANDOVER_LOOK_S)
