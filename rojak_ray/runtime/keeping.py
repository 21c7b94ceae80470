"""Where the processes that run functions keep whole results. Light: storage is loaded where something is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from rojak_ray.messages import Record

if TYPE_CHECKING:
    from rojak_ray.journal.kept import KeptResults


class KeepingPlace(Record):
    """An installation's storage, as it travels to a process that has a result to keep. It holds no credentials."""

    storage: str
    storage_options: dict[str, JsonValue] = {}
    namespace: str


class Keepers:
    """The places that this process has kept results in, each opened once."""

    def __init__(self) -> None:
        """None yet."""
        self._opened: dict[str, KeptResults] = {}

    def at(self, place: KeepingPlace) -> KeptResults:
        """What keeps results there."""
        name = place.model_dump_json()
        if name not in self._opened:
            # Processes that keep nothing, which are most, never load these.
            from rojak_ray.ids import RandomIds
            from rojak_ray.journal.kept import KeptResults
            from rojak_ray.journal.paths import Paths
            from rojak_ray.storage.open import open_store

            store = open_store(place.storage, place.storage_options)
            self._opened[name] = KeptResults(store, Paths(place.namespace), RandomIds())
        return self._opened[name]
