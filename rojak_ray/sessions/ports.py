"""What a host needs from outside, and what a client needs from whoever runs hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from rojak_ray.agents.activities import AgentActivities, OnDelta
from rojak_ray.agents.spec import AgentSpec, FunctionRef
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.steps import Step, StepResult
from rojak_ray.journal.paths import Owner
from rojak_ray.sessions.requests import Ask, Reply


class StepExecutor(Protocol):
    """Runs steps somewhere."""

    async def execute(self, step: Step, on_delta: OnDelta | None = None) -> StepResult:
        """Run one attempt and return what came of it; whatever fails comes back as a `StepError`.

        With `on_delta` a model is asked to stream, and it is called with each piece of text. The result is the same.

        Raises:
            asyncio.CancelledError: The step was cancelled; the work is stopped as far as that is possible.

        Crash safety:
            Nothing is kept. The same step may be executed again, with the same idempotency key.
        """
        ...


Phase = Literal["found", "working", "settled", "gone"]
"""Of a conversation: found in storage, with something under way, with nothing under way, let go by its host."""

Needs = Callable[[Owner, Sequence[FunctionRef], Phase], None]
"""Told by a host which functions its conversation names, whenever that may have changed. One that its host lets go
still names what it named. What no conversation names and no program has may be forgotten."""


@runtime_checkable
class KeepsFunctions(Protocol):
    """A `StepExecutor` that also keeps the functions it runs, as long as conversations name them."""

    def needs(self, owner: Owner, refs: Sequence[FunctionRef], phase: Phase) -> None:
        """See `Needs`."""
        ...


class Gateway(Protocol):
    """The way from a client to the hosts."""

    async def connect(self) -> None:
        """Be ready; called before anything else, any number of times."""
        ...

    async def ask(self, owner: Owner, ask: Ask) -> Reply:
        """Bring `ask` to the owner's host, wherever it is, starting it if need be.

        Raises:
            RojakError: What the host answered, or StoreUnavailable if no host could be reached in time.

        Crash safety:
            Commands carry ids, so asking again after an error is the same request.
        """
        ...

    async def whole_result(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """Read a whole result from the storage, past the hosts; see `KeptResults.read`."""
        ...

    def refer(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """Name a callable; `publish` makes it known where steps run."""
        ...

    def restore(self, ref: FunctionRef) -> Any:
        """The callable behind a reference if this process knows it, else its name."""
        ...

    async def keep(self, holder: str, refs: Sequence[FunctionRef]) -> None:
        """Hold functions for what may name them at any time, such as a schedule, besides those it holds already."""
        ...

    async def release(self, holder: str) -> None:
        """Hold nothing for it any more."""
        ...

    async def publish(self, agent: AgentSpec) -> None:
        """Make the callables that an agent brings known to the steps. Whoever calls holds them."""
        ...

    async def providers(self) -> dict[str, str]:
        """Make the providers that this program's environment brings known to the steps.

        Returns:
            What names them in a run, by agent type.
        """
        ...

    async def register(self, activities: Sequence[AgentActivities], functions: Sequence[Callable[..., Any]]) -> None:
        """Make providers and named functions known, replacing what had the same names."""
        ...

    async def close(self) -> None:
        """Let go of what this client holds; runs go on where hosts outlive clients."""
        ...
