"""What a class or a value says beyond its methods and its text is part of the digest of what reaches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, Field

from rojak_ray.agents.content import content_of


def digest(value: Any) -> str:
    """The digest of a function that reaches the value."""

    def reach() -> Any:
        return value

    found = content_of(reach)
    assert found is not None
    return found.digest


def model(**about: Any) -> type[BaseModel]:
    class Order(BaseModel):
        amount: int = Field(**about)

    return Order


def record(unit: str) -> type:
    @dataclass
    class Order:
        amount: int = field(default=1, metadata={"unit": unit})

    return Order


def made_by(limit: int) -> type:
    class Meta(type):
        def __call__(cls) -> Any:
            return limit

    class Order(metaclass=Meta):
        pass

    return Order


def described(text: str) -> Callable[[], None]:
    def act() -> None:
        pass

    act.__doc__ = text
    return act


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "hidden"

    __repr__ = __str__


class Number(float):
    __slots__ = ()

    def __repr__(self) -> str:
        return "hidden"

    def __float__(self) -> float:
        return 0.0


class Count(int):
    __slots__ = ()

    def __int__(self) -> int:
        return 0


class Octets(bytes):
    __slots__ = ()

    def __bytes__(self) -> bytes:
        return b"hidden"


DIFFER: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
    ("default of a model", lambda: model(default=1), lambda: model(default=2)),
    ("default or none", lambda: model(default=None), lambda: model()),
    ("description of a model's field", lambda: model(description="a"), lambda: model(description="b")),
    ("alias", lambda: model(alias="a"), lambda: model(alias="b")),
    ("bound", lambda: model(le=1), lambda: model(le=2)),
    ("extra of the schema", lambda: model(json_schema_extra={"a": 1}), lambda: model(json_schema_extra={"a": 2})),
    ("metadata of a dataclass", lambda: record("EUR"), lambda: record("USD")),
    ("metaclass", lambda: made_by(1), lambda: made_by(2)),
    ("docstring", lambda: described("a"), lambda: described("b")),
    ("text of a subclass", lambda: Text("a"), lambda: Text("b")),
    ("number of a subclass", lambda: Number(1.5), lambda: Number(2.5)),
    ("count of a subclass", lambda: Count(1), lambda: Count(2)),
    ("bytes of a subclass", lambda: Octets(b"a"), lambda: Octets(b"b")),
]


@pytest.mark.parametrize(("what", "one", "other"), DIFFER, ids=[what for what, _, _ in DIFFER])
def test_two_that_differ_in_it_have_two_digests(what: str, one: Callable[[], Any], other: Callable[[], Any]) -> None:
    assert digest(one()) == digest(one()), "the same again"
    assert digest(one()) != digest(other())
