"""What nobody may set in an `inference_config`, because it is the request itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rojak_ray.checks import shown

EXTRAS = ("extra_body", "extra_headers", "extra_query")
"""Fields that mean to us what they mean to the vendors' SDKs."""

_LEAVE_OUT = "Leave it out"
_CONVERSATION = "the conversation is the run's own: pass messages to run(), or write it in the agent's instructions"
_STREAMING = "whether an answer is streamed follows from whether somebody watches"
_ONE_ANSWER = "a run takes one answer from its model"


def fault_in_config(config: Any, *, is_sent: bool = False) -> str | None:
    """What is wrong with a config, naming the key and what to write instead; None if nothing is.

    Args:
        config: An `inference_config`, of an agent or of a provider.
        is_sent: Whether it is about to be sent, rather than set: what our own fields override is no fault then, so that
            agents which older versions stored go on.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        return f"inference_config must be a dict of fields of the request, not {shown(config)}."
    fields = cast("Mapping[Any, Any]", config)
    for name in EXTRAS:
        if (fault := _fault_in_extra(name, fields.get(name))) is not None:
            return fault
    return _fault_in_body("inference_config", fields, overridden=is_sent) or _fault_in_body(
        "inference_config.extra_body", fields.get("extra_body") or {}, overridden=False
    )


def _fault_in_extra(name: str, given: Any) -> str | None:
    place = f"inference_config.{name}"
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return f"{place} must be a dict, not {shown(given)}."
    for key, value in cast("Mapping[Any, Any]", given).items():
        if not isinstance(key, str):
            return f"{place} has the key {shown(key)}; keys must be text."
        if name == "extra_headers" and not isinstance(value, str | None):
            return f"{place}.{key} must be text, or None to leave the header out; not {shown(value)}."
    return None


def _fault_in_body(place: str, fields: Mapping[Any, Any], *, overridden: bool) -> str | None:
    if "messages" in fields and not overridden:
        return f"{place}.messages would replace what the model is asked. {_LEAVE_OUT}: {_CONVERSATION}."
    if fields.get("stream") and not overridden:
        return f"{place}.stream cannot be set. {_LEAVE_OUT}: {_STREAMING}."
    answers = fields.get("n")
    if answers is not None and (answers is True or answers != 1):
        return f"{place}.n={shown(answers)} asks for several answers. {_LEAVE_OUT}: {_ONE_ANSWER}."
    tools = fields.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        return f"{place}.tools must be a list of the vendor's definitions, not {shown(tools)}."
    model = fields.get("model")
    if place.endswith("extra_body") and "model" in fields and not (isinstance(model, str) and model):
        return f"{place}.model must be text, not {shown(model)}. Leave it out to ask the agent's own model."
    return None
