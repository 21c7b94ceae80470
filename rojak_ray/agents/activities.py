"""The plug-in side of an agent type: who asks the model, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from rojak_ray.agents.results import AgentResponse
from rojak_ray.messages import ConversationMessage

OnDelta: TypeAlias = Callable[[str], None]
"""Takes a piece of an answer's text, as soon as it is there."""


@dataclass(frozen=True)
class FunctionSchema:
    """A function as a model sees it.

    Example:
        add = FunctionSchema("add", "Add two numbers.", {"type": "object", "properties": {"a": {}, "b": {}}})
    """

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of an object; parameters that we fill in ourselves are left out."""


@dataclass
class AgentCallParams:
    """One question to a model.

    Example:
        asked = AgentCallParams([ConversationMessage(role="user", content="Hello!")], "llama")
        assert (asked.functions, asked.parallel_tool_calls) == ([], True)
    """

    messages: list[ConversationMessage] = field(repr=False)
    """The conversation, the system message first."""

    model: str
    function_names: list[str] = field(default_factory=list[str])
    inference_config: dict[str, Any] | None = field(default=None, repr=False)
    parallel_tool_calls: bool = True
    tool_choice: Any | None = None
    """What the agent says, unless it forces a function and one ran already: then what is left of it."""

    release_tool_choice: bool = False
    """Whether a forced choice in `inference_config`, or in the provider's own settings, is to be let go as well."""

    functions: list[FunctionSchema] = field(default_factory=list[FunctionSchema])
    """The agent's functions with their schemas, in the order of `function_names`."""

    idempotency_key: str = ""
    """The same for every attempt of this question; vendors that know such keys get it as a header."""

    timeout_s: float | None = None
    """Seconds this attempt may take."""

    is_last_attempt: bool = False
    """Whether no other follows if this one fails: what a provider would leave to the next it does at once."""

    on_delta: OnDelta | None = field(default=None, repr=False, compare=False)
    """Somebody watches: a provider that can stream calls it with each piece of the answer's text, and still returns
    the whole. The pieces, joined, are the beginning of the returned text, unless a stream broke and the whole was asked
    for in the last attempt, in other words. May be called from any thread; None: nobody
    watches, ask without streaming."""


@dataclass(repr=False)
class AgentOptions:
    """What every provider's options have.

    Example:
        await rojak.create_worker([OfflineAgentActivities(AgentOptions(all_functions=[book_table]))])
        await rojak.run(agent=OfflineAgent(functions=["book_table"]), messages="Book a table for 4 guests.")
    """

    all_functions: Sequence[Callable[..., Any]] = field(default_factory=list[Callable[..., Any]])
    """Functions that agents may name; registered with the worker."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep `@dataclass` from writing a repr with every field: keys are among them."""
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__

    def __repr__(self) -> str:
        """The class and how many functions there are: the fields of a subclass may hold secrets."""
        return f"{self.__class__.__name__}({len(self.all_functions)} functions)"


class AgentActivities(ABC):
    """Answers for one agent type. Only `call` must be written.

    Instances are shipped to the processes that call models, so they hold settings and make clients on first use.

    Example:
        class EchoActivities(AgentActivities):
            type = "echo"

            async def call(self, params: AgentCallParams) -> AgentResponse:
                return AgentResponse(content=f"You said: {params.messages[-1].content}")

        await rojak.create_worker([EchoActivities()])
        echo = Agent(name="Echo", model="none", type="echo")
        assert (await rojak.run(agent=echo, messages="Hello!")).output == "You said: Hello!"
    """

    type: ClassVar[str] = ""
    """The agent type this answers for. Give two endpoints of one vendor two types."""

    def __init__(self, options: AgentOptions | None = None) -> None:
        """Keep the options."""
        self.options = options if options is not None else AgentOptions()

    @abstractmethod
    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Ask the model once.

        No retries here: raise `ModelUnavailable` for what may pass (with `retry_after_s` if the vendor said so),
        `ModelRejected` for what will not. Other exceptions fail the step at once, except `ConnectionError` and
        `TimeoutError`, which count as unavailable.

        Crash safety:
            If the process dies during the call, it is made again with the same `idempotency_key`.
        """

    async def make_ready(self) -> None:  # noqa: B027  (most providers need nothing)
        """Awaited before each call, outside its time: load here what takes long the first time, in a thread.

        Example:
            import asyncio

            class Local(OfflineAgentActivities):
                async def make_ready(self) -> None:
                    self.weights = await asyncio.to_thread(bytes, 1024)

            await Local().make_ready()
        """

    def slot(self) -> AbstractAsyncContextManager[Any]:
        """Held around each call, and waited for before the call's time begins; here, any number may go on at once.

        Override it to bound how many calls are under way. Whoever waits longer than a call may take fails, and is
        tried again as after a timeout.
        """
        return nullcontext()

    async def aclose(self) -> None:  # noqa: B027  (most providers have nothing to close)
        """Release connections. Called when the process is about to end."""
