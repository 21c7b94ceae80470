"""What a model sees of a function."""

import functools
import json
import math
import typing
import uuid
import warnings
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union

import postponed_annotations as postponed
import pytest
from pydantic import BaseModel, Field

from rojak_ray.agents.function import ToolContext, function
from rojak_ray.agents.schema import define_function
from rojak_ray.errors import InvalidAgent


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    title: str
    color: Color = Color.RED


class Tree(BaseModel):
    children: list["Tree"] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict):
    limit: int
    order: NotRequired[str]


def parameters_of(fn: Any) -> dict[str, Any]:
    return define_function(fn).schema.parameters


def property_of(annotation: Any) -> dict[str, Any]:
    def probe(it): ...

    probe.__annotations__["it"] = annotation
    return parameters_of(probe)["properties"]["it"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (list, {"type": "array", "items": {}}),
        (dict, {"type": "object", "additionalProperties": True}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (
            Annotated[int, Field(ge=1, description="How many")],
            {"type": "integer", "minimum": 1, "description": "How many"},
        ),
        (date, {"type": "string", "format": "date"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (Any, {}),
    ],
)
def test_schema_of_each_annotation_is_plain(annotation: Any, expected: dict[str, Any]) -> None:
    assert property_of(annotation) == expected


def test_schema_of_tuple_names_each_place() -> None:
    shown = property_of(tuple[int, str])
    assert (shown["prefixItems"], shown["minItems"], shown["maxItems"]) == (
        [{"type": "integer"}, {"type": "string"}],
        2,
        2,
    )


def test_schema_of_decimal_is_made() -> None:
    assert {"type": "number"} in [{"type": each["type"]} for each in property_of(Decimal)["anyOf"]]


def test_schema_of_nested_model_is_inlined_without_titles_but_keeps_a_field_called_title() -> None:
    assert property_of(list[Item]) == {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            },
            "required": ["title"],
        },
    }


def test_schema_of_model_used_twice_stays_a_definition() -> None:
    def paint(first: Item, second: Item): ...

    shown = parameters_of(paint)
    assert shown["properties"]["second"] == {"$ref": "#/$defs/Item"}
    assert set(shown["$defs"]) == {"Item"}


