"""`Catalog`: what a namespace's workers have registered. In memory only; workers register again if it is lost.

Everything is addressed by content: a directory says which parcel serves a name, type or reference, and parcels never
change. So hosts may keep an old directory for a moment, and step workers keep parcels for as long as they like.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rojak_ray.agents.registry import meant
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.ids import RandomIds
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ProviderEntry

logger = logging.getLogger(__name__)

Version = tuple[str, int]
"""Which life of the catalog, and how many changes it has seen."""


@dataclass(frozen=True)
class Directory:
    """What is registered, without the code."""

    version: Version = ("", 0)
    by_ref: dict[str, FunctionEntry] = field(default_factory=dict[str, FunctionEntry])
    by_name: dict[str, FunctionEntry] = field(default_factory=dict[str, FunctionEntry])
    providers: dict[tuple[str, str], ProviderEntry] = field(default_factory=dict[tuple[str, str], ProviderEntry])
    step_workers: tuple[str, ...] = ()
    """Ray names of the step workers, those of one node together."""

    def after(self, earlier: Directory) -> Directory:
        """This directory; if an earlier life of the catalog knew more, that too, until workers register again.

        Step workers keep the code they have loaded, so a lost catalog need not stop the conversations it served.
        """
        if self.version[0] == earlier.version[0]:
            return self
        return replace(
            self,
            by_ref={**earlier.by_ref, **self.by_ref},
            by_name={**earlier.by_name, **self.by_name},
            providers={**earlier.providers, **self.providers},
        )

    def without(self, key: str) -> Directory:
        """This directory but for what is in a parcel nobody has; of no version, so that all of it is fetched again."""
        return replace(
            self,
            version=("", 0),
            by_ref={ref: entry for ref, entry in self.by_ref.items() if entry.key != key},
            by_name={name: entry for name, entry in self.by_name.items() if entry.key != key},
            providers={what: entry for what, entry in self.providers.items() if entry.key != key},
        )

    def function(self, ref: FunctionRef) -> FunctionEntry | None:
        """The function a reference stands for."""
        return meant(ref, self.by_ref, self.by_name)


class Catalog:
    """Takes registrations and answers with directories and parcels."""

    def __init__(self, settings: RuntimeSettings) -> None:
        """Know nothing; a new life begins."""
        self._settings = settings
        self._directory = Directory(version=(RandomIds().new_id(), 0))
        self._parcels: dict[str, Parcel] = {}
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
        functions: Sequence[FunctionEntry],
        providers: Sequence[ProviderEntry],
        parcels: Sequence[Parcel],
        *,
        named: bool,
    ) -> Version:
        """Add to the directory, replacing what is of the same reference, name or type.

        Args:
            functions: To be found by reference.
            providers: To be found by type; those from an environment do not replace a worker's.
            parcels: The code of both.
            named: Whether the functions are also to be found by name (a worker's are).

        Returns:
            The directory's new version.
        """
        async with self._lock:
            old = self._directory
            self._parcels.update({parcel.key: parcel for parcel in parcels})
            by_ref = {entry.ref.ref or "": entry for entry in functions}
            by_name = {entry.ref.name: entry for entry in functions} if named else {}
            types = dict(old.providers)
            for entry in providers:
                known = types.get((entry.kind, entry.type))
                if known is None or known.from_environment or not entry.from_environment:
                    types[(entry.kind, entry.type)] = entry
            self._directory = replace(
                old,
                version=(old.version[0], old.version[1] + 1),
                by_ref={**old.by_ref, **by_ref},
                by_name={**old.by_name, **by_name},
                providers=types,
            )
            return self._directory.version

    async def directory_after(self, version: Version) -> Directory | None:
        """The directory, or None if the caller has it already."""
        return None if version == self._directory.version else self._directory

    async def parcel(self, key: str) -> Parcel | None:
        """A parcel by its key; None if it was registered in an earlier life only."""
        return self._parcels.get(key)

    async def place_step_workers(self, names: tuple[str, ...]) -> None:
        """Say which step workers there are."""
        async with self._lock:
            old = self._directory
            if names != old.step_workers:
                self._directory = replace(old, version=(old.version[0], old.version[1] + 1), step_workers=names)
