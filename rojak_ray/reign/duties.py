"""Doing what a standing asks for, in any process of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rojak_ray.reign.reign import Duty, Reign, Standing

_AGAIN_S = 1.0
"""While one reign follows another: how often work that was let go is looked for."""


async def follow(
    reign: Reign,
    begin: Callable[[], Awaitable[object]],
    end: Callable[[], Awaitable[object]],
    done: Standing | None = None,
) -> None:
    """Begin when the cluster rules, end when it does not any more; for ever, for `background`.

    Args:
        reign: Whose standing counts.
        begin: Go on with what is unfinished. Repeated while work of an earlier reign is being let go, and when this
            process could not know for a while whether its cluster ruled; an error is repeated as well.
        end: Let everything go. Repeating it is harmless.
        done: A standing for which that has happened.
    """
    lapses = reign.lapses
    while True:
        standing = reign.standing
        if standing != done or reign.lapses != lapses:
            lapses = reign.lapses
            if standing.duty is Duty.RULES:
                await begin()
            elif standing.duty not in {Duty.UNKNOWN, Duty.FREE}:
                await end()
        done = None if standing.handover else standing
        await reign.news(standing, _AGAIN_S if standing.handover else None, lapses)
