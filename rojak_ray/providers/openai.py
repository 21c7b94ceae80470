"""OpenAI's chat completions, and every server that offers them: our messages to its wire and its answer to ours."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from rojak_ray.agents.activities import AgentCallParams, FunctionSchema
from rojak_ray.agents.finish import is_whole, read_finish_reason, survived
from rojak_ray.agents.results import AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.messages import Usage
from rojak_ray.providers.asked import Asked
from rojak_ray.providers.connection import Vendor
from rojak_ray.providers.history import Origin, not_offered
from rojak_ray.providers.openai_dialects import dialect_of
from rojak_ray.providers.openai_fields import (
    call_list,
    call_name,
    first_choice,
    older_call,
    side_text,
    text_in,
)
from rojak_ray.providers.openai_history import called_in, chat_messages
from rojak_ray.providers.openai_state import state_of
from rojak_ray.providers.openai_stream import ChunkAssembly
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.vendor_activities import VendorActivities
from rojak_ray.providers.wire import (
    CutReply,
    FailedReply,
    VendorRequest,
    WireModel,
    call_arguments,
    call_id,
    count,
    error_in,
    highest,
    is_nothing,
    mapping,
    text_of,
    word_of,
)

_OPENAI = Vendor(
    name="OpenAI",
    package="openai",
    client_class="AsyncOpenAI",
    error_class="OpenAIError",
    path="/chat/completions",
)
_CHOICE_WORDS = {"auto": "auto", "required": "required", "any": "required", "none": "none"}
_OPENAIS_OWN = ("openai.com", "openai.azure.com")
_LONGEST_DESCRIPTION = 1024
"""OpenAI answers 400 to a longer description of a function ("string_above_max_length"); other servers do not."""


@dataclass(repr=False)
class OpenAIAgentOptions(EndpointOptions):
    """How to reach OpenAI or a server that speaks like it; `base_url` includes `/v1`.

    Example:
        local = OpenAIAgentOptions(api_key="any", base_url="http://localhost:8000/v1", max_concurrency=8)
        await rojak.create_worker([OpenAIAgentActivities(local)])
    """

    key_variable: ClassVar[str] = "OPENAI_API_KEY"
    url_variable: ClassVar[str] = "OPENAI_BASE_URL"


class OpenAIAgentActivities(VendorActivities):
    """Answers for agents of the type "openai", or of another `type` given to the instance or the subclass.

    Example:
        class LocalActivities(OpenAIAgentActivities):
            type = "local"  # a second server beside OpenAI's, for agents of this type

        options = OpenAIAgentOptions(api_key="any", base_url="http://localhost:8000/v1")
        await rojak.create_worker([LocalActivities(options)])
        agent = OpenAIAgent(name="Poet", type="local", model="llama")
    """

    type: ClassVar[str] = "openai"
    vendor = _OPENAI
    options_class = OpenAIAgentOptions

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Ask for one chat completion."""
        asked = asked_for(params, self._endpoint.options.inference_config)
        origin = self._endpoint.origin(asked.model(params.model))
        request = chat_request(params, self._endpoint.options.inference_config, origin)

        def read(reply: Any) -> AgentResponse:
            return replace(read_completion(reply), vendor=origin.keep(state_of(reply)))

        return await self._endpoint.ask(request, params, read, ChunkAssembly)


def chat_request(
    params: AgentCallParams, defaults: Mapping[str, Any] | None = None, origin: Origin | None = None
) -> VendorRequest:
    """The request for one chat completion to `origin`; nothing is in it that nobody asked for."""
    asked = asked_for(params, defaults)
    origin = origin or Origin("", asked.model(params.model))
    dialect = dialect_of(origin.address, origin.model)
    body: dict[str, Any] = {"model": params.model, "messages": chat_messages(params.messages, origin, dialect)}
    if params.functions:
        longest = _LONGEST_DESCRIPTION if origin.address.endswith(_OPENAIS_OWN) else sys.maxsize
        body["tools"] = [_tool(schema, longest) for schema in params.functions]
        if params.tool_choice is not None:
            body["tool_choice"] = _tool_choice(params.tool_choice, params.functions)
        if not params.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    elif dialect.tools_defined and (called := called_in(body["messages"])) and not asked.tools:
        asked = asked.without("tool_choice")
        body["tools"] = [_tool(not_offered(name), sys.maxsize) for name in called]
        body["tool_choice"] = "none"
    if dialect.reasons_without_calls and (params.functions or asked.tools) and asked.get("reasoning_effort") is None:
        body["reasoning_effort"] = "none"
    return asked.request(body)


def asked_for(params: AgentCallParams, defaults: Mapping[str, Any] | None) -> Asked:
    """What users ask for beside the conversation, in OpenAI's words."""
    asked = Asked.of(defaults, params.inference_config, release_choice=params.release_tool_choice)
    stop = asked.fields.get("stop_sequences")
    asked = asked.without_field("stop_sequences")
    return replace(asked, fields={**asked.fields, "stop": stop}) if stop and asked.get("stop") is None else asked


