"""Agents: who answers, with which words, functions and limits. Values without behaviour."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from rojak_ray.checks import shown
from rojak_ray.errors import InvalidAgent
from rojak_ray.retry import RetryOptions


@dataclass
class AgentInstructionOptions:
    """Instructions written by a function that a worker has registered under `name`.

    Example:
        def greet(context_variables: dict) -> str:
            return f"The guest is {context_variables['guest']}."

        await rojak.create_worker(functions=[greet])
        clerk = OfflineAgent(name="Clerk", instructions=AgentInstructionOptions("greet"))
        await rojak.run(agent=clerk, messages="Hello!", context_variables={"guest": "Mei"})
    """

    name: str
    type: Literal["function"] = field(default="function", kw_only=True)


Instructions: TypeAlias = "str | AgentInstructionOptions | dict[str, Any] | Callable[..., Any] | None"
AgentFunction: TypeAlias = "str | Callable[..., Any]"


@dataclass
class Retriever:
    """Where an agent looks things up before it answers. Subclasses name their `type`.

    Example:
        waiter = OfflineAgent(name="Waiter", retriever=[Retriever("menu"), Retriever("prices")])
    """

    type: str


@dataclass(repr=False, kw_only=True)
class Agent:
    """What every agent has. Subclass it with a `type` of your own and an `AgentActivities` that answers for it.

    Fields are given by name: of two texts in a row nobody could tell the agent's name from its model.
    A subclass may be decorated with `@dataclass` or not, and may add fields; they must be plain JSON data and come
    back on `response.agent`.

    Example:
        class LocalAgent(Agent):
            type = "local"
            model = "llama"
            temperature: float = 0.5

        assert LocalAgent(name="Poet", temperature=0.9).model == "llama"
    """

    model: str
    """Name of the model, as the provider knows it."""

    type: str
    """Which `AgentActivities` answers for this agent."""

    name: str = "Agent"
    """Who speaks; the sender of its messages."""

    instructions: Instructions = "You are a helpful assistant."
    """The system message: text, a callable (with or without `context_variables`), or the name of a registered one.
    None is no system message."""

    functions: Sequence[AgentFunction] = field(default_factory=list[AgentFunction])
    """Callables, or names of functions that a worker has registered."""

    tool_choice: Any | None = None
    """Passed to the vendor: "auto", "required", "none", the name of one of the functions, or the vendor's own form as a
    dictionary."""

    parallel_tool_calls: bool = True
    """Whether the model may ask for several functions in one answer."""

    retriever: Retriever | Sequence[Retriever] | None = None
    """Asked with the last user message, once; what it finds follows the instructions. Several are asked at once."""

    retry_options: RetryOptions = field(default_factory=RetryOptions)
    """Time limit of one attempt, and what to do when it fails."""

    reset_tool_choice: bool = True
    """Whether a `tool_choice` that forces a function is let go for the rest of a run once a function of this agent
    ran. With False the model is forced in every answer, so a run ends at `max_turns` or `max_model_calls`."""

    max_result_bytes: int | None = None
    """Bytes of any function's result that this agent's model is given, for one with a small window; a function's own
    bound counts if it is less. None: the functions' alone."""

    _writes_init: ClassVar[bool] = False
    """Whether the class, or one it is derived from, has a constructor that somebody wrote."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep `@dataclass` from writing a repr with every field: it leaves alone a class that has one of its own."""
        super().__init_subclass__(**kwargs)
        for base in reversed(cls.__mro__[1:]):  # `@dataclass` on this class looks for the fields of its bases
            _complete(base)
        cls._writes_init = cls._writes_init or "__init__" in cls.__dict__  # before `@dataclass` adds one
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__

    def __new__(cls, *args: Any, **kwargs: Any) -> Agent:
        """Make a subclass that was not decorated a dataclass, so that `class Mine(Agent): type = "mine"` works."""
        for one in reversed(cls.__mro__):  # a base may be undecorated and never have been used itself
            _complete(one)
        if args and not cls._writes_init:
            _check_positions(cls, args)
        return super().__new__(cls)

    def __repr__(self) -> str:
        """Type and name: instructions are for this agent's model, and a repr may be told to another's."""
        return f"{self.__class__.__name__}(name={self.name!r})"


def _complete(one: type) -> None:
    """Make a class of agents a dataclass, if nobody has."""
    if issubclass(one, Agent) and "__dataclass_fields__" not in one.__dict__:
        own = dict(inspect.get_annotations(one))
        inherited: dict[str, Any] = getattr(one, "__dataclass_fields__", {})
        own.update({name: "Any" for name in inherited if name in one.__dict__ and name not in own})
        one.__annotations__ = own
        dataclass(one, repr=False, kw_only=True)


def _check_positions(kind: type[Agent], given: tuple[Any, ...]) -> None:
    """Refuse what every agent has where it is told by its place alone; a subclass may have fields that are."""
    placed = [one.name for one in fields(kind) if one.init and not one.kw_only][: len(given)]
    if len(placed) < len(given) or not Agent.__dataclass_fields__.keys().isdisjoint(placed):
        name = kind.__name__
        raise InvalidAgent(
            f"Fields of an agent are given by name: write {name}(name=...), not {name}({shown(given[0])})."
        )


@dataclass(repr=False, kw_only=True)
class OpenAIAgent(Agent):
    """An agent that speaks through OpenAI's chat completions, or any server that offers them.

    Example:
        poet = OpenAIAgent(name="Poet", instructions="Answer in verse.", inference_config={"verbosity": "low"})
    """

    model: str = "gpt-6-luna"
    type: str = "openai"
    inference_config: dict[str, Any] | None = None
    """Extra fields of the request body (temperature, max_tokens, seed, ...), for this agent only."""


@dataclass(repr=False, kw_only=True)
class AnthropicAgent(Agent):
    """An agent that speaks through Anthropic's messages API.

    Example:
        poet = AnthropicAgent(name="Poet", instructions="Answer in verse.", inference_config={"max_tokens": 200})
    """

    model: str = "claude-haiku-5-5"
    type: str = "anthropic"
    inference_config: dict[str, Any] | None = None
    """Extra fields of the request body (max_tokens, stop_sequences, ...), for this agent only."""


@dataclass(repr=False, kw_only=True)
class OfflineAgent(Agent):
    """An agent without a model: it matches words to functions and reports what they return. For demos and tests.

    Example:
        host = OfflineAgent(name="Host", functions=[book_table])
        response = await rojak.run(agent=host, messages="Book a table for 4 guests.")
        assert response.output == "According to book_table: A table for 4 is booked."
    """

    model: str = "offline"
    type: str = "offline"
    inference_config: dict[str, Any] | None = None
