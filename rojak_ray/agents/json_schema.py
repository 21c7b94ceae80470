"""A function's parameters as JSON schema, in the words that all vendors take.

Sources of the rules that vendors enforce without writing them down: an array must say what its items are (OpenAI:
"array schema missing items"), a schema is an object without anyOf, oneOf or allOf at its top, and its properties are
named with at most 64 of A-Z, a-z, 0-9, _, . and - (Anthropic: "Property keys should match pattern").
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

_REF = "#/$defs/"
_NAMED = {"properties", "patternProperties", "$defs"}
_VERBATIM = {"default", "const", "enum", "examples"}
_NOISE = {"title", "discriminator"}  # a discriminator's mapping would name definitions that are inlined
_TYPE_OF_DEFAULT: Mapping[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    list: {"type": "array", "items": {}},
    dict: {"type": "object"},
}
_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_KEYS: Mapping[str, dict[str, Any]] = {
    "int": {"pattern": r"^[+-]?[0-9]+$"},
    "float": {"pattern": _DECIMAL},
    "decimal": {"pattern": _DECIMAL},
    "date": {"format": "date"},
    "datetime": {"format": "date-time"},
    "uuid": {"format": "uuid"},
}
"""What keys of a dictionary look like in JSON, by the type they are read as."""


KEY_PATTERNS: Mapping[str, str] = {name: shown["pattern"] for name, shown in _KEYS.items() if "pattern" in shown}
"""The same for those whose form is all that matters."""

SHOWN, SHOWN_AS = "rojak_ray_shown", "rojak_ray_shown_as"
"""Where a core schema's metadata say what stands for it: a JSON schema, or another core schema."""

DESCRIPTION = "rojak_ray_description"
"""Where they say what a model reads about it, unless it describes itself."""


class PlainJsonSchema(GenerateJsonSchema):
    """Says what is accepted, no more and no less; leaves defaults out that JSON cannot hold, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """What stands for a schema whose reading is ours."""
        metadata: Mapping[str, Any] = schema.get("metadata") or {}
        if SHOWN in metadata:
            return dict(metadata[SHOWN])
        made = super().generate_inner(metadata.get(SHOWN_AS, schema))
        return {"description": metadata[DESCRIPTION]} | made if DESCRIPTION in metadata else made

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchemaValue:
        """Leave out the fields that nobody can give."""
        given = [field for field in schema["fields"] if field.get("init", True)]
        return super().dataclass_args_schema({**schema, "fields": given})

    def set_schema(self, schema: core_schema.SetSchema) -> JsonSchemaValue:
        """Repeated items are as good as one."""
        return _without_uniqueness(super().set_schema(schema))

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> JsonSchemaValue:
        """Repeated items are as good as one."""
        return _without_uniqueness(super().frozenset_schema(schema))

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A number, or its digits as text."""
        made = super().decimal_schema(schema)
        for choice in made.get("anyOf", []):
            if choice.get("type") == "string":
                choice["pattern"] = _DECIMAL
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Say what keys must look like that are no texts."""
        made = super().dict_schema(schema)
        keys: Any = schema.get("keys_schema", {})
        metadata: Mapping[str, Any] = keys.get("metadata") or {}
        if SHOWN in metadata:
            return made | {"propertyNames": {"enum": metadata[SHOWN]["enum"]}}
        kind = metadata.get(SHOWN_AS, keys).get("type", "")
        return made | ({"propertyNames": _KEYS[kind]} if kind in _KEYS else {})

    def is_subclass_schema(self, schema: core_schema.IsSubclassSchema) -> JsonSchemaValue:
        """No JSON stands for a class."""
        return self.handle_invalid_for_json_schema(schema, "a class")


def json_schema(model: type[BaseModel], signature: inspect.Signature) -> dict[str, Any]:
    """The model's schema without titles, with definitions inlined that are used once or just list values."""
    raw = model.model_json_schema(schema_generator=PlainJsonSchema)
    definitions: dict[str, Any] = raw.pop("$defs", {})
    uses = Counter(_references([raw, *definitions.values()]))
    recursive = {name for name, body in definitions.items() if name in set(_references(body))}
    inlined = {
        name: body
        for name, body in definitions.items()
        if name not in recursive and (uses[name] == 1 or "enum" in body)
    }
    schema = _tidy(raw, inlined)
    kept = {name: _tidy(body, inlined) for name, body in definitions.items() if name not in inlined}
    if not schema["additionalProperties"]:
        del schema["additionalProperties"]
    for name, shown in schema.get("properties", {}).items():
        _show_unannotated(shown, signature.parameters[name])
    return {"type": "object", "properties": {}, "required": []} | schema | ({"$defs": kept} if kept else {})


def _with_items(array: dict[str, Any]) -> dict[str, Any]:
    """The schema of an array with `items`, which vendors demand and readers of older drafts go by."""
    places: list[dict[str, Any]] = array.get("prefixItems", [])
    bare = [{key: value for key, value in place.items() if key not in ("default", "description")} for place in places]
    kinds = [place for index, place in enumerate(bare) if place not in bare[:index]]
    items = kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
    says_no_more = bare == places and len(kinds) == 1
    return {key: value for key, value in array.items() if key != "prefixItems" or not says_no_more} | {"items": items}


def _named(place: dict[str, Any]) -> dict[str, Any]:
    """What stands at one place of an array. Only a NamedTuple's places have titles: their names."""
    return {"description": place["title"]} | place if "title" in place else place


def _without_uniqueness(array: JsonSchemaValue) -> JsonSchemaValue:
    return {key: value for key, value in array.items() if key != "uniqueItems"}


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
        elif key == "prefixItems":
            tidied[key] = [_tidy(_named(place), inlined) for place in value]
        elif key not in _NOISE:
            tidied[key] = _tidy(value, inlined)
    return _with_items(tidied) if tidied.get("type") == "array" and "items" not in tidied else tidied


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
