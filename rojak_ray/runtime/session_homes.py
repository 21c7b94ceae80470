"""`SessionHomes`: what a program knows of where sessions live, so that it need not ask the catalog each time."""

from __future__ import annotations

from collections import OrderedDict

from rojak_ray.clock import Clock
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.host_map import HostMap, Moved

_MOST = 10_000


class Residences:
    """Which shared host a program asks for an owner: its home, unless it was told that the owner is elsewhere."""

    def __init__(self, hosts: HostMap) -> None:
        """Knows where everybody belongs."""
        self._hosts = hosts
        self._elsewhere: OrderedDict[Owner, int] = OrderedDict()

    @property
    def hosts(self) -> HostMap:
        """The newest map that was heard of."""
        return self._hosts

    def of(self, owner: Owner) -> int:
        """The host to ask."""
        return self._elsewhere.get(owner, self._hosts.home(owner))

    def learn(self, owner: Owner, moved: Moved) -> bool:
        """A host has sent this program to another one; whether it would now ask one that it would not have asked."""
        before = self.of(owner)
        self._hosts = self._hosts.newer(moved.hosts)
        self._elsewhere.pop(owner, None)
        if moved.at != self._hosts.home(owner):
            self._elsewhere[owner] = moved.at
            while len(self._elsewhere) > _MOST:
                self._elsewhere.popitem(last=False)
        return self.of(owner) != before

    def forget(self, owner: Owner) -> None:
        """Whoever had it did not answer."""
        self._elsewhere.pop(owner, None)


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
