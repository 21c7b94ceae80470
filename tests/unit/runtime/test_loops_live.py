"""Every loop of sessions, reigns and the runtime meets every error of ours, and bugs, and goes on."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rojak_ray import errors
from rojak_ray.concurrency import background
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.reign.duties import follow
from rojak_ray.reign.keeper import ReignKeeper
from rojak_ray.reign.records import Claim
from rojak_ray.reign.reign import Duty, Reign, Standing
from rojak_ray.runtime.reigning import ReignNews, Told
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.runtime.upkeep import Upkeep
from rojak_ray.sessions.alarm import AlarmClock, set_timer
from rojak_ray.sessions.pool import HostPool
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock

PATHS = Paths("rojak")
OURS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.RojakError)]
KINDS = [*OURS, ValueError, RecursionError, TimeoutError, asyncio.CancelledError]
START = datetime(2026, 1, 1, tzinfo=UTC)


class Trouble:
    """Raises the first three times it is met, and counts how often it was met."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind
        self.met = 0

    def meet(self) -> None:
        self.met += 1
        if self.met <= 3:
            raise self.kind("no")

    async def meet_async(self, *args: Any, **kwargs: Any) -> Any:
        self.meet()


class TroubledStore(MemoryStore):
    """Lists only after some trouble."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        self.trouble.meet()
        return await super().list(prefix, after=after, limit=limit)


Work = Callable[[], Awaitable[Any]]


def listing_timers(trouble: Trouble, clock: FakeClock) -> Work:
    alarm = AlarmClock(TroubledStore(trouble), PATHS, clock, trouble.meet_async)
    return lambda: alarm.run(1.0)


def waking_owners(trouble: Trouble, clock: FakeClock) -> Work:
    store = MemoryStore()
    alarm = AlarmClock(store, PATHS, clock, trouble.meet_async)

    async def run() -> None:
        await set_timer(store, PATHS, Owner("session", "s"), START - timedelta(minutes=1))
        await alarm.run(1.0)

    return run


def sweeping_idle_hosts(trouble: Trouble, clock: FakeClock) -> Work:
    pool = HostPool(MemoryStore(), PATHS, None, clock, RandomIds())  # type: ignore[arg-type]
    pool._open_hosts = lambda: trouble.meet() or []  # type: ignore[method-assign]
    return pool._sweep


def keeping_a_reign(trouble: Trouble, clock: FakeClock) -> Work:
    claim = Claim(number=0, cluster="c", mode="ray", place="here", library="1", at="")
    return ReignKeeper(TroubledStore(trouble), PATHS, claim, clock).run


def obeying(trouble: Trouble, clock: FakeClock) -> Work:
    reign = Reign(clock)
    reign.learn(Standing(Duty.RULES, 1, handover=True))
    return functools.partial(follow, reign, trouble.meet_async, trouble.meet_async)


def hearing_who_rules(trouble: Trouble, clock: FakeClock) -> Work:
    news = ReignNews(RuntimeSettings(namespace="n", storage="file:///x"), MemoryStore())

    async def call(method: str, *args: Any) -> Told:
        await clock.sleep(0.1)
        trouble.meet()
        return Told(Standing(Duty.RULES, 1), 25.0, 0.0)

    news._clock = clock
    news._catalog.call = call  # type: ignore[method-assign]
    return news.run


def sweeping_a_cluster(trouble: Trouble, clock: FakeClock) -> Work:
    reign = Reign(clock)
    reign.learn(Standing(Duty.RULES, 1))

    async def news(seen: Standing, wait_s: float | None = None) -> Standing:
        await clock.sleep(wait_s or 1.0)
        return seen

    reign.news = news  # type: ignore[method-assign]
    settings = RuntimeSettings(namespace="n", storage="file:///x")
    upkeep = Upkeep(settings, MemoryStore(), reign, trouble.meet_async)
    upkeep._sweep.once = trouble.meet_async  # type: ignore[method-assign]
    return upkeep._keep_sweeping


LOOPS = [
    listing_timers,
    waking_owners,
    sweeping_idle_hosts,
    keeping_a_reign,
    obeying,
    hearing_who_rules,
    sweeping_a_cluster,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", LOOPS)
async def test_loop_goes_on(loop: Callable[[Trouble, FakeClock], Work], kind: type[BaseException]) -> None:
    clock, trouble = FakeClock(START), Trouble(kind)
    task = background(loop.__name__, loop(trouble, clock), clock)
    try:
        for _ in range(200):
            await clock.advance(1.0)
            if trouble.met > 3 or (loop is waking_owners and issubclass(kind, errors.RequestError) and trouble.met):
                break  # a refused timer is for nobody, and done with
            await asyncio.sleep(0.001) if loop is obeying else None  # its pauses are real ones
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    refused = loop is waking_owners and issubclass(kind, errors.RequestError)
    assert trouble.met >= (1 if refused else 4)
