"""What a model answers and what a function may return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal, cast

from rojak_ray.agents.agent import Agent
from rojak_ray.checks import check_list, shown
from rojak_ray.errors import InvalidSetting
from rojak_ray.messages import Usage, VendorState


@dataclass
class ToolCallFunction:
    """The function a model names, with its arguments as JSON text.

    Example:
        assert ToolCallFunction("book_table", '{"guests": 4}').name == "book_table"
    """

    name: str
    arguments: str = "{}"


@dataclass
class AgentToolCall:
    """One call a model asks for.

    Example:
        call = AgentToolCall("call-1", ToolCallFunction("book_table", '{"guests": 4}'))
        assert AgentResponse(type="tool", tool_calls=[call]).tool_calls == [call]
    """

    id: str
    function: ToolCallFunction
    type: str = "function"
    index: int | None = None

    def __post_init__(self) -> None:
        """Accept the function as a dictionary."""
        if isinstance(self.function, Mapping):
            given = cast("Mapping[str, Any]", self.function)
            self.function = ToolCallFunction(name=given.get("name", ""), arguments=given.get("arguments", "{}"))


@dataclass
class AgentResponse:
    """A model's answer: text, or functions it wants called (with or without text beside them).

    Example:
        class OrderingActivities(AgentActivities):
            type = "ordering"

            async def call(self, params: AgentCallParams) -> AgentResponse:
                if params.messages[-1].role == "tool":
                    return AgentResponse(content=f"Done: {params.messages[-1].content}")
                wanted = ToolCallFunction("book_table", '{"guests": 4}')
                return AgentResponse(type="tool", tool_calls=[AgentToolCall("call-1", wanted)])

        await rojak.create_worker([OrderingActivities()])
        orderer = Agent(name="Orderer", model="none", type="ordering", functions=[book_table])
        assert (await rojak.run(agent=orderer, messages="Four, please.")).context_variables == {"booked": 4}
    """

    type: Literal["text", "tool"] = "text"
    content: str | None = None
    tool_calls: list[AgentToolCall] | None = None
    usage: Usage | None = None
    """Tokens, where the vendor tells."""

    finish_reason: str | None = None
    """Why it stopped, in the vendor's word or one of `FinishReason`. With a word that says that the answer was cut,
    its calls are run only if the arguments of each are complete."""

    refused: bool = False
    """Whether the content is the model's refusal, where the vendor's word does not say so."""

    vendor: VendorState | None = None
    """What the vendor must get back unread with this answer, in the provider's own form. The message in
    `AgentCallParams.messages` brings it back; whether it fits the question is the provider's to decide."""

    paused: bool = False
    """The vendor stopped in the midst of its work: it is asked again, with this answer at the end, and goes on."""

    def __post_init__(self) -> None:
        """Accept tool calls as dictionaries."""
        if isinstance(self.tool_calls, list | tuple):
            self.tool_calls = [
                AgentToolCall(**cast("dict[str, Any]", call)) if isinstance(call, Mapping) else call
                for call in self.tool_calls
            ]


_LONGEST_S = 100 * 365 * 86_400.0
"""Whoever waits longer waits for ever; calendars end in the year 9999."""


@dataclass(frozen=True)
class WaitForAnswer:
    """Returned by a function whose result comes later, from a person or another system.

    The call stays open, for weeks if need be, and costs no process meanwhile. `Session.answer` or `RunHandle.answer`
    ends it: the answer becomes the function's result. Tell whoever is to answer the session or run id and
    `ToolContext.call_id`.

    Example:
        def request_refund(amount: float) -> WaitForAnswer:
            '''Request a refund of some amount.'''
            return WaitForAnswer(f"Refund ${amount}?", options=["yes", "no"], timeout_in_seconds=86_400)

        clerk = OfflineAgent(functions=[request_refund])
        waiting = await rojak.start_run(agent=clerk, messages="Request a refund of 5.")
        async for event in waiting.events():
            if event.kind == "waiting" and event.call_id:
                await waiting.answer(event.call_id, "yes")
        assert "yes" in (await waiting.result()).output
    """

    question: str = ""
    """What is asked, for whoever lists open questions."""

    timeout_in_seconds: float | None = None
    """After this time the model is told that nobody answered; None or infinity waits for ever."""

    options: Sequence[str] = ()
    """Answers to choose from, for whoever shows the question. Any other answer is taken, too."""

    def __post_init__(self) -> None:
        """Refuse a time that is over before it begins, and options that are no list of texts."""
        if not isinstance(self.question, str):
            raise InvalidSetting(f"question of WaitForAnswer must be text, not {shown(self.question)}.")
        options = check_list(self.options, "options of WaitForAnswer", InvalidSetting, "texts")
        if not all(isinstance(option, str) for option in options):
            raise InvalidSetting(f"options of WaitForAnswer must be a list of texts, not {shown(options)}.")
        limit: Any = self.timeout_in_seconds
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and limit > 0):  # nor NaN
            raise InvalidSetting(f"timeout_in_seconds of WaitForAnswer must be more than 0, not {shown(limit)}.")
        if limit is not None and limit > _LONGEST_S:
            object.__setattr__(self, "timeout_in_seconds", None)


@dataclass
class AgentExecuteFnResult:
    """A function's result with more to say than text.

    `context_variables` is merged into the conversation's; keys it does not name stay. `value` is another spelling of
    `output`.

    Example:
        waiter = OfflineAgent(name="Waiter")

        def transfer_to_waiter():
            '''Hand the guest to the waiter.'''
            return AgentExecuteFnResult(output="Seated.", agent=waiter, context_variables={"table": 7})

        host = OfflineAgent(name="Host", functions=[transfer_to_waiter])
        response = await rojak.run(agent=host, messages="Hand me to the waiter.")
        assert (response.agent.name, response.context_variables) == ("Waiter", {"table": 7})
    """

    output: Any = ""
    """What the model is told, or shown: text, an `ImagePart` or `FilePart`, or a list of these; None is nothing."""

    agent: Agent | None = None
    """Who answers next."""

    context_variables: dict[str, Any] = field(default_factory=dict[str, Any])
    value: InitVar[Any] = None

    def __post_init__(self, value: Any) -> None:
        """Let `value=` stand for `output=`."""
        if value is not None:
            if self.output:
                raise TypeError("AgentExecuteFnResult takes output or value, not both.")
            self.output = value
