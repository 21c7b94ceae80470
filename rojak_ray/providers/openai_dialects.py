"""Servers that speak OpenAI's wire and refuse what others take. What is not listed here is sent the common way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

_MISTRALS = re.compile(r"(?:mistral|ministral|magistral|devstral|codestral|mixtral|pixtral)")
_REASONS_WITHOUT_CALLS = re.compile(r"gpt-(?:5\.[6-9]|[6-9](?!\d))")
_GEMINI_3 = re.compile(r"(?:models/|google/)?gemini-(?:[3-9]|\d\d)")


@dataclass(frozen=True)
class Dialect:
    """How a server differs. Each rule has its source in docs/histories.md."""

    call_id_length: int | None = None
    """Ids of calls are exactly so many letters and digits."""

    call_ids_by_name: bool = False
    """The model reads a call's name from its id, and writes the next one alike: `functions.NAME:NUMBER`."""

    tools_defined: bool = False
    """A history with calls goes with definitions of tools, as on Anthropic's own wire."""

    images_in_results: bool = False
    """A function's result may hold images; elsewhere they stand in a user message behind the results."""

    answer_before_user: bool = False
    """A user may not speak right behind a function's result."""

    ends_with_user: bool = False
    """The last message may not be an assistant's."""

    signed_calls: bool = False
    """The first call of each answer since the user spoke must be signed, also one that another model made."""

    reasoning_with_calls: bool = False
    """An answer between a user's message and the next needs a `reasoning_content` if a function was called there."""

    reasons_without_calls: bool = False
    """Functions are taken only with `reasoning_effort` "none", and that is not what is taken if nobody says so."""

    alternates: bool = False
    """Two messages of one role may not follow each other."""


_COMMON = Dialect()
_MISTRAL_MODEL = Dialect(call_id_length=9, answer_before_user=True, ends_with_user=True, alternates=True)
_MISTRAL = replace(_MISTRAL_MODEL, images_in_results=True)
_GEMINI = Dialect(ends_with_user=True)
_SIGNED_GEMINI = Dialect(ends_with_user=True, signed_calls=True)
_KIMI_2 = Dialect(call_ids_by_name=True)
_CLAUDE = Dialect(tools_defined=True, ends_with_user=True)
_DEEPSEEK = Dialect(reasoning_with_calls=True)
_DEEPSEEK_REASONER = replace(_DEEPSEEK, alternates=True)
_REASONING_GPT = Dialect(reasons_without_calls=True)
_ALTERNATING = Dialect(alternates=True, ends_with_user=True)


def dialect_of(address: str, model: str) -> Dialect:
    """The dialect of a server, known by its address; where anybody may serve a model, by the model's name."""
    host = urlsplit(f"//{address}").hostname or ""
    if host.endswith("mistral.ai"):
        return _MISTRAL
    if host.endswith("deepseek.com"):
        return _DEEPSEEK_REASONER if "reasoner" in model else _DEEPSEEK
    if host.endswith("googleapis.com") or model.startswith("gemini-"):
        return _SIGNED_GEMINI if _GEMINI_3.match(model) else _GEMINI
    if "claude" in model.lower():
        return _CLAUDE
    if "kimi-k2" in model.lower():
        return _KIMI_2
    if _MISTRALS.search(model.lower()):
        return _MISTRAL_MODEL
    if _REASONS_WITHOUT_CALLS.match(model.lower()):
        return _REASONING_GPT
    if host.endswith("perplexity.ai") or "gemma" in model.lower():
        return _ALTERNATING
    return _COMMON
