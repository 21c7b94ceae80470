"""A model's arguments, checked against a function's parameters. What is raised here is written for the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, cast

from pydantic import BaseModel, ValidationError

_MOST_PROBLEMS, _LONGEST_PROBLEM = 10, 300
_MOST_ROUNDS = 5
_JSON_TYPES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def read_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object in a model's text; blank text stands for no arguments.

    Raises:
        ValueError: It is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"arguments of {name} are not valid JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = _JSON_TYPES[type(value)]
        raise ValueError(f"arguments of {name} must be a JSON object, not {kind}")  # noqa: TRY004  (it is a value)
    return cast("dict[str, Any]", value)


def validated(name: str, model: type[BaseModel], given: dict[str, Any]) -> BaseModel:
    """The arguments as the model's types.

    What its schema forbids is refused: no text becomes a number, no number a date. There is one exception, because
    models write post codes and such without quotes: a number where a text is wanted becomes its digits.

    Args:
        name: The function.
        model: Its parameters.
        given: Numbers in it may be replaced.

    Raises:
        TypeError: An argument is missing or unexpected.
        ValueError: A value does not fit; every such value is named.
    """
    for _ in range(_MOST_ROUNDS):
        try:
            return model.model_validate_json(json.dumps(given), strict=True)
        except ValidationError as error:
            if not (_respelled(given, error, "int_type", _whole) or _respelled(given, error, "string_type", _digits)):
                _refuse(name, error)
    return model.model_validate_json(json.dumps(given), strict=True)


def _respelled(given: Any, error: ValidationError, kind: str, spell: Callable[[Any], Any]) -> bool:
    """Spell the values otherwise that were refused for that; whether there were any."""
    changed = False
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        if problem["type"] != kind:
            continue
        place: Any = given
        container: Any = None
        key: Any = None
        part: Any
        for part in problem["loc"]:  # names of union members stand between keys and positions
            inside = isinstance(place, dict) and part in place
            if inside or (isinstance(place, list) and isinstance(part, int) and part < len(place)):
                container, key = place, part
                place = place[part]
        new = spell(place)
        if container is not None and new is not None:
            container[key] = new
            changed = True
    return changed


def _whole(value: Any) -> int | None:
    """1.0 is an integer in JSON."""
    return int(value) if type(value) is float and value.is_integer() else None


def _digits(value: Any) -> str | None:
    return json.dumps(value) if type(value) in (int, float) else None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _refuse(name: str, error: ValidationError) -> NoReturn:
    """Raise what a model can make use of: which argument is wrong, and why."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    missing, unexpected = (
        [_clip(repr(each["loc"][0])) for each in found if each["type"] == kind and len(each["loc"]) == 1]
        for kind in ("missing", "extra_forbidden")
    )
    problems: list[str] = []
    if missing:
        problems.append(f"missing required argument{'s' * (len(missing) > 1)}: {', '.join(missing)}")
    if unexpected:
        one = len(unexpected) == 1
        problems.append(f"got {'an ' * one}unexpected argument{'s' * (not one)} {', '.join(unexpected)}")
    if problems:
        raise TypeError(f"{name}() {'; '.join(problems)}") from None
    if found[0]["type"] == "json_invalid":
        raise ValueError(f"arguments of {name} are not valid JSON: {found[0]['msg']}") from None
    lines = [_clip(f"{_place(one['loc'])}: {one['msg']}") for one in found[:_MOST_PROBLEMS]]
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"and {len(found) - _MOST_PROBLEMS} more")
    raise ValueError(f"{name}() got wrong arguments: {'; '.join(lines)}") from None


def _place(parts: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in parts if not str(part).startswith("function-"))


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_PROBLEM else text[: _LONGEST_PROBLEM - 3] + "..."
