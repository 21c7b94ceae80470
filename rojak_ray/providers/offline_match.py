"""Which function a sentence calls for: the offline provider's judgement, as points for words, values and manner.

Words count more the fewer functions have them. A value that only this function takes (one of a `Literal` or `Enum`,
a number with its unit, the name of somebody who introduces himself) counts as much as a word of its name. Who asks,
wants nothing changed; who complains, orders nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from rojak_ray.agents.activities import FunctionSchema
from rojak_ray.providers.offline_language import COMPLAINT, is_misspelled, meanings, stem
from rojak_ray.providers.offline_manner import asks, complains, denied, phrases, removes, spelled, wishes, without_noise
from rojak_ray.providers.offline_text import BEFORE_NUMBERS, clauses, fill, introduced, introduces, plain, words

ENOUGH = 1.5
"""The least points of a match: a word of the name, or two of the description."""

_NAME, _VERB_SAID, _TEXT, _ALIKE, _MISSPELLED = 2.0, 1.0, 1.0, 0.8, 0.8
_CHOICE, _OPTION, _INTRODUCED, _FORMAT, _UNIT, _NUMBER = 2.5, 2.0, 2.5, 1.5, 2.0, 0.5
"""Points for a word of the name, for its first word said as it is, for a word of the description; what is left of them
for a word that means the same and for a slip of the fingers. Then for values: a required choice and another one, a
name, a format such as a date, a number with its unit and a bare one. They were set so that a table of sentences comes
out right, and stay as they are because another table did, which they were not set for."""

_COVERED = 0.75
"""For a clause whose every word fits, and less for less."""

_ASKED, _COMPLAINED, _BESIDE_COMPLAINT, _HANDED = 0.5, 2.0, 0.5, 0.45
"""More for looking up what was asked, and for hearing a complaint; what is left for the rest beside a complaint; less
for handing over what can be done here."""

_AT_HOME, _BY_CHANCE = 0.25, 0.5
"""What is left of a word that is in the agent's own name; points up to which a word is no match worth counting."""

_SHARED = (1.0, 1.0, 0.75, 0.5)
"""What is left of a word's points if so many functions have it."""

_HANDING_OVER = words("transfer hand handoff pass switch route escalate connect delegate talk speak back over")
_NO_TARGET = {*_HANDING_OVER, *words("agent assistant conversation team department specialist user customer guest who")}
_TRANSFER_NAME = re.compile(
    r"(?:transfer|hand|switch|route|escalate|connect|delegate|talk|speak)\w*_to_", re.IGNORECASE
)
_TRANSFER_TEXT = re.compile(
    r"\b(?:hand|transfer|pass|switch|route|escalate|connect|delegate)\w*\b.*\bto\b", re.IGNORECASE
)
_REMOVING = {*words("remove delete cancel drop clear undo unsubscribe discard revoke")}
_CHANGING = {
    *words("add put book create order buy reserve make invite include schedule register insert append note remember"),
    *words("set save store update change place confirm submit send refund write record pay"),
}
NAME_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
"""The words of a name in `snake_case` or `camelCase`."""

_SWAP = re.compile(
    r"\b(?:swap|replace|exchange|change)\s+(?P<old>[^.,;!?]{1,60}?)\s+(?:for|with|to|into|by)\s+(?P<new>[^.,;!?]{1,60})"
    r"|\binstead of\s+(?P<gone>[^.,;!?]{1,60}?),?\s+(?P<come>(?:i|we|give|make|can|please|just)\b[^.,;!?]{1,60})"
    r"|(?P<instead>[^.,;!?]{1,60}?)\s+(?:instead of|rather than)\s+(?P<dropped>[^.,;!?]{1,60})",
    re.IGNORECASE,
)

Manner = Literal["look", "change", "remove"]


@dataclass(frozen=True)
class Known:
    """A function and the words that call for it."""

    schema: FunctionSchema
    name_words: frozenset[str]
    other_words: frozenset[str]
    name_meanings: frozenset[str]
    other_meanings: frozenset[str]
    is_transfer: bool
    manner: Manner
    verb: str
    """The first word of its name."""

    @property
    def spoken(self) -> frozenset[str]:
        """Words that name the function and so are no values."""
        return self.name_words | self.other_words

    @property
    def hears_complaints(self) -> bool:
        """Whether it is for what is bad."""
        return COMPLAINT in self.name_meanings | self.other_meanings

    @cached_property
    def properties(self) -> dict[str, Mapping[str, Any]]:
        """Its parameters, without indirection."""
        shown: Mapping[str, Any] = self.schema.parameters.get("properties", {})
        return {name: plain(each, self.schema.parameters.get("$defs", {})) for name, each in shown.items()}

    def has_choice(self, arguments: Iterable[str]) -> bool:
        """Whether an argument is one of a few that can be said."""
        return any("enum" in self.properties[name] or "const" in self.properties[name] for name in arguments)


