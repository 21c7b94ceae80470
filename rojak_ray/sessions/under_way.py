"""`UnderWay`: the steps of one conversation that are being run, or wait for their time, in this process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from rojak_ray.clock import Clock
from rojak_ray.concurrency import cancelled_by_us
from rojak_ray.core.commands import CheckTimers, RecordStep
from rojak_ray.core.steps import CallModel, Step, StepError, StepResult
from rojak_ray.logs import get_logger
from rojak_ray.sessions.failures import error_of
from rojak_ray.sessions.feed import Feed
from rojak_ray.sessions.ports import StepExecutor

logger = get_logger(__name__)

StepKey = tuple[str, int]
"""Which step, which attempt."""

_LONGEST_SLEEP_S = 60.0


class UnderWay:
    """Runs steps beside a host's loop and posts what comes of them as commands."""

    def __init__(
        self, executor: StepExecutor, clock: Clock, feed: Feed, post: Callable[[RecordStep | CheckTimers], object]
    ) -> None:
        """Nothing is under way."""
        self._executor = executor
        self._clock = clock
        self._feed = feed
        self._post = post
        self._tasks: dict[StepKey, asyncio.Task[None]] = {}
        self._sleeping: set[StepKey] = set()
        """Steps that wait for their time, with nothing going on."""

        self._awake = asyncio.Event()
        """Cleared from the moment the conversation is to rest, or to be left to another cluster."""

        self._awake.set()
        self._deadline: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Steps that run or wait for their time."""
        return len(self._tasks)

    @property
    def quiet(self) -> bool:
        """Whether all of them only wait for their time."""
        return len(self._sleeping) == len(self._tasks)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What has to be cancelled when the host ends."""
        return [*self._tasks.values(), *([self._deadline] if self._deadline is not None else [])]

    def start(self, step: Step) -> None:
        """Run a step, unless it is under way or nothing may begin."""
        key = (step.step_id, step.attempt)
        known = self._tasks.get(key)
        done = known is None or known.done()  # done: the same attempt again, as its code was missing
        if done and self._awake.is_set():
            task = asyncio.create_task(self._run(step), name=f"step {step.step_id}")
            self._tasks[key] = task
            task.add_done_callback(functools.partial(self._ended, key))

    def _ended(self, key: StepKey, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    def only(self, wanted: Iterable[Step], reported: Collection[StepKey]) -> None:
        """Stop what is not wanted any more and run what is, except steps whose results have come already."""
        steps = {(step.step_id, step.attempt): step for step in wanted}
        for key, task in list(self._tasks.items()):
            if key not in steps:
                task.cancel()
        for key, step in steps.items():
            if key not in reported:
                self.start(step)

    def watch(self, deadline: datetime | None) -> None:
        """Post `CheckTimers` at this time instead of any earlier one asked for."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if deadline is not None:
            self._deadline = asyncio.create_task(self._check_timers_at(deadline), name="deadline of an answer")

    def hold(self) -> None:
        """From now on no step begins."""
        self._awake.clear()

    def release(self) -> None:
        """Let them begin again."""
        self._awake.set()

    async def _check_timers_at(self, deadline: datetime) -> None:
        while (left := (deadline - self._clock.now()).total_seconds()) > 0:
            await self._clock.sleep(min(left, _LONGEST_SLEEP_S))  # in pieces, because the wall clock may be set
        self._post(CheckTimers(at=deadline))

    async def _run(self, step: Step) -> None:
        if step.wait_s > 0:
            await self._wait_for_turn(step)
        try:
            result = await self._execute(step)
        except GeneratorExit:  # the event loop is gone
            raise
        except asyncio.CancelledError:
            if cancelled_by_us():
                raise
            # Somebody else's cancellation escaped the executor: without a result the run would wait for ever.
            result = StepError(error_type="CancelledError", message="the step was cancelled from outside", lost=True)
        except BaseException as error:
            logger.exception("executor failed", extra={"step_id": step.step_id})
            result = error_of(error)
        self._post(RecordStep(step_id=step.step_id, attempt=step.attempt, result=result, at=self._clock.now()))

    async def _execute(self, step: Step) -> StepResult:
        if isinstance(step, CallModel) and self._feed.wanted:
            return await self._executor.execute(step, self._feed.listener(step))
        return await self._executor.execute(step)

    async def _wait_for_turn(self, step: Step) -> None:
        """Wait as long as the last failure asked for, less the time that passed in an earlier host."""
        left = (step.due - self._clock.now()).total_seconds() if step.due is not None else step.wait_s
        key = (step.step_id, step.attempt)
        self._sleeping.add(key)
        try:
            await self._clock.sleep(max(0.0, min(left, step.wait_s)))  # a clock that was set makes no wait longer
            await self._awake.wait()
        finally:
            self._sleeping.discard(key)
