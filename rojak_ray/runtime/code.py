"""`CodeCache`: parcels fetched from the catalog and unpacked, once in each process that runs steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.registry import FunctionRegistry, Implementation
from rojak_ray.agents.schema import FunctionDefinition, define_function
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import FunctionNotFound, ProviderNotFound
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.runtime.assignment import Assignment, CodeGone
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ship_function, unpack
from rojak_ray.sessions.providers import ProviderRegistry
from rojak_ray.sessions.steps import Offer, offer_of

FetchParcel = Callable[[str], Awaitable[Parcel | None]]
Announce = Callable[[list[FunctionEntry], list[Parcel]], Awaitable[None]]


class CodeCache:
    """Functions and providers of this process, by parcel."""

    def __init__(self, fetch: FetchParcel, announce: Announce) -> None:
        """`fetch` asks the catalog for a parcel; `announce` tells it of functions met in handed-over agents."""
        self._fetch = fetch
        self._announce = announce
        self._definitions: dict[str, FunctionDefinition] = {}
        self._fetched: dict[str, Parcel] = {}
        """Not unpacked yet."""

        self._loaded: dict[str, Any] = {}
        self._builtin = ProviderRegistry()
        self._met = FunctionRegistry()
        self._known: set[str] = set()
        self._unannounced: list[Implementation] = []

    async def fetch(self, keys: Iterable[str]) -> None:
        """Have parcels at hand, before anything that needs them starts.

        Raises:
            CodeGone: The catalog does not have one; only an earlier life of it did.
            StoreUnavailable: The catalog does not answer.
        """
        for key in keys:
            if key not in self._loaded and key not in self._fetched:
                self._fetched[key] = await self._parcel(key)

    async def definition(self, key: str) -> FunctionDefinition:
        """The function in a parcel."""
        found = self._definitions.get(key)
        if found is None:
            found = self._definitions.setdefault(key, define_function(await self.loaded(key)))
        return found

    def definition_if_loaded(self, key: str) -> FunctionDefinition | None:
        """The function in a parcel, if this process has used it before."""
        return self._definitions.get(key)

    @property
    def met_any(self) -> bool:
        """Whether `publish_met` has something to tell."""
        return bool(self._unannounced)

    async def loaded(self, key: str) -> Any:
        """What is in a parcel: a function, or a provider with its connections. Loaded once in this process."""
        found = self._loaded.get(key)
        if found is None:
            found = unpack(self._fetched.get(key) or await self._parcel(key))
            # Two callers may have fetched at once; both go on with the one that was first.
            found = self._loaded.setdefault(key, found)
            self._fetched.pop(key, None)
        return found

    async def builtin(self, agent_type: str) -> AgentActivities:
        """A built-in provider with settings from this node's environment."""
        return await self._builtin.agent_activities(agent_type)

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable of an agent that a function handed over to; `publish_met` makes it known."""
        described = self._met.describe(fn, writes_instructions=writes_instructions)
        if described.ref.ref not in self._known:
            self._known.add(described.ref.ref or "")
            self._unannounced.append(described)
        return described.ref

    async def publish_met(self) -> None:
        """Tell the catalog of functions met since the last time, before anything refers to them."""
        met, self._unannounced = self._unannounced, []
        if met:
            shipped = [ship_function(implementation) for implementation in met]
            await self._announce([entry for entry, _ in shipped], [parcel for _, parcel in shipped])

    async def _parcel(self, key: str) -> Parcel:
        parcel = await self._fetch(key)
        if parcel is None:
            raise CodeGone(key)
        return parcel


class AssignedSources:
    """The functions and providers of one assignment, as `StepRunner` wants them."""

    def __init__(self, cache: CodeCache, assignment: Assignment) -> None:
        """Resolve for this assignment only."""
        self._cache = cache
        self._assignment = assignment

    async def offer(self, ref: FunctionRef) -> Offer:
        """What a model is shown of a function."""
        return offer_of(await self.resolve(ref))

    async def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        """The function behind a reference."""
        key = self._assignment.key_of(ref)
        if key is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return await self._cache.definition(key)

    async def writer(self, ref: FunctionRef) -> Callable[..., Any]:
        """The instruction function behind a reference."""
        key = self._assignment.key_of(ref)
        if key is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return await self._cache.loaded(key)

    async def agent_activities(self, agent_type: str) -> AgentActivities:
        """Who asks the model."""
        key = self._assignment.provider
        return cast("AgentActivities", await self._cache.loaded(key)) if key else await self._cache.builtin(agent_type)

    async def retriever_activities(self, retriever_type: str) -> RetrieverActivities:
        """Who retrieves."""
        key = self._assignment.provider
        if key is None:
            raise ProviderNotFound(f"No worker serves the retriever type {retriever_type!r}.")
        return cast("RetrieverActivities", await self._cache.loaded(key))
