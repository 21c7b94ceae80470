"""What pydantic accepts, narrowed to what the schema says, however deep in classes of the user it stands.

Annotations inside a dataclass, a pydantic model or a NamedTuple are read by pydantic alone. This works on the outcome,
pydantic's core schema, so that a field is read as a parameter is.
"""

from __future__ import annotations

import enum
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from rojak_ray.agents.choices import is_text_enum, literal_pairs, member_pairs, picker, schema_of_choices
from rojak_ray.agents.json_schema import DESCRIPTION, KEY_PATTERNS, SHOWN, SHOWN_AS

_INNER = {
    "schema", "keys_schema", "values_schema", "items_schema", "choices", "fields", "steps", "lax_schema",
    "strict_schema", "json_schema", "python_schema", "arguments_schema", "extras_schema",
}  # fmt: skip
_SHAPES: Mapping[str, tuple[str, str]] = {
    "date": (r"\d{4}-\d\d-\d\d", "a date such as 2026-01-31"),
    "datetime": (r"\d{4}-\d\d-\d\d", "a date and time such as 2026-01-31T09:30:00Z"),
    "time": (r"\d\d:\d\d", "a time such as 09:30:00"),
    "timedelta": (r"[+-]?[Pp]|.*:|.*[Dd]", "a duration such as PT90S"),
}
"""How the text of a time begins. Without that, pydantic takes digits for seconds since 1970."""


def narrow(model: type[BaseModel]) -> None:
    """Make a model of arguments accept what its schema says, and no more.

    Args:
        model: Made for one function; it is changed. The classes of its fields stay as they are.

    Raises:
        ValueError: A choice cannot be told in JSON.
    """
    schema: Any = model.__pydantic_core_schema__
    narrowed = _Narrower(schema).read(schema)
    if narrowed is schema:
        return
    model.__pydantic_core_schema__ = narrowed
    model.__pydantic_validator__ = _validator(narrowed)


def _validator(schema: Any) -> SchemaValidator:
    """A validator that does not use those which the classes inside bring along."""
    try:
        return SchemaValidator(schema, _use_prebuilt=False)
    except TypeError:  # an older pydantic, which has no such thing
        return SchemaValidator(schema)