@dataclass(frozen=True)
class Task:
    """A part of the request, the function for it, and what is known of its arguments."""

    function: Known
    arguments: dict[str, Any]
    missing: list[str]
    points: float
    by_words: float
    """The points that are for words alone."""

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.schema.name

    @property
    def spelled(self) -> str:
        """The arguments as JSON text in one spelling, so that equal arguments are equal text."""
        return json.dumps(self.arguments, sort_keys=True)


def know(schema: FunctionSchema) -> Known:
    """Read a function's name, description and parameters."""
    properties: Mapping[str, Any] = schema.parameters.get("properties", {})
    is_transfer = not properties and bool(
        _TRANSFER_NAME.match(schema.name) or _TRANSFER_TEXT.search(schema.description)
    )
    noise = _NO_TARGET if is_transfer else set[str]()
    in_name, in_text = set(words(schema.name)), set(words(f"{schema.description} {' '.join(properties)}"))
    name_words = frozenset(in_name - noise or in_name or {stem(schema.name)})
    other_words = frozenset(in_text - noise - name_words)
    said_in_name, said_in_text = _meant(schema.name), _meant(f"{schema.description} {' '.join(properties)}")
    verb = next(iter(NAME_PARTS.findall(schema.name)), schema.name).lower()
    manner: Manner = "look"
    if not is_transfer and stem(verb) in _REMOVING:
        manner = "remove"
    elif not is_transfer and stem(verb) in _CHANGING and not _only_computes(schema):
        manner = "change"
    return Known(schema, name_words, other_words, said_in_name, said_in_text, is_transfer, manner, verb)


class Judge:
    """Finds the functions that fit a request, among those an agent has."""

    def __init__(self, schemas: Iterable[FunctionSchema], speaker: str = "") -> None:
        """Weigh the words of all functions against each other; the words of the speaker's name say little."""
        self.functions = [know(schema) for schema in schemas]
        self._sharing = Counter(word for each in self.functions for word in each.spoken)
        self._hears_complaints = any(each.hears_complaints for each in self.functions)
        self._at_home = frozenset(words(speaker))
        self._meant_at_home = _meant(speaker)
        self._meant = Counter(m for each in self.functions for m in each.name_meanings | each.other_meanings)

    def plan(self, request: str) -> list[Task]:
        """The request as tasks, in its order. A second mention of a function that adds no values is no task."""
        tasks: list[Task] = []
        for clause in clauses(self._without_swaps(request), self._is_request):
            for part in [clause] if asks(spelled(clause)) else clauses(clause, self._is_counted, BEFORE_NUMBERS):
                task = self.best(part)
                if task is None:
                    continue
                same = [known for known in tasks if known.function is task.function]
                if not same or not (task.missing or any(known.arguments == task.arguments for known in same)):
                    tasks.append(task)
        return tasks

    def best(self, clause: str) -> Task | None:
        """The function that fits a clause best, or None if none fits."""
        best = max((self.judge(function, clause) for function in self.functions), key=_rank, default=None)
        return best if best and best.points >= ENOUGH else None

    def least_bad(self, request: str) -> list[Task]:
        """What to do when a call is demanded and nothing fits: the best among the functions that can be called."""
        tasks = [self.judge(function, request) for function in self.functions]
        return sorted(tasks, key=lambda task: (not task.missing, _rank(task)), reverse=True)[:1]

    def judge(self, function: Known, clause: str) -> Task:
        """How well a function fits a clause."""
        manner = spelled(clause)
        arguments, missing = fill(function.schema.parameters, clause, function.spoken)
        by_words = self._for_words(function, clause)
        is_complaint = complains(manner) and self._hears_complaints
        if is_complaint and not function.hears_complaints:
            by_words *= _BESIDE_COMPLAINT
        is_removal = removes(manner) or any(_is_said(arguments, word) for word in denied(manner))
        points = by_words + _for_manner(function, manner, by_words, is_removal=is_removal)
        if function.manner == "look" or not (asks(manner) or complains(manner)):
            points += _for_values(function, arguments, clause)
        return Task(function, arguments, missing, points, by_words)

    def _is_request(self, part: str) -> bool:
        """Whether a part asks for something by itself. Values alone only add to what its neighbour asks for."""
        task = self.best(part)
        return task is not None and (not task.missing or task.by_words >= ENOUGH)

    def _is_counted(self, part: str) -> bool:
        """Whether a part is a number of something."""
        task = self.best(part)
        return task is not None and not task.missing and task.function.has_choice(task.arguments)

    def _for_words(self, function: Known, clause: str) -> float:
        said = _said(clause)
        points = [self._for_word(function, word) for word in said]
        matched = sum(each > _BY_CHANCE for each in points)
        verb = _VERB_SAID * (re.search(rf"\b{re.escape(function.verb)}\b", clause, re.IGNORECASE) is not None)
        return verb + (sum(points) + _COVERED * matched / len(said) if any(points) else 0.0)

    def _for_word(self, function: Known, word: str) -> float:
        text = 2 * _TEXT if function.is_transfer else _TEXT
        token = stem(word)
        spelled = 1.0
        if token not in self._sharing and not meanings(word):
            near = [known for known in self._sharing if is_misspelled(token, known) or is_misspelled(word, known)]
            if not near:
                return 0.0
            token, spelled = min(near), _MISSPELLED
        points = [0.0]
        if token in function.name_words:
            points.append(_NAME * spelled)
        elif token in function.other_words:
            points.append(text * spelled)
        points = [each * _share(self._sharing[token], at_home=token in self._at_home) for each in points]
        for meaning in meanings(word):
            share = _ALIKE * _share(self._meant[meaning], at_home=meaning in self._meant_at_home)
            if meaning in function.name_meanings:
                points.append(_NAME * share)
            elif meaning in function.other_meanings:
                points.append(text * share)
        return max(points)

    def _without_swaps(self, request: str) -> str:
        """The request with "swap X for Y" and "Y instead of X" said as what is to go and what is to come."""
        removing = [each for each in self.functions if each.manner == "remove"]

        def rewrite(found: re.Match[str]) -> str:
            old = found["old"] or found["gone"] or found["dropped"]
            new = found["new"] or found["come"] or found["instead"]
            drop = f"remove {re.sub(r'^(?:my|the|that|an?) ', '', old)}"
            if any(not self.judge(each, drop).missing and self.judge(each, drop).arguments for each in removing):
                return f"{drop}, {new if re.search(r'add', new) else f'add {new}'}"
            return found.group()

        return _SWAP.sub(rewrite, request)


