"""What the offline provider understands of language: words, clauses, and values for a function's parameters.

Pure functions over text. They know some English and no grammar, and prefer finding nothing to guessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from rojak_ray.providers.offline_language import STOP_WORDS, is_misspelled, stem, word_set
from rojak_ray.providers.offline_manner import complains

_WORD = re.compile(r"[^\W_]+")
_UNITS = dict(zip(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], range(1, 10), strict=True))
_TEENS = dict(
    zip(
        ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
        range(10, 20),
        strict=True,
    )
)
_TENS = dict(
    zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True)
)
_AMOUNTS = {"dozen": 12, "half a dozen": 6, "half dozen": 6, "couple": 2, "pair": 2}
_NUMBER_WORD = (
    rf"\b(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS)}))?|{'|'.join([*_TEENS, *list(_UNITS)[1:], *_AMOUNTS])}"
    r"|(?<!the )(?<!this )(?<!that )(?<!which )(?<!small )(?<!large )(?<!no )one)\b"
)
_BREAK = re.compile(
    r"[.;!?]*\n+\s*|[.;!?]+\s+|,?\s+(?:and then|and also|and|then|also|but|plus|&|\+)\s+|,\s+",
    re.IGNORECASE,
)
BEFORE_NUMBERS = re.compile(rf"\s+(?=\d|(?!one\b){_NUMBER_WORD})", re.IGNORECASE)
"""Where a text may be divided that lists what it counts."""

_NUMBER = (
    r"(?:(?<=\bx)|(?<![\w.:/])(?<!\w-))-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![.:/-]\d)"
    r"(?:(?!\w)|(?=[a-z]{1,3}\b)(?!(?:st|nd|rd|th|am|pm)\b))"
)
_DATE = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?"
_QUOTED = r"[\"\u201c]([^\"\u201d]+)[\"\u201d]|(?<!\w)['\u2018]([^'\u2019]+)['\u2019](?!\w)"
_FORMATS: Mapping[str, str] = {
    "date": _DATE,
    "date-time": _DATE,
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "uri": r"https?://\S+[^\s.,;!?)]",
    "uuid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
_MOST_CLAUSES = 60
"""Where a text may be divided; what is behind stays in one piece, or reading it would take long."""

_INTRODUCTION = re.compile(
    r"\b(?i:i am|i'm|im|this is|my name is|my name's|name is|name's|names|call me|it's|it is|here is)\s+"
    r"(?P<name>[A-Z][^\W\d_]+(?:\s[A-Z][^\W\d_]+)*)"
    r"|(?<!\w)(?P<here>[A-Z][^\W\d_]+) here\b"
    r"|(?i:\b(?:my name is|my name's|my names|name's|call me|i am called)\s+(?P<named>[^\W\d_]+))"
    r"|(?i:\b(?:i am|i'm|im|this is)\s+(?P<last>[^\W\d_]{2,}))(?=\W*$)"
)
_NO_NAME = re.compile(
    r"(?:.*(?:ing|ed|ty|ky|ly|less|ful|ian)|vegan|hungry|angry|busy|happy|crazy|sorry|back|here|late|lost|ready|done|fine|good|ok|okay|sad|cold|"
    r"angry|bad|great|nice|new|sure|well|sick|allergic|full|poor|alone|home|outside|it|all|wrong|terrible|awful|raw|not|in|"
    r"an?|the|my|your|so|very|too|just|from|at|on|looking|next|crazy|delicious|unacceptable|ridiculous|horrible|for)",
    re.IGNORECASE,
)
_CODE_NAMES = word_set("id number code key reference ref no zip")
_FREE_TEXT_NAMES = word_set(
    "query question text message content prompt body topic expression task input note title subject term"
)
_NEGATIONS = re.compile(r"\b(?:no|not|never|without|don't|off|false)\b", re.IGNORECASE)
_AFFIRMATIONS = re.compile(r"\b(?:yes|yeah|sure|ok|on|true)\b", re.IGNORECASE)


def words(text: str, *, as_said: bool = False) -> list[str]:
    """The stems of the words that carry meaning, or these words `as_said`.

    `snake_case` and `camelCase` are split, "Agent B" is one word.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.replace("_", " "))
    joined = re.sub(r"\b(agent)[\s-]+(\w)\b", r"\1\2", apart, flags=re.IGNORECASE)
    said = [word.lower() for word in _WORD.findall(joined) if word.lower() not in STOP_WORDS]
    return said if as_said else [stem(word) for word in said]


