"""What the offline provider understands of language: words, clauses, and values for a function's parameters.

Pure functions over text. They know some English and no grammar, and prefer finding nothing to guessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for tables that read better as a line."""
    return frozenset(text.split())


_STOP_WORDS = word_set(
    "a about after all also am an and any are as at be been before but by can could d did do does for from get give "
    "had has have hello help hey hi how i if in into is it its just know let like ll look m may me my need not now "
    "of on or our out please re run s see shall should show so some t tell thank thanks that the their them then there "
    "these they this to today tomorrow tonight up us use ve very want was we were what when where which who why will "
    "with would yesterday you your fetch return returns given function tool using"
)
_SYNONYMS = {"plus": "add", "sum": "add", "minus": "subtract", "times": "multiply", "product": "multiply"}
_SUFFIXES = (("ies", "y", 3), ("ing", "", 4), ("ed", "", 4), ("ion", "", 4), ("er", "", 4), ("s", "", 3))
"""Endings, what takes their place, and how much of the word has to be left."""

_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"[.;!?]*\n+\s*|[.;!?]+\s+|,?\s+(?:and then|and also|and|then|also)\s+|,\s+")
_NUMBER = r"(?<![\w.:/])(?<!\w-)-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w|[.:/-]\d)"
_DATE = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?"
_QUOTED = r"[\"\u201c]([^\"\u201d]+)[\"\u201d]|(?<!\w)['\u2018]([^'\u2019]+)['\u2019](?!\w)"
_FORMATS: Mapping[str, str] = {
    "date": _DATE,
    "date-time": _DATE,
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "uri": r"https?://\S+[^\s.,;!?)]",
    "uuid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
_CODE_NAMES = word_set("id number code key reference ref no zip")
_FREE_TEXT_NAMES = word_set(
    "query question text message content prompt body topic expression task input note title subject term"
)
_NEGATIONS = re.compile(r"\b(?:no|not|never|without|don't|off|false)\b", re.IGNORECASE)
_AFFIRMATIONS = re.compile(r"\b(?:yes|yeah|sure|ok|on|true)\b", re.IGNORECASE)


def stem(word: str) -> str:
    """A word without its commonest endings; the result need not be a word."""
    word = _SYNONYMS.get(word.lower(), word.lower())
    for suffix, replacement, least in _SUFFIXES:
        if word.endswith(suffix) and len(word) >= len(suffix) + least and not word.endswith("ss"):
            word = word.removesuffix(suffix) + replacement
            if word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 3 else word


def words(text: str) -> list[str]:
    """The stems of the words that carry meaning. `snake_case` and `camelCase` are split, "Agent B" is one word."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.replace("_", " "))
    joined = re.sub(r"\b(agent)[\s-]+(\w)\b", r"\1\2", apart, flags=re.IGNORECASE)
    return [stem(word) for word in _WORD.findall(joined) if word.lower() not in _STOP_WORDS]


def clauses(text: str, is_request: Callable[[str], bool]) -> list[str]:
    """The text in parts that each ask for something: a part that asks for nothing belongs to its neighbour."""
    breaks = list(_BREAK.finditer(text))
    starts = [0, *(each.end() for each in breaks)]
    ends = [*(each.start() for each in breaks), len(text)]
    found: list[tuple[int, int, bool]] = []
    for start, end in zip(starts, ends, strict=True):
        asks = is_request(text[start:end])
        if found and not (asks and found[-1][2]):
            found[-1] = (found[-1][0], end, found[-1][2] or asks)
        else:
            found.append((start, end, asks))
    return [text[start:end] for start, end, _ in found]


def fill(parameters: Mapping[str, Any], text: str, spoken: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Find values for parameters in a clause.

    Args:
        parameters: JSON schema of the function's parameters.
        text: The clause.
        spoken: Stems that name the function and so are no values.

    Returns:
        The values by name, and the names of required parameters for which there was none.
    """
    properties: Mapping[str, Any] = parameters.get("properties", {})
    required = [name for name in properties if name in parameters.get("required", ())]
    clause = _Clause(text, spoken)
    values: dict[str, Any] = {}
    for name in (*required, *(name for name in properties if name not in required)):
        shown = _plain(properties[name], parameters.get("$defs", {}))
        value = clause.take(name, shown, must=name in required)
        if value is not None:
            values[name] = value
    return {name: values[name] for name in properties if name in values}, [n for n in required if n not in values]


def _plain(shown: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without indirection: a reference resolved, of several alternatives the first that is not null."""
    if "$ref" in shown:
        return _plain(definitions.get(shown["$ref"].rpartition("/")[2], {}), definitions)
    for alternative in (*shown.get("anyOf", ()), *shown.get("oneOf", ())):
        if alternative.get("type") != "null":
            return _plain(alternative, definitions)
    return shown


class _Clause:
    """A clause from which values are taken, each only once."""

    def __init__(self, text: str, spoken: Collection[str]) -> None:
        self._text = self._rest = text
        self._spoken = spoken

    def take(self, name: str, shown: Mapping[str, Any], *, must: bool) -> Any:
        """The value for a parameter, or None. What is not a must needs stronger evidence."""
        choices = [shown["const"]] if "const" in shown else shown.get("enum")
        if choices:
            return self._choice(choices)
        match shown.get("type", "string"):
            case "integer" | "number" as kind:
                return self._number(kind)
            case "boolean":
                return self._boolean(name, must=must)
            case "array":
                return self._list(shown.get("items", {}), must=must)
            case "string":
                return self._string(name, shown.get("format", ""), must=must)
            case _:
                return None

    def _search(self, pattern: str) -> str | None:
        found = re.search(pattern, self._rest, re.IGNORECASE)
        if found is None:
            return None
        self._use(found.start(), found.end())
        return next((group for group in found.groups() if group), found.group())

    def _use(self, start: int, end: int) -> str:
        taken = self._rest[start:end]
        self._rest = self._rest[:start] + " " * (end - start) + self._rest[end:]
        return taken

    def _choice(self, choices: Collection[Any]) -> Any:
        said = {
            found.start(): choice
            for choice in choices
            if (found := re.search(rf"\b{re.escape(_apart(str(choice)))}\b", _apart(self._rest), re.IGNORECASE))
        }
        return said[min(said)] if said else None

    def _number(self, kind: str) -> int | float | None:
        for found in re.finditer(_NUMBER, self._rest):
            value = float(found.group().replace(",", ""))
            if kind == "number" or value.is_integer():
                self._use(*found.span())
                return int(value) if value.is_integer() else value
        return None

    def _boolean(self, name: str, *, must: bool) -> bool | None:
        named = set(words(name)) <= set(words(self._text))
        if not named and not must:
            return None
        if _NEGATIONS.search(self._text):
            return False
        return True if named or _AFFIRMATIONS.search(self._text) else None

    def _list(self, items: Mapping[str, Any], *, must: bool) -> list[Any] | None:
        kind = items.get("type", "string")
        if kind in ("integer", "number"):
            return list(iter(lambda: self._number(kind), None)) or None
        if kind != "string":
            return None
        quoted = list(iter(lambda: self._search(_QUOTED), None))
        if quoted or not must:
            return quoted or None
        return [part for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", self._tail() or "") if part.strip()] or None

    def _string(self, name: str, form: str, *, must: bool) -> str | None:
        name_words = {word.lower() for word in _WORD.findall(_apart(name))}
        form = form or next((known for known in ("email", "date", "uri") if known in name_words), "")
        if form in _FORMATS:
            return self._search(_FORMATS[form])
        if name_words & _CODE_NAMES and (code := self._search(r"#?\b([\w-]*\d[\w-]*)")):
            return code
        found = self._search(_QUOTED) or self._search(rf"\b{re.escape(_apart(name))}\b\s*(?:is|=|:)\s*([\w.@-]*\w)")
        if found:
            return found
        if name_words & _FREE_TEXT_NAMES:
            return self._tail() if must else None
        return self._name() or (self._salient() if must else None)

    def _name(self) -> str | None:
        """Capitalised words; the first word of the clause, capitalised anyway, only if there are no others."""
        runs = list(self._runs(lambda word: word[0].isupper()))
        inner = [run for run in runs if self._rest[: run[0]].strip()]
        return self._use(*(inner or runs)[0]) if runs else None

    def _salient(self) -> str | None:
        """The first words that carry meaning and do not name the function."""
        run = next(self._runs(lambda word: True), None)
        return self._use(*run) if run else None

    def _runs(self, accept: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
        """Where words that may be values stand side by side."""
        start = end = -1
        for found in re.finditer(r"[^\W\d_][\w-]*", self._rest):
            fits = accept(found.group()) and self._is_free(found.group())
            if fits and start >= 0 and self._rest[end : found.start()] == " ":
                end = found.end()
                continue
            if start >= 0:
                yield start, end
            start, end = found.span() if fits else (-1, -1)
        if start >= 0:
            yield start, end

    def _tail(self) -> str | None:
        """Everything from the first word that may be a value."""
        for found in re.finditer(r"[\w(-][\w'-]*", self._rest):
            if self._is_free(found.group()):
                return self._use(found.start(), len(self._rest)).strip(" .?!,;\n")
        return None

    def _is_free(self, word: str) -> bool:
        return word.lower().partition("'")[0] not in _STOP_WORDS and stem(word) not in self._spoken


def _apart(name: str) -> str:
    """A name with spaces between its words; of the same length."""
    return name.replace("_", " ").replace("-", " ")
