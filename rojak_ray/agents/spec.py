"""Agents as plain data: what a journal keeps, and the way back to the caller's class.

A record names functions, it never holds them. How a callable gets its name is the caller's business (`Refer`), so the
same encoding serves a driver, a worker process and the in-process runtime.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol, cast

from pydantic import Field, JsonValue, ValidationError

from rojak_ray.agents.agent import (
    Agent,
    AgentInstructionOptions,
    AnthropicAgent,
    OfflineAgent,
    OpenAIAgent,
    Retriever,
)
from rojak_ray.agents.function import result_bytes
from rojak_ray.agents.given import check_agent, check_choice, named, own_fields, read_functions, read_instructions_of
from rojak_ray.agents.secret_fields import refuse_secrets
from rojak_ray.checks import check_text, kind_of, reason_of, shown
from rojak_ray.errors import DuplicateName, InvalidAgent, InvalidContext
from rojak_ray.ids import digest
from rojak_ray.messages import Record, read_json
from rojak_ray.retry import LONGEST_RETRY_AFTER_S, RetryOptions, RetryPolicy


class FunctionRef(Record):
    """A function's name and, for one given as a callable, which one is meant: see `agents.registry`."""

    name: str
    ref: str | None = None
    """Token of the very object, given by the program that brought it: `program.number`. None: the name alone is meant.
    Formats 1 and 2 have a fingerprint here, which has no dot."""

    path: str | None = None
    """`module:qualified.name`, if importing that gives this very function."""

    content: str | None = None
    """Digest of the function and all it reaches, if that could be read whole."""

    @property
    def by_name(self) -> bool:
        """Whether nothing but the name is known of it."""
        return self.ref is None or "." not in self.ref


class RetrySpec(Record):
    """`RetryOptions` as stored: a time limit and, if one was given, a policy."""

    timeout_s: float = 60
    policy: PolicySpec | None = None


class PolicySpec(Record):
    """`RetryPolicy` as stored."""

    initial_interval_s: float = 1
    backoff_coefficient: float = 2
    maximum_interval_s: float | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()
    maximum_retry_after_s: float = LONGEST_RETRY_AFTER_S

    @classmethod
    def of(cls, policy: RetryPolicy) -> PolicySpec:
        """The stored form of a policy."""
        return cls(
            initial_interval_s=policy.initial_interval_in_seconds,
            backoff_coefficient=policy.backoff_coefficient,
            maximum_interval_s=policy.maximum_interval_in_seconds,
            maximum_attempts=policy.maximum_attempts,
            non_retryable_error_types=tuple(
                one.__name__ if isinstance(one, type) else one for one in policy.non_retryable_error_types or ()
            ),
            maximum_retry_after_s=policy.maximum_retry_after_in_seconds,
        )

    def policy(self) -> RetryPolicy:
        """The policy this stands for."""
        return RetryPolicy(
            initial_interval_in_seconds=self.initial_interval_s,
            backoff_coefficient=self.backoff_coefficient,
            maximum_interval_in_seconds=self.maximum_interval_s,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=list(self.non_retryable_error_types) or None,
            maximum_retry_after_in_seconds=self.maximum_retry_after_s,
        )


class RetrieverSpec(Record):
    """A retriever's type and its other fields."""

    type: str
    settings: dict[str, JsonValue] = {}

    def digest(self) -> str:
        """What identifies this retriever: two agents that have the same one share what it found."""
        return digest(self.model_dump(mode="json"))


class AgentSpec(Record):
    """An agent as stored."""

    type: str
    name: str
    model: str
    instructions: str | FunctionRef = Field(repr=False)
    functions: tuple[FunctionRef, ...] = ()
    tool_choice: JsonValue = None
    reset_tool_choice: bool = True
    parallel_tool_calls: bool = True
    max_result_bytes: int | None = None
    retriever: RetrieverSpec | tuple[RetrieverSpec, ...] | None = None
    retry: RetrySpec = RetrySpec()
    inference_config: dict[str, JsonValue] | None = None
    extra: dict[str, JsonValue] = {}
    """Fields that a subclass adds."""

    @property
    def retrievers(self) -> tuple[RetrieverSpec, ...]:
        """Its retrievers, however many."""
        if self.retriever is None:
            return ()
        return self.retriever if isinstance(self.retriever, tuple) else (self.retriever,)

    def identity(self) -> dict[str, Any]:
        """What identifies this definition, as plain data.

        Fields that came after format 2 are left out while they have their defaults: an agent that was stored before
        they existed is the same one, and a request made with it before is the same request.
        """
        data = self.model_dump(mode="json")
        if self.reset_tool_choice:
            del data["reset_tool_choice"]
        if self.max_result_bytes is None:
            del data["max_result_bytes"]
        policy = data["retry"]["policy"]
        if policy is not None and policy["maximum_retry_after_s"] == LONGEST_RETRY_AFTER_S:
            del policy["maximum_retry_after_s"]
        return data

    def digest(self) -> str:
        """A short form of `identity`."""
        return digest(self.identity())


