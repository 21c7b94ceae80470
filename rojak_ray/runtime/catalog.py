"""`Catalog`: what a namespace's programs and workers have registered. In memory only: it is told again if it is lost.

Functions are looked up one by one; code is addressed by content, so step workers keep it as long as they like. What
is the same for all conversations (who answers for which type, where steps run) is a directory that hosts have a copy
of, and its version tells them when to look again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.ids import RandomIds
from rojak_ray.logs import get_logger
from rojak_ray.runtime.known import KnownFunctions
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ProviderEntry

logger = get_logger(__name__)

Version = tuple[str, int]
"""Which life of the catalog, and how many changes it has seen."""


@dataclass(frozen=True, slots=True)
class CatalogStatistics:
    """A look at a catalog."""

    functions: int
    needed_functions: int
    """Those that a program has, or a conversation, a schedule or a name."""

    parcels: int
    pid: int


@dataclass(frozen=True)
class Directory:
    """What concerns every conversation, without the code."""

    version: Version = ("", 0)
    providers: dict[tuple[str, str], ProviderEntry] = field(default_factory=dict[tuple[str, str], ProviderEntry])
    """What workers registered, by kind and type."""

    captured: dict[str, ProviderEntry] = field(default_factory=dict[str, ProviderEntry])
    """Those of programs' environments, by their fingerprints."""

    step_workers: tuple[str, ...] = ()
    """Ray names of the step workers, those of one node together."""

    def after(self, earlier: Directory) -> Directory:
        """This directory; if an earlier life of the catalog knew more, that too, until workers register again.

        Step workers that it knew serve until the new one has looked for them.

        Step workers keep the code they have loaded, so a lost catalog need not stop the conversations it served.
        """
        if self.version[0] == earlier.version[0]:
            return self
        return replace(
            self,
            providers={**earlier.providers, **self.providers},
            captured={**earlier.captured, **self.captured},
            step_workers=self.step_workers or earlier.step_workers,
        )

    def without(self, key: str) -> Directory:
        """This directory but for what is in a parcel nobody has; of no version, so that all of it is fetched again."""
        providers = {what: entry for what, entry in self.providers.items() if entry.key != key}
        captured = {name: entry for name, entry in self.captured.items() if entry.key != key}
        return replace(self, version=("", 0), providers=providers, captured=captured)


class Catalog:
    """Takes registrations and answers with directories, functions and parcels."""

    def __init__(self, settings: RuntimeSettings, clock: Clock | None = None) -> None:
        """Know nothing; a new life begins."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._directory = Directory(version=(RandomIds().new_id(), 0))
        self._functions = KnownFunctions()
        self._parcels: dict[str, Parcel] = {}
        """Of providers."""

        self._lock = asyncio.Lock()

    @property
    def directory(self) -> Directory:
        """What is registered."""
        return self._directory

    async def join(self, settings: RuntimeSettings) -> tuple[RuntimeSettings, Version]:
        """The settings in force: those of whoever came first, so that all agree where a conversation lives."""
        if settings != self._settings:
            logger.info("a client asks for other settings than are in force; they are ignored")
        return self._settings, self._directory.version

    async def register(
        self,
        program: str,
        functions: Sequence[FunctionEntry],
        providers: Sequence[ProviderEntry],
        parcels: Sequence[Parcel],
        *,
        named: bool,
    ) -> Version:
        """Add functions and providers, replacing providers of the same type and, if `named`, functions of that name.

        Args:
            program: The client that has them, or had the function that handed them over.
            functions: To be found by their references.
            providers: To be found by type, or by their fingerprints if they are of an environment.
            parcels: The code of both.
            named: Whether the functions are also to be found by name (a worker's are).

        Returns:
            The directory's new version.
        """
        async with self._lock:
            now = self._clock.monotonic()
            handed_over = bool(functions) and all(entry.handed_over for entry in functions)
            new = not handed_over and not self._functions.alive(program, now)
            self._functions.add(functions, parcels, now)
            if named:
                self._functions.name([entry.ref for entry in functions], now)
            provided = {entry.key for entry in providers}
            self._parcels.update({parcel.key: parcel for parcel in parcels if parcel.key in provided})
            defaults = {(entry.kind, entry.type): entry for entry in providers if not entry.fingerprint}
            captured = {entry.fingerprint: entry for entry in providers if entry.fingerprint}
            if providers or new or (named and functions):
                directory = self._directory
                self._change(providers={**directory.providers, **defaults}, captured={**directory.captured, **captured})
            return self._directory.version

    async def stay(self, program: str, gone: Sequence[str], hold_s: float = 0.0) -> tuple[Version, bool]:
        """A client lives, and does not have these functions any more.

        Args:
            program: The client.
            gone: Tokens of the functions.
            hold_s: How long the answer is held back if the client is known: one that waits hears at once if this
                process is lost.

        Returns:
            The directory's version, and whether the client was known: if not, it has to register everything again.
        """
        async with self._lock:
            now = self._clock.monotonic()
            known = self._functions.alive(program, now)
            self._functions.gone(program, gone, now)
            self._expire(now)
        if known and hold_s:
            await self._clock.sleep(hold_s)
        return self._directory.version, known

    async def leave(self, program: str) -> None:
        """A client ends. What conversations name of it stays, and so does what it registered by name."""
        async with self._lock:
            self._functions.leave(program, self._clock.monotonic())
            self._change()

    async def find(self, refs: Sequence[FunctionRef]) -> list[FunctionEntry | None]:
        """The functions that references mean: see `KnownFunctions.find`."""
        self._expire(self._clock.monotonic())
        return [self._functions.find(ref) for ref in refs]

    async def hold(self, added: Sequence[tuple[str, int]], dropped: Sequence[tuple[str, int]]) -> str:
        """Conversations name these functions, and those no more: see `KnownFunctions.hold`.

        Returns:
            This life of the catalog: one that is new was told of no conversation before.
        """
        self._functions.hold(added, dropped, self._clock.monotonic())
        return self._directory.version[0]

    async def keep(self, holder: str, tokens: Sequence[str]) -> None:
        """A schedule names these functions."""
        self._functions.keep(holder, tokens)

    async def release(self, holder: str) -> None:
        """It is deleted."""
        self._functions.release(holder, self._clock.monotonic())

    def _expire(self, now: float) -> None:
        if self._functions.expire(now):
            self._change()  # what is under an import path may be another program's now

    def _change(self, **changes: object) -> None:
        old = self._directory
        self._directory = replace(old, version=(old.version[0], old.version[1] + 1), **changes)  # pyright: ignore[reportArgumentType]

    async def directory_after(self, version: Version) -> Directory | None:
        """The directory, or None if the caller has it already."""
        return None if version == self._directory.version else self._directory

    async def parcel(self, key: str) -> Parcel | None:
        """A parcel by its key; None if it was registered in an earlier life only."""
        return self._parcels.get(key) or self._functions.parcel(key)

    async def statistics(self) -> CatalogStatistics:
        """Counts for people."""
        known = self._functions
        return CatalogStatistics(len(known), known.needed, len(self._parcels) + known.parcels, os.getpid())

    async def place_step_workers(self, names: tuple[str, ...]) -> None:
        """Say which step workers there are."""
        async with self._lock:
            if names != self._directory.step_workers:
                self._change(step_workers=names)
