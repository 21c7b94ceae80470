"""The digest of a function is the same in every process, differs when it or what it reaches does, or is not given."""

import datetime
import decimal
import enum
import functools
import json
import logging
import math
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path, PurePosixPath

import pytest
from support.functions import FUNCTIONS, Place, Plain, plain, returning, returning_both, wrapped

from rojak_ray.agents.agent import OpenAIAgent
from rojak_ray.agents.content import content_of
from rojak_ray.agents.reference import origin_of


def digest(fn):
    found = content_of(fn)
    assert found is not None
    return found.digest


TESTS = Path(__file__).resolve().parents[2]
ELSEWHERE = """
import json
from rojak_ray.agents.content import content_of
from support.functions import FUNCTIONS
found = {}
for name, fn in FUNCTIONS.items():
    try:
        found[name] = content_of(fn).digest
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def elsewhere():
    """Digests in two processes with other hash seeds and another environment."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ELSEWHERE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS), f"ONLY_{seed}": "x"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    return [json.loads(process.communicate()[0]) for process in started]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_digest_is_the_same_in_other_processes(elsewhere, name):
    here = digest(FUNCTIONS[name])
    assert re.fullmatch("[0-9a-f]{32}", here)
    assert [found[name] for found in elsewhere] == [here, here]


def test_digests_of_different_functions_differ():
    found = {name: digest(fn) for name, fn in FUNCTIONS.items() if name not in {"module", "logger"}}
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_digest_does_not_change_when_taken_again(name):
    assert len({digest(FUNCTIONS[name]) for _ in range(3)}) == 1


def test_digest_of_equal_closures_is_equal():
    assert digest(returning([1, {"a": Place("x")}])) == digest(returning([1, {"a": Place("x")}]))


class Color(enum.Enum):
    RED = 1
    BLUE = 2


DIFFERENT = {
    "number and text": (1, "1"),
    "number and bool": (1, True),
    "none and text": (None, "None"),
    "numbers": (1, 2),
    "nested": ({"a": [1, 2]}, {"a": [1, 3]}),
    "order": ([1, 2], [2, 1]),
    "sets": ({"a", "b"}, {"a", "c"}),
    "objects": (Plain(a=1), Plain(a=2)),
    "deep objects": (Plain(a=Plain(b=1)), Plain(a=Plain(b=2))),
    "dataclasses": (Place("a"), Place("b")),
    "agents": (OpenAIAgent(name="A"), OpenAIAgent(name="B")),
    "functions": (returning(1), returning(2)),
    "partials": (functools.partial(plain, "a"), functools.partial(plain, "b")),
    "methods": (Plain(a=1).method, Plain(a=2).method),
    "enum members": (Color.RED, Color.BLUE),
    "paths": (PurePosixPath("/a"), PurePosixPath("/b")),
    "times": (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)),
    "durations": (datetime.timedelta(1), datetime.timedelta(2)),
    "decimals": (decimal.Decimal("1"), decimal.Decimal("2")),
    "uuids": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "patterns": (re.compile("a"), re.compile("b")),
    "complex": (1j, 2j),
    "bytearrays": (bytearray(b"a"), bytearray(b"b")),
    "builtins": (math.sin, math.cos),
    "types": (int, str),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_closures_with_different_captures_differ(one, other):
    assert digest(returning(one)) != digest(returning(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_difference_behind_an_equal_capture_of_the_same_kind_is_seen(one, other):
    assert digest(returning_both([one], [one])) != digest(returning_both([one], [other]))


def test_difference_between_captured_closures_after_a_captured_closure_is_seen():
    """Ids of objects that only lived during the walk must not be taken for ones seen before."""
    for number in range(2, 30):
        pair = [returning_both(returning(1), returning(other)) for other in (number, number + 1)]
        assert digest(pair[0]) != digest(pair[1])


def made(source, **names):
    namespace = {"__name__": "made", **names}
    exec(source, namespace)
    return namespace["f"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a): return a + 1", "def f(a): return a + 2"),
        ("def f(a): return a + 1", "def f(a): return a - 1"),
        ("def f(a): return a.x", "def f(a): return a.y"),
        ("def f(a): return [n for n in a]", "def f(a): return [n + 0 for n in a]"),
        ("def f(a=1): return a", "def f(a=2): return a"),
        ("def f(*, a=1): return a", "def f(*, a=2): return a"),
        ("def f(a): return a", "def f(b): return b"),
        ("def f(a, b): return a", "def f(a, *, b): return a"),
        ("def f(a, b): return a", "def f(a, b, /): return a"),
        ("def f(a: int): return a", "def f(a: str): return a"),
        ("def f(a): 'One.'", "def f(a): 'Other.'"),
        ("def f(a): return 1j", "def f(a): return 2j"),
        ("def f(a): return a in {'x', 'y'}", "def f(a): return a in {'x', 'z'}"),
        ("def f(a): return a in ((1, 2), (1, 3))", "def f(a): return a in ((1, 2), (1, 4))"),
        ("def f(a): return 0.0", "def f(a): return -0.0"),
        ("async def f(a): return a", "def f(a): return a"),
    ],
)
def test_changed_code_differs(one, other):
    """What a model is shown of a function (parameters, types, words) belongs to what it is."""
    assert digest(made(one)) == digest(made(one))
    assert digest(made(one)) != digest(made(other))


def test_builtin_functions_differ():
    assert len({digest(fn) for fn in (math.sin, math.cos, len, abs)}) == 4


def test_function_that_captures_a_module_or_logger_has_a_digest_that_stays():
    logger = logging.getLogger("rojak.tests.captured")
    captured = [returning(os), returning(logger), returning(logging)]
    before = [digest(fn) for fn in captured]
    os.environ["ROJAK_TEST_FINGERPRINT"] = "changed"
    try:
        logging.getLogger("rojak.tests.another.one")
        logger.isEnabledFor(logging.DEBUG)
        assert [digest(fn) for fn in captured] == before
    finally:
        del os.environ["ROJAK_TEST_FINGERPRINT"]


def test_deep_and_looped_captures_end():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert content_of(returning(deep)) is None, "too deep to be read whole"


def test_origin_names_module_and_function_behind_wrappers():
    assert origin_of(plain) == "support.functions:plain"
    assert origin_of(functools.partial(plain, "x")) == "support.functions:plain"
    assert origin_of(wrapped) == "support.functions:wrapped"
    assert origin_of(returning(1)) == "support.functions:returning.<locals>.answer"
    assert origin_of(Plain().method) == "support.functions:Plain.method"
    assert origin_of(Plain()) == "support.functions:Plain"