class _Narrower:
    """Reads one core schema and gives back another; what needs no change is the same object."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        definitions: list[Any] = schema.get("definitions", [])
        self._choices = {one["ref"]: one for one in definitions if one["type"] == "enum"}

    def read(self, node: Any) -> Any:
        """The node, narrowed, with all that stands in it."""
        node = self._choices.get(node.get("schema_ref"), node)
        kind = node["type"]
        if kind == "definitions":
            kept = [self.read(one) for one in node["definitions"] if one["type"] != "enum"]
            return {**node, "schema": self.read(node["schema"]), "definitions": kept}
        pairs = _pairs(node)
        if pairs is not None:
            return _plain(picker(pairs), schema_of_choices(pairs))
        changed = {key: self._inside(value) for key, value in node.items() if key in _INNER}
        made = {**node, **changed} if any(changed[key] is not node[key] for key in changed) else node
        if kind == "dict" and "keys_schema" in node:
            return {**made, "keys_schema": self._key(node["keys_schema"])}
        if kind == "generator":
            return {**made, "type": "list"}
        if kind in _SHAPES:
            return _shaped(made)
        if kind in ("model", "dataclass"):
            return _with_descriptions(made)
        return _named_tuple(made) if kind in ("named-tuple", "call") else made

    def _inside(self, value: Any) -> Any:
        """Whatever holds nodes: a node, a list of them, a mapping by name."""
        if isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            if isinstance(mapping.get("type"), str):
                return self.read(mapping)
            made = {key: self._inside(one) for key, one in mapping.items()}
            return made if any(made[key] is not mapping[key] for key in made) else mapping
        if isinstance(value, list | tuple):
            several = cast("list[Any] | tuple[Any, ...]", value)
            found = [self._inside(one) for one in several]
            same = all(new is old for new, old in zip(found, several, strict=True))
            return several if same else type(several)(found)
        return value

    def _key(self, node: Any) -> Any:
        """What stands for a key: JSON has texts only."""
        node = self._choices.get(node.get("schema_ref"), node)
        kind = node["type"]
        pairs = [("true", True), ("false", False)] if kind == "bool" else _pairs(node)
        if pairs is not None:
            texts = [(told if isinstance(told, str) else json.dumps(told), meant) for told, meant in pairs]
            return _plain(picker(texts), schema_of_choices(texts))
        if kind == "union":
            return {
                **node,
                "choices": [self._key(one[0] if isinstance(one, tuple) else one) for one in node["choices"]],
            }
        if kind in KEY_PATTERNS:
            return _guarded(node, KEY_PATTERNS[kind] + r"\Z", "a number")
        return self.read(node)


def _pairs(node: Mapping[str, Any]) -> list[tuple[Any, Any]] | None:
    """The choices of a node that pydantic would not tell apart as JSON does."""
    if node["type"] == "literal":
        members: list[Any] = node["expected"]
        return None if all(type(member) is str for member in members) else literal_pairs(members)
    if node["type"] == "enum" and not is_text_enum(cast("type[enum.Enum]", node["cls"])):
        return member_pairs(node["cls"])
    return None


def _plain(read: Callable[[Any], Any], shown: Mapping[str, Any]) -> Any:
    return core_schema.no_info_plain_validator_function(read, metadata={SHOWN: shown})


def _shaped(node: dict[str, Any]) -> Any:
    pattern, words = _SHAPES[node["type"]]
    return _guarded(node, pattern, words)


def _guarded(node: dict[str, Any], pattern: str, words: str) -> Any:
    """A node that is read from text alone, and only if the text begins as it must."""
    begins = re.compile(pattern, re.ASCII)
    inner = SchemaValidator(cast("Any", node))

    def read(given: Any) -> Any:
        if isinstance(given, bool | int | float) or (isinstance(given, str) and not begins.match(given)):
            raise PydanticCustomError("text_expected", "Input should be {words}, as text", {"words": words})
        return inner.validate_python(given, strict=False)  # what JSON has as text is no date yet

    return core_schema.no_info_plain_validator_function(read, metadata={SHOWN_AS: node})


def _named_tuple(node: dict[str, Any]) -> Any:
    """A NamedTuple is an array in JSON, and only that."""
    kind: Any = node.get("cls") or node.get("function")
    fields: Any = node.get("fields") or node.get("arguments_schema", {}).get("arguments_schema")
    if not isinstance(kind, type) or not issubclass(kind, tuple) or not fields:
        return node
    notes = _texts_of(kind)
    fields = [{**one, "schema": _described(one["schema"], notes.get(one["name"]))} for one in fields]
    if "cls" in node:
        shown = {**node, "fields": fields}
    else:
        shown = {**node, "arguments_schema": {**node["arguments_schema"], "arguments_schema": fields}}
    inner = core_schema.tuple_schema([one["schema"] for one in fields])

    def make(values: tuple[Any, ...]) -> Any:
        return cast("Any", kind)(*values)

    extra = {"ref": node["ref"]} if "ref" in node else {}
    return core_schema.no_info_after_validator_function(make, inner, metadata={SHOWN_AS: shown}) | extra


def _with_descriptions(node: dict[str, Any]) -> Any:
    """Texts in the `Annotated` of fields are what a model reads about them."""
    inner = node["schema"]
    notes = _texts_of(node["cls"])
    if not notes or "fields" not in inner:
        return node
    fields: Any = inner["fields"]
    if isinstance(fields, dict):
        named = cast("dict[str, Any]", fields)
        fields = {name: _described(field, notes.get(name)) for name, field in named.items()}
    else:
        fields = [_described(field, notes.get(field["name"])) for field in fields]
    return {**node, "schema": {**inner, "fields": fields}}


def _described(node: dict[str, Any], text: str | None) -> dict[str, Any]:
    return node if text is None else {**node, "metadata": {**(node.get("metadata") or {}), DESCRIPTION: text}}


def _texts_of(kind: type) -> dict[str, str]:
    """The first text in each field's `Annotated`; none where the class's annotations cannot be read again."""
    notes: dict[str, Any]
    if issubclass(kind, BaseModel):
        notes = {name: field.metadata for name, field in kind.model_fields.items()}
    else:
        try:
            hints = typing.get_type_hints(kind, include_extras=True)
        except Exception:  # noqa: BLE001  (names that only pydantic could find; the texts are a help, no more)
            return {}
        notes = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    found: dict[str, str] = {}
    for name, several in notes.items():
        if text := next((note.strip() for note in several if isinstance(note, str) and note.strip()), None):
            found[name] = text
    return found
