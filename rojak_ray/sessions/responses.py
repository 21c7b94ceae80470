"""What a provider answers, checked and turned into records. Providers are user code: anything may come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from rojak_ray.agents.finish import is_whole, read_finish_reason, survived
from rojak_ray.agents.results import AgentResponse
from rojak_ray.checks import is_kind, kind_of
from rojak_ray.core.events import CallPlan, PlannedCall
from rojak_ray.core.steps import ModelResult
from rojak_ray.errors import ModelCutShort, ModelMisbehaved
from rojak_ray.messages import TEXT_BYTES, ToolCall, Usage, VendorState, clean_text, is_longer

Kind = TypeVar("Kind")


def read_response(response: AgentResponse, plans: dict[str, CallPlan]) -> ModelResult:
    """A provider's answer as a record, with the plan of every call.

    Raises:
        ModelMisbehaved: A provider returned something else than an AgentResponse, or one with something else in it.
        ModelCutShort: A call was refused, or cut before its arguments were complete, or a text is too large to be kept.
    """
    if not is_kind(response, AgentResponse):
        raise ModelMisbehaved(f"The provider returned {kind_of(response)} instead of AgentResponse.")
    content = _text(response.content, "content")
    word = _word(response.finish_reason)
    calls = [_read_call(call, index) for index, call in enumerate(_asked(response.tool_calls))]
    if calls and (response.refused is True or read_finish_reason(word) == "refusal"):
        raise ModelCutShort("The model refused after it had begun a call.", finish_reason="refusal")
    if not is_whole(word) and not all(survived(call.arguments) for call in calls):
        text = f"The answer was cut (finish_reason {word!r}) before the arguments of a call were complete."
        raise ModelCutShort(text, finish_reason=read_finish_reason(word))
    if any(is_longer(text, TEXT_BYTES) for text in (content or "", *(call.arguments for call in calls))):
        text = f"The model's answer has a text of more than {TEXT_BYTES >> 20} MiB. Set a token limit, or ask for less."
        raise ModelCutShort(text, finish_reason=read_finish_reason(word))
    usage = _one_of_ours(response.usage, "usage", Usage)
    return ModelResult(
        content=content,
        calls=tuple(PlannedCall(call=call, plan=plans.get(call.name, CallPlan())) for call in calls),
        usage=usage or Usage(requests=1),
        finish_reason="refusal" if response.refused is True else read_finish_reason(word, calls=bool(calls)),
        raw_finish_reason=word,
        vendor=_one_of_ours(response.vendor, "vendor", VendorState),
        paused=response.paused is True and not calls,
    )


def _asked(given: Any) -> list[Any]:
    if given is None:
        return []
    if not is_kind(given, (list, tuple)):
        raise _misbehaved("tool_calls", given, "a list of AgentToolCall")
    return list(given)


def _read_call(call: Any, index: int) -> ToolCall:
    """One call; arguments that are an object already are written as the JSON text they stand for."""
    function: Any = getattr(call, "function", None)
    name: Any = getattr(function, "name", None)
    arguments: Any = getattr(function, "arguments", None)
    where = f"tool_calls[{index}]"
    if not is_kind(name, str) or not name:
        raise _misbehaved(f"{where}.function.name", name, "the name of a function")
    if is_kind(arguments, Mapping):
        try:
            arguments = json.dumps(dict(arguments), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelMisbehaved(
                f"The provider's AgentResponse has {where}.function.arguments that are no JSON: {error}"
            ) from None
    call_id: Any = getattr(call, "id", None)
    if call_id is not None and not is_kind(call_id, (str, int)):
        raise _misbehaved(f"{where}.id", call_id, "text")
    return ToolCall(
        id=clean_text(str(call_id)) if call_id is not None else "",
        name=clean_text(str.__str__(name)),
        arguments=_text(arguments, f"{where}.function.arguments") or "",
    )


def _text(given: Any, name: str) -> str | None:
    if given is None:
        return None
    if not is_kind(given, str):
        raise _misbehaved(name, given, "text or None")
    return clean_text(str.__str__(given))


def _word(given: Any) -> str | None:
    """The vendor's word; some clients have an enum's member for it."""
    return clean_text(str(given)) if given is not None else None


def _one_of_ours(given: Any, name: str, kind: type[Kind]) -> Kind | None:
    if given is not None and not is_kind(given, kind):
        raise _misbehaved(name, given, f"{kind.__name__} or None")
    return cast("Kind | None", given)


def _misbehaved(name: str, given: Any, wanted: str) -> ModelMisbehaved:
    return ModelMisbehaved(f"The provider's AgentResponse has {name} of type {kind_of(given)}; it must be {wanted}.")
