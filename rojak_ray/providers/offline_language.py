"""The little English that the offline provider knows: words that mean much the same, ways to ask, and spelling.

Pure tables and functions over text, about no agent in particular.
"""

from __future__ import annotations

from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for tables that read better as a line."""
    return frozenset(text.split())


STOP_WORDS = word_set(
    "good nice great a about after all also am an and any anything are as at be been before but by can could "
    "d did do does for from get give had has have hello help hey hi how i if in into is it its just know let "
    "like ll look m may me my need not now of on or our out please re run s see shall should show so some "
    "something t take takes tell thank thanks that the their them then there these they this to today "
    "tomorrow tonight up us use ve very want was we were what when where which who why will with would "
    "yesterday you your fetch return returns given function tool using"
)
_SYNONYMS = {"plus": "add", "sum": "add", "minus": "subtract", "times": "multiply", "product": "multiply"}
_SUFFIXES = (("ies", "y", 3), ("ing", "", 4), ("ed", "", 4), ("ion", "", 4), ("er", "", 4), ("s", "", 3))
"""Endings, what takes their place, and how much of the word has to be left."""

_GROUPS = (
    "price cost costs fee fees charge expensive cheap cheaper dollar dollars worth",
    "menu card dish dishes drink drinks meal meals eat serve sell offer recommend specials",
    "deliver delivers delivery delivered delivering bring brings ship courier scooter driver dispatch",
    "hour until till late early",
    "time hour when",
    "duration ready wait arrive eta",
    "close closes closed closing shut",
    "track status progress",
    "show list see display view check tell read",
    "add put include",
    "confirm checkout place submit finish finalize finalise complete proceed",
    "total bill amount owe invoice",
    "name called",
    "km kilometer kilometers kilometre kilometres mile miles far distance away live lives",
    "refund refunds reimburse reimbursement",
    "person human staff reception manager boss",
    "complaint complaints complain complaining cold wrong missing forgot forgotten burnt stale raw awful terrible "
    "horrible disgusting rude unhappy disappointed spilled soggy bland inedible unacceptable mistake",
)
"""A word of a line stands for the others; the first one is the line's name."""

COMPLAINT = "complaint"
"""The name of the group of words for what is bad."""

_ORDINARY = word_set(
    "again always best book bottle bowl chilli cold cream cup each else evening every family find fine fork "
    "found friend friends game glass good great hear here home house joke kind late less life light long lost "
    "love many maybe money month more morning most movie much music never news nice night noodle noodles "
    "number office pack packet people piece place plate plates portion really rice right road sauce song soon "
    "spicy spoon sport star stick sticks still story street sure thing things today tomorrow tonight warm "
    "water weather week weekend well word work world year"
)
"""Words that are spelled as they are meant, however near they are to another."""


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


def meanings(word: str) -> frozenset[str]:
    """The names of the groups that a word belongs to."""
    return _MEANINGS.get(stem(word), frozenset())


@lru_cache(maxsize=4096)
def is_misspelled(said: str, meant: str) -> bool:
    """Whether one word is the other with a slip of the fingers: a letter too many, too few, wrong, or two swapped.

    Short words and ordinary ones are taken as they are, and the first letter must be right unless it was swapped.
    """
    shorter = min(len(said), len(meant))
    if said == meant or shorter < 4 or said in _ORDINARY_STEMS or said.isdigit():
        return False
    allowed = 2 if shorter >= 7 else 1
    if abs(len(said) - len(meant)) > allowed or (said[0] != meant[0] and said[:2] != meant[1::-1]):
        return False
    return _distance(said, meant) <= allowed


def _distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _by_word() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for group in _GROUPS:
        for word in group.split():
            found[stem(word)] = found.get(stem(word), frozenset()) | {group.split()[0]}
    return found


_MEANINGS = _by_word()
_ORDINARY_STEMS = _ORDINARY | {stem(word) for word in _ORDINARY}
