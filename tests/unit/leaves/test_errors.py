"""Every error travels between processes with its attributes, and its class is the one the tree in errors.py draws."""

import copy
import inspect
import pickle
import re

import pytest

from rojak_ray import errors
from rojak_ray.errors import RojakError

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, RojakError) and value.__module__ == errors.__name__
]


def an_error(cls):
    """One with every attribute set."""
    values = {"str": "text", "int | None": 429, "float | None": 1.5}
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return cls("what happened, and what to do", **{p.name: values[str(p.annotation)] for p in parameters})


def dual(cause):
    """The class Ray makes of a cause, in outline: a RayTaskError that is also an instance of the cause's class."""

    class TaskError(Exception):
        def __init__(self, text):
            self.text = text

    class Dual(TaskError, type(cause)):
        def __init__(self, cause):
            self.cause = cause
            self.args = (cause,)

        def __getattr__(self, name):
            return getattr(self.cause, name)

        def __str__(self):
            return f"task failed\n{self.cause}"

    return Dual(cause)


@pytest.mark.parametrize("cls", CLASSES)
def test_error_pickles_with_its_text_and_attributes(cls):
    error = an_error(cls)
    for back in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(back) is cls
        assert str(back) == str(error)
        assert back.message == "what happened, and what to do"
        assert back.args == error.args
        assert vars(back) == vars(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_error_pickles_without_a_text(cls):
    assert pickle.loads(pickle.dumps(cls())).message == ""


@pytest.mark.parametrize("cls", CLASSES)
def test_error_keeps_its_cause_text_through_a_raise(cls):
    with pytest.raises(cls) as raised:
        raise an_error(cls) from KeyError("inner")
    assert raised.value.message == "what happened, and what to do"


@pytest.mark.parametrize("cls", CLASSES)
def test_error_inside_rays_dual_class_shows_its_text_and_attributes(cls):
    cause = an_error(cls)
    with pytest.raises(cls) as raised:
        raise dual(cause)
    both = raised.value
    assert both.message == cause.message
    assert both.retryable == cause.retryable
    for name, value in vars(cause).items():
        assert getattr(both, name) == value
    assert "what happened" in str(both)
    assert pickle.loads(pickle.dumps(both.cause)).message == cause.message


def test_tree_in_the_docstring_names_every_class_under_its_base_and_whether_it_is_retryable():
    drawn = {}
    path = []
    for line in inspect.getdoc(errors).splitlines():
        found = re.match(r"^((?:│   |    )*)(?:├─ |└─ )?([A-Z]\w+)(?: \(([\w, ]+)\))?(?:\s|$)(.*)", line)
        if found is None or not isinstance(getattr(errors, found[2], None), type):
            continue
        depth = len(found[1]) // 4 + (0 if found[2] == "RojakError" else 1)
        path = [*path[:depth], found[2]]
        drawn[found[2]] = path[-2] if depth else None
        for base in (found[3] or "").split(", "):
            assert not base or issubclass(getattr(errors, found[2]), getattr(__import__("builtins"), base))
    assert set(drawn) == {cls.__name__ for cls in CLASSES}
    for cls in CLASSES:
        bases = [base.__name__ for base in cls.__bases__ if base in CLASSES]
        assert bases == ([drawn[cls.__name__]] if drawn[cls.__name__] else [])


def test_only_what_may_pass_is_retryable():
    assert {cls.__name__ for cls in CLASSES if cls.retryable} == {
        "StoreRefused",
        "ModelUnavailable",
        "ModelMisbehaved",
        "RetrieverUnavailable",
        "StoreUnavailable",
        "StandsBy",
    }


@pytest.mark.parametrize(
    "name",
    [
        "InvalidMessage",
        "InvalidId",
        "InvalidAgent",
        "InvalidContext",
        "InvalidLimit",
        "SessionNotFound",
        "RunNotFound",
        "RequestConflict",
    ],
)
def test_bad_requests_are_value_errors(name):
    assert issubclass(getattr(errors, name), ValueError)


def test_storage_error_names_its_object():
    assert errors.JournalDamaged("x", key="a/b").key == "a/b"
    assert errors.RunFailed("x", run_id="r", error_type="T").run_id == "r"
    assert errors.ModelUnavailable("x", status=429, retry_after_s=2).retry_after_s == 2
