"""Every key we ever write, in one place.

    v1/{namespace}/{kind}/{hh}/{id}/epoch/{epoch}    a writer's claim
    v1/{namespace}/{kind}/{hh}/{id}/log/{slot}       one batch of events, or a fence
    v1/{namespace}/{kind}/{hh}/{id}/snap/{slot}-{w}  everything up to a slot, folded
    v1/{namespace}/{kind}/{hh}/{id}/arch/{f}-{t}-{q} records of slots f to t, the last event of which is q, together
    v1/{namespace}/{kind}/{hh}/{id}/blob/{e}-{s}-{x} a large value of a record
    v1/{namespace}/{kind}/{hh}/{id}/sblo/{e}-{s}-{x} a large value of a snapshot alone
    v1/{namespace}/{kind}/{hh}/{id}/kept/{w}-{n}     a piece of a function's whole result
    v1/{namespace}/{kind}/{hh}/{id}/tail/{slot}      mark: this record was written, and nothing after it for a while
    v1/{namespace}/active/{kind}/{id}/{epoch}-{n}    marker: the host of this epoch, in reign n, has this owner open
    v1/{namespace}/wake/{minute}/{kind}.{id}         timer: this owner has something to do from then on
    v1/{namespace}/reign/{n}                         a cluster's claim to be the one that works here
    v1/{namespace}/reign/{n}.end                     reign n is over
    v1/{namespace}/alive/{n}/{k}                     a renewal: the holder of reign n was alive

`{hh}` spreads owners over the partitions of a bucket.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast, get_args

from rojak_ray.ids import id_key, id_of_key

OwnerKind = Literal["session", "run", "scheduler"]
BlobKind = Literal["record", "snapshot"]

_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Owner:
    """What a journal belongs to: a session, a run outside any session, or the scheduler of a namespace."""

    kind: OwnerKind
    id: str

    def __str__(self) -> str:
        """For messages: kind and id."""
        return f"{self.kind} {self.id!r}"


@dataclass(frozen=True, slots=True)
class Paths:
    """The keys of one namespace."""

    namespace: str

    @property
    def root(self) -> str:
        """Everything of this namespace is below this prefix."""
        return _root(self.namespace)

    def owner(self, owner: Owner) -> str:
        """Everything of one owner is below this prefix."""
        return _folder(self.namespace, owner.kind, owner.id)

    def epochs(self, owner: Owner) -> str:
        """Prefix of an owner's claims."""
        return f"{self.owner(owner)}epoch/"

    def epoch(self, owner: Owner, epoch: int) -> str:
        """Key of one claim."""
        return f"{self.epochs(owner)}{epoch:0{_DIGITS}}"

    def log(self, owner: Owner) -> str:
        """Prefix of an owner's records."""
        return f"{self.owner(owner)}log/"

    def slot(self, owner: Owner, slot: int) -> str:
        """Key of one record."""
        return f"{self.log(owner)}{slot:0{_DIGITS}}"

    def snapshots(self, owner: Owner) -> str:
        """Prefix of an owner's snapshots."""
        return f"{self.owner(owner)}snap/"

    def snapshot(self, owner: Owner, slot: int, write_id: str) -> str:
        """Key of the snapshot up to a slot."""
        return f"{self.snapshots(owner)}{slot:0{_DIGITS}}-{write_id}"

    def archives(self, owner: Owner) -> str:
        """Prefix of an owner's archives."""
        return f"{self.owner(owner)}arch/"

    def archive(self, owner: Owner, first: int, last: int, seq: int) -> str:
        """Key of the archive of some slots; `seq` is the last event in them."""
        return f"{self.archives(owner)}{first:0{_DIGITS}}-{last:0{_DIGITS}}-{seq:0{_DIGITS}}"

    def blobs(self, owner: Owner, of: BlobKind) -> str:
        """Prefix of the large values of an owner's records, or of its snapshots."""
        return f"{self.owner(owner)}{'blob' if of == 'record' else 'sblo'}/"

    def blob(self, owner: Owner, of: BlobKind, epoch: int, slot: int, sha256: str) -> str:
        """Key of a large value, by who stored it first and what it is."""
        return f"{self.blobs(owner, of)}{epoch:0{_DIGITS}}-{slot:0{_DIGITS}}-{sha256}"

    def kept(self, owner: Owner) -> str:
        """Prefix of the whole results of an owner's calls."""
        return f"{self.owner(owner)}kept/"

    def kept_piece(self, owner: Owner, write_id: str, index: int) -> str:
        """Key of a piece of a whole result."""
        return f"{self.kept(owner)}{write_id}-{index:06}"

    def tails(self, owner: Owner) -> str:
        """Prefix of an owner's tail marks."""
        return f"{self.owner(owner)}tail/"

    def tail(self, owner: Owner, slot: int) -> str:
        """Key of the mark that a record was the last."""
        return f"{self.tails(owner)}{slot:0{_DIGITS}}"

    @property
    def active(self) -> str:
        """Prefix of the markers of open owners."""
        return f"{self.root}active/"

    def markers(self, owner: Owner) -> str:
        """Prefix of an owner's markers."""
        return f"{self.active}{owner.kind}/{id_key(owner.id)}/"

    def marker(self, owner: Owner, epoch: int, reign: int = 0) -> str:
        """Key of the marker of one of an owner's hosts; without a reign where none is kept."""
        return f"{self.markers(owner)}{epoch:0{_DIGITS}}" + (f"-{reign}" if reign else "")

    def marked(self, key: str) -> Owner | None:
        """The owner a marker stands for, if its name says it all: that of a very long id holds a hash."""
        kind, _, rest = key.removeprefix(self.active).partition("/")
        owner_id = id_of_key(rest.partition("/")[0])
        if kind not in get_args(OwnerKind) or owner_id is None:
            return None
        return Owner(cast("OwnerKind", kind), owner_id)

    @property
    def reigns(self) -> str:
        """Prefix of the claims to work here, and of their ends."""
        return f"{self.root}reign/"

    def reign(self, number: int) -> str:
        """Key of a claim."""
        return f"{self.reigns}{number:0{_DIGITS}}"

    def reign_end(self, number: int) -> str:
        """Key of the note that a reign is over."""
        return f"{self.reign(number)}.end"

    def order(self, name: str) -> str:
        """Key of the note that a take-over of this name was carried out."""
        return f"{self.root}order/{name}"

    def renewals(self, number: int) -> str:
        """Prefix of the renewals of a reign."""
        return f"{self.root}alive/{number:0{_DIGITS}}/"

    def renewal(self, number: int, count: int) -> str:
        """Key of one renewal."""
        return f"{self.renewals(number)}{count:0{_DIGITS}}"

    @property
    def timers(self) -> str:
        """Prefix of the timers, in the order of their minutes."""
        return f"{self.root}wake/"

    def timer(self, owner: Owner, at: datetime) -> str:
        """Key of an owner's timer for the minute of `at`."""
        return f"{self.timers}{at.astimezone(UTC):%Y%m%dT%H%M}/{owner.kind}.{id_key(owner.id)}"


# Both are remembered: every read and write asks for them, of few owners.


@functools.lru_cache(maxsize=64)
def _root(namespace: str) -> str:
    return f"v1/{id_key(namespace)}/"


@functools.lru_cache(maxsize=1024)
def _folder(namespace: str, kind: OwnerKind, owner_id: str) -> str:
    key = id_key(owner_id)
    spread = hashlib.sha256(key.encode("ascii")).hexdigest()[:2]
    return f"{_root(namespace)}{kind}/{spread}/{key}/"


def number_of(key: str) -> int:
    """The epoch or slot number a key ends in."""
    return int(key.rsplit("/", 1)[1])


def marker_numbers(key: str) -> tuple[int, int]:
    """The epoch and the reign of a marker's key; (0, 0) for a key that is no marker's."""
    epoch, _, reign = key.rsplit("/", 1)[1].partition("-")
    if not epoch.isdecimal() or (reign and not reign.isdecimal()):
        return 0, 0
    return int(epoch), int(reign or 0)
