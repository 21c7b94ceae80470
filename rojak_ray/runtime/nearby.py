"""`NearbyIds`: a run that nobody named gets an id whose host is up."""

from __future__ import annotations

from rojak_ray.clock import Clock
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.settings import home_of

_TRIES = 100


class NearbyIds:
    """Fresh ids. In a Ray that has just been started, those of runs that need not wait for a second host."""

    def __init__(self, clock: Clock, ids: IdSource | None = None) -> None:
        """Any id of `ids` will do until `prefer` is called."""
        self._hosts = 1
        self._clock = clock
        self._ids = ids or RandomIds()
        self._preferred: int | None = None
        self._until = 0.0

    def prefer(self, host: int, hosts: int, for_s: float) -> None:
        """Give ids of runs that live on one of so many hosts, for some seconds from now."""
        self._preferred = host
        self._hosts = hosts
        self._until = self._clock.monotonic() + for_s

    def new_id(self) -> str:
        """A fresh id, unique without coordination."""
        fresh = self._ids.new_id()
        if self._preferred is None or self._clock.monotonic() >= self._until:
            return fresh
        for _ in range(_TRIES):
            if home_of(Owner("run", fresh), self._hosts) == self._preferred:
                break
            fresh = self._ids.new_id()
        return fresh
