"""`CodeCache`: parcels fetched from the catalog and unpacked, once in each process that runs steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.program import Implementation, this_program
from rojak_ray.agents.schema import FunctionDefinition, define_function
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import SystemClock
from rojak_ray.errors import FunctionNotFound, ProviderNotFound
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.runtime.assignment import AssignedFunction, Assignment, CodeGone
from rojak_ray.runtime.shipping import FunctionEntry, Parcel, ship_function, unpack
from rojak_ray.sessions.providers import ProviderRegistry
from rojak_ray.sessions.steps import Offer, offer_of

FetchParcel = Callable[[str], Awaitable[Parcel | None]]
Announce = Callable[[str, list[FunctionEntry], list[Parcel]], Awaitable[None]]


_MOST_FUNCTIONS = 512
_MOST_PARCELS = 64
_ANNOUNCE_AGAIN_S = 20.0
"""The catalog keeps for a minute what no conversation names yet."""


@dataclass
class _Loaded:
    fn: Callable[..., Any]
    definition: FunctionDefinition | None = None


class CodeCache:
    """Functions and providers of this process. The functions used last are kept, and every provider."""

    def __init__(self, fetch: FetchParcel, announce: Announce) -> None:
        """`fetch` asks the catalog for a parcel; `announce` tells it of functions met in handed-over agents."""
        self._fetch = fetch
        self._announce = announce
        self._clock = SystemClock()
        self._functions: OrderedDict[str, _Loaded] = OrderedDict()
        self._fetched: OrderedDict[str, Parcel] = OrderedDict()
        """The latest, most of them not unpacked yet."""

        self._providers: dict[str, Any] = {}
        self._builtin = ProviderRegistry()
        self._announced: OrderedDict[str, float] = OrderedDict()
        self._met: dict[str, tuple[Implementation, str, FunctionRef]] = {}
        """To be announced, by token."""

    async def fetch(self, functions: Iterable[AssignedFunction], provider: str | None) -> None:
        """Have the parcels of these at hand, before anything that needs them starts.

        Raises:
            CodeGone: The catalog does not have one; only an earlier life of it did.
            StoreUnavailable: The catalog does not answer.
        """
        keys = [function.key for function in functions if function.place not in self._functions]
        if provider is not None and provider not in self._providers:
            keys.append(provider)
        for key in keys:
            if key not in self._fetched:
                self._fetched[key] = await self._parcel(key)
        while len(self._fetched) > max(_MOST_PARCELS, len(keys)):
            self._fetched.popitem(last=False)

    def function_if_loaded(self, assigned: AssignedFunction) -> FunctionDefinition | None:
        """The function of an assignment, if this process has used it before."""
        loaded = self._functions.get(assigned.place)
        return loaded.definition if loaded is not None else None

    async def function(self, assigned: AssignedFunction) -> FunctionDefinition:
        """The function of an assignment, which models call."""
        loaded = await self._load(assigned)
        if loaded.definition is None:
            loaded.definition = define_function(loaded.fn)
        return loaded.definition

    async def writer(self, assigned: AssignedFunction) -> Callable[..., Any]:
        """The function of an assignment, which writes instructions."""
        return (await self._load(assigned)).fn

    async def provider(self, key: str) -> Any:
        """A provider with its connections. Loaded once in this process."""
        found = self._providers.get(key)
        if found is None:
            made = unpack(self._fetched.get(key) or await self._parcel(key))
            found = self._providers.setdefault(key, made)  # two may have fetched at once; both go on with the first
            self._fetched.pop(key, None)
        return found

    async def builtin(self, agent_type: str) -> AgentActivities:
        """A built-in provider with settings from this node's environment."""
        return await self._builtin.agent_activities(agent_type)

    @property
    def met_any(self) -> bool:
        """Whether `publish_met` has something to tell."""
        return bool(self._met)

    def refer(self, program: str, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable of an agent that a function handed over to; `publish_met` makes it known.

        One that can never differ from another of its content gets the same token in every process, or agents that
        hand over in turn would give each other new names for ever.

        Args:
            program: The client whose function handed over.
            fn: The callable.
            writes_instructions: As of `Program.describe`.
        """
        described = this_program().describe(fn, writes_instructions=writes_instructions)
        ref = described.ref
        if described.fixed and ref.content is not None:
            ref = ref.model_copy(update={"ref": f"{program or 'handed-over'}.{ref.name}.{ref.content}"})
        token = ref.ref or ""
        if self._clock.monotonic() - self._announced.get(token, float("-inf")) > _ANNOUNCE_AGAIN_S:
            self._met[token] = (described, program, ref)
        return ref

    async def publish_met(self) -> None:
        """Tell the catalog of functions met since the last time, before anything refers to them."""
        met, self._met = self._met, {}
        by_program: dict[str, list[tuple[FunctionEntry, Parcel]]] = {}
        for described, program, ref in met.values():
            by_program.setdefault(program, []).append(ship_function(described, program, ref=ref))
        for program, shipped in by_program.items():
            await self._announce(program, [entry for entry, _ in shipped], [parcel for _, parcel in shipped])
        for token in met:
            self._announced[token] = self._clock.monotonic()
            self._announced.move_to_end(token)
        while len(self._announced) > _MOST_FUNCTIONS:
            self._announced.popitem(last=False)

    async def _load(self, assigned: AssignedFunction) -> _Loaded:
        place = assigned.place
        found = self._functions.get(place)
        if found is None:
            made = _Loaded(unpack(self._fetched.get(assigned.key) or await self._parcel(assigned.key)))
            found = self._functions.setdefault(place, made)
            while len(self._functions) > _MOST_FUNCTIONS:
                self._functions.popitem(last=False)
        self._functions.move_to_end(place)
        return found

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
        return await self._cache.function(self._assigned(ref))

    async def writer(self, ref: FunctionRef) -> Callable[..., Any]:
        """The instruction function behind a reference."""
        return await self._cache.writer(self._assigned(ref))

    def _assigned(self, ref: FunctionRef) -> AssignedFunction:
        found = self._assignment.assigned(ref)
        if found is None:
            raise FunctionNotFound(f"Function {ref.name} not found")
        return found

    async def agent_activities(self, agent_type: str, captured: str | None = None) -> AgentActivities:
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
