"""Removing what ended long ago: runs, sessions at rest, and what schedules list of their runs.

One pass over storage in the order of its keys. What is held in memory is a page of keys and the conversations being
buried, however many there are; each costs the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from rojak_ray.clock import Clock
from rojak_ray.concurrency import at_most
from rojak_ray.errors import JournalDamaged, ObjectNotFound, RojakError, SchemaTooNew
from rojak_ray.ids import IdSource
from rojak_ray.journal.burial import Fate, Looked, bury, owner_of
from rojak_ray.journal.paths import Owner, OwnerKind, Paths, marker_numbers
from rojak_ray.logs import get_logger
from rojak_ray.reign.records import decode_claim
from rojak_ray.reign.witness import is_dead
from rojak_ray.schedules.index import RunIndex
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_PAGE = 1000
_AT_ONCE = 8
_MOST_NAMED = 20
_EVERY_S = 600.0
KINDS: tuple[OwnerKind, ...] = ("run", "session")


@dataclass
class PruneReport:
    """What a pass over storage has found so far."""

    buried: Counter[str] = field(default_factory=Counter[str])
    """How many are gone, or would be, by kind: "run", "session"."""

    objects: int = 0
    """How many of their objects."""

    kept: Counter[Fate] = field(default_factory=Counter[Fate])
    """How many stay, and why."""

    damaged: int = 0
    unreadable: list[str] = field(default_factory=list[str])
    """The first of those that cannot be read; they stay as they are."""

    done: int = 0
    folders: int = 0
    """How far it has got, in folders of equal size."""


async def prune(
    store: Store,
    paths: Paths,
    before: datetime,
    clock: Clock,
    ids: IdSource,
    *,
    kinds: Sequence[OwnerKind] = KINDS,
    only_look: bool = False,
    told: Callable[[PruneReport], None] = lambda report: None,
) -> PruneReport:
    """Remove every run and session that ended, and was written to last before a time, but for one object of each.

    Args:
        store: Where.
        paths: Of the namespace.
        before: Up to when.
        clock: For what is written.
        ids: For what is written.
        kinds: "run", "session" or both. A session has ended if nothing of it runs or waits.
        only_look: Change nothing, and count what would go.
        told: Is told the report whenever it has grown.

    Raises:
        StorageError: The storage failed. What was done is done; the same again goes on.

    Crash safety:
        See `journal.burial`: whatever is cut off is whole for readers, and gone on with by the next pass.
    """
    report, index = PruneReport(), RunIndex(store, paths)
    marked = await _markers(store, paths)

    async def one(kind: OwnerKind, found: tuple[str, list[str]]) -> None:
        folder, keys = found
        try:
            owner = await owner_of(store, kind, folder, keys)
            looked = Looked(owner, Fate.OPEN, 0)
            markers = marked.get(paths.markers(owner), _Marked())
            if not markers.held:
                unlist = partial(index.remove, owner.id)
                looked = await bury(store, paths, owner, keys, before, clock, ids, unlist, only_look=only_look)
        except (JournalDamaged, SchemaTooNew) as error:
            report.damaged += 1
            report.unreadable += [str(error)] if len(report.unreadable) < _MOST_NAMED else []
            return
        except (ObjectNotFound, StopIteration):
            return  # somebody deletes it meanwhile
        if looked.fate is not Fate.BURIED:
            if looked.fate is not Fate.GONE:
                report.kept[looked.fate] += 1
            return
        report.buried[kind] += 1
        report.objects += looked.objects
        for key in markers.left if not only_look else ():
            await store.delete(key)

    folders: list[tuple[OwnerKind, str]] = [
        (kind, folder) for kind in kinds for folder in await store.folders(f"{paths.root}{kind}/")
    ]
    report.folders = len(folders)
    for kind, spread in folders:
        async for page in _owners(store, spread):
            await at_most(_AT_ONCE, partial(one, kind), page)
            told(report)
        report.done += 1
        told(report)
    return report


@dataclass
class _Marked:
    """The markers of a conversation."""

    held: bool = False
    """Whether one is of a cluster that may live."""

    left: list[str] = field(default_factory=list[str])
    """Those that clusters left which are gone."""


async def _markers(store: Store, paths: Paths) -> dict[str, _Marked]:
    """What is open, by the folder of its markers. Whatever is opened later is written to then, so that it is young."""
    ended, living = set[int](), dict[int, bool]()
    for key in await store.list(paths.reigns):
        number, _, end = key.rsplit("/", 1)[1].partition(".")
        if number.isdecimal() and end == "end":
            ended.add(int(number))

    async def lives(reign: int) -> bool:
        if reign in ended:
            return False
        try:
            claim = decode_claim(paths.reign(reign), await store.get(paths.reign(reign)))
        except (JournalDamaged, SchemaTooNew):
            return True
        except ObjectNotFound:
            return reign == 0  # of no reign at all; claims of earlier reigns are removed in the end
        return not await is_dead(claim.witness)

    found: dict[str, _Marked] = {}
    for key in await store.list(paths.active):
        _, reign = marker_numbers(key)
        if reign not in living:
            living[reign] = await lives(reign)
        marked = found.setdefault(key.rpartition("/")[0] + "/", _Marked())
        marked.held = marked.held or living[reign]
        marked.left.append(key)
    return found


async def _owners(store: Store, spread: str) -> AsyncIterator[list[tuple[str, list[str]]]]:
    """The owners below a folder with all their keys, some at a time."""
    open_folder, keys, last = "", list[str](), ""
    while True:
        listed = await store.list(spread, after=last, limit=_PAGE)
        found: list[tuple[str, list[str]]] = []
        for key in listed:
            folder = spread + key.removeprefix(spread).partition("/")[0] + "/"
            if folder != open_folder:
                found += [(open_folder, keys)] if keys else []
                open_folder, keys = folder, []
            keys.append(key)
        if len(listed) < _PAGE:
            yield [*found, (open_folder, keys)] if keys else found
            return
        last = listed[-1]
        yield found


async def prune_runs_of(
    store: Store, paths: Paths, schedule_id: str, before: datetime, clock: Clock, ids: IdSource
) -> int:
    """Remove the runs of a schedule that ended, and were written to last, before a time; returns how many.

    Raises:
        StorageError: The storage failed; the same again goes on.
    """
    index, place, gone = RunIndex(store, paths), "", 0
    while True:
        listed = await index.list_before(schedule_id, before, place, _PAGE // 10)
        for run in listed:
            if run.status == "running":
                continue
            owner = Owner("run", run.run_id)
            if await store.list(paths.markers(owner), limit=1):
                continue
            try:
                keys = await store.list(paths.owner(owner))
                unlist = partial(index.remove, run.run_id)
                looked = await bury(store, paths, owner, keys, before, clock, ids, unlist) if keys else None
            except (JournalDamaged, SchemaTooNew) as error:
                logger.warning("run %r stays: %s", run.run_id, error)
                continue
            if looked is None or looked.fate is Fate.GONE:
                await index.remove(run.run_id)
            gone += looked is not None and looked.fate is Fate.BURIED
        if len(listed) < _PAGE // 10:
            return gone
        place = listed[-1].place


class Retention:
    """Removes the runs that schedules keep no longer, now and then. Whatever is wrong with one is its own matter."""

    def __init__(
        self, store: Store, paths: Paths, clock: Clock, ids: IdSource, look: Callable[[], Mapping[str, timedelta]]
    ) -> None:
        """`look` tells for how long each schedule keeps its runs; none while that cannot be trusted."""
        self._store = store
        self._paths = paths
        self._clock = clock
        self._ids = ids
        self._look = look

    async def run(self) -> None:
        """Until cancelled. For `background`."""
        while True:
            await self._clock.sleep(_EVERY_S)
            for schedule_id, kept in self._look().items():
                try:
                    before = self._clock.now() - kept
                    gone = await prune_runs_of(self._store, self._paths, schedule_id, before, self._clock, self._ids)
                except RojakError as error:
                    logger.warning("old runs of schedule %r stay for now: %s", schedule_id, error)
                except Exception:
                    logger.exception("a bug keeps old runs of schedule %r", schedule_id)
                else:
                    logger.log(logging.INFO if gone else logging.DEBUG, "schedule %r: %d old runs", schedule_id, gone)
