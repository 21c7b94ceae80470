"""Every value that a function's schema allows binds, and every one it forbids is refused in words."""

from __future__ import annotations

import collections
import json
import re
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import pytest
import typing_extensions
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, Field

from rojak_ray.agents.schema import FunctionDefinition, define_function

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Tone(StrEnum):
    KIND = auto()
    STERN = auto()


class Permission(Flag):
    READ = auto()
    WRITE = auto()


class Mixed(Enum):
    NOTHING = None
    YES = True
    TWO = 2
    HALF = 0.5
    PAIR = (1, 2)


class Opaque(Enum):
    FIRST = print
    SECOND = re.compile("x")


class Place(NamedTuple):
    lat: float
    lon: float = 0.0


class Options(TypedDict):
    query: str
    limit: NotRequired[int]


class Loose(TypedDict, total=False):
    query: Required[Annotated[str, "What to look for"]]
    limit: Annotated[NotRequired[int], Field(ge=0)]


class Inherited(Loose):
    page: int


class Node(TypedDict):
    name: str
    children: list[Node]


class Boxed(TypedDict, Generic[T]):
    it: T
    others: list[T]


class Item(BaseModel):
    title: str
    color: Color = Color.RED
    tags: set[str] = set()


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


@dataclass
class Point:
    x: int
    y: float = 0.0
    names: list[str] = field(default_factory=list)


@dataclass
class Chain:
    next: Chain | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


ANNOTATIONS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "null": None,
    "list": list,
    "dict": dict,
    "any": Any,
    "object": object,
    "optional": int | None,
    "optional of typing": typing.Optional[str],  # noqa: UP045
    "union": int | str,
    "union of three": int | bool | list[str],
    "enum": Color,
    "int enum": Level,
    "str enum": Tone,
    "flag": Permission,
    "mixed enum": Mixed,
    "opaque enum": Opaque,
    "optional enum": Mixed | None,
    "literal": Literal["a", "b"],
    "literal of members": Literal[Color.RED, Level.HIGH],
    "literal of kinds": Literal["a", 1, True, None, b"bytes"],
    "list of ints": list[int],
    "nested list": list[list[bool]],
    "sequence": Sequence[int],
    "iterable": Iterable[int],
    "deque": collections.deque[int],
    "tuple": tuple[int, str],
    "tuple of equals": tuple[float, float],
    "long tuple": tuple[int, ...],
    "empty tuple": tuple[()],
    "pairs": list[tuple[str, int]],
    "named tuple": Place,
    "set": set[int],
    "frozen set": frozenset[Color],
    "mapping": Mapping[str, float],
    "dict of ints": dict[int, str],
    "dict of enums": dict[Color, int],
    "typed dict": Options,
    "loose typed dict": Loose,
    "inherited typed dict": Inherited,
    "recursive typed dict": Node,
    "generic typed dict": Boxed[int],
    "typed dicts": list[Options] | None,
    "model": Item,
    "recursive model": Tree,
    "dataclass": Point,
    "recursive dataclass": Chain,
    "tagged union": Annotated[Cat | Dog, Field(discriminator="kind")],
    "date": date,
    "datetime": datetime,
    "time": time,
    "timedelta": timedelta,
    "decimal": Decimal,
    "uuid": uuid.UUID,
    "bytes": bytes,
    "path": Path,
    "bounded": Annotated[int, Field(ge=1, le=5)],
    "bounded text": Annotated[str, Field(min_length=2, pattern="^[a-z]+$")],
    "described": Annotated[list[Annotated[int, "inner"]], "outer"],
}


def definition_of(annotation: Any) -> FunctionDefinition:
    def probe(it): ...

    probe.__annotations__["it"] = annotation
    return define_function(probe)


DEFINITIONS = {name: definition_of(annotation) for name, annotation in ANNOTATIONS.items()}

checker = FormatChecker(formats=())


def reads(kind: Any) -> Any:
    def check(value: Any) -> bool:
        if isinstance(value, str):
            kind(value)
        return True

    return check


