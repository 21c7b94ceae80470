"""Context variables: plain JSON data, checked where it enters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import JsonValue

from rojak_ray.checks import kind_of, reading, shown
from rojak_ray.errors import InvalidContext
from rojak_ray.messages.bounds import TEXT_BYTES, too_large, weighs_more
from rojak_ray.messages.text import has_lone_surrogate

ContextVariables: TypeAlias = dict[str, Any]

_MAX_DEPTH = 100
_MAX_INTEGER_BITS = 4096
"""Python itself refuses to print or read integers of more than 4300 digits."""


def read_context(given: Mapping[str, Any] | None) -> dict[str, JsonValue]:
    """Check context variables and return them as plain JSON data (tuples become lists).

    Raises:
        InvalidContext: A key is not a string, or a value is not null, bool, finite number, text, list or dict. The
            text names the path of the value.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidContext(f"context_variables must be a dictionary, not {kind_of(given)} ({shown(given)}).")
    with reading("context_variables", InvalidContext):
        for key, value in given.items():
            if weighs_more(value, TEXT_BYTES):
                raise InvalidContext(too_large(f"context_variables: the value at {shown(key)}"))
        return {_read_key(key, ""): read_json(value, str(key)) for key, value in given.items()}


def read_json(value: Any, path: str, depth: int = 0) -> JsonValue:
    """Check that `value` is plain JSON data and return it; raises InvalidContext naming `path`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if has_lone_surrogate(value):
            raise InvalidContext(f"The value at {path!r} holds half a character (a lone surrogate).")
        return str.__str__(value)  # the text of an enum member that is a string
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise InvalidContext(f"The value at {path!r} is an integer of more than {_MAX_INTEGER_BITS} bits.")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidContext(f"The value at {path!r} is {value}, which JSON cannot hold; use None or a string.")
        return float(value)
    if depth >= _MAX_DEPTH:
        raise InvalidContext(f"The value at {path[:60]!r} is nested deeper than {_MAX_DEPTH} levels (or in itself).")
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [read_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return {_read_key(k, path): read_json(v, f"{path}.{k}", depth + 1) for k, v in pairs.items()}
    raise InvalidContext(
        f"The value at {path!r} is of type {type(value).__name__}; only null, booleans, numbers, text, lists and "
        "dictionaries with text keys can be kept. Convert it first."
    )


def _read_key(key: Any, path: str) -> str:
    if not isinstance(key, str) or has_lone_surrogate(key):
        where = f"at {path!r}" if path else "at the top of context_variables"
        raise InvalidContext(f"The key {shown(key)} {where} must be a string of whole characters.")
    return key
