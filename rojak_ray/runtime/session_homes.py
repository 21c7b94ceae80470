"""`SessionHomes`: what a program knows of where sessions live, so that it need not ask the catalog each time."""

from __future__ import annotations

from collections import OrderedDict

from rojak_ray.clock import Clock

_MOST = 10_000


class SessionHomes:
    """Ray names of the actors that serve sessions, by session id; the least used are forgotten."""

    def __init__(self, clock: Clock) -> None:
        """Know none."""
        self._clock = clock
        self._names: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def name_of(self, session_id: str, trusted_s: float) -> str | None:
        """Who served a session when it was last asked, if that is not longer than `trusted_s` ago.

        Whoever serves it lets it go after some idle time, and from then on it may live elsewhere.
        """
        known = self._names.get(session_id)
        if known is None or self._clock.monotonic() - known[1] > trusted_s:
            return None
        self.learn(session_id, known[0])
        return known[0]

    def learn(self, session_id: str, name: str) -> None:
        """Remember who serves a session; it is being asked now."""
        self._names[session_id] = (name, self._clock.monotonic())
        self._names.move_to_end(session_id)
        while len(self._names) > _MOST:
            self._names.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Whoever served it did not answer."""
        self._names.pop(session_id, None)
