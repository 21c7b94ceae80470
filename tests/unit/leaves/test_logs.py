"""What others said may get into a line of our logs; it stays in it, and whoever reads it sees no secret."""

from __future__ import annotations

import ast
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rojak_ray.display import CONTINUED
from rojak_ray.logs import get_logger, set_up_process
from rojak_ray.redaction import LOG_GUARD, Secrets

PACKAGE = Path(__file__).resolve().parents[3] / "rojak_ray"
FORGED = "hello\nWARNING:rojak_ray.journal:all is lost\r\x1b[2J\u2028\u202e"


def fail() -> None:
    raise ValueError(FORGED)


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger as a module has it, and what any plain handler writes of it."""
    logger = get_logger("rojak_ray.tests_of_logs")
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("LINE %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, out
    logger.removeHandler(handler)


class Untellable:
    def __str__(self) -> str:
        raise ValueError(FORGED)


WAYS: dict[str, Callable[[logging.Logger], None]] = {
    "argument": lambda logger: logger.info("said: %s", FORGED),
    "error": lambda logger: logger.warning("failed: %s", ValueError(FORGED)),
    "message": lambda logger: logger.error(FORGED),
    "message with a percent": lambda logger: logger.error(f"{FORGED}100 %s"),  # noqa: G004
    "not a text": lambda logger: logger.error(ValueError(FORGED)),
    "no text at all": lambda logger: logger.error(f"value %s{FORGED}", Untellable()),  # noqa: G004
    "named": lambda logger: logger.info("%(said)s", {"said": FORGED}),
    "debug": lambda logger: logger.debug("said: %s", FORGED),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_record_is_one_line_whatever_it_tells(way: str, written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    WAYS[way](logger)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue()[:-1].isprintable()


def test_each_line_of_a_traceback_is_marked(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    try:
        fail()
    except ValueError:
        logger.exception("failed")
    first, *further = out.getvalue().rstrip("\n").split("\n")
    assert first == "LINE failed"
    assert "fail()" in out.getvalue()
    assert all(line.startswith(CONTINUED) and line.isprintable() for line in further)


def test_a_harmless_record_keeps_its_arguments(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, _ = written
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.info("%d of %s", 3, "laksa")
    logger.removeHandler(handler)
    assert (seen[0].msg, seen[0].args) == ("%d of %s", (3, "laksa"))


def test_secrets_that_are_known_are_in_no_line_of_ours(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    secrets = Secrets(["canary\n0123456789"])
    LOG_GUARD.protect(secrets)
    try:
        raise ValueError("canary\n0123456789")
    except ValueError as error:
        logger.exception("failed: %s", error)  # noqa: TRY401
    assert "failed" in out.getvalue()
    assert "canary" not in out.getvalue()


def test_a_process_of_ours_marks_the_lines_of_libraries_too(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(logging.getLogger("rojak_ray"), "level", logging.NOTSET)
    set_up_process()
    try:
        fail()
    except ValueError:
        root.exception("of a library: %s", FORGED)
    first, *further = out.getvalue().rstrip("\n").split("\n")
    assert first == "ERROR:root:of a library: hello"
    assert len(further) > 3
    assert all(line.startswith(CONTINUED) and "\x1b" not in line for line in further)


def loggers_made(source: str) -> list[int]:
    """Lines where a module makes or takes a logger by itself, or prints."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name.rpartition(".")[2] in {"getLogger", "basicConfig"} or name in {"logging.warning", "logging.error"}:
            found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "logging" and node.names[0].name == "getLogger":
            found.append(node.lineno)
    return found


def test_every_module_has_its_logger_from_one_place() -> None:
    may = {"logs.py", "redaction/logs.py"}
    paths = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    assert {
        name: made for name, path in paths.items() if name not in may and (made := loggers_made(path.read_text()))
    } == {}


@pytest.mark.parametrize(
    "source",
    ["import logging\nx = logging.getLogger(__name__)", "from logging import getLogger", "logging.basicConfig()"],
)
def test_the_lint_sees_them(source: str) -> None:
    assert loggers_made(source)
