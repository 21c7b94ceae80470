"""Every loop in the background meets every error of ours, and bugs, and goes on."""

import ast
import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
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
from rojak_ray.runtime.holding import Holding
from rojak_ray.runtime.host_keeping import HostKeeper
from rojak_ray.runtime.publishing import Publisher
from rojak_ray.runtime.reigning import ReignNews, Told
from rojak_ray.runtime.session_actor import SessionActor
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.runtime.upkeep import Upkeep
from rojak_ray.schedules.followers import Followers
from rojak_ray.schedules.retention import Retention
from rojak_ray.schedules.service import SchedulerService
from rojak_ray.sessions.alarm import AlarmClock, set_timer
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.trying import until_done
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


def keeper_of_hosts(clock: FakeClock, **hosts: Any) -> HostKeeper:
    keeper = HostKeeper(1, SimpleNamespace(**hosts), clock, follows=bool(hosts))  # type: ignore[arg-type]
    keeper._known.set()
    return keeper


def deciding_how_many_hosts(trouble: Trouble, clock: FakeClock) -> Work:
    async def cpus() -> float:
        trouble.meet()
        return 8.0

    return keeper_of_hosts(clock, cpus=cpus).run


def sweeping_a_cluster(trouble: Trouble, clock: FakeClock) -> Work:
    reign = Reign(clock)
    reign.learn(Standing(Duty.RULES, 1))

    async def news(seen: Standing, wait_s: float | None = None) -> Standing:
        await clock.sleep(wait_s or 1.0)
        return seen

    reign.news = news  # type: ignore[method-assign]
    settings = RuntimeSettings(namespace="n", storage="file:///x")
    upkeep = Upkeep(settings, MemoryStore(), reign, keeper_of_hosts(clock), trouble.meet_async)
    upkeep._sweep.once = trouble.meet_async  # type: ignore[method-assign]
    return upkeep._keep_sweeping


def upkeep_of(clock: FakeClock) -> Upkeep:
    settings = RuntimeSettings(namespace="n", storage="file:///x", hosts=1)
    return Upkeep(settings, MemoryStore(), Reign(clock), keeper_of_hosts(clock), Trouble(ValueError).meet_async, clock)


def keeping_step_workers(trouble: Trouble, clock: FakeClock) -> Work:
    upkeep = upkeep_of(clock)
    upkeep._step_workers_wanted.set()
    upkeep._place = trouble.meet_async  # type: ignore[method-assign]
    return upkeep._keep_step_workers


def starting_shared_hosts(trouble: Trouble, clock: FakeClock) -> Work:
    upkeep = upkeep_of(clock)
    upkeep._start_host = lambda index: trouble.meet()  # type: ignore[assignment,misc,return-value]
    return upkeep._start_hosts


def staying_registered(trouble: Trouble, clock: FakeClock) -> Work:
    async def call(method: str, *args: Any) -> Any:
        trouble.meet()
        return ("life", 1), True

    publisher = Publisher(SimpleNamespace(call=call), "n", clock)  # type: ignore[arg-type]
    publisher.heard(("life", 1))
    return publisher._stay


def telling_which_functions_are_named(trouble: Trouble, clock: FakeClock) -> Work:
    async def hold(added: Any, dropped: Any) -> str:
        trouble.meet()
        return "life"

    holding = Holding(SimpleNamespace(hold=hold), clock)
    holding._untold = {("token", 1): True}
    return holding._tell_all


def leaving_when_idle(trouble: Trouble, clock: FakeClock) -> Work:
    class Shell:
        began = asyncio.Event()
        asking = 0

        @property
        def settled(self) -> bool:
            trouble.meet()
            return False

    actor: Any = SessionActor.__new__(SessionActor)
    actor._shell, actor._clock = Shell(), clock
    actor._shell.began.set()
    return actor._retire_when_idle


def keeping_schedules_open(trouble: Trouble, clock: FakeClock) -> Work:
    reign = Reign(clock)
    reign.learn(Standing(Duty.RULES, 1))
    service = SchedulerService(MemoryStore(), PATHS, None, clock, RandomIds(), reign)  # type: ignore[arg-type]

    async def host() -> Any:
        trouble.meet()
        return SimpleNamespace(ended=asyncio.get_running_loop().create_future)

    service._host = host  # type: ignore[method-assign]
    return service._keep_open


