"""Anthropic's messages API, straight or through Bedrock: our messages to its wire and its answer to ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, ValidationInfo, field_validator, model_validator

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.agents.finish import is_whole, read_finish_reason, survived
from rojak_ray.agents.results import AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.messages import ConversationMessage, Usage, clean_text
from rojak_ray.providers.anthropic_history import begins_with_thought, ended, spoken
from rojak_ray.providers.anthropic_state import is_paused, state_of
from rojak_ray.providers.anthropic_stream import MessageAssembly
from rojak_ray.providers.asked import Asked
from rojak_ray.providers.connection import Vendor
from rojak_ray.providers.history import Origin, not_offered
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.vendor_activities import VendorActivities
from rojak_ray.providers.wire import (
    CutReply,
    FailedReply,
    UnusableReply,
    VendorRequest,
    WireModel,
    call_arguments,
    call_id,
    count,
    error_in,
    is_nothing,
    mapping,
    text_of,
    word_of,
)

_ANTHROPIC = Vendor(
    name="Anthropic",
    package="anthropic",
    client_class="AsyncAnthropic",
    error_class="AnthropicError",
    path="/v1/messages",
)
_DEFAULT_MAX_TOKENS = 4096
_REFUSED_FIELDS = ("temperature", "top_p", "top_k")
"""The API version that anthropic 2 speaks answers 400 to these, whatever their value."""

_FORCING = ("any", "tool")
"""Choices of a function that go with no thinking: the API answers 400 to both."""

_SHOW_NOTHING = ("text", "thinking", "redacted_thinking")
"""Blocks that may be empty, or say nothing of whether the one before them is whole."""

_CHOICE_WORDS = {"auto": "auto", "required": "any", "any": "any", "none": "none"}


@dataclass(repr=False)
class AnthropicAgentOptions(EndpointOptions):
    """How to reach Anthropic; `base_url` is without `/v1`. Bedrock is reached with a Bedrock `client`.

    Example:
        options = AnthropicAgentOptions(api_key="any", inference_config={"max_tokens": 1000})
        await rojak.create_worker([AnthropicAgentActivities(options)])
    """

    key_variable: ClassVar[str] = "ANTHROPIC_API_KEY"
    url_variable: ClassVar[str] = "ANTHROPIC_BASE_URL"


class AnthropicAgentActivities(VendorActivities):
    """Answers for agents of the type "anthropic", or of another `type` given to the instance or the subclass.

    Example:
        await rojak.create_worker([AnthropicAgentActivities(AnthropicAgentOptions(api_key="any"))])
    """

    type: ClassVar[str] = "anthropic"
    vendor = _ANTHROPIC
    options_class = AnthropicAgentOptions

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Ask for one message."""
        defaults = self._endpoint.options.inference_config
        asked = Asked.of(defaults, params.inference_config)
        for name in _REFUSED_FIELDS:
            if name in asked.fields:
                self._endpoint.warn_once(
                    name, f"Anthropic's API no longer takes {name!r}; it is not sent. Take it out of inference_config."
                )
        origin = self._endpoint.origin(asked.model(params.model))

        def read(reply: Any) -> AgentResponse:
            state = state_of(reply)
            return replace(read_message(reply), vendor=origin.keep(state), paused=is_paused(state))

        return await self._endpoint.ask(message_request(params, defaults, origin), params, read, MessageAssembly)


def message_request(
    params: AgentCallParams, defaults: Mapping[str, Any] | None = None, origin: Origin | None = None
) -> VendorRequest:
    """The request for one message to `origin`; beyond what the API requires, nothing is in it that nobody asked for."""
    ours = {"max_tokens": _DEFAULT_MAX_TOKENS}
    asked = Asked.of(ours, defaults, params.inference_config, release_choice=params.release_tool_choice)
    asked = asked.without_field(*_REFUSED_FIELDS)
    if not asked.fields.get("stop_sequences"):
        asked = asked.without_field("stop_sequences")
    origin = origin or Origin("", asked.model(params.model))
    said = spoken(params.messages, origin)
    messages = ended(said.messages, params.messages[-1] if params.messages else None, origin)
    body: dict[str, Any] = {"model": params.model, "messages": messages}
    if said.system:
        body["system"] = said.system
    if said.container and asked.get("container") is None:
        body["container"] = said.container
    if params.functions:
        body["tools"] = [_tool(schema) for schema in params.functions]
        choice = params.tool_choice
        if choice is None and not params.parallel_tool_calls:
            choice = asked.fields.get("tool_choice")
        choice = convert_tool_choice(choice, parallel=params.parallel_tool_calls)
        if choice is not None:
            body["tool_choice"] = choice
    elif said.called and not asked.tools:
        # The API wants the tools of a history defined; an agent without functions is not to call them.
        asked = asked.without("tool_choice")
        body["tools"] = [_tool(not_offered(name)) for name in said.called]
        body["tool_choice"] = {"type": "none"}
    asked, budget = _thinking(
        asked, asked.body.get("tool_choice", body.get("tool_choice", asked.get("tool_choice"))), messages
    )
    if budget and not any("max_tokens" in (config or ()) for config in (defaults, params.inference_config)):
        body["max_tokens"] = budget + _DEFAULT_MAX_TOKENS  # thoughts count, and must leave room
    return asked.request(body)


