"""Whether a bucket still is the one that this process began with.

A bucket can be emptied, restored or replaced beneath a running program. Records written after that would be
acknowledged, and unreadable: what comes before them is gone. So the first writer of a place leaves a mark in it, and
whoever has seen the mark looks for it beside each write, and before it believes that something is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused

MARK = "rojak-store!"
"""A name that no key has, so listings leave it out, of characters that every vendor takes in every place."""


class Presence:
    """Knows the mark of one place, once it was seen."""

    def __init__(
        self,
        url: str,
        read: Callable[[str], Awaitable[bytes]],
        create: Callable[[str, bytes], Awaitable[None]],
        new_id: Callable[[], str],
    ) -> None:
        """`read` and `create` take names relative to the place, and raise what a store's methods do."""
        self._url = url
        self._read = read
        self._create = create
        self._new_id = new_id
        self._mark: bytes | None = None
        self._looking: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    @property
    def known(self) -> bool:
        """Whether the mark was seen."""
        return self._mark is not None

    async def confirm(self) -> None:
        """See that the mark is there; the first time, leave one if there is none.

        Those who ask while somebody is looking share what is found.

        Raises:
            StoreRefused: It is gone, or another one is there.
            StorageError: It cannot be told now.
        """
        loop = asyncio.get_running_loop()
        task = self._looking.get(loop)
        if task is None or task.done():
            self._looking = {each: kept for each, kept in self._looking.items() if not each.is_closed()}
            task = self._looking[loop] = asyncio.ensure_future(self._look())
        await asyncio.shield(task)

    async def _look(self) -> None:
        try:
            found = await self._read(MARK)
        except ObjectNotFound:
            if self.known:
                raise StoreRefused(
                    f"{self._url} was emptied or replaced while it was in use: what was stored there is gone. Put it "
                    "back (from a backup, or the bucket's versions). To begin anew in the empty place, end every "
                    "program that uses it and start them again."
                ) from None
            found = await self._leave()
        if self.known and found != self._mark:
            raise StoreRefused(
                f"{self._url} was replaced while it was in use: another store is there now. End every program that "
                "uses it, and start them again once it holds what they shall use."
            )
        self._mark = found

    async def _leave(self) -> bytes:
        mark = self._new_id().encode()
        try:
            await self._create(MARK, mark)
        except ObjectExists:  # somebody else's, or ours, after a lost reply
            return await self._read(MARK)
        return mark
