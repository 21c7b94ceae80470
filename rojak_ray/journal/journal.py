"""One owner's journal, opened for writing under an epoch.

The protocol, whose steps are numbered in the code:

1. Claim: create the next epoch object.
2. Load: read the latest snapshot and every record after it, without gaps; refuse if a newer epoch has written.
3. Fence: create a record in the next slot; an older writer that wakes up finds the slot taken and stops.
4. Verify: list again; a record or snapshot beyond the fence means that the world moved, so start over.
5. Serve: one append in flight.
6. Resolve: a conflict or an unknown outcome is settled by reading the slot back.

A journal in which nothing was found and whose very first claim is then ours is new: everybody claims before writing,
so there is nothing to load, nobody to fence, and steps 2 to 4 are left out.

Creating an object that must not exist is the only primitive used. Older epochs' records after a newer fence are void
for every reader. Reads need no claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Generic

from rojak_ray.clock import Clock
from rojak_ray.core.events import Event
from rojak_ray.core.state import SessionState
from rojak_ray.errors import Fenced, ObjectExists, ObjectNotFound, StorageError, StoreUnavailable
from rojak_ray.ids import IdSource
from rojak_ray.journal.aggregate import CONVERSATION, Aggregate, EventT, StateT
from rojak_ray.journal.blobs import Blobs, is_large
from rojak_ray.journal.compaction import compact, purge
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import JournalRecord, RecordKind, listed_number, read_header, seal, unseal
from rojak_ray.journal.replay import replay
from rojak_ray.journal.snapshots import Position, Snapshot, write_snapshot
from rojak_ray.journal.tail import mark_tail
from rojak_ray.journal.thresholds import SNAPSHOT_BYTES, SNAPSHOT_REPLAYED
from rojak_ray.storage.base import Store

_WRITE_ATTEMPTS = 4
_OPEN_ATTEMPTS = 8
_FIRST_WAIT_S = 0.05


class _Unsettled(Exception):
    """The world moved while we were opening; try again."""


class AggregateJournal(Generic[StateT, EventT]):
    """The right to append to one owner's events, until a newer epoch takes it."""

    def __init__(
        self,
        store: Store,
        paths: Paths,
        owner: Owner,
        clock: Clock,
        ids: IdSource,
        aggregate: Aggregate[StateT, EventT],
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        """Nothing is read or claimed yet; call `open`."""
        self.owner = owner
        self._store = store
        self._paths = paths
        self._clock = clock
        self._ids = ids
        self._aggregate = aggregate
        self._snapshot_after = snapshot_bytes
        self._epoch = 0
        self._seen_epoch = 0
        """Of a record that was written under a claim which is gone."""

        self._position = Position()
        self._fences: tuple[int, ...] = ()
        self._begins = Position()
        self._bytes_since_snapshot = 0
        self._replayed_since_snapshot = 0
        self._snapshot_bytes = 0
        self._blobs = Blobs(store, paths, owner, clock)
        self._tail = 0
        self._refusal: StorageError | None = StoreUnavailable(f"The journal of {owner} is not open; open it first.")
        """Why nothing may be appended now: not open, fenced, or a write whose outcome is unknown."""

        self._settled = asyncio.Event()
        """Not set while an append is under way."""

        self._settled.set()

    @property
    def position(self) -> Position:
        """The last record appended or replayed."""
        return self._position

    @property
    def epoch(self) -> int:
        """The claim under which it is open; 0 before."""
        return self._epoch

    async def open(self, *, new: bool = False) -> StateT:
        """Claim the journal, fence older writers and fold what is there.

        Args:
            new: Nothing but claims was found a moment ago; so nothing will be read if the first claim is ours.

        Raises:
            Fenced: Somebody newer keeps winning.
            JournalDamaged: A record is missing or cannot be trusted.
            StoreUnavailable: The store did not answer; nothing is lost, try later.

        Crash safety:
            A claim without a fence binds nobody. After the fence no older writer's append counts.
        """
        self._refusal = StoreUnavailable(f"The journal of {self.owner} is not open; open it first.")
        if new and await self._claim_epoch(1):
            self._refusal = None
            return self._aggregate.begin(self.owner)
        for attempt in range(_OPEN_ATTEMPTS):
            try:
                state = await self._open_once()
            except _Unsettled:
                await self._clock.sleep(_FIRST_WAIT_S * attempt)
            else:
                self._refusal = None
                return state
        raise Fenced(f"Other writers keep claiming {self.owner}; gave up after {_OPEN_ATTEMPTS} tries.")

    async def _open_once(self) -> StateT:
        await self._claim()  # 1
        replayed = await replay(self._store, self._paths, self.owner, self._aggregate)  # 2
        if replayed.position.epoch >= self._epoch:  # equal only if somebody removed claims by hand
            self._seen_epoch = replayed.position.epoch
            raise _Unsettled
        self._position = replayed.position
        self._tail = replayed.tail
        self._begins = replayed.begins
        self._bytes_since_snapshot = replayed.size
        self._replayed_since_snapshot = replayed.records
        self._snapshot_bytes = replayed.snapshot_size
        await self._write("fence", ())  # 3
        self._fences = (*replayed.fences, self._position.slot)
        beyond = await self._store.list(  # 4
            self._paths.log(self.owner), after=self._paths.slot(self.owner, self._position.slot), limit=1
        )
        overtaken = await self._store.list(
            self._paths.snapshots(self.owner), after=self._paths.snapshot(self.owner, self._position.slot, ""), limit=1
        )
        if beyond or overtaken:
            raise _Unsettled
        return replayed.state  # 5

    async def append(self, events: Sequence[EventT]) -> int:
        """Append events; all of them land or none do. One append at a time.

        Args:
            events: Facts in the order they happened; never empty.

        Returns:
            Sequence number of the last event.

        Raises:
            Fenced: A newer writer took over. Stop, answer nobody.
            StoreUnavailable: Whether the events landed is unknown. Drop this object; opening the journal again tells.

        Crash safety:
            When it returns, the events survive the loss of this process and machine (of the bucket's promises, more).
            If it raised or the process died, the next `open` either replays them or never will.
        """
        if self._refusal is not None:
            raise self._refusal
        unsettled = StoreUnavailable(f"The journal of {self.owner} has an unsettled write; open it again.")
        self._refusal = unsettled
        self._settled.clear()
        try:
            await self._write("events", tuple(events))
        except Fenced as fenced:
            self._refusal = fenced
            raise
        except ValueError:  # what JSON cannot hold; nothing was written
            self._clear(unsettled)
            raise
        finally:
            self._settled.set()
        self._clear(unsettled)
        return self._position.seq

    def _clear(self, refusal: StorageError) -> None:
        """This is no reason any more; another one, which `confirm` found meanwhile, stays."""
        if self._refusal is refusal:
            self._refusal = None

    async def confirm(self) -> None:
        """See that nobody has taken over, for answers that rest on what was appended before.

        An append that is under way is waited for: if it lands, nobody had.

        Raises:
            Fenced: A newer writer took over. Stop, answer nobody.
            StorageError: It cannot be told now; the journal may still be appended to.
        """
        if not self._settled.is_set():
            before = self._position.slot
            await self._settled.wait()
            if self._position.slot > before:
                return
        if self._refusal is not None:
            raise self._refusal
        last = self._paths.slot(self.owner, self._position.slot)
        for key in await self._store.list(self._paths.log(self.owner), after=last):
            slot = listed_number(key)
            try:
                other = read_header(key, unseal(key, await self._store.get(key))[0], self.owner, slot)
            except ObjectNotFound:
                other = None  # only a newer writer compacts what comes after ours
            if other is None or other.epoch > self._epoch:
                self._refusal = Fenced(f"A newer writer took over {self.owner}.", key=key)
                raise self._refusal

    @property
    def wants_snapshot(self) -> bool:
        """Whether enough was recorded since the last snapshot, by whomever.

        As many bytes as the snapshot takes, so that cost per event is flat; or so many records that opening took long.
        """
        enough = self._bytes_since_snapshot >= max(self._snapshot_after, self._snapshot_bytes)
        return enough or self._replayed_since_snapshot >= SNAPSHOT_REPLAYED

    def take_snapshot(self, state: StateT) -> Snapshot[StateT]:
        """A snapshot of `state`, which is the fold of exactly what was appended so far; `save` writes it."""
        self._bytes_since_snapshot = self._replayed_since_snapshot = 0
        return Snapshot(self._position, self._fences, state, self._begins)

    async def save(self, snapshot: Snapshot[StateT]) -> None:
        """Write a snapshot and compact the log behind it. Appends may go on meanwhile.

        Raises:
            StorageError: Nothing is lost; a later snapshot covers the same.
        """
        _, size = await write_snapshot(self._store, self._paths, self.owner, snapshot, self._blobs, self._ids.new_id())
        self._snapshot_bytes = size
        await compact(self._store, self._paths, self.owner, self._blobs)

    async def purge(self, state: StateT) -> None:
        """Remove everything but `state`, which is the fold of exactly what was appended so far.

        Fences stay, and a snapshot: an older writer must not find the slots free. No other snapshot may be on its way.

        Raises:
            StorageError: Some of it may be removed; call it again, here or after the next `open`.
        """
        self._begins = self._position
        self._tail = self._position.slot  # the snapshot witnesses it
        snapshot = self.take_snapshot(state)
        key, self._snapshot_bytes = await write_snapshot(
            self._store, self._paths, self.owner, snapshot, self._blobs, self._ids.new_id()
        )
        try:
            await purge(self._store, self._paths, self.owner, self._blobs, key)
        except ObjectNotFound as error:
            raise Fenced(f"A newer writer took over {self.owner} and removed our snapshot.", key=key) from error

    @property
    def tail_marked(self) -> bool:
        """Whether the last record is marked as the last."""
        return self._tail >= self._position.slot

    async def mark_tail(self) -> None:
        """Mark the last record, so that its removal would be noticed. For quiet moments; appends may go on meanwhile.

        Raises:
            StorageError: It is not marked; nothing else is affected.
        """
        slot = self._position.slot
        if slot > self._tail:
            await mark_tail(self._store, self._paths, self.owner, slot, self._tail)
            self._tail = slot

    async def _claim(self) -> None:
        prefix = self._paths.epochs(self.owner)
        keys = await self._store.list(prefix)
        epoch = 1 + max([self._seen_epoch, *map(listed_number, keys)])
        while not await self._claim_epoch(epoch):
            epoch += 1

    async def _claim_epoch(self, epoch: int) -> bool:
        """Claim an epoch; False if somebody else has it."""
        write_id = self._ids.new_id()
        document = {"version": 1, "owner_kind": self.owner.kind, "owner_id": self.owner.id, "write_id": write_id}
        data, _ = seal({**document, "at": self._clock.now().isoformat()})
        if not await self._create(self._paths.epoch(self.owner, epoch), data, write_id):
            return False
        self._epoch = self._blobs.epoch = epoch
        return True

    async def _write(self, kind: RecordKind, events: tuple[EventT, ...]) -> None:
        """Put a record into the next free slot, stepping over void stragglers."""
        record = self._next_record(kind, events)
        while True:
            data, checksum = await self._encode(record)
            slot, key = record.slot, self._paths.slot(self.owner, record.slot)
            try:
                created = await self._create(key, data, record.write_id)
                if not created:
                    await self._yield_to(key, slot, fencing=kind == "fence")
            except ObjectNotFound as error:
                # It was there, and a newer writer compacted it before we could read whose it is.
                if kind == "fence":
                    raise _Unsettled from error
                raise Fenced(f"A newer writer took over {self.owner}.", key=key) from error
            if created:
                seq = self._position.seq + len(events)
                self._position = Position(slot=slot, seq=seq, epoch=self._epoch, checksum=checksum)
                self._bytes_since_snapshot += len(data)
                return
            record = record.model_copy(update={"slot": slot + 1})

    def _next_record(self, kind: RecordKind, events: tuple[EventT, ...]) -> JournalRecord:
        """What follows the last record, in the slot after it."""
        return JournalRecord(
            owner_kind=self.owner.kind,
            owner_id=self.owner.id,
            slot=self._position.slot + 1,
            epoch=self._epoch,
            write_id=self._ids.new_id(),
            previous=self._position.checksum,
            first_seq=self._position.seq + 1,
            at=self._clock.now().isoformat(),
            kind=kind,
            events=events,
        )

    async def _encode(self, record: JournalRecord) -> tuple[bytes, str]:
        document = record.model_dump(mode="json")
        data, checksum = seal(document)
        if not is_large(data):
            return data, checksum
        return seal(await self._blobs.carve(document, "events", record.slot))

    async def _yield_to(self, key: str, slot: int, *, fencing: bool) -> None:
        """Another record is in our slot: stop if its writer is newer, step over it if it is void."""
        other = read_header(key, unseal(key, await self._store.get(key))[0], self.owner, slot)
        if fencing:
            # Written between our replay and our fence: it may count, so read it first.
            raise _Unsettled
        if other.epoch >= self._epoch:
            raise Fenced(f"A newer writer took over {self.owner}.", key=key)

    async def _create(self, key: str, data: bytes, write_id: str) -> bool:  # 6
        """Create the object; False if somebody else's is there. A lost reply is settled by reading back."""
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                await self._store.put_new(key, data)
            except ObjectExists:
                return await self._is_mine(key, write_id)
            except StoreUnavailable:
                if await self._landed(key, write_id):
                    return True
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise
                await self._clock.sleep(_FIRST_WAIT_S * 2**attempt)
            else:
                return True
        raise StoreUnavailable(f"{key} could not be written.", key=key)

    async def _is_mine(self, key: str, write_id: str) -> bool:
        document, _ = unseal(key, await self._store.get(key))
        return document.get("write_id") == write_id

    async def _landed(self, key: str, write_id: str) -> bool:
        try:
            return await self._is_mine(key, write_id)
        except (ObjectNotFound, StoreUnavailable):
            return False


class Journal(AggregateJournal[SessionState, Event]):
    """The journal of a conversation."""

    def __init__(
        self,
        store: Store,
        paths: Paths,
        owner: Owner,
        clock: Clock,
        ids: IdSource,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        """Nothing is read or claimed yet; call `open`."""
        super().__init__(store, paths, owner, clock, ids, CONVERSATION, snapshot_bytes)
