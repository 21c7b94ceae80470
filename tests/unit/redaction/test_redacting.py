"""A secret is replaced however a server spells it, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.redaction import Secrets, of_headers, of_login, of_query, of_url, url_to_show

SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=60)
AROUND = st.text("abc xyz019\"':,{}", max_size=20)


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: "".join(f"%{ord(letter):02x}" for letter in text),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "as in a form": quote_plus,
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON within JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "in PHP's JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "in escapes of JSON alone": lambda text: "".join(f"\\u{ord(letter):04X}" for letter in text),
    "in HTML": lambda text: html.escape(text),
    "in HTML by number": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "in HTML by hexadecimal number": lambda text: "".join(f"&#x{ord(letter):x};" for letter in text),
    "in bytes of Python": lambda text: repr(text.encode())[2:-1],
    "in base64": in_base64,
    "in lines of base64": lambda text: base64.encodebytes(text.encode() * 3).decode(),
    "in base64 for addresses": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "in base64 behind a scheme": lambda text: in_base64(f"Bearer {text}"),
    "in base64 within JSON": lambda text: in_base64(json.dumps({"n": 1, "authorization": "x"})[:-2] + text),
    "in hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(secret=SECRETS, before=AROUND, after=AROUND)
@settings(max_examples=25, deadline=None)
def test_every_spelling_is_replaced(spelling: str, secret: str, before: str, after: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    told = Secrets([secret]).redact(f"{before}{spelled}{after}")
    assert "***" in told
    assert spelled not in told or spelled in "***"


@given(secret=SECRETS, text=st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_text_without_the_secret_stays(secret: str, text: str) -> None:
    told = Secrets([secret]).redact(text)
    assert told == text or secret[:6].lower() in text.lower() or any(mark in text for mark in ("@", "%", "&", "\\"))


@given(secret=st.text("abcdef0123456789", min_size=24, max_size=60), kept=st.integers(14, 23))
@settings(max_examples=50, deadline=None)
def test_a_secret_that_is_cut_off_is_replaced_but_for_a_few_letters(secret: str, kept: int) -> None:
    told = Secrets([secret]).redact(f"Bearer {secret[:kept]}")
    assert secret[:12] not in told


def test_short_values_are_left() -> None:
    assert Secrets(["a", "key"]).redact("a key for a door") == "a key for a door"


def test_what_stands_before_the_at_of_an_address_is_replaced_whoever_it_is() -> None:
    assert (
        Secrets().redact("see http://me:pw@host/v1 and https://host/@me")
        == "see http://***@host/v1 and https://host/@me"
    )


def test_long_texts_take_no_long_time() -> None:
    secrets = Secrets([f"sk-{number}-{'x' * 150}" for number in range(10)])
    secrets.redact("warm")
    began = time.process_time()
    secrets.redact("Bearer sk-1 %20 &amp; \\u0041 " * 300)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "secret", ["sk-abc\\def%00&gh", "\\\\\\\\abcd", "\\a\\a\\a\\a", "%%%%%%%%", "&amp;amp;amp;x", "aaaaaaaaa"]
)
@pytest.mark.parametrize("piece", ["\\", "\\a", "\\u", "%", "%25", "25", "&amp;", "amp;", "&#0", "0", "a", "aaaaaaaab"])
def test_no_text_takes_long_because_somebody_wrote_it_so(secret: str, piece: str) -> None:
    secrets, began = Secrets([secret]), time.process_time()
    secrets.redact("%" + piece * (30_000 // len(piece)))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("0000:%", "0000%3A%25"),  # with what follows, its last character is another escape
        ("000\\0\\", "000\\\\0\\\\"),
        ('0\\"000', "0\\&quot;000"),
        ("abc%25def", "abc%25def"),
        ("schlüssel", "schl\\xc3\\xbcssel"),
        ("schlüssel", "schl\\xfcssel"),
        ("clef-🔑-1", "clef-\\ud83d\\udd11-1"),
        ("clef-🔑-1", "clef-\\U0001f511-1"),
    ],
)
def test_a_spelling_ends_where_the_secret_ends(secret: str, text: str) -> None:
    assert [Secrets([secret]).redact(f"<{text}{behind}") for behind in ("00>", ":>")] == ["<***00>", "<***:>"]


def test_repr_tells_how_many() -> None:
    assert repr(Secrets(["sk-123456", "sk-654321", "x"])) == "Secrets(2)"


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({"Authorization": "Bearer sk-123456"}, ["Bearer sk-123456", "sk-123456"]),
        ({b"X-Gateway": b"value-1"}, ["value-1"]),
        ({"Cookie": 'session="abc-123456"; theme=dark-1'}, ["abc-123456", "dark-1"]),
        ({"X-Signature": 'keyId="k-123456",signature="s-123456"'}, ["k-123456", "s-123456"]),
        ({"Authorization": f"Basic {in_base64('me:pass-123')}"}, ["pass-123", in_base64("me:pass-123"), "me:pass-123"]),
        ({"User-Agent": "curl/7.1", "anthropic-beta": "files-2025", "X-Stainless-Lang": "python"}, []),
    ],
)
def test_secrets_of_headers(headers: dict[str, str], secret: list[str]) -> None:
    found = set(of_headers(headers))
    assert set(secret) <= found
    assert bool(secret) == bool(found)


def test_secrets_of_addresses() -> None:
    assert {"p@ss/1", "p%40ss%2F1", in_base64("me:p@ss/1"), "k-123456"} <= set(
        of_url("https://me:p%40ss%2F1@host/v1?key=k-123456&api-version=2024-02-01")
    )
    assert "2024-02-01" not in set(of_url("https://host/v1?api-version=2024-02-01"))
    assert set(of_query({"key": ["k-1", "k-2"], "beta": "true"})) == {"k-1", "k-2"}
    assert set(of_login("", "token-123")) >= {"token-123", in_base64(":token-123")}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pw@host/v1", "http://***@host/v1"),
        ("http://me:p@w@host/v1", "http://***@host/v1"),
        ("http://me:p/w@host/v1", "http://***@host/v1"),
        ("https://host/v1?key=k&api-version=1#part", "https://host/v1?key=***&api-version=1"),
        ("https://host/v1?token", "https://host/v1?***"),
        ("me:pw@host:6333", "***@host:6333"),
        ("http://host:80/v1", "http://host:80/v1"),
        ("http://host/users/@me", "http://host/users/@me"),
    ],
)
def test_addresses_to_show(url: str, shown: str) -> None:
    assert url_to_show(url) == shown