class Refer(Protocol):
    """Names a callable, registering it where it will be found again."""

    def __call__(self, fn: Callable[..., Any], /, *, writes_instructions: bool = False) -> FunctionRef:
        """The name; a callable that only writes instructions needs no schema."""
        ...


class Restore(Protocol):
    """Gives back the callable behind a reference, or its name where the callable is not known here."""

    def __call__(self, ref: FunctionRef, /) -> Any:
        """A callable or a name."""
        ...


_BASE = {field.name for field in fields(Agent)}
_COMMON = {field.name for field in fields(Agent)} | {"inference_config"}
_BUILTIN: Mapping[str, type[Agent]] = {"openai": OpenAIAgent, "anthropic": AnthropicAgent, "offline": OfflineAgent}


def encode_agent(agent: Agent, refer: Refer) -> AgentSpec:
    """Turn an agent into plain data.

    Raises:
        InvalidAgent: A field cannot be stored or makes no sense; the text names the agent and the field.
        DuplicateName: Two different functions of the agent share a name.
    """
    try:
        return _encode(check_agent(agent), refer)
    except (InvalidAgent, DuplicateName):
        raise
    except (InvalidContext, ValidationError) as error:
        raise InvalidAgent(f"Agent {agent.name!r} cannot be stored: {error}") from error
    except BaseException as error:  # noqa: BLE001  (an agent is of whatever class, and so is what it holds)
        raise InvalidAgent(
            f"An agent of the class {kind_of(agent)}{named(agent)} cannot be read: {reason_of(error)}. Its fields must "
            "be plain data."
        ) from None


def _encode(agent: Agent, refer: Refer) -> AgentSpec:
    options = agent.retry_options
    config = getattr(agent, "inference_config", None)
    extra = own_fields(agent, _COMMON)
    refuse_secrets(agent, config, extra)
    # All that is plain is read before any code is referred to: what is refused leaves nothing behind.
    plain: dict[str, Any] = {
        "tool_choice": read_json(agent.tool_choice, "tool_choice"),
        "inference_config": read_json(config, "inference_config"),
        "extra": read_json(extra, "fields"),
        "retriever": _encode_retrievers(agent),
    }
    functions, instructions = read_functions(agent), read_instructions_of(agent)
    refs = _encode_functions(agent, functions, refer)
    check_choice(agent, [ref.name for ref in refs])
    return AgentSpec(
        type=agent.type,
        name=agent.name,
        model=agent.model,
        instructions=_encode_instructions(agent, instructions, refer),
        functions=refs,
        reset_tool_choice=agent.reset_tool_choice,
        parallel_tool_calls=agent.parallel_tool_calls,
        max_result_bytes=_result_bytes(agent),
        retry=RetrySpec(
            timeout_s=options.timeout_in_seconds,
            policy=PolicySpec.of(options.retry_policy) if options.retry_policy else None,
        ),
        **plain,
    )


def _result_bytes(agent: Agent) -> int | None:
    if agent.max_result_bytes is None:
        return None
    return result_bytes(agent.max_result_bytes, f"Agent {agent.name!r}", InvalidAgent)


def _encode_instructions(
    agent: Agent, given: str | Callable[..., Any] | AgentInstructionOptions, refer: Refer
) -> str | FunctionRef:
    if isinstance(given, str):
        return given
    if isinstance(given, AgentInstructionOptions):
        return FunctionRef(name=given.name)
    with _named(agent, "instructions"):
        return refer(given, writes_instructions=True)


def _encode_functions(agent: Agent, given: Sequence[Any], refer: Refer) -> tuple[FunctionRef, ...]:
    found: dict[str, FunctionRef] = {}
    for index, function in enumerate(given):
        if isinstance(function, str):
            ref = FunctionRef(name=str.__str__(function))
        else:
            with _named(agent, f"functions[{index}]"):
                ref = refer(function)
        known = found.get(ref.name)
        if known is not None and known.ref != ref.ref:
            raise DuplicateName(
                f"Agent {agent.name!r} has two different functions named {ref.name!r}; rename one of them."
            )
        found[ref.name] = ref
    return tuple(found.values())