def _tool(schema: FunctionSchema, longest: int) -> dict[str, Any]:
    function: dict[str, Any] = {"name": schema.name, "parameters": schema.parameters}
    if schema.description:
        too_long = len(schema.description) > longest
        function["description"] = f"{schema.description[: longest - 3]}..." if too_long else schema.description
    return {"type": "function", "function": function}


def _tool_choice(choice: Any, functions: Iterable[FunctionSchema]) -> Any:
    """The choice in OpenAI's form, whichever vendor's it is given in; what is none of these is sent as it is.

    A function may be named like a word: then the word counts as one, unless it is in capitals, say.
    """
    if isinstance(choice, Mapping):
        given = mapping(choice)
        if given.get("type") == "tool" and isinstance(given.get("name"), str):
            return {"type": "function", "function": {"name": given["name"]}}
        return _CHOICE_WORDS.get(text_of(given.get("type")), choice)
    if not isinstance(choice, str) or choice in _CHOICE_WORDS:
        return _CHOICE_WORDS.get(choice, choice) if isinstance(choice, str) else choice
    if any(choice == schema.name for schema in functions):
        return {"type": "function", "function": {"name": choice}}
    return _CHOICE_WORDS.get(choice.lower(), choice)


class _Function(WireModel):
    name: Annotated[str, BeforeValidator(call_name)]
    arguments: Annotated[str, BeforeValidator(call_arguments)] = ""


class _ToolCall(WireModel):
    id: Annotated[str | None, BeforeValidator(call_id)] = None
    function: _Function


class _Message(WireModel):
    content: Annotated[str | None, BeforeValidator(text_in)] = None
    refusal: Annotated[str | None, BeforeValidator(side_text)] = None
    tool_calls: Annotated[list[_ToolCall], BeforeValidator(call_list)] = Field(default_factory=list[_ToolCall])
    function_call: Annotated[_Function | None, BeforeValidator(older_call)] = None
    """As servers spell a single call that do not know several yet; some say it beside the same one in `tool_calls`."""

    @property
    def calls(self) -> list[_ToolCall]:
        """The calls it asks for."""
        single = [_ToolCall(function=self.function_call)] if self.function_call is not None else []
        return self.tool_calls or single


class _Choice(WireModel):
    message: _Message
    finish_reason: Annotated[str | None, BeforeValidator(word_of)] = None
    usage: Any = None
    error: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_a_message(cls, given: Any) -> Any:
        """An answer that was withheld may come without a message, if it says so."""
        choice = mapping(given)
        if is_nothing(choice.get("message")) and not is_whole(word_of(choice.get("finish_reason"))):
            return {**choice, "message": {}}
        return given


class _Completion(WireModel):
    choices: Annotated[_Choice, BeforeValidator(first_choice)]
    """The one that counts."""

    usage: Any = None


def read_completion(reply: Any) -> AgentResponse:
    """The answer in a chat completion. An empty text is an answer, and so is a refusal: calls beside it do not count.

    Calls of an answer that was broken off count if the arguments of each are complete.

    Raises:
        CutReply: A limit or a filter broke it off before all its calls were complete, or the model refused within them.
        FailedReply: The server, or the one behind it, says that it failed.
        ValidationError: The reply is not a chat completion.
    """
    if error := error_in(reply):
        raise FailedReply("it is an error", error)
    completion = _Completion.model_validate(reply)
    choice = completion.choices
    message, word = choice.message, choice.finish_reason
    if choice.error or read_finish_reason(word) == "error":
        raise FailedReply(f"the answer ended in an error (finish_reason {word!r})", choice.error)
    usage = _usage(highest(mapping(completion.usage), mapping(choice.usage)))
    if not message.calls or message.refusal:
        refused = bool(message.refusal) and (bool(message.calls) or not message.content)
        content = message.content or message.refusal or ""
        return AgentResponse(content=content, usage=usage, finish_reason=word, refused=refused)
    reason = read_finish_reason(word)
    if reason == "refusal":
        raise CutReply(f"the model refused (finish_reason {word!r}) after it had begun a call", reason)
    if not is_whole(word) and not all(survived(call.function.arguments) for call in message.calls):
        raise CutReply(f"the token limit or a filter (finish_reason {word!r}) cut the arguments of a call", reason)
    calls = [
        AgentToolCall(
            id=call.id or f"call_{index}",
            function=ToolCallFunction(name=call.function.name, arguments=call.function.arguments or "{}"),
        )
        for index, call in enumerate(message.calls)
    ]
    return AgentResponse(
        type="tool", content=message.content or None, tool_calls=calls, usage=usage, finish_reason=word
    )


def _usage(usage: Any) -> Usage:
    asked = mapping(usage).get("prompt_tokens_details")
    answered = mapping(usage).get("completion_tokens_details")
    return Usage(
        requests=1,
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_input_tokens=count(asked, "cached_tokens") or count(usage, "prompt_cache_hit_tokens"),
        reasoning_tokens=count(answered, "reasoning_tokens"),
        cache_write_tokens=count(asked, "cache_write_tokens"),
    )