def removing_old_runs(trouble: Trouble, clock: FakeClock) -> Work:
    return Retention(MemoryStore(), PATHS, clock, RandomIds(), lambda: trouble.meet() or {}).run


def stopping_a_run(trouble: Trouble, clock: FakeClock) -> Work:
    runs: Any = SimpleNamespace(cancel=trouble.meet_async)
    return lambda: Followers(runs, None, clock, lambda _: None, lambda *_: None)._stop("r")  # type: ignore[arg-type]


def trying_what_may_pass(trouble: Trouble, clock: FakeClock) -> Work:
    return lambda: until_done(trouble.meet_async)


NOBODY = ()
REFUSED = (errors.RequestError,)
FOR_A_PERSON = (errors.RequestError, errors.JournalDamaged, errors.SchemaTooNew, errors.StandsBy)


@dataclass(frozen=True)
class Loop:
    """A loop, what `background` calls it, and which errors end what it does, as they should."""

    make: Callable[[Trouble, FakeClock], Work]
    names: tuple[str, ...]
    ended_by: tuple[type[BaseException], ...] = NOBODY
    endless: bool = True
    pauses_for_real: bool = False
    step_s: float = 1.0


LOOPS = [
    Loop(listing_timers, ("ring timers",)),
    Loop(waking_owners, ("ring timers",), REFUSED),  # a refused timer is for nobody, and done with
    Loop(sweeping_idle_hosts, ("let idle conversations go",)),
    Loop(keeping_a_reign, ("keep the reign",)),
    Loop(
        obeying,
        ("go on with what was left", "go on with what is stored", "go on with the schedules"),
        pauses_for_real=True,
    ),
    Loop(hearing_who_rules, ("hear who rules",)),
    Loop(sweeping_a_cluster, ("look for unfinished work",)),
    Loop(keeping_step_workers, ("keep step workers",)),
    Loop(deciding_how_many_hosts, ("decide how many shared hosts there are",)),
    # A host that cannot be started is left to its first caller.
    Loop(starting_shared_hosts, ("start the shared hosts",), (ValueError,), endless=False, pauses_for_real=True),
    Loop(staying_registered, ("stay registered",)),
    Loop(telling_which_functions_are_named, ("tell which functions are named",), endless=False),
    Loop(leaving_when_idle, ("leave when idle",)),
    Loop(keeping_schedules_open, ("keep the schedules open",)),
    Loop(removing_old_runs, ("remove old runs of schedules",), step_s=600.0),
    Loop(stopping_a_run, ("follow run",), REFUSED, endless=False),
    Loop(trying_what_may_pass, ("what",), FOR_A_PERSON, endless=False),
]


async def goes_on(loop: Loop, kind: type[BaseException]) -> bool:
    clock, trouble = FakeClock(START), Trouble(kind)
    least = 1 if issubclass(kind, loop.ended_by) else 4
    task = background(loop.make.__name__, loop.make(trouble, clock), clock)
    try:
        for _ in range(200):
            await clock.advance(loop.step_s)
            if trouble.met >= least:
                break
            await asyncio.sleep(0.001) if loop.pauses_for_real else None
        return trouble.met >= least and not (task.done() and loop.endless)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.make.__name__)
async def test_loop_goes_on(loop: Loop) -> None:
    assert [kind.__name__ for kind in KINDS if not await goes_on(loop, kind)] == []


def test_every_loop_in_the_background_is_among_these() -> None:
    known = {name for loop in LOOPS for name in loop.names}
    package = Path(errors.__file__).parent
    found: set[str] = set()
    sources = [path.read_text() for path in package.rglob("*.py")]
    for source in sources:
        for call in ast.walk(ast.parse(source)) if "background(" in source else ():
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "background":
                found.add(ast.unparse(call.args[0]).removeprefix("f").strip("'\"").split(" {")[0])
    assert found == known
