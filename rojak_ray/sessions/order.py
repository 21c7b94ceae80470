"""Keeping one client's requests in the order it made them, over a transport that may overtake.

Ray runs the calls of an async actor in any order. So each request says which earlier request of the same client is
still unanswered, and the host lets it in after that one. A request that never arrives holds nobody up for long.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place among those of its client to one owner."""

    client: str
    number: int
    after: int
    """The latest earlier request that was unanswered when this one left; 0 if there was none."""


class Sequencer:
    """The client's side: numbers requests."""

    def __init__(self, client: str) -> None:
        """`client` is an id no other client has."""
        self._client = client
        self._last = 0
        self._open: dict[object, list[int]] = {}

    def enter(self, owner: object) -> Place:
        """A place for a request that is about to leave."""
        self._last += 1
        waiting = self._open.setdefault(owner, [])
        place = Place(self._client, self._last, waiting[-1] if waiting else 0)
        waiting.append(self._last)
        return place

    def leave(self, owner: object, place: Place) -> None:
        """The request was answered, or given up."""
        waiting = self._open[owner]
        waiting.remove(place.number)
        if not waiting:
            del self._open[owner]


class Turnstile:
    """The host's side: lets requests in by their places."""

    def __init__(self) -> None:
        """Nobody came yet."""
        self._entered: dict[str, set[int]] = {}
        self._arrivals: dict[tuple[str, int], asyncio.Event] = {}
        self.waiting = 0
        """Requests that wait for their turn."""

    async def enter(self, place: Place) -> None:
        """Return when it is this request's turn. The caller acts on it before its next await."""
        entered = self._entered.setdefault(place.client, set())
        if place.after and place.after not in entered:
            arrival = self._arrivals.setdefault((place.client, place.after), asyncio.Event())
            self.waiting += 1
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await arrival.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
                self._arrivals.pop((place.client, place.after), None)
        if not place.after:
            entered.clear()  # nothing earlier is under way, so nothing later will ask for it
        entered.add(place.number)
        arrival = self._arrivals.get((place.client, place.number))
        if arrival is not None:
            arrival.set()
