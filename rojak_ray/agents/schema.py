"""From a Python function to what a model sees of it, and from the model's arguments back to Python values.

`define_function` reads a function once; `FunctionDefinition.bind` then checks every call of it. What `bind` raises is
written for the model, which reads it and tries again.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import operator
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import docstring_parser
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from rojak_ray.agents.activities import FunctionSchema
from rojak_ray.agents.function import FunctionSettings, ToolContext, settings_of
from rojak_ray.errors import InvalidAgent

CONTEXT_PARAMETER = "context_variables"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_TOOL_CONTEXT_IN_TEXT = re.compile(r"(?:[\w.]*Optional\[)?(?:\w+\.)*ToolContext(?:\]|\|None)?")
_UNUSABLE = (PydanticUserError, PydanticUndefinedAnnotation, NameError, TypeError, RecursionError)
_MOST_PROBLEMS, _LONGEST_PROBLEM = 10, 300

_REF = "#/$defs/"
_NAMED = {"properties", "patternProperties", "$defs"}
_VERBATIM = {"default", "const", "enum", "examples"}
_NOISE = {"title", "discriminator"}  # a discriminator's mapping would name definitions that are inlined
_JSON_TYPES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
_TYPE_OF_DEFAULT: Mapping[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    list: {"type": "array", "items": {}},
    dict: {"type": "object"},
}


@dataclass(frozen=True, eq=False)
class FunctionDefinition:
    """A function, what a model sees of it, and how a call of it is checked and made."""

    fn: Callable[..., Any]
    name: str
    schema: FunctionSchema
    settings: FunctionSettings
    is_async: bool
    """Whether calling it gives a coroutine."""

    context_parameter: str | None
    """The parameter that gets the context variables, if it has one."""

    tool_context_parameters: tuple[str, ...]
    """The parameters that get a `ToolContext`."""

    signature: inspect.Signature
    hidden: frozenset[str]
    """Parameters that no model may set: filled in by us, or bound by a partial."""

    arguments_model: type[BaseModel]
    """Validates the arguments; its fields are named by position and aliased to the parameters."""

    def bind(self, arguments: str) -> dict[str, Any]:
        """Check a model's arguments and return them as typed values by parameter name.

        Values for hidden parameters are dropped. Parameters that were not given are left to the function's defaults.

        Args:
            arguments: JSON text of an object; blank text stands for no arguments.

        Raises:
            TypeError: An argument is missing or unexpected.
            ValueError: The text is not a JSON object, or a value does not fit; every such value is named.
        """
        given = {name: v for name, v in _read_object(self.name, arguments).items() if name not in self.hidden}
        for name, parameter in self.signature.parameters.items():
            # `limit: int = None` says int, and means that null is as good as nothing.
            if parameter.default is None and given.get(name, ...) is None:
                del given[name]
        try:
            read = self.arguments_model.model_validate_json(json.dumps(given))
        except ValidationError as error:
            _refuse(self.name, error)
        fields = type(read).model_fields
        values = {
            str(field.alias): getattr(read, key)
            for key, field in fields.items()
            # A default written as `= Field(5)` would reach the function as the Field itself.
            if key in read.model_fields_set
            or isinstance(self.signature.parameters[str(field.alias)].default, FieldInfo)
        }
        return values | (read.model_extra or {})

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with arguments by parameter name, also where parameters are positional-only."""
        by_name = dict(arguments)
        parameters = self.signature.parameters
        fixed = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_ONLY]
        while fixed and fixed[-1] not in by_name:
            fixed.pop()
        by_position = [by_name.pop(name, parameters[name].default) for name in fixed]
        return self.fn(*by_position, **by_name)


