"""Ids are checked at the edge and encoded in keys: no id leaves its folder, no two share one."""

import unicodedata

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from rojak_ray.errors import InvalidId
from rojak_ray.ids import MAX_ID_LENGTH, RandomIds, check_id, digest, id_key
from rojak_ray.journal.paths import Owner, Paths, number_of
from rojak_ray.storage.keys import is_key

BAD = {
    "empty": "",
    "parent": "..",
    "here": ".",
    "climbing": "../../etc/passwd",
    "slash": "a/b",
    "backslash": "a\\b",
    "nul": "a\0b",
    "newline": "a\n",
    "tab": "\ta",
    "outer space": " a",
    "trailing space": "a ",
    "only a space": " ",
    "no-break space": "\u00a0a",
    "10 KB": "x" * 10_240,
    "one too long": "x" * (MAX_ID_LENGTH + 1),
    "lone surrogate": "a\ud800",
    "decomposed": unicodedata.normalize("NFD", "é"),
    "right-to-left override": "a\u202eb",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
}
GOOD = [
    "a",
    "con",
    "con.",
    "NUL.txt",
    "trailing.dot.",
    "...",
    ".hidden",
    "-",
    "a b",
    "Straße 日本語 🦉",
    "Session",
    "user@example.com",
    "50%",
    "a:b*c?d|e<f>",
    "x" * MAX_ID_LENGTH,
    "é" * MAX_ID_LENGTH,
    "2026-01-01T00:00:00Z",
    "~",
    "$(rm -rf)",
]


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_id_that_could_leave_its_folder_or_be_unreadable_is_refused(value):
    with pytest.raises(InvalidId, match="run id"):
        check_id(value, "run")


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["a"], True])
def test_id_that_is_no_string_is_refused(value):
    with pytest.raises(InvalidId, match=type(value).__name__):
        check_id(value, "session")


def test_refusal_of_a_long_id_is_short():
    with pytest.raises(InvalidId) as refused:
        check_id("x" * 10_240, "run")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("value", GOOD)
def test_printable_id_is_accepted_as_it_is(value):
    assert check_id(value, "session") == value


@pytest.mark.parametrize("value", GOOD)
def test_key_of_an_id_is_one_safe_segment(value):
    key = id_key(value)
    assert "/" not in key
    assert key == key.lower()
    assert key.isascii()
    assert len(key) <= 128
    assert is_key(key)
    assert not key.endswith(".")
    assert key.split(".")[0] not in {"con", "nul", "aux", "prn"}


def test_keys_of_all_good_ids_differ():
    assert len({id_key(value) for value in GOOD}) == len(GOOD)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Session", "session"),
        ("SESSION", "Session"),
        ("a b", "a-b"),
        ("a.b", "a-b"),
        ("é", "e"),
        ("ß", "ss"),
        ("İ", "i"),
        ("x" * 100, "x" * 101),
        ("X" * 150, "x" * 150),
        ("X" * 75, "X" * 76),
    ],
)
def test_similar_ids_have_different_keys(one, other):
    assert id_key(one).lower() != id_key(other).lower()


def test_id_that_looks_like_a_key_meets_no_other():
    ids = ["Ab", "ab", "a" * 101]
    assert not {id_key(value) for value in ids} & {id_key(id_key(value)) for value in ids}


def test_plain_id_stays_readable():
    assert id_key("order-42") == "p-order-42"


printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)


@for_all(st.lists(printable, min_size=2, max_size=8, unique=True))
@settings(max_examples=50, derandomize=True, deadline=None, database=None)
def test_different_ids_never_share_a_key_or_leave_their_folder(values):
    keys = [id_key(value) for value in values]
    assert len({key.lower() for key in keys}) == len(values)
    paths = Paths("N")
    for value in values:
        for key in (paths.epoch(Owner("run", value), 1), paths.slot(Owner("run", value), 1)):
            assert is_key(key)
            assert key.startswith(paths.root)
            assert len(key.split("/")) == 7


def test_paths_of_sessions_runs_and_markers_do_not_meet():
    paths = Paths("rojak")
    owners = [Owner("session", "a"), Owner("run", "a"), Owner("session", "A"), Owner("run", "run.a")]
    assert len({paths.owner(owner) for owner in owners}) == len({paths.markers(owner) for owner in owners}) == 4
    assert paths.root == "v1/p-rojak/"
    assert Paths("Rojak").root != paths.root


def test_numbers_in_keys_sort_as_numbers():
    paths, owner = Paths("n"), Owner("run", "r")
    numbers = [1, 2, 9, 10, 99, 100, 10**12]
    keys = [paths.slot(owner, number) for number in numbers]
    assert keys == sorted(keys)
    assert [number_of(key) for key in keys] == numbers


def test_random_ids_are_fresh_and_usable():
    source = RandomIds()
    ids = {source.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(id_key(check_id(value, "run")) == f"p-{value}" for value in ids)


def test_digest_depends_on_content_not_on_key_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest("\ud800") != digest("?")
    assert len(digest(None)) == 32
