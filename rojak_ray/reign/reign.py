"""`Reign`: what one process knows about who rules. Whoever opens conversations asks it first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import StandsBy

_FINDING_OUT = 2
"""A cluster that has just started on a busy machine may need longer to find out; so many times as long."""


class Duty(StrEnum):
    """What a cluster may do."""

    UNKNOWN = "unknown"
    """Nothing: it has not found out yet."""

    RULES = "rules"
    """Everything."""

    YIELDS = "yields"
    """Finish what runs: another cluster has taken over."""

    FREE = "free"
    """Nobody rules, and so far there is nothing to do: it claims with the first request that changes something."""

    STANDS_BY = "stands by"
    """Take registrations and answer from storage."""


@dataclass(frozen=True)
class Standing:
    """Where a cluster stands."""

    duty: Duty = Duty.UNKNOWN
    number: int = 0
    """Of the reign that it holds or yields, else of the one that it stands by for; 0 where no reign is kept."""

    handover: bool = False
    """Whether it rules, but what earlier reigns have open must be waited for."""

    successor: int = 0
    """If it yields: the reign that follows."""

    ruler: str = ""
    """Who rules if not this cluster, for people."""

    def refusal(self) -> StandsBy:
        """The error for what is not done here now."""
        if self.duty in {Duty.UNKNOWN, Duty.FREE}:
            return StandsBy(
                "This cluster has not found out yet whether another one rules; nothing was done, ask again."
            )
        if self.duty is Duty.RULES:
            return StandsBy(
                "This cluster cannot renew its reign, so it begins nothing new; nothing was done, ask again."
            )
        verb = "was taken over from" if self.duty is Duty.YIELDS else "stands by"
        return StandsBy(
            f"This cluster {verb}: {self.ruler or 'another one'} rules here, as reign {self.number}. Nothing was done. "
            "Ask there, ask again later, or let this one take over (`rojak takeover`, or takeover=True in a program).",
            ruler=self.ruler,
        )


class Reign:
    """The standing of this process's cluster, and how long it holds without news."""

    def __init__(self, clock: Clock | None = None, patience_s: float = 10.0) -> None:
        """Nothing is known: nothing may be opened. `patience_s` as in `ReignSettings`."""
        self.patience_s = patience_s
        self._clock = clock or SystemClock()
        self._standing = Standing()
        self._valid_until = -math.inf
        self._ends_at = math.inf
        self._news = asyncio.Event()
        self.lapses = 0
        """How often this process, while its cluster ruled, went without news for too long and then heard that it rules
        still. What ended in between was left to whoever would rule next, so each time it has to be looked for anew."""

        self.on_want: Callable[[], None] | None = None
        """Told when somebody wants something begun here and must wait."""

    @classmethod
    def sole(cls) -> Reign:
        """Where nobody else can be, or where one is to act as if nobody were."""
        reign = cls()
        reign.learn(Standing(Duty.RULES))
        return reign

    @property
    def standing(self) -> Standing:
        """As it was heard last."""
        return self._standing

    @property
    def rules(self) -> bool:
        """Whether something new may be begun here now."""
        return self._standing.duty is Duty.RULES and self._clock.monotonic() < self._valid_until

    @property
    def valid_s(self) -> float:
        """For how long it may rule without another renewal."""
        return self._valid_until - self._clock.monotonic()

    @property
    def left_s(self) -> float:
        """If it yields: for how long what runs may go on."""
        return max(0.0, self._ends_at - self._clock.monotonic())

    def learn(self, standing: Standing, valid_s: float = math.inf, left_s: float = math.inf) -> None:
        """Take in what was heard; `valid_s` and `left_s` count from now."""
        now, ruled, seen = self._clock.monotonic(), self.rules, self._standing
        self._standing, self._valid_until, self._ends_at = standing, now + valid_s, now + left_s
        if self.rules and not ruled and seen.duty is Duty.RULES:
            self.lapses += 1
        if standing != seen or self.rules != ruled:
            self._news.set()
            self._news = asyncio.Event()

    async def news(self, seen: Standing, wait_s: float | None = None, lapses: int | None = None) -> Standing:
        """The standing, as soon as it is another one than was seen, or after some seconds.

        Args:
            seen: Standing that is known.
            wait_s: Most seconds; None for ever.
            lapses: If given, it also ends once there have been more of them than so.
        """
        try:
            async with asyncio.timeout(wait_s):
                while self._standing == seen and (lapses is None or self.lapses == lapses):
                    await self._news.wait()
        except TimeoutError:
            pass
        return self._standing

    async def admit(self) -> None:
        """Return when something new may be begun here.

        Raises:
            StandsBy: That is not so after `patience_s` seconds, or will not be: another cluster has just taken over.
                The text names the ruler.
        """
        if self._standing.duty is Duty.YIELDS:
            raise self._standing.refusal()
        if self.on_want is not None and not self.rules:
            self.on_want()
        if not await self._comes_to_rule(self.patience_s) and (
            self._standing.duty is not Duty.UNKNOWN or not await self._comes_to_rule(_FINDING_OUT * self.patience_s)
        ):
            raise self._standing.refusal()

    async def _comes_to_rule(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                while not self.rules:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True