def define_function(fn: Callable[..., Any], *, show_context: bool = False) -> FunctionDefinition:
    """Read a function's name, parameters and docstring.

    Args:
        fn: Any callable with a name: function, method, partial, builtin, object with `__call__`.
        show_context: Leave `context_variables` in the schema, as the helpers in `rojak_ray.utils` do.

    Raises:
        InvalidAgent: It has no name that vendors accept, no signature, or a parameter for which no JSON schema can be
            made; the text names the function and the parameter.
    """
    name = name_of(fn)
    try:
        signature = signature_of(fn)
    except (ValueError, TypeError) as error:
        raise InvalidAgent(f"Failed to get signature for function {name}: {error}") from error
    bound = _bound_by_partials(fn)
    free = {key: p for key, p in signature.parameters.items() if key not in bound and p.kind not in _VARIADIC}
    annotations = _annotations(name, free, _namespace(fn))
    tool_contexts = tuple(key for key, annotation in annotations.items() if is_tool_context(annotation))
    context = CONTEXT_PARAMETER if CONTEXT_PARAMETER in annotations and CONTEXT_PARAMETER not in tool_contexts else None
    filled = {*tool_contexts, *([context] if context and not show_context else [])}
    shown = {key: annotation for key, annotation in annotations.items() if key not in filled}
    description, documented = _read_docstring(fn, signature.parameters)
    model = _arguments_model(name, signature, shown, documented)
    return FunctionDefinition(
        fn=fn,
        name=name,
        schema=FunctionSchema(name=name, description=description, parameters=_json_schema(model, signature)),
        settings=_settings(fn),
        is_async=is_async(fn),
        context_parameter=context,
        tool_context_parameters=tool_contexts,
        signature=signature,
        hidden=bound | filled,
        arguments_model=model,
    )


def name_of(fn: Callable[..., Any]) -> str:
    """The name a model calls the function by.

    A partial has the name of its function, an object its own `__name__` or its class's name in snake case.

    Raises:
        InvalidAgent: It is no callable, a lambda, or named with characters that vendors do not accept.
    """
    if not callable(fn):
        raise InvalidAgent(f"{fn!r:.60} is not callable, so it cannot be a function of an agent.")
    target = _without_partials(fn)
    name = getattr(target, "__name__", None)
    if not isinstance(name, str):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(target).__name__).lower()
    if name == "<lambda>":
        raise InvalidAgent("A lambda has no name a model could call; write it with def, or set its __name__.")
    if not _NAME.fullmatch(name):
        raise InvalidAgent(f"The function name {name!r} must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -.")
    return name


def signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    """What a callable accepts. A decorator's wrapper that takes `*args` or `**kwargs` accepts what it wraps does.

    Raises:
        ValueError: It is a builtin that does not tell.
    """
    try:
        own = inspect.signature(fn, follow_wrapped=False)
    except ValueError:  # a wrapper written in C, as functools.cache makes
        return inspect.signature(fn)
    passes_on = any(parameter.kind in _VARIADIC for parameter in own.parameters.values())
    return inspect.signature(fn) if passes_on else own


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine at once, so that nothing of it blocks whoever calls."""
    target = _without_partials(fn)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)


# Reading a function


def _without_partials(fn: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def _bound_by_partials(fn: Callable[..., Any]) -> frozenset[str]:
    """Keywords a partial has set: the program's choice, perhaps a secret, so neither shown nor open to the model."""
    names: set[str] = set()
    while isinstance(fn, functools.partial):
        names.update(fn.keywords)
        fn = fn.func
    return frozenset(names)


def _core(fn: Callable[..., Any]) -> Callable[..., Any]:
    """What has the docstring and leads to the code: the inner function of a partial, `__call__` of an object."""
    target = _without_partials(fn)
    is_itself = inspect.isroutine(target) or inspect.isclass(target) or hasattr(target, "__wrapped__")
    return target if is_itself else type(target).__call__


def _settings(fn: Callable[..., Any]) -> FunctionSettings:
    default = FunctionSettings()
    found = (settings_of(place) for place in (fn, _without_partials(fn), _core(fn)))
    return next((settings for settings in found if settings != default), default)


# Annotations


def _namespace(fn: Callable[..., Any]) -> dict[str, Any]:
    """The names that an annotation in text can mean: the module's and those the function captured."""
    core = _core(fn)
    inner: Any = inspect.unwrap(core.__init__ if inspect.isclass(core) else core)
    inner = getattr(inner, "__func__", inner)
    names = dict(getattr(inner, "__globals__", {}))
    if inspect.isfunction(inner):
        for name, cell in zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a variable of the enclosing function may have no value yet
                names[name] = cell.cell_contents
    return names


