"""`Publisher`: what a program brings to an installation, told to its catalog, and told again if that is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import ray

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.program import Implementation, this_program
from rojak_ray.agents.registry import FunctionRegistry, distinct
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.concurrency import background
from rojak_ray.ids import RandomIds
from rojak_ray.providers.environment import CapturedProvider, captured_providers
from rojak_ray.runtime.catalog import Version
from rojak_ray.runtime.catalog_access import CatalogAccess
from rojak_ray.runtime.shipping import ship_function, ship_provider
from rojak_ray.sessions.naming import callables
from rojak_ray.sessions.providers import check_activities

_KEEPALIVE_S = 2.0
"""How long the catalog holds back its answer to a program that it knows."""

_BREATH_S = 0.1
_LEAVING_S = 2.0


class Publisher:
    """Functions and providers of one client. The functions that agents bring are not held: see `Program`."""

    def __init__(self, catalog: CatalogAccess, namespace: str, clock: Clock | None = None) -> None:
        """Nothing is told yet."""
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._namespace = namespace
        self._program = f"{this_program().id}{RandomIds().new_id()[:8]}"
        self._functions = FunctionRegistry()
        self._gone = this_program().watch()
        self._published: dict[str, FunctionRef] = {}
        self._captured: dict[str, CapturedProvider] = {}
        """Providers of the environment that are told, by what names them."""

        self._registrations: list[tuple[list[Any], list[Implementation]]] = []
        self._own_types: set[str] = set()
        """Agent types that this program registered a provider for: its options win over its environment."""

        self._keeper: asyncio.Task[None] | None = None
        self._version: Version = ("", 0)
        self._past_lives: set[str] = set()
        """Of the catalog, so that an answer from one of them that comes late is known for what it is."""

        self._owes_all = False
        """Whether the catalog has begun a new life, and does not have everything of this program yet."""

        self._untold_gone: list[str] = []
        """Functions that are gone, until the catalog has said that it heard so."""

    @property
    def version(self) -> Version:
        """The catalog's, as far as it was heard of: it never goes back."""
        return self._version

    def heard(self, version: Version) -> None:
        """The catalog has said which version it has; answers may overtake each other."""
        if version[0] in self._past_lives:
            return
        if version[0] != self._version[0]:
            self._past_lives.add(self._version[0])
            self._owes_all = self._owes_all or bool(self._version[0])
            self._version = version
        elif version[1] > self._version[1]:
            self._version = version

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable, to be published before it is used."""
        return self._functions.refer(fn, writes_instructions=writes_instructions)

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference if this program has it, else its name."""
        return self._functions.restore(ref)

    async def publish(self, agent: AgentSpec) -> None:
        """Ship the callables of an agent that are not shipped yet. Whoever calls holds the agent.

        Raises:
            ConfigError: One cannot be shipped; the others of this agent are not shipped either.
        """
        refs = [ref for ref in callables([agent]) if ref.ref not in self._published]
        fresh = [found for ref in refs if (found := self._functions.known(ref)) is not None]
        if fresh:
            await self._ship(fresh)

    async def providers(self) -> dict[str, str]:
        """What names, in a run, the vendors that this program's environment reaches: by agent type."""
        found = [one for one in captured_providers(os.environ) if one.type not in self._own_types]
        named = {one.type: one.fingerprint(self._namespace) for one in found}
        fresh = [one for one in found if named[one.type] not in self._captured]
        if fresh:
            await self._ship((), captured=fresh)
        return named

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Ship a worker's providers and functions, and again whenever the catalog begins a new life."""
        for one in activities:
            check_activities(one)
        implementations = distinct(functions)
        await self._ship(implementations, list(activities), named=True)
        self._registrations.append((list(activities), implementations))
        self._own_types |= {one.type for one in activities if isinstance(one, AgentActivities)}
        await self.providers()  # a run that waits for them may be why this worker was started

    async def close(self) -> None:
        """Stop staying. What was registered by name and what conversations name stays."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
            await self._catalog.tell("leave", self._program, within_s=_LEAVING_S)

    async def _ship(
        self,
        functions: Sequence[Implementation],
        providers: Sequence[Any] = (),
        captured: Sequence[CapturedProvider] = (),
        *,
        named: bool = False,
        again: bool = False,
    ) -> None:
        """Register these; `again`: as a part of all that there is."""
        shipped = [ship_function(implementation, self._program) for implementation in functions]
        exclusive = any(getattr(one, "exclusive", False) for one in providers)
        node = ray.get_runtime_context().get_node_id() if exclusive else ""
        offered = [ship_provider(one, node=node) for one in providers]
        fingerprints = {one.fingerprint(self._namespace): one for one in captured}
        offered += [ship_provider(one.activities(), fingerprint=name) for name, one in fingerprints.items()]
        parcels = [parcel for _, parcel in (*shipped, *offered)]
        entries, provided = [entry for entry, _ in shipped], [entry for entry, _ in offered]
        version: Version = await self._catalog.call("register", self._program, entries, provided, parcels, named=named)
        self._published |= {one.token: one.ref for one in functions}
        self._captured |= fingerprints
        self.heard(version)
        if self._keeper is None:
            self._keeper = background("stay registered", self._stay, self._clock, longest_pause_s=_KEEPALIVE_S)
        if not again:
            await self._pay()

    async def _stay(self) -> None:
        """Have a question with the catalog nearly all the time: if that is lost, it is known at once."""
        await self._clock.sleep(_KEEPALIVE_S)
        while True:
            await self._beat(_KEEPALIVE_S)
            await self._clock.sleep(_BREATH_S)

    async def _beat(self, hold_s: float = 0.0) -> None:
        """Say that this program lives, and what it does not have any more; what could not be told stays to be told."""
        self._untold_gone += [token for token in self._gone.take() if self._published.pop(token, None) is not None]
        gone = list(self._untold_gone)
        version, known = await self._catalog.call("stay", self._program, gone, hold_s)
        del self._untold_gone[: len(gone)]
        self.heard(version)
        self._owes_all = self._owes_all or not known
        await self._pay()

    async def _pay(self) -> None:
        """Tell a catalog that was lost, or had given this program up, all that this program has.

        Raises:
            StoreUnavailable: It did not come back in time; the next beat tells it.
        """
        while self._owes_all:
            life = self._version[0]
            every = [found for ref in self._published.values() if (found := self._functions.known(ref)) is not None]
            await self._ship(every, captured=list(self._captured.values()), again=True)
            for activities, implementations in list(self._registrations):
                await self._ship(implementations, activities, named=True, again=True)
            if life == self._version[0]:
                self._owes_all = False
