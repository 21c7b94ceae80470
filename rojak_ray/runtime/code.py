"""`CodeCache`: parcels fetched from the catalog and unpacked, once in each process that runs steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.registry import FunctionRegistry, implementation_of
from rojak_ray.agents.schema import FunctionDefinition
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import FunctionNotFound, ProviderNotFound
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.runtime.assignment import Assignment, function_key
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ship_function, unpack
from rojak_ray.sessions.providers import ProviderRegistry

FetchParcel = Callable[[str], Awaitable[Parcel | None]]
Announce = Callable[[list[FunctionEntry], list[Parcel]], Awaitable[None]]


class CodeCache:
    """Functions and providers of this process, by parcel."""

    def __init__(self, fetch: FetchParcel, announce: Announce) -> None:
        """`fetch` asks the catalog for a parcel; `announce` tells it of functions met in handed-over agents."""
        self._fetch = fetch
        self._announce = announce
        self._definitions: dict[str, FunctionDefinition] = {}
        self._providers: dict[str, Any] = {}
        self._builtin = ProviderRegistry()
        self._locks: dict[str, asyncio.Lock] = {}
        self._met = FunctionRegistry()
        self._known: set[str] = set()
        self._unannounced: list[Callable[..., Any]] = []

    async def definition(self, key: str) -> FunctionDefinition:
        """The function in a parcel."""
        found = self._definitions.get(key)
        if found is None:
            async with self._locks.setdefault(key, asyncio.Lock()):
                found = self._definitions.get(key)
                if found is None:
                    found = implementation_of(await self._load(key)).definition
                    self._definitions[key] = found
        return found

    async def provider(self, key: str) -> Any:
        """The provider in a parcel, with its connections."""
        found = self._providers.get(key)
        if found is None:
            async with self._locks.setdefault(key, asyncio.Lock()):
                found = self._providers.get(key)
                if found is None:
                    found = await self._load(key)
                    self._providers[key] = found
        return found

    async def builtin(self, agent_type: str) -> AgentActivities:
        """A built-in provider with settings from this node's environment."""
        return await self._builtin.agent_activities(agent_type)

    def refer(self, fn: Callable[..., Any]) -> FunctionRef:
        """Name a callable of an agent that a function handed over to; `publish_met` makes it known."""
        ref = self._met.refer(fn)
        if ref.ref not in self._known:
            self._known.add(ref.ref or "")
            self._unannounced.append(fn)
        return ref

    async def publish_met(self) -> None:
        """Tell the catalog of functions met since the last time, before anything refers to them."""
        met, self._unannounced = self._unannounced, []
        if met:
            shipped = [ship_function(implementation_of(fn)) for fn in met]
            await self._announce([entry for entry, _ in shipped], [parcel for _, parcel in shipped])

    async def _load(self, key: str) -> Any:
        parcel = await self._fetch(key)
        if parcel is None:
            raise FunctionNotFound("The code was registered with a cluster that is gone; start its worker again.")
        return unpack(parcel)


class AssignedSources:
    """The functions and providers of one assignment, as `StepRunner` wants them."""

    def __init__(self, cache: CodeCache, assignment: Assignment) -> None:
        """Resolve for this assignment only."""
        self._cache = cache
        self._assignment = assignment

    async def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        """The function behind a reference."""
        key = self._assignment.functions.get(function_key(ref))
        if key is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return await self._cache.definition(key)

    async def agent_activities(self, agent_type: str) -> AgentActivities:
        """Who asks the model."""
        key = self._assignment.provider
        return (
            cast("AgentActivities", await self._cache.provider(key)) if key else await self._cache.builtin(agent_type)
        )

    async def retriever_activities(self, retriever_type: str) -> RetrieverActivities:
        """Who retrieves."""
        key = self._assignment.provider
        if key is None:
            raise ProviderNotFound(f"No worker serves the retriever type {retriever_type!r}.")
        return cast("RetrieverActivities", await self._cache.provider(key))
