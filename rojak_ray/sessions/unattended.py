"""The way to conversations where no cluster runs: they can be looked at and changed, and nothing of them is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from rojak_ray.agents.activities import AgentActivities, OnDelta
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.clock import SystemClock
from rojak_ray.concurrency import background
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.steps import Step, StepResult
from rojak_ray.errors import ConfigError
from rojak_ray.ids import RandomIds
from rojak_ray.journal.kept import KeptResults
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger
from rojak_ray.reign.identity import claim_of_process
from rojak_ray.reign.keeper import ReignKeeper
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_LOOK_S = 2.0


class StorageGateway:
    """A `Gateway` over storage alone. A look reads; a change is made by whoever rules, so it rules for a moment.

    Crash safety:
        A change claims the journal like any host: whoever rules next opens the conversation again and goes on with it.
    """

    def __init__(self, store: Store, paths: Paths, tell: Callable[[str], object] | None = None) -> None:
        """Nothing is opened. `tell` is told, for people, why something takes time."""
        ids = RandomIds()
        self._store = store
        self._kept = KeptResults(store, paths, ids)
        self._clock = SystemClock()
        self._settings = ReignSettings()
        self._keeper = ReignKeeper(store, paths, claim_of_process(ids, "command"), self._clock, self._settings)
        self.reign = self._keeper.reign
        self._pool = HostPool(store, paths, _RunsNothing(), self._clock, ids, reign=self.reign)
        self._tell = tell or logger.warning
        self._claiming = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """There is nothing to connect to."""

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """See `HostPool.ask`.

        Raises:
            StandsBy: It is a change, and another cluster rules.
        """
        if ask.commands:
            await self.rule()
        return await self._pool.ask(owner, ask)

    async def whole_result(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """Read a whole result."""
        return await self._kept.read(owner, kept)

    async def rule(self) -> None:
        """Claim the reign, unless a living cluster has it.

        Raises:
            StandsBy: Another one rules and lives; the text names it.
        """
        async with self._claiming:
            if self._keeping is not None:
                return
            ends_at = self._clock.monotonic() + self._settings.takeover_after_s + self._settings.look_s
            told = False
            while True:
                self._keeper.want()
                await self._keeper.step()
                if self.reign.rules:
                    break
                if self._keeper.ruler_lives or self._clock.monotonic() >= ends_at:
                    raise self.reign.standing.refusal()
                if not told:
                    self._tell(f"Finding out whether it lives: {self.reign.standing.ruler}. This takes up to 35 s.")
                    told = True
                await self._clock.sleep(_LOOK_S)
            self._keeping = background("keep the reign", self._keeper.run, self._clock)

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Refused: nothing would ever call it."""
        raise ConfigError("Without a cluster nothing is run; start one, or use InProcessRuntime.")

    def restore(self, ref: FunctionRef) -> Any:
        """The name: no function is known here."""
        return ref.name

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Nobody could refer to any."""

    async def release(self, holder: str) -> None:
        """There is nothing to let go."""

    async def publish(self, agent: AgentSpec) -> None:
        """There is nobody to tell."""

    async def providers(self) -> dict[str, str]:
        """None: whatever this program's environment says, it runs nothing."""
        return {}

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Refused: nothing would ever be asked."""
        raise ConfigError("Without a cluster nothing is run; start one, or use InProcessRuntime.")

    async def close(self) -> None:
        """Let go. What is unfinished keeps its mark, so that the next cluster finds it."""
        await self._pool.close()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._store.aclose()


class _RunsNothing:
    """Leaves every step to whoever opens the conversation next."""

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        return await asyncio.get_running_loop().create_future()
