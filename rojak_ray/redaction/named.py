"""Secrets in texts of others, found by the names that stand before them.

Libraries that are asked to tell everything write down requests and answers, and servers repeat what they were sent.
"""

from __future__ import annotations

import re

from rojak_ray.redaction.secrets import HIDDEN

_SEPARATOR = r"""(?: \\* ['"] \s* [:,=] \s* | \s* [:=] \s* | > ) [\[(]*"""
_QUOTED = r"""b? (?P<quote> \\* ['"] ) (?: (?! (?P=quote) ) . )+ (?P=quote)"""

_LINES = re.compile(
    rf"""( (?: authorization | cookie2? ) {_SEPARATOR} ) (?: {_QUOTED} | [^\s'"<>\\] [^\r\n'"<>\\]* )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Headers whose value has several words."""

_WORDS = re.compile(
    rf"""
    ( (?: api[-_]?key | token2? | secret | signature | (?<![a-z]) sig | pass(?:word|wd) | credentials? | assertion
        | (?: access|account|private|shared|storage|secret) [-_]? key )
      {_SEPARATOR} )
    (?: {_QUOTED} | [^\s'"<>,;&}}\])\\]+ )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Fields of headers, queries, forms, JSON, XML, connection strings and Python's own spelling of these."""


def without_named(text: str) -> str:
    """The text without the values of tokens, keys, passwords and signatures: of whatever has the name of a secret.

    It errs towards replacing: `pageToken=3` is not shown either. A name without a value after it stays.
    """
    return _WORDS.sub(rf"\1{HIDDEN}", _LINES.sub(rf"\1{HIDDEN}", text))
