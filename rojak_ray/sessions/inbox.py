"""`Inbox`: what has arrived for a host, and who waits to hear that it is recorded. Whatever happens, they hear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from rojak_ray.core.commands import Command, Delete
from rojak_ray.errors import RojakError


@dataclass(slots=True)
class Item:
    """A command, and who waits for it to be recorded."""

    command: Command
    answer: asyncio.Future[bool] | None = None
    created: bool = False
    """Whether the conversation that is there is the one it began."""

    def respond(self, error: RojakError | None = None) -> None:
        """Tell who waits: it is recorded, or why not."""
        if self.answer is None or self.answer.done():
            return
        if error is None:
            self.answer.set_result(self.created)
        else:
            self.answer.set_exception(error)


class Inbox:
    """Items in the order they came. Once it has failed, whoever is in it, put back or comes later is told why."""

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._items: list[Item] = []
        self._arrived = asyncio.Event()
        self._failure: RojakError | None = None

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """The waiting items, the first one first."""
        return iter(self._items)

    def post(self, command: Command, *, answered: bool = False) -> asyncio.Future[bool]:
        """Add a command; the future is resolved when it is recorded, if it is to be `answered`."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # Nobody may read it: whoever asked may be gone, or had another command refused. That is no unhandled error.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._failure is not None:
            answer.set_exception(self._failure)
            return answer
        self._items.append(Item(command, answer if answered else None))
        self._arrived.set()
        return answer

    async def arrival(self) -> None:
        """Return as soon as something is there to be taken."""
        await self._arrived.wait()
        self._arrived.clear()

    def take(self) -> list[Item]:
        """What arrived, up to a deletion: a record that also began something new would hide it from the next host."""
        until = next((n for n, item in enumerate(self._items, 1) if isinstance(item.command, Delete)), None)
        items, self._items = self._items[:until], [] if until is None else self._items[until:]
        if self._items:
            self._arrived.set()
        return items

    def put_back(self, items: list[Item]) -> None:
        """These were taken and not recorded."""
        self._items = items + self._items
        self._tell_failure()

    def fail(self, error: RojakError) -> None:
        """Nothing is recorded from now on."""
        self._failure = self._failure or error
        self._tell_failure()

    def _tell_failure(self) -> None:
        if self._failure is None:
            return
        items, self._items = self._items, []
        for item in items:
            item.respond(self._failure)
