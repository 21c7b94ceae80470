"""`Orders`: who wants this cluster to take over. An order that has a name is carried out once, whenever it comes again.

The claim that carries one out bears its name, which is noted beside the claims afterwards: a claim is forgotten when
many others have followed it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from rojak_ray.errors import ObjectExists, ObjectNotFound
from rojak_ray.ids import digest
from rojak_ray.journal.paths import Paths
from rojak_ray.reign.records import Claim, encode_note
from rojak_ray.storage.base import Store


class Orders:
    """What one keeper was told.

    Crash safety:
        An order is durable with the claim that carries it out. Whoever dies before has not taken it: it has to be
        given again. Between the claim and the note the claim itself tells.
    """

    def __init__(self, store: Store, paths: Paths, cluster: str) -> None:
        """None was given."""
        self._store = store
        self._paths = paths
        self._cluster = cluster
        self._unnamed = False
        self._named: list[str] = []

    def __bool__(self) -> bool:
        """Whether one is to be carried out."""
        return self._unnamed or bool(self._named)

    def give(self, request_id: str | None) -> None:
        """Take over, whoever rules; with an id: unless that was done before."""
        if request_id is None:
            self._unnamed = True
        elif (name := digest({"take over": request_id})) not in self._named:
            self._named.append(name)

    @property
    def next(self) -> str:
        """What the next claim bears."""
        return self._named[0] if self._named else ""

    async def sort(self, claims: Iterable[Claim | None], *, rules: bool) -> None:
        """Forget those that were carried out before, and where this cluster `rules` already, all of them.

        Raises:
            StorageError: It cannot be told; all of them stay.
        """
        if rules:
            self._unnamed = False
        borne = {claim.order for claim in claims if claim is not None}
        for name in list(self._named):
            noted = await self._is_noted(name)
            if not noted and (rules or name in borne):
                await self.note(name)
            if noted or rules or name in borne:
                self._named.remove(name)

    async def note(self, name: str) -> None:
        """Remember that an order was carried out; nothing for a claim that bore none."""
        if name:
            with contextlib.suppress(ObjectExists):
                await self._store.put_new(self._paths.order(name), encode_note(self._cluster))

    async def _is_noted(self, name: str) -> bool:
        try:
            await self._store.get(self._paths.order(name))
        except ObjectNotFound:
            return False
        return True
