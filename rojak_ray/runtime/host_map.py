"""`HostMap`: which shared host an owner belongs to, now and before. Pure; the catalog decides, everybody has a copy.

While owners move there is more than one place where an owner may be: the home that it has now, and those it had with
former numbers of hosts. `moving.Residents` sees to it that no two of them have it open.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.settings import home_of, hosts_for

GROW_AFTER_S = 3.0
"""How long there must be more nodes; for fewer it is longer, since a node that is started again moves nobody."""

_MOVED = b"moved "
"""A packed reply is JSON and begins otherwise."""


@dataclass(frozen=True)
class HostMap:
    """Numbers of shared hosts. Of two maps that of the higher version holds."""

    count: int
    former: tuple[int, ...] = ()
    """Numbers by which owners that are still open may have found their home."""

    version: int = 0

    @property
    def hosts(self) -> int:
        """So many hosts may have something open."""
        return max(self.count, *self.former) if self.former else self.count

    def home(self, owner: Owner) -> int:
        """Where an owner is opened."""
        return home_of(owner, self.count)

    def homes(self, owner: Owner) -> tuple[int, ...]:
        """Where it may be open: first its home, then those it had."""
        return tuple(dict.fromkeys(home_of(owner, count) for count in (self.count, *self.former)))

    def changed(self, count: int) -> HostMap:
        """With another number, while the owners that are open stay where they are."""
        former = tuple(dict.fromkeys(each for each in (self.count, *self.former) if each != count))
        return HostMap(count, former, self.version + 1)

    def settled(self) -> HostMap:
        """Once nothing is open but at home."""
        return HostMap(self.count, (), self.version + 1)

    def newer(self, other: HostMap) -> HostMap:
        """The one that holds."""
        return other if other.version > self.version else self

    def plain(self) -> list[int]:
        """As JSON has it."""
        return [self.version, self.count, *self.former]

    @classmethod
    def of_plain(cls, plain: list[int]) -> HostMap:
        """What `plain` gave."""
        version, count, *former = plain
        return cls(count, tuple(former), version)


@dataclass(frozen=True)
class Moved:
    """The answer of a host to whoever asks it for an owner that is not its own."""

    hosts: HostMap
    at: int
    """Who is to be asked."""

    def pack(self) -> bytes:
        """In place of a packed reply."""
        return _MOVED + json.dumps([self.at, *self.hosts.plain()]).encode()

    @classmethod
    def unpack(cls, answer: bytes) -> Moved | None:
        """None if the answer is a reply."""
        if not answer.startswith(_MOVED):
            return None
        at, *plain = json.loads(answer.removeprefix(_MOVED))
        return cls(HostMap.of_plain(plain), at)


@dataclass(frozen=True)
class Demand:
    """How many hosts the nodes ask for, and since when."""

    count: int
    since: float

    def after(self, cpus: float, now: float) -> Demand:
        """After a look at the nodes."""
        count = hosts_for(cpus)
        return self if count == self.count else replace(self, count=count, since=now)

    def due(self, hosts: HostMap, now: float, fewer_after_s: float) -> int | None:
        """The number that the map is to have from now on; None: it is to stay."""
        patience = GROW_AFTER_S if self.count > hosts.count else fewer_after_s
        return self.count if self.count != hosts.count and now - self.since >= patience else None
