"""Which runs a schedule started, as keys in storage: found without reading a journal, the latest first.

    v1/{namespace}/schedule-runs/{id}/{time}-{n}              a run was started
    v1/{namespace}/schedule-runs/{id}/{time}-{n}.{status}     it ended so

`{time}` counts down, so that keys in ascending order are runs in descending order. `{n}` is 1, or more for runs that
were asked for at a time that had its run already.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from typing import Any, cast

from rojak_ray.errors import ObjectExists
from rojak_ray.ids import id_key
from rojak_ray.journal.paths import Paths
from rojak_ray.schedules.events import EndStatus, Start
from rojak_ray.schedules.requests import ListedRun
from rojak_ray.storage.base import Store

_COUNT_FROM = 10**11
_DIGITS = 12


class RunIndex:
    """The runs of every schedule of a namespace."""

    def __init__(self, store: Store, paths: Paths) -> None:
        """Nothing is read yet."""
        self._store = store
        self._root = f"{paths.root}schedule-runs/"

    async def add(self, schedule_id: str, start: Start, copy: int, run_id: str) -> None:
        """Note that a run was started; repeating it changes nothing."""
        about = {"run_id": run_id, "due": start.due.isoformat(), "manual": start.manual}
        await self._put(self._key(schedule_id, start, copy), about)

    async def end(self, schedule_id: str, start: Start, copy: int, status: EndStatus) -> None:
        """Note how a run ended; repeating it changes nothing."""
        await self._put(f"{self._key(schedule_id, start, copy)}.{status.replace('_', '-')}", {"status": status})

    async def list(self, schedule_id: str, after: str, limit: int) -> list[ListedRun]:
        """Runs after a place (the empty one: from the latest on), those without an end as running."""
        folder = f"{self._root}{id_key(schedule_id)}/"
        found: dict[str, ListedRun] = {}
        last = f"{folder}{after}.z" if after else ""  # behind every ending of that run, before the next one
        while len(found) <= limit:
            keys = await self._store.list(folder, after=last, limit=2 * limit + 2)
            for key in keys:
                place, _, status = key.removeprefix(folder).partition(".")
                ended = cast("Any", status.replace("-", "_") or "running")
                found[place] = ListedRun(run_id=_run_id(schedule_id, place), status=ended, place=place)
            if not keys:
                break
            last = keys[-1]
        return list(found.values())[:limit]

    async def remove(self, run_id: str) -> None:
        """List a run no more; nothing happens to one that no schedule started."""
        place = place_of(run_id)
        if place is None:
            return
        schedule_id, name = place
        folder = f"{self._root}{id_key(schedule_id)}/"
        before = name[:-1] + chr(ord(name[-1]) - 1) + "~"
        for key in await self._store.list(folder, after=f"{folder}{before}", limit=8):
            if key.removeprefix(folder).partition(".")[0] == name:
                await self._store.delete(key)

    async def list_before(self, schedule_id: str, moment: datetime, after: str, limit: int) -> list[ListedRun]:
        """As `list`, of times before a moment."""
        begin = f"{_COUNT_FROM - int(moment.timestamp()):0{_DIGITS}}-1"
        return await self.list(schedule_id, after or begin, limit)

    async def _put(self, key: str, about: dict[str, Any]) -> None:
        with contextlib.suppress(ObjectExists):
            await self._store.put_new(key, json.dumps(about, ensure_ascii=True).encode("ascii"))

    def _key(self, schedule_id: str, start: Start, copy: int) -> str:
        place = _COUNT_FROM - int(start.nominal.timestamp())
        return f"{self._root}{id_key(schedule_id)}/{place:0{_DIGITS}}-{copy}"


def run_id_of(schedule_id: str, start: Start, copy: int = 1) -> str:
    """The id of the run a start leads to: the schedule's and the nominal time, and a number from the second copy on."""
    run_id = f"{schedule_id}-{start.nominal.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return run_id if copy == 1 else f"{run_id}-{copy}"


_SCHEDULED = re.compile(r"(.+)-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)(?:-([1-9]\d{0,5}))?", re.DOTALL)


def place_of(run_id: str) -> tuple[str, str] | None:
    """The schedule that a run's id names, and the run's place in the list; None if no schedule gave this id."""
    found = _SCHEDULED.fullmatch(run_id)
    if found is None:
        return None
    try:
        nominal = datetime.strptime(found[2], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return found[1], f"{_COUNT_FROM - int(nominal.timestamp()):0{_DIGITS}}-{found[3] or 1}"


def _run_id(schedule_id: str, place: str) -> str:
    """The id of a listed run."""
    time, _, copy = place.partition("-")
    nominal = datetime.fromtimestamp(_COUNT_FROM - int(time), UTC)
    return run_id_of(schedule_id, Start(number=0, nominal=nominal, due=nominal), int(copy))