def _annotations(name: str, parameters: Mapping[str, inspect.Parameter], namespace: dict[str, Any]) -> dict[str, Any]:
    """The type of each parameter. Types that only we look at may be named in text without being importable."""
    found: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if is_tool_context(parameter.annotation):
            found[key] = ToolContext
        elif key == CONTEXT_PARAMETER and isinstance(parameter.annotation, str):
            found[key] = dict[str, Any]
        else:
            found[key] = _resolve(parameter.annotation, namespace, f"Parameter {key!r} of function {name!r}")
    return found


def is_tool_context(annotation: Any) -> bool:
    """Whether the annotation is `ToolContext`, optional, annotated or in text; text need not be importable."""
    if isinstance(annotation, str):
        return _TOOL_CONTEXT_IN_TEXT.fullmatch(annotation.replace(" ", "")) is not None
    members = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return is_tool_context(members[0])
    if origin in (typing.Union, types.UnionType):
        return all(member is types.NoneType or is_tool_context(member) for member in members)
    return annotation is ToolContext


def _resolve(annotation: Any, namespace: dict[str, Any], subject: str) -> Any:
    """The type that an annotation means; `Parameter.empty` stays."""
    if annotation is inspect.Parameter.empty:
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return _readable(typing.get_type_hints(holder, namespace, namespace, include_extras=True)["it"])
    except Exception as error:  # text that a user wrote as an annotation can raise anything
        raise InvalidAgent(
            f"{subject} has an annotation that cannot be resolved: {error}. Types named in text must be importable "
            "from the function's module."
        ) from error


def _readable(annotation: Any) -> Any:
    """The annotation with `typing.TypedDict` classes as `typing_extensions` ones, which pydantic needs before 3.12."""
    if typing.is_typeddict(annotation):
        return _readable_typed_dict(annotation)
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None or origin is typing.Literal:
        return annotation
    readable = tuple(_readable(member) for member in members)
    if all(new is old for new, old in zip(readable, members, strict=True)):
        return annotation
    if origin is types.UnionType:
        return functools.reduce(operator.or_, readable)
    return cast("Any", typing.Annotated if origin is typing.Annotated else origin)[readable]


def _readable_typed_dict(annotation: Any) -> Any:
    fields: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(annotation, include_extras=True).items():
        bare = typing.get_args(hint)[0] if typing.get_origin(hint) in (typing.Required, typing.NotRequired) else hint
        need: Any = typing.Required if name in annotation.__required_keys__ else typing.NotRequired
        fields[name] = need[_readable(bare)]
    return cast("Any", typing_extensions.TypedDict)(annotation.__name__, fields)


# Docstrings


def _read_docstring(fn: Callable[..., Any], names: Collection[str]) -> tuple[str, dict[str, str]]:
    """What the function does, and the text about each of its parameters, which are called `names`."""
    core = _core(fn)
    text = inspect.getdoc(core) or (inspect.getdoc(fn) if getattr(core, "__name__", "") == "__call__" else None) or ""
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, {}
    documented = {
        name: " ".join((entry.description or "").split())
        for entry in parsed.params
        for name in re.split(r"\s*,\s*", entry.arg_name)
        if name in names
    }
    if not documented:
        return text, {}
    parts = [parsed.short_description, parsed.long_description]
    return "\n\n".join(part.strip() for part in parts if part), documented


# Arguments


