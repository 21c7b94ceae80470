"""`ReignKeeper`: one a cluster. It looks at storage, claims, renews, yields and signs off as `succession` has it.

What it finds out is in its `reign`, which the cluster's other processes learn from. Epochs and fences, not the reign,
are the proof that one writer counts: the reign only keeps two honest clusters from working on the same things.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from rojak_ray.clock import Clock
from rojak_ray.errors import JournalDamaged, ObjectExists, ObjectNotFound, SchemaTooNew, StorageError
from rojak_ray.journal.paths import Paths
from rojak_ray.logs import get_logger
from rojak_ray.reign.orders import Orders
from rojak_ray.reign.records import Claim, decode_claim, encode_claim, encode_note
from rojak_ray.reign.reign import Duty, Reign, Standing
from rojak_ray.reign.succession import Memory, Move, ReignSettings, Sight, judge
from rojak_ray.reign.witness import begin_life, end_life, is_dead, lives
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_KEPT = 8
"""Earlier reigns whose objects are kept, for people who ask what happened."""

_LEAVE_S = 2.0

_DUTIES = {
    Move.CLAIM: Duty.FREE,
    Move.WAIT: Duty.UNKNOWN,
    Move.RULE: Duty.RULES,
    Move.YIELD: Duty.YIELDS,
    Move.SIGN_OFF: Duty.STANDS_BY,
    Move.STAND_BY: Duty.STANDS_BY,
}


class ReignKeeper:
    """Keeps a cluster's reign, or waits for one.

    Crash safety:
        A claim binds from the moment it is there; a keeper that is started again for the same cluster finds it and goes
        on. Whoever dies without signing off is followed after `takeover_after_s`, or at once if its death can be seen.
    """

    def __init__(
        self,
        store: Store,
        paths: Paths,
        claim: Claim,
        clock: Clock,
        settings: ReignSettings | None = None,
    ) -> None:
        """Nothing is read before the first `step`.

        Args:
            store: Where.
            paths: Of the namespace.
            claim: Who this cluster is; the number is filled in.
            clock: Time and sleep.
            settings: Intervals.
        """
        self._store = store
        self._paths = paths
        self._claim = claim
        self._clock = clock
        self._settings = settings or ReignSettings()
        self.reign = Reign(clock, self._settings.patience_s)
        self.drained: Callable[[int], Awaitable[bool]] = _at_once
        """Whether nothing of a reign that this cluster yields is open any more."""

        self._memory = Memory()
        self._claims: dict[int, Claim | None] = {}
        """Claims that were read; None for one that cannot be."""

        self._confirmed_at = float("-inf")
        """When the last claim or renewal of ours that landed was begun."""

        self._renewals: int | None = None
        """How often the reign was renewed; None: not known since it was taken over from an earlier life."""

        self.ruler_lives = False
        """Whether another ruler is known to live: its process does, or it has renewed its reign since it was seen."""

        self.has_work: Callable[[], Awaitable[bool]] = _always
        """Whether there is anything to go on with. Where there is not, nothing is claimed before somebody asks."""

        self._wanted = False
        self._looked_at: tuple[int, bool, int] | None = None
        """What had been seen of others when it was last found out whether there is work."""

        self._orders = Orders(store, paths, claim.cluster)
        self._hurry = asyncio.Event()
        self.reign.on_want = self.want

    def order(self, request_id: str | None = None) -> None:
        """Take over, whoever rules; with a request's id it is done once, however often it is said."""
        if request_id is not None or not self.reign.rules:
            self._orders.give(request_id)
            self._hurry.set()

    def want(self) -> None:
        """Claim what nobody holds: there is something to do."""
        self._wanted = True
        if self.reign.standing.duty is Duty.FREE:
            self._hurry.set()

    async def run(self) -> None:
        """Go on for ever, for `background`; a cancelled keeper signs off if it can."""
        try:
            while True:
                await self.step()
                await self._pause()
        except asyncio.CancelledError:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Sign off at once: nothing is open here any more, or this process is ending."""
        held, self._memory = self._memory.held, Memory()
        self.reign.learn(Standing(Duty.STANDS_BY))
        end_life(self._claim.cluster)
        if held:
            try:
                async with asyncio.timeout(_LEAVE_S):
                    await self._sign_off(held)
            except (StorageError, TimeoutError) as error:
                logger.warning("could not sign off reign %d; the next cluster waits for it: %s", held, error)

    async def step(self) -> None:
        """Look and do what is to be done, until there is something to wait for.

        Raises:
            StorageError: Nothing can be known; the standing is what it was, and runs out.
        """
        begin_life(self._claim.cluster)
        while True:
            sight = await self._look()
            if self._orders:  # once the claim is made, looking again and again for them would only cost requests
                await self._orders.sort(self._claims.values(), rules=sight.mine and not sight.ended)
            drained = self._memory.yields and await self.drained(self._memory.held)
            now = self._clock.monotonic()
            memory, move = judge(self._memory, sight, now, self._settings, ordered=bool(self._orders), drained=drained)
            self.ruler_lives |= self._memory.progress[:2] == memory.progress[:2] != (0, False) and (
                self._memory.progress != memory.progress and move is Move.STAND_BY
            )
            if move is not Move.CLAIM or not await self._is_wanted(memory.progress):
                break
            self._memory = memory
            await self._try_to_claim(sight.number + 1)
        if move is Move.STAND_BY and (claim := self._claims.get(sight.number)) is not None:
            self.ruler_lives |= lives(claim.witness)
        if move is Move.SIGN_OFF:
            await self._sign_off(self._memory.held)
        self._memory = memory
        await self._follow(sight, move)

    async def _is_wanted(self, progress: tuple[int, bool, int]) -> bool:
        """Whether to claim what nobody holds."""
        if not self._wanted and not self._orders and progress != self._looked_at:
            self._wanted = await self.has_work()
            self._looked_at = progress
        return self._wanted or bool(self._orders)

    async def _follow(self, sight: Sight, move: Move) -> None:
        if move is Move.RULE:
            await self._renew(sight.number)
        elif move is Move.YIELD:
            await self._renew(self._memory.held)
        standing = Standing(
            _DUTIES[move],
            sight.number if move is not Move.YIELD else self._memory.held,
            self._memory.handover,
            sight.number if move is Move.YIELD else 0,
            "" if move in {Move.RULE, Move.CLAIM, Move.WAIT} else self._title(sight.number),
        )
        before = self.reign.standing
        now = self._clock.monotonic()
        valid_s = self._confirmed_at + self._settings.takeover_after_s - self._settings.margin_s - now
        left_s = self._memory.since + self._settings.drain_s - now
        self.reign.learn(standing, valid_s, left_s if move is Move.YIELD else float("inf"))
        if (standing.duty, standing.number) != (before.duty, before.number):
            self._say(standing)
            if move is Move.RULE:
                await self._tidy(sight.number)

    def _say(self, standing: Standing) -> None:
        words = {
            Duty.RULES: "this cluster rules here",
            Duty.YIELDS: f"this cluster lets go of everything: {standing.ruler} took over",
            Duty.STANDS_BY: f"this cluster stands by: {standing.ruler} rules here",
        }
        if standing.duty not in words:
            return
        level = logging.INFO if standing.duty is Duty.RULES else logging.WARNING
        logger.log(level, "%s (reign %d of %r)", words[standing.duty], standing.number, self._paths.namespace)

    def _title(self, number: int) -> str:
        claim = self._claims.get(number)
        return claim.title if claim is not None else "a cluster whose claim cannot be read"

    async def _pause(self) -> None:
        """Until the next look, or an order."""
        hurried = self._memory.yields or self._memory.handover
        self._hurry.clear()
        if self._orders:
            return
        sleeping = asyncio.create_task(
            self._clock.sleep(self._settings.hurry_s if hurried else self._settings.look_s), name="until the next look"
        )
        hurrying = asyncio.create_task(self._hurry.wait(), name="until an order")
        try:
            await asyncio.wait({sleeping, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            hurrying.cancel()

    async def _look(self) -> Sight:
        """One LIST of claims; one more of renewals if somebody else's are of interest."""
        numbers, ended = await list_claims(self._store, self._paths)
        if not numbers:
            return Sight()
        number = max(numbers)
        open_before = [each for each in numbers if each < number and each not in ended]
        for each in [*open_before, number]:
            await self._read(each)
        self._claims = {each: self._claims[each] for each in [*open_before, number]}
        mine = self._is_mine(number)
        alive = [each for each in open_before if mine and not await self._dead(each)]
        before = max(alive, default=0)
        watched = before if mine else number
        return Sight(
            number=number,
            mine=mine,
            ended=number in ended,
            dead=not mine and number not in ended and await self._dead(number),
            renewals=await self._count(watched) if watched and watched not in ended else 0,
            earlier=before,
            mine_before=max(filter(self._is_mine, open_before), default=0),
        )

    async def _read(self, number: int) -> None:
        if self._claims.get(number) is not None:
            return
        key = self._paths.reign(number)
        try:
            self._claims[number] = decode_claim(key, await self._store.get(key))
        except (JournalDamaged, SchemaTooNew, ObjectNotFound) as error:
            if number not in self._claims:
                logger.warning("reign %d is somebody's, but its claim says not whose: %s", number, error)
            self._claims[number] = None

    def _is_mine(self, number: int) -> bool:
        claim = self._claims.get(number)
        return claim is not None and claim.cluster == self._claim.cluster

    async def _dead(self, number: int) -> bool:
        claim = self._claims.get(number)
        return claim is not None and not self._is_mine(number) and await is_dead(claim.witness)

    async def _count(self, number: int) -> int:
        """The latest renewal of a reign."""
        last = [key.rsplit("/", 1)[1] for key in await self._store.list(self._paths.renewals(number))][-1:]
        return int(last[0]) if last and last[0].isdecimal() else 0

    async def _try_to_claim(self, number: int) -> None:
        """Create the claim; the next look tells whose it is."""
        before = self._claims.get(number - 1)
        if before is not None:
            await self._orders.note(before.order)
        at = f"{self._clock.now():%Y-%m-%d %H:%M:%S} UTC"
        claim = self._claim.model_copy(update={"number": number, "at": at, "order": self._orders.next})
        began, self._renewals = self._clock.monotonic(), None
        with contextlib.suppress(ObjectExists):  # somebody else was faster, or this is ours and its reply was lost
            await self._store.put_new(self._paths.reign(number), encode_claim(claim))
            self._confirmed_at, self._renewals = began, 0

    async def _renew(self, number: int) -> None:
        """Say that this cluster lives, every so often. A renewal that fails is tried again at the next look."""
        began = self._clock.monotonic()
        if self._renewals is not None and began - self._confirmed_at < self._settings.renew_s:
            return
        if self._renewals is None:
            self._renewals = await self._count(number)
        try:
            await self._store.put_new(self._paths.renewal(number, self._renewals + 1), encode_note(self._claim.cluster))
        except ObjectExists:
            self._renewals = None  # of an earlier life of this keeper, or a reply that was lost: count again
            return
        self._renewals += 1
        self._confirmed_at = began
        if self._renewals > 2:
            await self._store.delete(self._paths.renewal(number, self._renewals - 2))

    async def _sign_off(self, number: int) -> None:
        with contextlib.suppress(ObjectExists):  # an earlier try, whose reply was lost
            await self._store.put_new(self._paths.reign_end(number), encode_note(self._claim.cluster))
        logger.info("reign %d of %r is over", number, self._paths.namespace)

    async def _tidy(self, number: int) -> None:
        """Remove what is left of reigns of long ago."""
        for key in await self._store.list(self._paths.reigns):
            old = key.rsplit("/", 1)[1].partition(".")[0]
            if old.isdecimal() and int(old) <= number - _KEPT:
                for renewal in await self._store.list(self._paths.renewals(int(old))):
                    await self._store.delete(renewal)
                await self._store.delete(key)


async def list_claims(store: Store, paths: Paths) -> tuple[set[int], set[int]]:
    """The numbers of the reigns that were claimed, and of those that are over."""
    numbers, ended = set[int](), set[int]()
    for key in await store.list(paths.reigns):
        number, _, end = key.rsplit("/", 1)[1].partition(".")
        if number.isdecimal() and end in {"", "end"}:  # what somebody else put there says nothing
            (ended if end else numbers).add(int(number))
    return numbers, ended


async def read_ruler(store: Store, paths: Paths) -> Claim | None:
    """The latest claim, unless nobody rules. Whether its holder lives is another question.

    Raises:
        JournalDamaged: It cannot be read. SchemaTooNew: a newer rojak_ray wrote it.
    """
    numbers, ended = await list_claims(store, paths)
    number = max(numbers, default=0)
    if number == 0 or number in ended:
        return None
    key = paths.reign(number)
    return decode_claim(key, await store.get(key))


async def _at_once(number: int) -> bool:
    return True


async def _always() -> bool:
    return True