def _only_computes(schema: FunctionSchema) -> bool:
    """Whether all that a function takes are numbers, as in `add(a, b)`."""
    shown: Mapping[str, Any] = schema.parameters.get("properties", {})
    kinds = [each.get("items", {}).get("type") or each.get("type") for each in shown.values()]
    return bool(kinds) and all(kind == "number" for kind in kinds)


def _rank(task: Task) -> tuple[float, bool, float]:
    """What fits better comes last: own work before handing over, and a name that was said whole."""
    certain = task.points - 0.5 * len(task.missing) - _HANDED * task.function.is_transfer
    return certain, not task.function.is_transfer, 1 / len(task.function.name_words)


def _is_said(arguments: Mapping[str, Any], word: str) -> bool:
    said = [stem(each) for value in arguments.values() if isinstance(value, str) for each in words(value, as_said=True)]
    return any(stem(word) == each or is_misspelled(stem(word), each) for each in said)


def _for_manner(function: Known, clause: str, by_words: float, *, is_removal: bool) -> float:
    """Whether somebody who speaks so wants what the function does."""
    is_question = asks(clause)
    if complains(clause) and function.hears_complaints:
        return _COMPLAINED
    if function.manner == "remove":
        return 1.5 if is_removal and not is_question else -1.5
    if function.manner == "change":
        if is_removal or is_question or complains(clause):
            return -1.5
        return 0.5 if wishes(clause) else 0.0
    return _ASKED if is_question and by_words and not function.is_transfer else 0.0


def _for_values(function: Known, arguments: Mapping[str, Any], clause: str) -> float:
    """What the values say that were found for its parameters."""
    points = 0.0
    required = function.schema.parameters.get("required", ())
    for name in arguments:
        shown = function.properties[name]
        kind = shown.get("type", "string")
        if "enum" in shown or "const" in shown:
            points += _CHOICE if name in required or len(required) == 0 else _OPTION
        elif kind in ("integer", "number"):
            points += _UNIT if introduces(name, arguments[name], clause) else _NUMBER * (name in required)
        elif kind == "string" and introduces(name, arguments[name], clause):
            points += _INTRODUCED
        elif kind == "string" and shown.get("format"):
            points += _FORMAT
    return points


def _share(functions: int, *, at_home: bool) -> float:
    return _SHARED[min(functions, len(_SHARED) - 1)] * (_AT_HOME if at_home else 1.0)


def _said(clause: str) -> list[str]:
    """The words of a clause that carry meaning, as they are said, each once."""
    clause, named = without_noise(clause), ["name"] if introduced(clause) else []
    return list(dict.fromkeys([*words(clause, as_said=True), *phrases(spelled(clause)), *named]))


def _meant(text: str) -> frozenset[str]:
    return frozenset(meaning for word in words(text, as_said=True) for meaning in meanings(word))
