"""From a Python function to what a model sees of it, and from the model's arguments back to Python values.

`define_function` reads a function once; `FunctionDefinition.bind` then checks every call of it. What `bind` raises is
written for the model, which reads it and tries again.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from rojak_ray.agents.activities import FunctionSchema
from rojak_ray.agents.annotations import CONTEXT_PARAMETER, is_tool_context, parameter_types
from rojak_ray.agents.arguments import read_object, validated
from rojak_ray.agents.function import FunctionSettings, settings_of
from rojak_ray.agents.json_schema import PlainJsonSchema, json_schema
from rojak_ray.agents.narrowed import narrow
from rojak_ray.checks import kind_of, reason_of, shown
from rojak_ray.errors import InvalidAgent

FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What vendors accept as the name of a function."""

_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
        given = {name: v for name, v in read_object(self.name, arguments).items() if name not in self.hidden}
        for name, parameter in self.signature.parameters.items():
            # `limit: int = None` says int, and means that null is as good as nothing.
            if parameter.default is None and given.get(name, ...) is None:
                del given[name]
        read = validated(self.name, self.arguments_model, given)
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
        least = 1 if _dispatches(self.fn) else 0  # its type is looked at, also that of its default
        while len(fixed) > least and fixed[-1] not in by_name:
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
        return _read(fn, name, show_context=show_context)
    except InvalidAgent:
        raise
    except BaseException as error:  # noqa: BLE001  (a callable is an object of whatever class)
        raise InvalidAgent(
            f"Function {name!r} cannot be read: {reason_of(error)}. Write it as a plain function."
        ) from None


def _read(fn: Callable[..., Any], name: str, *, show_context: bool) -> FunctionDefinition:
    try:
        signature = signature_of(fn)
    except (ValueError, TypeError) as error:
        raise InvalidAgent(f"Failed to get signature for function {name}: {error}") from error
    bound = _bound_by_partials(fn)
    free = {key: p for key, p in signature.parameters.items() if key not in bound and p.kind not in _VARIADIC}
    annotations = parameter_types(name, free, _namespace(fn), _owner(fn))
    tool_contexts = tuple(key for key, annotation in annotations.items() if is_tool_context(annotation))
    context = CONTEXT_PARAMETER if CONTEXT_PARAMETER in annotations and CONTEXT_PARAMETER not in tool_contexts else None
    filled = {*tool_contexts, *([context] if context and not show_context else [])}
    shown = {key: annotation for key, annotation in annotations.items() if key not in filled}
    description, documented = _read_docstring(fn, signature.parameters)
    for key in shown:
        if not _PARAMETER.fullmatch(key):
            raise InvalidAgent(
                f"Parameter {key!r} of function {name!r} must be named with 1 to 64 of the characters A-Z, a-z, 0-9 "
                "and _, because vendors accept no others; rename it."
            )
    model = _arguments_model(name, signature, shown, documented)
    return FunctionDefinition(
        fn=fn,
        name=name,
        schema=FunctionSchema(name=name, description=description, parameters=json_schema(model, signature)),
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
        raise InvalidAgent(f"{shown(fn)} is not callable, so it cannot be a function of an agent.")
    target = _without_partials(fn)
    try:
        name = getattr(target, "__name__", None)
    except BaseException:  # noqa: BLE001  (a property like any other)
        name = None
    if type(name) is not str:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind_of(target)).lower()
    if name == "<lambda>":
        raise InvalidAgent("A lambda has no name a model could call; write it with def, or set its __name__.")
    if not FUNCTION_NAME.fullmatch(name):
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
    return _as_called(fn, inspect.signature(fn)) if passes_on else own


def _as_called(fn: Callable[..., Any], wrapped: inspect.Signature) -> inspect.Signature:
    """What a wrapper accepts, where that is not what it wraps.

    A function got from an instance that wraps a method of its class brings `self` along (functools.singledispatchmethod
    and properties do so), and functools.singledispatch looks at the type of what comes first by position.
    """
    parameters = list(wrapped.parameters.values())
    first = parameters[0] if parameters else None
    if first is not None and first.name in ("self", "cls") and first.annotation is first.empty:
        del parameters[0]
    if _dispatches(fn) and parameters and parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        parameters[0] = parameters[0].replace(kind=inspect.Parameter.POSITIONAL_ONLY)
    return wrapped.replace(parameters=parameters)


def _dispatches(fn: Callable[..., Any]) -> bool:
    """Whether functools.singledispatch or singledispatchmethod made it: they look at the first argument's type."""
    try:
        return callable(getattr(fn, "register", None)) and inspect.isfunction(getattr(fn, "__wrapped__", None))
    except Exception:  # noqa: BLE001  (an object may answer for its attributes with code of its own)
        return False


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine at once, so that nothing of it blocks whoever calls."""
    target = _without_partials(fn)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)


# Reading a function


def _without_partials(fn: Callable[..., Any]) -> Callable[..., Any]:
    while issubclass(type(fn), functools.partial):
        fn = cast("functools.partial[Any]", fn).func
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


def _owner(fn: Callable[..., Any]) -> type | None:
    """What `Self` means: the class a method was got from, or of an object with `__call__`."""
    target = _without_partials(fn)
    holder = getattr(target, "__self__", None)
    if holder is None or inspect.ismodule(holder):
        return target if inspect.isclass(target) else None if inspect.isroutine(target) else type(target)
    return holder if inspect.isclass(holder) else type(holder)


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


# Docstrings


def _read_docstring(fn: Callable[..., Any], names: Collection[str]) -> tuple[str, dict[str, str]]:
    """What the function does, and the text about each of its parameters, which are called `names`."""
    core = _core(fn)
    text = inspect.getdoc(core) or (inspect.getdoc(fn) if getattr(core, "__name__", "") == "__call__" else None) or ""
    try:
        parsed = docstring_parser.parse(text)
    except Exception:  # noqa: BLE001  (its parsers raise more than ParseError on text that only looks like fields)
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
    config = ConfigDict(extra="allow" if takes_more else "forbid")
    fields: dict[str, Any] = {
        f"p{index}": _field(signature.parameters[key], annotation, documented.get(key))
        for index, (key, annotation) in enumerate(shown.items())
    }
    try:
        model = create_model("Arguments", __config__=config, **fields)
        narrow(model)
        model.model_json_schema(schema_generator=PlainJsonSchema)
    except BaseException as error:
        if len(shown) > 1:
            for key, annotation in shown.items():
                _arguments_model(name, signature, {key: annotation}, documented)
        raise InvalidAgent(
            f"Parameter {next(iter(shown), '')!r} of function {name!r} has a type that cannot be described to a model: "
            f"{_first_line(error)} Use a type that JSON can hold (a dataclass, a TypedDict or a pydantic model for "
            "several values), or set the parameter with functools.partial."
        ) from error
    return model


def _first_line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it refers to itself without end."
    if not isinstance(error, Exception):
        return f"it raised {reason_of(error)}."
    line = str(error).partition("\n")[0].strip() or kind_of(error)
    return line if line.endswith((".", "!", "?")) else f"{line}."


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