def test_schema_of_recursive_model_stays_a_definition() -> None:
    def plant(tree: Tree): ...

    assert parameters_of(plant)["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_schema_of_dataclass_and_typed_dict_lists_their_fields() -> None:
    assert property_of(Point)["required"] == ["x"]
    assert property_of(Options)["required"] == ["limit"]
    assert property_of(list[Options] | None)["anyOf"][0]["items"]["properties"]["order"] == {"type": "string"}


def test_schema_of_simple_function_is_the_ancestors() -> None:
    def order(item: str, count: int, gift: bool = False):
        """Order an item."""

    shown = define_function(order).schema
    assert (shown.name, shown.description) == ("order", "Order an item.")
    assert shown.parameters == {
        "type": "object",
        "properties": {
            "item": {"type": "string"},
            "count": {"type": "integer"},
            "gift": {"type": "boolean", "default": False},
        },
        "required": ["item", "count"],
    }


def test_schema_of_unannotated_parameters_names_the_type_of_the_default() -> None:
    def find(what, limit=10, tags=[], nothing=None): ...  # noqa: B006

    assert parameters_of(find)["properties"] == {
        "what": {"type": "string"},
        "limit": {"type": "integer", "default": 10},
        "tags": {"type": "array", "items": {}, "default": []},
        "nothing": {"type": "string", "default": None},
    }


def test_schema_of_default_that_json_cannot_hold_leaves_it_out_without_a_warning() -> None:
    def wait(seconds: float = math.inf, lock: Any = object()): ...  # noqa: B008

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = parameters_of(wait)
    assert shown["properties"] == {"seconds": {"type": "number"}, "lock": {}}
    assert shown["required"] == []


def test_schema_with_variable_parameters_hides_args_and_opens_for_kwargs() -> None:
    def log(text: str, *args: int, **fields: str): ...

    shown = parameters_of(log)
    assert list(shown["properties"]) == ["text"]
    assert shown["additionalProperties"] is True


def google(a, b):
    """Do it.

    At length,
    over lines.

    Args:
        a: The first,
            continued.
        b (int): The second.

    Returns:
        Nothing.
    """


def numpy(a, b):
    """Do it.

    At length,
    over lines.

    Parameters
    ----------
    a : str
        The first,
        continued.
    b : int
        The second.
    """


def sphinx(a, b):
    """Do it.

    At length,
    over lines.

    :param a: The first,
        continued.
    :param int b: The second.
    """


@pytest.mark.parametrize("documented", [google, numpy, sphinx])
def test_docstring_of_each_style_gives_parameter_descriptions(documented: Any) -> None:
    shown = define_function(documented).schema
    assert shown.description == "Do it.\n\nAt length,\nover lines."
    described = {name: each["description"] for name, each in shown.parameters["properties"].items()}
    assert described == {"a": "The first, continued.", "b": "The second."}


def test_docstring_without_parameters_is_kept_whole() -> None:
    def tell():
        """Tell a story.

        Note: it is long.
        """

    assert define_function(tell).schema.description == "Tell a story.\n\nNote: it is long."


def test_docstring_about_a_hidden_parameter_only_is_not_shown() -> None:
    def tell(context_variables):
        """Tell a story.

        Args:
            context_variables: Filled in.
        """

    assert define_function(tell).schema.description == "Tell a story."


def test_docstring_of_annotated_parameter_yields_to_its_field() -> None:
    def tell(a: Annotated[str, Field(description="Mine.")]):
        """Tell.

        Args:
            a: Yours.
        """

    assert parameters_of(tell)["properties"]["a"]["description"] == "Mine."


def test_context_parameter_is_found_in_the_signature_and_hidden() -> None:
    def cart(item: str, context_variables: dict): ...

    definition = define_function(cart)
    assert definition.context_parameter == "context_variables"
    assert list(definition.schema.parameters["properties"]) == ["item"]


def test_context_parameter_as_local_variable_is_none() -> None:
    def cart():
        context_variables = {"a": 1}
        return str(context_variables)

    assert define_function(cart).context_parameter is None


def test_context_parameter_of_variable_kind_is_none() -> None:
    def cart(**context_variables): ...

    assert define_function(cart).context_parameter is None


@pytest.mark.parametrize(
    "annotation",
    [
        ToolContext,
        Optional[ToolContext],  # noqa: UP045
        ToolContext | None,
        Annotated[ToolContext, "ours"],
        "ToolContext",
        "ToolContext | None",
        "Optional[ToolContext]",
        "typing.Optional[rojak_ray.ToolContext]",
    ],
)
def test_tool_context_parameter_in_each_spelling_is_hidden(annotation: Any) -> None:
    def pay(amount: int, call): ...

    pay.__annotations__["call"] = annotation
    definition = define_function(pay)
    assert definition.tool_context_parameters == ("call",)
    assert list(definition.schema.parameters["properties"]) == ["amount"]


def test_postponed_annotations_are_resolved() -> None:
    definition = define_function(postponed.book)
    assert definition.tool_context_parameters == ("call", "renamed")
    assert definition.context_parameter == "context_variables"
    assert definition.schema.parameters["properties"]["room"] == {"type": "string", "enum": ["small", "large"]}
    assert definition.schema.parameters["properties"]["guests"]["items"]["required"] == ["name"]


def test_postponed_annotation_of_captured_class_is_resolved() -> None:
    assert define_function(postponed.make_closure()).schema.parameters["properties"]["it"]["type"] == "object"


def test_postponed_annotation_that_cannot_be_imported_names_function_and_parameter() -> None:
    with pytest.raises(InvalidAgent, match=r"'missing' of function 'lost'.*'Nowhere' is not defined"):
        define_function(postponed.lost)


def test_annotation_without_schema_names_function_and_parameter() -> None:
    def dial(number: str, when: typing.Callable[[], None]): ...

    with pytest.raises(InvalidAgent, match="'when' of function 'dial'"):
        define_function(dial)


class GreetWarmly:
    """Unused."""

    def __call__(self, name: str) -> str:
        """Greet somebody."""
        return f"hello {name}"

    def method(self, name: str) -> str:
        """Greet by method."""
        return name

    @classmethod
    def of_class(cls, name: str) -> str:
        return name

    @staticmethod
    def static(name: str) -> str:
        return name


def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody."""
    return f"{greeting} {name}"


@pytest.mark.parametrize(
    ("fn", "name", "shown"),
    [
        (GreetWarmly(), "greet_warmly", ["name"]),
        (GreetWarmly().method, "method", ["name"]),
        (GreetWarmly.of_class, "of_class", ["name"]),
        (GreetWarmly.static, "static", ["name"]),
        (functools.partial(greet, "Bob"), "greet", ["greeting"]),
        (functools.partial(functools.partial(greet), greeting="Hi"), "greet", ["name"]),
        (functools.cache(greet), "greet", ["name", "greeting"]),
        (len, "len", ["obj"]),
        (math.sqrt, "sqrt", ["x"]),
    ],
)
def test_callable_of_each_kind_has_a_name_and_parameters(fn: Any, name: str, shown: list[str]) -> None:
    schema = define_function(fn).schema
    assert (schema.name, list(schema.parameters["properties"])) == (name, shown)
    assert schema.parameters["required"] == [each for each in shown if each != "greeting"]


def test_callable_object_is_described_by_its_call_method() -> None:
    assert define_function(GreetWarmly()).schema.description == "Greet somebody."


def test_partial_keeps_docstring_and_never_shows_what_it_bound() -> None:
    schema = define_function(functools.partial(greet, greeting="s3cret")).schema
    assert schema.description == "Greet somebody."
    assert "s3cret" not in json.dumps(schema.parameters)


def test_decorated_function_that_passes_everything_on_is_read_through() -> None:
    @functools.wraps(greet)
    def wrapper(*args, **kwargs):
        return greet(*args, **kwargs)

    assert define_function(wrapper).schema == define_function(greet).schema


def test_decorated_function_with_its_own_parameters_shows_those() -> None:
    @functools.wraps(greet)
    def wrapper(name: str):
        return greet(name, "Hi")

    assert list(parameters_of(wrapper)["properties"]) == ["name"]


@pytest.mark.parametrize("fn", [lambda: 1, max, "text"])
def test_callable_without_name_or_signature_is_refused(fn: Any) -> None:
    with pytest.raises(InvalidAgent):
        define_function(fn)


@pytest.mark.parametrize("name", ["größe", "a b", "x" * 65, ""])
def test_name_that_vendors_refuse_is_refused(name: str) -> None:
    def fn(): ...

    fn.__name__ = name
    with pytest.raises(InvalidAgent, match="characters"):
        define_function(fn)


def test_settings_of_decorated_function_are_found_through_partial_and_object() -> None:
    @function(timeout=3)
    def slow(a: int): ...

    class Slow:
        @function(timeout=3)
        def __call__(self): ...

    for fn in (slow, functools.partial(slow, 1), Slow(), functools.wraps(slow)(lambda a: slow(a))):
        assert define_function(fn).settings.timeout_s == 3


def test_is_async_of_each_kind_tells_whether_calling_gives_a_coroutine() -> None:
    async def later(a: int = 0): ...

    class Later:
        async def __call__(self): ...

    assert [define_function(fn).is_async for fn in (later, functools.partial(later, 1), Later(), greet)] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (typing.ClassVar[int], "ClassVar"),
        ("typing.ClassVar[int]", "ClassVar"),
        (typing.ClassVar, "ClassVar"),
        (list[typing.ClassVar[int]], "ClassVar"),
        (typing.Required[int], "Required"),
        (dict[None, int], "keys of"),
        (typing.Dict[None, int], "keys of"),  # noqa: UP006
        (dict[tuple[int, int], int], "keys of tuple"),
        (dict[typing.Literal[None], int], "keys of"),
        (list[dict[list[int], int]], "keys of list"),
        (typing.Mapping[None, int], "keys of"),
        (set[list[int]], "cannot be in a set"),
        (frozenset[dict[str, int]], "cannot be in a set"),
        (lambda: int, "the function"),
        ([int], "Parameter 'x'"),
        ({"a": int}, "Parameter 'x'"),
        (typing.Never, "Parameter 'x'"),
    ],
)
def test_annotation_that_no_argument_could_meet_is_refused_at_once(annotation, words):
    def f(x): ...

    f.__annotations__["x"] = annotation
    with pytest.raises(InvalidAgent) as refused:
        define_function(f)
    assert words in str(refused.value)
    assert "Parameter 'x' of function 'f'" in str(refused.value)