for name, kind in {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
    "time": time.fromisoformat,
    "uuid": uuid.UUID,
}.items():
    checker.checks(name, raises=ValueError)(reads(kind))
checker.checks("duration")(lambda value: not isinstance(value, str) or re.fullmatch(r"PT\d+S", value) is not None)


def texts_of(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    known = {
        "date": st.dates().map(date.isoformat),
        "date-time": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        "time": st.times().map(lambda value: value.replace(microsecond=0).isoformat()),
        "duration": st.integers(0, 9999).map(lambda seconds: f"PT{seconds}S"),
        "uuid": st.uuids().map(str),
    }
    plain = st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text(max_size=4)
    return known.get(schema.get("format", ""), plain)


def lists_of(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema and depth < 6:
        places = [told(place, definitions, depth + 1) for place in schema["prefixItems"]]
        whole = st.tuples(*places).map(list)
        return whole | whole.map(lambda items: items[:-1]) | whole.map(lambda items: [*items, None])
    inner = told(schema.get("items", {}), definitions, depth + 1) if depth < 6 else st.nothing()
    return st.lists(inner, max_size=3)


def objects_of(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if depth >= 6:
        return st.just({})
    known = {key: told(each, definitions, depth + 1) for key, each in schema.get("properties", {}).items()}
    fields = st.fixed_dictionaries({}, optional=known)
    more = schema.get("additionalProperties", False)
    if known or not more:
        return fields
    keys = told({"type": "string"} | schema.get("propertyNames", {}), definitions, depth + 1)
    return st.dictionaries(keys, told(more if isinstance(more, dict) else {}, definitions, depth + 1), max_size=2)


def told(schema: dict[str, Any], definitions: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a schema is about: most of them fit."""
    if "$ref" in schema:
        return told(definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of([told(choice, definitions, depth + 1) for choice in schema[key]])
    match schema.get("type"):
        case "string":
            return texts_of(schema)
        case "integer":
            return st.integers(-3, 7) | st.integers(0, 3).map(float)
        case "number":
            return st.floats(-10, 10) | st.integers(-3, 3)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return lists_of(schema, definitions, depth)
        case "object":
            return objects_of(schema, definitions, depth)
    return st.integers(0, 3) | st.text(max_size=3)


scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["", "a", "1", "red", "true"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("axyq"), inner, max_size=2),
    max_leaves=4,
)


def lenient(schema: Any) -> Any:
    """The schema with numbers for texts, which is the one thing that is accepted beyond it."""
    if isinstance(schema, list):
        return [lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: lenient(value) for key, value in schema.items()}
    if made.get("type") == "string" and "enum" not in made:
        made = {key: value for key, value in made.items() if key not in ("pattern", "minLength", "format")}
        made["type"] = ["string", "number"]
    return made


def tried(definition: FunctionDefinition, arguments: str) -> tuple[dict[str, Any], str | None]:
    """What the arguments bind to, or the words that refuse them."""
    try:
        return definition.bind(arguments), None
    except ValueError as error:
        return {}, str(error)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_what_the_schema_allows_binds_and_what_it_forbids_is_refused_in_words(name: str) -> None:
    definition = DEFINITIONS[name]
    parameters = definition.schema.parameters
    Draft202012Validator.check_schema(parameters)
    strict = Draft202012Validator(parameters, format_checker=checker)
    loose = Draft202012Validator(lenient(parameters))
    values = told(parameters["properties"]["it"], parameters.get("$defs", {}))

    @settings(max_examples=25, deadline=None, database=None)
    @given(values | anything)
    def check(value: Any) -> None:
        arguments = json.dumps({"it": value})
        bound, refusal = tried(definition, arguments)
        if refusal is None:
            allowed = strict.is_valid({"it": value}) or loose.is_valid({"it": value})
            assert allowed, f"{arguments} is not in {parameters}"
            assert set(bound) == {"it"}
        else:
            assert not strict.is_valid({"it": value}), f"{arguments} is allowed by {parameters}: {refusal}"
            assert refusal.startswith("probe() got wrong arguments: it")
            assert "function-" not in refusal

    check()


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("int", 1.0, 1),
        ("union", 1.0, 1),
        ("str", 90210, "90210"),
        ("str", 1.5, "1.5"),
        ("nested list", [[True]], [[True]]),
        ("iterable", [1, 2], [1, 2]),
        ("set", [1, 1], {1}),
        ("mixed enum", True, Mixed.YES),
        ("mixed enum", 2.0, Mixed.TWO),
        ("mixed enum", [1, 2], Mixed.PAIR),
        ("mixed enum", None, Mixed.NOTHING),
        ("opaque enum", "SECOND", Opaque.SECOND),
        ("literal of members", "red", Color.RED),
        ("literal of members", 2, Level.HIGH),
        ("literal of kinds", True, True),
        ("literal of kinds", "bytes", b"bytes"),
        ("dict of ints", {"1": "a"}, {1: "a"}),
        ("named tuple", [1, 2], Place(1.0, 2.0)),
        ("generic typed dict", {"it": 1, "others": []}, {"it": 1, "others": []}),
    ],
)
def test_value_becomes_what_the_annotation_means(name: str, value: Any, bound: Any) -> None:
    found = DEFINITIONS[name].bind(json.dumps({"it": value}))["it"]
    assert found == bound
    assert type(found) is type(bound)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int", "5"),
        ("int", True),
        ("int", 1.5),
        ("bool", 1),
        ("bool", "yes"),
        ("float", "nan"),
        ("date", 20260105),
        ("timedelta", 5),
        ("flag", 3),
        ("literal of kinds", 0),
        ("literal of members", "blue"),
        ("named tuple", {"lat": 1}),
        ("typed dict", {"limit": 1}),
        ("inherited typed dict", {"page": 1}),
        ("dict of ints", {"a": "a"}),
        ("empty tuple", [1]),
        ("model", {"title": "t", "color": "green"}),
    ],
)
def test_value_of_another_type_is_refused_and_its_place_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^probe\(\) got wrong arguments: it"):
        DEFINITIONS[name].bind(json.dumps({"it": value}))


@pytest.mark.parametrize("text", ['{"it": 1e400}', '{"it": -1e999}', '{"it": [1e400]}'])
def test_number_that_is_none_is_refused(text: str) -> None:
    for name in ("float", "any", "int"):
        with pytest.raises(ValueError, match="too large a number"):
            DEFINITIONS[name].bind(text)


def arrays(node: Any) -> Iterable[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "array":
            yield node
        for value in node.values():
            yield from arrays(value)
    elif isinstance(node, list):
        for value in node:
            yield from arrays(value)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_schema_keeps_the_rules_that_vendors_enforce(name: str) -> None:
    parameters = DEFINITIONS[name].schema.parameters
    assert parameters["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "$ref", "enum", "not"} & parameters.keys()
    assert all("items" in array for array in arrays(parameters))
    assert "uniqueItems" not in json.dumps(parameters)
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in parameters["properties"])


def test_texts_in_annotations_describe() -> None:
    def find(
        a: Annotated[str, "Plain."],
        b: Annotated[str, typing_extensions.Doc("A document.")],
        c: Annotated[str, Field(description="A field."), "Not this."],
        d: Annotated[int, Field(ge=1), "Bounded."],
        e: Annotated[list[Annotated[str, "Inner."]], "Outer."],
        f: Annotated[str, ""],
        g: Options,
        h: Loose,
    ):
        """Find.

        Args:
            a: Of the docstring.
            f: Of the docstring.
            g: Of the docstring.
        """

    shown = define_function(find).schema.parameters["properties"]
    assert {key: each.get("description") for key, each in shown.items()} == {
        "a": "Plain.",
        "b": "A document.",
        "c": "A field.",
        "d": "Bounded.",
        "e": "Outer.",
        "f": "Of the docstring.",
        "g": "Of the docstring.",
        "h": None,
    }
    assert shown["d"]["minimum"] == 1
    assert shown["e"]["items"]["description"] == "Inner."
    assert shown["h"]["properties"]["query"]["description"] == "What to look for"
