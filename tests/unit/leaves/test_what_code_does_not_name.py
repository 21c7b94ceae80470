"""Functions that may look at what they do not name have no digest: equal code says nothing of what they do."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rojak_ray.agents.content import content_of

NAMES = {"sys": sys, "builtins": builtins, "importlib": importlib}


def written(body: str, **names: Any) -> Callable[..., Any]:
    scope: dict[str, Any] = {"__name__": "written", "WHO": "me", **names}
    exec("def f(x=None):\n" + "\n".join(f"    {line}" for line in body.split(";")), scope)
    return scope["f"]


@pytest.fixture
def own_module() -> Iterator[types.ModuleType]:
    module = types.ModuleType("tests_own_module")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize(
    "body",
    [
        "return globals()['WHO']",
        "return eval('WHO')",
        "exec('x = WHO');return x",
        "return [eval(each) for each in ['WHO']]",
        "return getattr(sys.modules['written'], 'WHO')",
        "return sys.modules[__name__].WHO",
        "import sys as s;return s.modules['written'].WHO",
        "return sys._getframe(1).f_globals",
        "return builtins.eval('WHO')",
        "import builtins as b;return b.eval('WHO')",
        "return importlib.import_module('written').WHO",
        "return __import__('written').WHO",
        "return Base.__subclasses__()[0].WHO",
        "return getattr(Base, '__subclasses__')()",
        "return f.__globals__['WHO']",
        "return look('WHO')",
        "return bring('written')",
    ],
)
def test_looking_up_by_text(body: str) -> None:
    fn = written(body, **NAMES, Base=type("Base", (), {}), look=eval, bring=importlib.import_module)
    assert content_of(fn) is None


def test_a_captured_sys() -> None:
    def capture(s: Any) -> Callable[..., Any]:
        def f() -> Any:
            return s.modules["__main__"]

        return f

    assert content_of(capture(sys)) is None


@pytest.mark.parametrize(
    "body",
    [
        "return x.eval() + x.exec",
        "return x.globals",
        "return x.modules()",
        "return sys.argv",
        "return getattr(x, 'who')",
        "return [len(each) for each in sorted(x)]",
        "import json;return json.dumps(x)",
        "return open(x) or print(x) or IOError or NotImplemented or exit or __debug__",
    ],
)
def test_what_only_looks_like_it_has_a_digest(body: str) -> None:
    assert content_of(written(body, sys=sys)) is not None


def test_what_was_put_into_builtins_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fn = written("return TENANT")
    seen = set[str]()
    for tenant in ("a", "b", len, abs):
        monkeypatch.setattr(builtins, "TENANT", tenant, raising=False)
        found = content_of(fn)
        assert found is not None
        seen.add(found.digest)
    assert len(seen) == 4


def test_a_builtin_that_was_replaced_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fn = written("return sum(x)")
    before = content_of(fn)
    monkeypatch.setattr(builtins, "sum", written("return 0"))
    assert content_of(fn) != before


def test_what_an_imported_module_of_the_program_has_counts(own_module: types.ModuleType) -> None:
    bodies = ["import tests_own_module;return tests_own_module.who", "from tests_own_module import who;return who"]
    for fn in map(written, bodies):
        seen = set[str]()
        for who in ("a", "b"):
            vars(own_module)["who"] = who
            found = content_of(fn)
            assert found is not None
            seen.add(found.digest)
        assert len(seen) == 2


def test_a_module_of_the_program_that_is_read_by_text(own_module: types.ModuleType) -> None:
    for body in ("return getattr(own, x)", "return vars(own)[x]", "return own.__dict__[x]"):
        assert content_of(written(body, own=own_module)) is None