@contextlib.contextmanager
def _named(agent: Agent, what: str) -> Generator[None]:
    """Whoever refuses a callable does not know whose it is."""
    try:
        yield
    except InvalidAgent as error:
        raise InvalidAgent(f"{what} of agent {agent.name!r} cannot be used: {error}") from error


def _encode_retrievers(agent: Agent) -> RetrieverSpec | tuple[RetrieverSpec, ...] | None:
    given: Any = agent.retriever
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        return _encode_retriever(agent, given)
    specs = [_encode_retriever(agent, retriever) for retriever in cast("Sequence[Any]", given)]
    distinct = {spec.digest(): spec for spec in specs}
    return tuple(distinct.values()) or None


def _encode_retriever(agent: Agent, given: Any) -> RetrieverSpec:
    if not isinstance(given, Retriever):
        raise InvalidAgent(
            f"Agent {agent.name!r} has {shown(given)} as a retriever; it must be a Retriever (QdrantRetriever, ...) or "
            "a list of them."
        )
    check_text(getattr(given, "type", None), f"The type of a retriever of agent {agent.name!r}", InvalidAgent)
    settings = {name: value for name, value in vars(given).items() if name != "type"}
    return RetrieverSpec(type=given.type, settings=cast("Any", read_json(settings, "retriever")))


def decode_agent(spec: AgentSpec, classes: Mapping[str, type[Agent]], restore: Restore) -> Agent:
    """Turn stored data back into an agent.

    Args:
        spec: The stored agent.
        classes: Agent classes of this process by type; the built-in ones are known. For any other type the result is
            a plain `Agent` with the extra fields as attributes.
        restore: Gives back callables that this process knows.
    """
    cls = classes.get(spec.type) or _BUILTIN.get(spec.type) or Agent
    instructions: Any = spec.instructions
    if isinstance(instructions, FunctionRef):
        restored = restore(instructions)
        instructions = AgentInstructionOptions(name=restored) if isinstance(restored, str) else restored
    policy = spec.retry.policy.policy() if spec.retry.policy else None
    timeout = spec.retry.timeout_s
    values: dict[str, Any] = {
        "type": spec.type,
        "name": spec.name,
        "model": spec.model,
        "instructions": instructions,
        "functions": [restore(ref) for ref in spec.functions],
        "tool_choice": spec.tool_choice,
        "reset_tool_choice": spec.reset_tool_choice,
        "parallel_tool_calls": spec.parallel_tool_calls,
        "max_result_bytes": spec.max_result_bytes,
        "retriever": _decode_retrievers(spec),
        "retry_options": RetryOptions(int(timeout) if timeout == int(timeout) else timeout, policy),
        "inference_config": spec.inference_config,
        **spec.extra,
    }
    agent = cls.__new__(cls)  # also completes a subclass without @dataclass, so that its fields are known below
    accepted = {f.name: f for f in fields(cls)}
    given = {name: value for name, value in values.items() if name in accepted and accepted[name].init}
    if _takes(cls, given):
        agent.__init__(**given)
    else:
        Agent.__init__(agent, **{name: value for name, value in given.items() if name in _BASE})
    for name, value in values.items():
        if name in accepted or name in spec.extra or value is not None:
            setattr(agent, name, value)
    return agent


def _takes(cls: type[Agent], given: Mapping[str, Any]) -> bool:
    """Whether the class's constructor takes these fields: one that a user wrote need not."""
    try:
        _signature(cls).bind(**given)
    except TypeError:
        return False
    return True


@functools.cache
def _signature(cls: type[Agent]) -> inspect.Signature:
    return inspect.signature(cls)


def _decode_retrievers(spec: AgentSpec) -> Retriever | list[Retriever] | None:
    found = [_decode_retriever(one) for one in spec.retrievers]
    if isinstance(spec.retriever, tuple):
        return found
    return found[0] if found else None


def _decode_retriever(spec: RetrieverSpec) -> Retriever:
    retriever = Retriever(type=spec.type)
    for name, value in spec.settings.items():
        setattr(retriever, name, value)
    return retriever


RetrySpec.model_rebuild()
AgentSpec.model_rebuild()
