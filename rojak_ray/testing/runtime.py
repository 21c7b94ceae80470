"""`InProcessRuntime`: the whole product in one process, without Ray.

The same journal, the same hosts, the same guarantees; only what runs the steps differs. Tests of agents run on it in
milliseconds, and with a storage path what it did survives the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.registry import FunctionRegistry, distinct
from rojak_ray.agents.schema import FunctionDefinition
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.sessions.client import Client
from rojak_ray.sessions.pool import HostPool, PoolSettings, PoolStatistics
from rojak_ray.sessions.providers import ProviderRegistry
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.sessions.steps import Offer, StepRunner, offer_of
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.open import open_store


class InProcessGateway:
    """Hosts in this process."""

    def __init__(self, store: Store, namespace: str, clock: Clock, ids: IdSource, settings: PoolSettings) -> None:
        """Nothing is opened before `connect`."""
        self.functions = FunctionRegistry()
        self.providers = ProviderRegistry()
        self._store = store
        self._paths = Paths(namespace)
        runner = StepRunner(_Local(self.functions), self.providers, self.functions.refer)
        self._pool = HostPool(store, self._paths, runner, clock, ids, settings)
        self._recovered = False

    async def connect(self) -> None:
        """Go on with what an earlier process on the same storage left unfinished, once."""
        if not self._recovered:
            self._recovered = True
            await self._pool.recover(lambda owner: True)

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Ask the pool."""
        return await self._pool.ask(owner, ask)

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable."""
        return self.functions.refer(fn, writes_instructions=writes_instructions)

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference."""
        return self.functions.restore(ref)

    async def publish(self, agent_type: str) -> None:
        """Steps run here: there is nobody to tell."""

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Register with this process."""
        implementations = distinct(functions)
        self.providers.register(activities)
        self.functions.register(implementations)

    async def close(self) -> None:
        """Let every host go and release connections."""
        await self._pool.close()
        await self.providers.aclose()
        await self._store.aclose()

    def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._pool.statistics()


class InProcessRuntime(Client):
    """Runs and sessions without Ray, for tests and first steps.

    Used like `Rojak`: `async with InProcessRuntime() as rojak: await rojak.run(...)`. What runs in the background
    stops when it is closed, and goes on when another one is opened on the same storage.
    """

    def __init__(
        self,
        storage: str | Store | None = None,
        *,
        namespace: str = "rojak",
        clock: Clock | None = None,
        ids: IdSource | None = None,
        settings: PoolSettings | None = None,
    ) -> None:
        """Make a runtime.

        Args:
            storage: URL, path or Store; None keeps everything in memory.
            namespace: Separates installations on one storage.
            clock: Time and sleep; the system's by default.
            ids: Source of fresh ids; random by default.
            settings: How long idle conversations stay in memory.
        """
        store = MemoryStore() if storage is None else open_store(storage) if isinstance(storage, str) else storage
        source = ids or RandomIds()
        self._local = InProcessGateway(store, namespace, clock or SystemClock(), source, settings or PoolSettings())
        super().__init__(self._local, source)

    def statistics(self) -> PoolStatistics:
        """Counts for people."""
        return self._local.statistics()


class _Local:
    def __init__(self, registry: FunctionRegistry) -> None:
        self._registry = registry

    async def offer(self, ref: FunctionRef) -> Offer:
        return offer_of(self._registry.resolve(ref).definition)

    async def resolve(self, ref: FunctionRef) -> FunctionDefinition:
        return self._registry.resolve(ref).definition

    async def writer(self, ref: FunctionRef) -> Callable[..., Any]:
        return self._registry.resolve(ref).fn
