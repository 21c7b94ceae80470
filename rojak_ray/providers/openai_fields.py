"""What the fields of an answer on OpenAI's wire may hold: the one place where it is said how loosely they are read.

A whole answer is read through these, and so is one that came in pieces: what puts the pieces together keeps what it
cannot join as it came, for these to refuse. So an answer means the same whether it was streamed or not.

Where nothing is said, servers say it as null, false, an empty text, list or object. What has to be there and is of the
wrong type is refused (ValueError); what is only beside the answer, such as an id, is left out then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from rojak_ray.messages import clean_text
from rojak_ray.providers.wire import is_nothing, mapping

_NO_CALL = ("none", "auto", "null")
"""Words that servers put where a call would stand."""

_OF_TEXT = (None, "text", "output_text")
"""The types of parts that have no other purpose than their text."""


def first_choice(choices: Any) -> Any:
    """The answer among those that a server gives: the one in the first place. We ask for one.

    Raises:
        ValueError: There is none.
    """
    found = [choice for choice in cast("list[Any]", choices) if not is_nothing(choice)] if _is_list(choices) else []
    if not found:
        raise ValueError("there are no choices")
    return next((choice for choice in found if is_first(choice)), found[0])


def is_first(choice: Any) -> bool:
    """Whether a choice stands in the first place, which need not be said."""
    place = mapping(choice).get("index")
    return not place or place == "0"


def parts_of(content: Any) -> list[Any] | None:
    """A content that comes in parts, as multimodal requests are spelled; None if it does not."""
    if isinstance(content, str):
        return None
    if _is_list(content):
        return list(content)
    return [content] if isinstance(mapping(content).get("text"), str) else None


def text_in(content: Any) -> str | None:
    """The text of a message; None if it has none.

    Raises:
        ValueError: It is neither text nor parts.
    """
    if is_nothing(content):
        return None
    if isinstance(content, str):
        return clean_text(content)
    parts = parts_of(content)
    if parts is None:
        raise ValueError("it is neither text nor parts of which some are text")
    return clean_text("".join(part_text(part) for part in parts))


def part_text(part: Any) -> str:
    """The text of a part; empty for a thought, an image and what is yet to come.

    Raises:
        ValueError: It should be text and is none.
    """
    text = mapping(part).get("text") if isinstance(part, Mapping) else part
    if isinstance(text, str):
        return text
    if is_nothing(text) or (isinstance(part, Mapping) and mapping(part).get("type") not in _OF_TEXT):
        return ""
    raise ValueError("a part's text is none")


def side_text(value: Any) -> str | None:
    """A text beside the content, such as a refusal; None if it is none."""
    try:
        return text_in(value) or None
    except ValueError:
        return None


def call_name(value: Any) -> str:
    """The name of the function that a call is for.

    Raises:
        ValueError: There is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError("a call names no function")
    return clean_text(value)


def call_list(value: Any) -> list[Mapping[str, Any]]:
    """The calls of a message, or the pieces of calls in a piece of one.

    Raises:
        ValueError: It is no list of objects.
    """
    if is_nothing(value) or (isinstance(value, str) and value.strip().lower() in _NO_CALL):
        return []
    listed: Sequence[Any] = cast("list[Any]", value) if _is_list(value) else [value]
    calls = [call for call in listed if not _says_nothing(call)]
    if not all(isinstance(call, Mapping) for call in calls) or (not _is_list(value) and "function" not in value):
        raise ValueError("the calls are no list of objects")
    return cast("list[Mapping[str, Any]]", calls)


def older_call(value: Any) -> Mapping[str, Any] | None:
    """A `function_call`, as servers spell a single call that do not know several yet; None if there is none.

    Raises:
        ValueError: It is something else than an object.
    """
    if is_nothing(value) or (isinstance(value, str) and value.strip().lower() in _NO_CALL):
        return None
    [call] = call_list([{"function": value}]) or [{}]
    function = call.get("function")
    if function is not None and not isinstance(function, Mapping):
        raise ValueError("the call is no object")
    return cast("Mapping[str, Any] | None", function)


def _says_nothing(call: Any) -> bool:
    """Whether nothing is said of a call but its place and type."""
    said = {name: value for name, value in mapping(call).items() if name not in ("index", "type")}
    function = said.pop("function", None)
    if isinstance(function, Mapping):
        said.update(mapping(function))
    elif not is_nothing(function):
        return False
    return is_nothing(call) or (isinstance(call, Mapping) and all(map(is_nothing, said.values())))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