def clauses(text: str, is_request: Callable[[str], bool], breaks_at: re.Pattern[str] = _BREAK) -> list[str]:
    """The text in parts that each ask for something: a part that asks for nothing belongs to its neighbour."""
    breaks = list(islice(breaks_at.finditer(text), _MOST_CLAUSES))
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
    known = {name: plain(shown, parameters.get("$defs", {})) for name, shown in properties.items()}
    # What can only be one thing is taken first, and what a call can't do without before the rest.
    for name in sorted(known, key=lambda name: (not _choices(known[name]), name not in required)):
        shown = known[name]
        value = clause.take(name, shown, must=name in required)
        if value is not None:
            values[name] = value
    return {name: values[name] for name in properties if name in values}, [n for n in required if n not in values]


def plain(shown: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without indirection: a reference resolved, of several alternatives the first that is not null."""
    if "$ref" in shown:
        return plain(definitions.get(shown["$ref"].rpartition("/")[2], {}), definitions)
    for alternative in (*shown.get("anyOf", ()), *shown.get("oneOf", ())):
        if alternative.get("type") != "null":
            return plain(alternative, definitions)
    return shown


def introduces(name: str, value: Any, text: str) -> bool:
    """Whether a text leaves no doubt that a value is this parameter's: "I am Ann", or a number with its unit."""
    own = {stem(word) for word in _WORD.findall(_apart(name))}
    if isinstance(value, str):
        return "nam" in own and introduced(text) == value
    units = re.findall(rf"(?<![\w.]){re.escape(str(value))}\s*([^\W\d_]+)", text)
    return any(stem(unit) in own for unit in units)


def introduced(text: str) -> str | None:
    """What somebody says to be called."""
    for found in _INTRODUCTION.finditer(text):
        name = found["name"] or found["here"] or found["named"] or found["last"]
        if found["named"] or not _NO_NAME.fullmatch(name):
            return name
    return None


class _Clause:
    """A clause from which values are taken, each only once."""

    def __init__(self, text: str, spoken: Collection[str]) -> None:
        self._text = self._rest = text
        self._noun_at: int | None = None
        self._spoken = spoken

    def take(self, name: str, shown: Mapping[str, Any], *, must: bool) -> Any:
        """The value for a parameter, or None. What is not a must needs stronger evidence."""
        if choices := _choices(shown):
            return self._choice(choices)
        match shown.get("type", "string"):
            case "integer" | "number" as kind:
                return self._number(name, kind, must=must)
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
        """The choice that was said first: as it is written, else nearly so, else by a word that only it has."""
        names = [_apart(str(choice)) for choice in choices]
        for find in (_as_written, _as_meant, _in_part):
            said = {
                span: choice
                for choice, name in zip(choices, names, strict=True)
                if (span := find(name, names, _apart(self._rest)))
            }
            if said:
                span = min(said)
                self._noun_at = span[0] if self._noun_at is None else self._noun_at
                self._use(*span)
                return said[span]
        return None

    def _number(self, name: str, kind: str, *, must: bool) -> int | float | None:
        found = list(re.finditer(f"{_NUMBER}|{_NUMBER_WORD}", self._rest, re.IGNORECASE))
        fitting = [each for each in found if kind == "number" or float(_value(each.group())).is_integer()]
        if fitting:
            chosen = min(fitting, key=lambda each: self._distance_to_noun(name, each))
            self._use(*chosen.span())
            return _value(chosen.group())
        if must and kind == "integer" and self._noun_at is not None:
            before = self._rest[: self._noun_at]
            article = re.search(r"\b(?:an?|another|one)\s+(?:\w+\s+){0,2}$", before, re.IGNORECASE)
            if article:
                self._use(article.start(), article.start() + 1)
                return 1
        return None

    def _distance_to_noun(self, name: str, found: re.Match[str]) -> tuple[bool, int]:
        """A number with the parameter's unit behind it comes first, then the nearest to what was chosen."""
        unit = re.match(r"\s*([^\W\d_]+)", self._rest[found.end() :])
        has_unit = unit is not None and stem(unit[1]) in {stem(word) for word in _WORD.findall(_apart(name))}
        return not has_unit, 0 if self._noun_at is None else abs(self._noun_at - found.end())

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
            return list(iter(lambda: self._number("", kind, must=False), None)) or None
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
        if "name" in name_words and (name_said := introduced(self._rest)):
            self._use(at := self._rest.index(name_said), at + len(name_said))
            return name_said
        found = self._search(_QUOTED) or self._search(rf"\b{re.escape(_apart(name))}\b\s*(?:is|=|:)\s*([\w.@-]*\w)")
        if found:
            return found
        if name_words & _FREE_TEXT_NAMES:
            if not must:
                return None
            return self._use(0, len(self._rest)).strip(" ,;\n") if complains(self._text) else self._tail()
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
        return word.lower().partition("'")[0] not in STOP_WORDS and stem(word) not in self._spoken


def _choices(shown: Mapping[str, Any]) -> Collection[Any]:
    return [shown["const"]] if "const" in shown else shown.get("enum") or []


def _apart(name: str) -> str:
    """A name with spaces between its words; of the same length."""
    return name.replace("_", " ").replace("-", " ")


Span = tuple[int, int]


def _as_written(name: str, _: Collection[str], text: str) -> Span | None:
    found = re.search(rf"(?<!\w){re.escape(name)}(?:s|'s)?(?!\w)", text, re.IGNORECASE)
    return found.span() if found else None


def _as_meant(name: str, _: Collection[str], text: str) -> Span | None:
    """Where the words of a name stand side by side, with other endings or slips of the fingers."""
    wanted = [stem(word) for word in _WORD.findall(name)] or [name]
    said = list(_WORD.finditer(text))
    for start in range(len(said)):
        if _is_like(said[start].group(), "".join(wanted)):
            return said[start].span()
        window = said[start : start + len(wanted)]
        if len(window) == len(wanted) and all(
            _is_like(each.group(), word) for each, word in zip(window, wanted, strict=True)
        ):
            return window[0].start(), window[-1].end()
    return None


def _in_part(name: str, names: Collection[str], text: str) -> Span | None:
    """Where a name is said by a word that no other choice has, or cut short as days are."""
    others = {word for other in names if other != name for word in _WORD.findall(other.lower())}
    own = [word for word in _WORD.findall(name.lower()) if word not in others and word not in STOP_WORDS]
    for found in _WORD.finditer(text):
        said = found.group().lower()
        is_short = len(name) >= 6 and len(said) >= 3 and name.lower().startswith(said)
        is_short = is_short and not any(other.lower().startswith(said) for other in names if other != name)
        if is_short or (len(name.split()) > 1 and any(len(word) > 2 and _is_like(said, stem(word)) for word in own)):
            return found.span()
    return None


def _is_like(said: str, wanted: str) -> bool:
    return stem(said) == wanted or is_misspelled(stem(said), wanted) or is_misspelled(said.lower(), wanted)


def _value(text: str) -> int | float:
    """The number that digits or words say."""
    said = text.lower().replace("-", " ") if text[-1].isalpha() else text
    if said in _AMOUNTS:
        return _AMOUNTS[said]
    if said[-1].isalpha():
        known = _UNITS | _TEENS | _TENS
        return sum(known[word] for word in said.split())
    value = float(said.replace(",", ""))
    return int(value) if value.is_integer() else value
