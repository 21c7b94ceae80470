"""What somebody may answer for a function that waits: text, plain data, or what the model is to see.

Unlike a function's result, an answer can be refused as a whole: whoever gives it is there to give another.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from enum import Enum
from typing import Any

from pydantic_core import to_jsonable_python

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.held import all_within
from rojak_ray.agents.invoke import is_structure, json_text
from rojak_ray.agents.results import AgentExecuteFnResult, WaitForAnswer
from rojak_ray.agents.shown import answered
from rojak_ray.checks import is_kind, kind_of, kind_of_class, reason_of
from rojak_ray.errors import InvalidMessage
from rojak_ray.messages import Content, has_lone_surrogate

_OF_FUNCTIONS_ALONE = (Agent, WaitForAnswer, AgentExecuteFnResult)
_NEVER_WHOLE = (Iterator, AsyncIterator, Awaitable)
_INSTEAD = "Give text, or plain data: numbers, lists, dictionaries, dataclasses or pydantic models."


def read_answer(value: Any) -> Content:
    """The answer as the model gets it.

    Raises:
        InvalidMessage: It is neither text nor data, or has something in it that is not; nothing is stored.
    """
    return answered(value, _text)


def _text(value: Any) -> str:
    try:
        text = _text_of_data(value)
    except InvalidMessage:
        raise
    except BaseException as error:  # noqa: BLE001  (making text of an object runs its code)
        reason = reason_of(error)
        raise InvalidMessage(f"The answer is {kind_of(value)}, not text or data ({reason}). {_INSTEAD}") from None
    if has_lone_surrogate(text):
        raise InvalidMessage("The answer has half a character (a lone surrogate) in it. Give whole characters.")
    return text


def _text_of_data(value: Any) -> str:
    for item in all_within(value):
        if (held := _not_data(item)) is not None:
            raise InvalidMessage(f"The answer {'is' if item is value else 'holds'} {held}. {_INSTEAD}")
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if is_structure(value):
        return json_text(value)
    json_text(to_jsonable_python(value))  # raises for what is no data, as NaN or an object of any class
    return str.__str__(str(value))


def _not_data(item: Any) -> str | None:
    """What to call something that no JSON can hold, or that means something only where a function returns it."""
    if is_kind(item, type):
        return f"the class {kind_of_class(item)}"
    if is_kind(item, _OF_FUNCTIONS_ALONE):
        return f"{kind_of(item)}, which only a function can return"
    if is_kind(item, BaseException):
        return f"the exception {kind_of(item)}"
    if is_kind(item, _NEVER_WHOLE) or inspect.isroutine(item):
        return f"{kind_of(item)}, which is no data"
    return None