def _thinking(asked: Asked, choice: Any, messages: Sequence[Mapping[str, Any]]) -> tuple[Asked, int]:
    """What is asked for with thinking only where the API takes it, and the tokens that are for thoughts."""
    thinking = mapping(asked.get("thinking"))
    if thinking.get("type") != "enabled":
        return asked, 0
    if mapping(choice).get("type") in _FORCING or not begins_with_thought(messages):
        return asked.without("thinking"), 0
    return asked, count(thinking, "budget_tokens")


def convert_messages(messages: Iterable[ConversationMessage]) -> list[dict[str, Any]]:
    """All but the system messages in Anthropic's form, as another vendor's history is sent."""
    return spoken(messages, Origin("", "")).messages


def _tool(schema: FunctionSchema) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": schema.name, "input_schema": {"type": "object", **schema.parameters}}
    if schema.description:
        tool["description"] = schema.description
    return tool


def convert_tool_choice(choice: Any, *, parallel: bool) -> Any:
    """OpenAI's words and forms in Anthropic's form, which itself is passed on; None if there is nothing to say."""
    if choice is None:
        return None if parallel else {"type": "auto", "disable_parallel_tool_use": True}
    converted: dict[str, Any]
    if isinstance(choice, str):
        converted = {"type": _CHOICE_WORDS[choice]} if choice in _CHOICE_WORDS else {"type": "tool", "name": choice}
    elif isinstance(choice, Mapping):
        converted = _choice_from_mapping(cast("Mapping[str, Any]", choice))
    else:
        return choice
    if not parallel and converted.get("type") != "none":
        converted.setdefault("disable_parallel_tool_use", True)
    return converted


def _choice_from_mapping(choice: Mapping[str, Any]) -> dict[str, Any]:
    if choice.get("type") == "function":
        function = choice.get("function")
        named = cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else choice
        return {"type": "tool", "name": named.get("name")}
    if choice.get("type") == "required":
        return {**choice, "type": "any"}
    return dict(choice)


def _block_text(value: Any) -> Any:
    """The text of a block; nothing is an empty one. What else is no text is refused where the block is one of text."""
    return "" if is_nothing(value) else value


def _name(value: Any) -> str:
    return clean_text(text_of(value))


class _Block(WireModel):
    type: str
    text: Annotated[Any, BeforeValidator(_block_text)] = ""
    id: Annotated[str | None, BeforeValidator(call_id)] = None
    name: Annotated[str, BeforeValidator(_name)] = ""
    input: Any = None

    @field_validator("text", mode="after")
    @classmethod
    def _is_text(cls, value: Any, info: ValidationInfo) -> str:
        if isinstance(value, str):
            return clean_text(value)
        if info.data.get("type") == "text":
            raise ValueError("it is no text")
        return ""


class _Message(WireModel):
    content: list[_Block]
    stop_reason: Annotated[str | None, BeforeValidator(word_of)] = None
    usage: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_content(cls, given: Any) -> Any:
        """An answer that was withheld may come without content, if it says so."""
        message = mapping(given)
        if is_nothing(message.get("content")) and not is_whole(word_of(message.get("stop_reason"))):
            return {**message, "content": []}
        return given


def read_message(reply: Any) -> AgentResponse:
    """The answer in a message: its text blocks joined, its tool uses as calls; other blocks are left out.

    Raises:
        CutReply: A refusal ended it, or a limit broke it off in a tool use: nothing tells whether its input is whole.
        FailedReply: The vendor says that it failed.
        UnusableReply: A tool use names no tool.
        ValidationError: The reply is not a message.
    """
    if error := error_in(reply):
        raise FailedReply("it is an error", error)
    message = _Message.model_validate(reply)
    word = message.stop_reason
    text = "".join(block.text for block in message.content if block.type == "text")
    uses = [block for block in message.content if block.type == "tool_use"]
    usage = _usage(message.usage)
    if not uses:
        return AgentResponse(content=text, usage=usage, finish_reason=word)
    reason = read_finish_reason(word)
    if reason == "refusal" or (not is_whole(word) and _may_be_cut(message.content)):
        raise CutReply(f"the token limit or a refusal (stop_reason {word!r}) cut a tool use", reason)
    calls = [_read_tool_use(block, index) for index, block in enumerate(uses)]
    return AgentResponse(type="tool", content=text or None, tool_calls=calls, usage=usage, finish_reason=word)


def _may_be_cut(content: Sequence[_Block]) -> bool:
    """Whether the last tool use in an answer that broke off may lack some of its input, or all of it.

    Blocks come one after the other, so what is said behind a tool use shows that it is whole. An empty block shows
    nothing, nor does a thought: servers that translate another wire add them at the end.
    """
    if content[-1].type == "tool_use":
        return True
    last = next((block for block in reversed(content) if block.text.strip() or block.type not in _SHOW_NOTHING), None)
    return last is not None and last.type == "tool_use" and not survived(call_arguments(last.input))


def _read_tool_use(block: _Block, index: int) -> AgentToolCall:
    if not block.name:
        raise UnusableReply("a tool use names no tool")
    function = ToolCallFunction(name=block.name, arguments=call_arguments(block.input) or "{}")
    return AgentToolCall(id=block.id or f"call_{index}", function=function)


def _usage(usage: Any) -> Usage:
    cached = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    return Usage(
        requests=1,
        input_tokens=count(usage, "input_tokens") + written + cached,
        output_tokens=count(usage, "output_tokens"),
        cached_input_tokens=cached,
        reasoning_tokens=count(mapping(usage).get("output_tokens_details"), "thinking_tokens"),
        cache_write_tokens=written,
    )