def _arguments_model(
    name: str, signature: inspect.Signature, shown: Mapping[str, Any], documented: Mapping[str, str]
) -> type[BaseModel]:
    """A model with one field per parameter, so named that no parameter clashes with pydantic's own attributes."""
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    config = ConfigDict(extra="allow" if takes_more else "forbid", coerce_numbers_to_str=True)
    fields: dict[str, Any] = {
        f"p{index}": _field(signature.parameters[key], annotation, documented.get(key))
        for index, (key, annotation) in enumerate(shown.items())
    }
    try:
        model = create_model("Arguments", __config__=config, **fields)
        model.model_json_schema(schema_generator=_PlainJsonSchema)
    except _UNUSABLE as error:
        if len(shown) > 1:
            for key, annotation in shown.items():
                _arguments_model(name, signature, {key: annotation}, documented)
        raise InvalidAgent(
            f"Parameter {next(iter(shown))!r} of function {name!r} has a type that cannot be described to a model: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return model


def _field(parameter: inspect.Parameter, annotation: Any, text: str | None) -> tuple[Any, Any]:
    """The annotation and the field of one parameter."""
    is_field = isinstance(parameter.default, FieldInfo)
    if annotation is parameter.empty:
        annotation = Any
    if is_field:
        annotation = typing.Annotated[annotation, parameter.default]
    notes: tuple[Any, ...] = getattr(annotation, "__metadata__", ())
    settings: dict[str, Any] = {"alias": parameter.name, "validation_alias": parameter.name}
    if text and not any(getattr(note, "description", None) for note in notes):
        settings["description"] = text
    if not is_field and parameter.default is not parameter.empty:
        settings["default"] = parameter.default
    return annotation, Field(**settings)


def _read_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object in a model's text."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"arguments of {name} are not valid JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = _JSON_TYPES[type(value)]
        raise ValueError(f"arguments of {name} must be a JSON object, not {kind}")  # noqa: TRY004  (it is a value)
    return cast("dict[str, Any]", value)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


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
    lines = [_clip(f"{'.'.join(map(str, one['loc']))}: {one['msg']}") for one in found[:_MOST_PROBLEMS]]
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"and {len(found) - _MOST_PROBLEMS} more")
    raise ValueError(f"{name}() got wrong arguments: {'; '.join(lines)}") from None


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST_PROBLEM else text[: _LONGEST_PROBLEM - 3] + "..."


# JSON schema


class _PlainJsonSchema(GenerateJsonSchema):
    """Leaves defaults out that JSON cannot hold, without warning whoever uses such a default."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}


def _json_schema(model: type[BaseModel], signature: inspect.Signature) -> dict[str, Any]:
    """The model's schema without titles, with definitions inlined that are used once or just list values."""
    raw = model.model_json_schema(schema_generator=_PlainJsonSchema)
    definitions: dict[str, Any] = raw.pop("$defs", {})
    uses = Counter(_references([raw, *definitions.values()]))
    inlined = {name: body for name, body in definitions.items() if uses[name] == 1 or "enum" in body}
    schema = _tidy(raw, inlined)
    kept = {name: _tidy(body, inlined) for name, body in definitions.items() if name not in inlined}
    if not schema["additionalProperties"]:
        del schema["additionalProperties"]
    for name, shown in schema.get("properties", {}).items():
        _show_unannotated(shown, signature.parameters[name])
    return {"type": "object", "properties": {}, "required": []} | schema | ({"$defs": kept} if kept else {})


def _references(node: Any) -> Iterator[str]:
    """The names of the definitions that a schema refers to, as often as it does."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix(_REF)
            elif key not in _VERBATIM:
                yield from _references(list(value.values()) if key in _NAMED else value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _tidy(node: Any, inlined: Mapping[str, Any]) -> Any:
    """A schema without titles and with references to `inlined` definitions replaced by them."""
    if isinstance(node, list):
        return [_tidy(item, inlined) for item in node]
    if not isinstance(node, Mapping):
        return node
    tidied: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref" and value.removeprefix(_REF) in inlined:
            tidied = _tidy(inlined[value.removeprefix(_REF)], inlined) | tidied
        elif key in _NAMED:
            tidied[key] = {name: _tidy(schema, inlined) for name, schema in value.items()}
        elif key in _VERBATIM:
            if _is_json(value):
                tidied[key] = value
        elif key not in _NOISE:
            tidied[key] = _tidy(value, inlined)
    return tidied


def _show_unannotated(shown: dict[str, Any], parameter: inspect.Parameter) -> None:
    """Give a parameter without annotation a type: any value is accepted, but vendors want one named."""
    if parameter.annotation is parameter.empty:
        shown |= _TYPE_OF_DEFAULT.get(type(parameter.default), {"type": "string"}) | shown


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
