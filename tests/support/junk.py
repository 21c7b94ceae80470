"""Values that nobody wants: of every kind, also those that cannot be shown, compared or counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


class Unspeakable:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


class Quitter:
    """Ends the program that asks for its text."""

    def __repr__(self) -> str:
        raise SystemExit(3)

    __str__ = __repr__


class Fickle:
    """Cannot be asked for its class."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no class")


def _raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("not to be looked at")


class FickleMapping(Mapping[str, Any]):
    """A dictionary that cannot be read."""

    __getitem__ = __iter__ = __len__ = get = items = keys = values = _raises
    __repr__ = object.__repr__


class FickleSequence(Sequence[Any]):
    """A list that cannot be read."""

    __getitem__ = __iter__ = __len__ = __bool__ = _raises
    __repr__ = object.__repr__


JUNK: dict[str, Any] = {
    "none": None,
    "five": 5,
    "half": 0.5,
    "minus": -1,
    "nan": math.nan,
    "inf": math.inf,
    "true": True,
    "huge": 10**5000,
    "empty": "",
    "blank": " \t",
    "text": "some text",
    "long": "x" * 100_000,
    "surrogate": "a\ud83d",
    "bytes": b"x",
    "list": [],
    "list of none": [None],
    "list of five": [5],
    "dict": {},
    "dict of five": {5: object()},
    "object": object(),
    "class": dict,
    "unspeakable": Unspeakable(),
    "quitter": Quitter(),
    "fickle mapping": FickleMapping(),
    "fickle sequence": FickleSequence(),
}
"""By name. Each table says which of them its argument takes."""
