"""What holds for the whole suite: cheap tests come first, and no process outlives it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from support.leftovers import end_descendants

ROOT = Path(__file__).parent
ORDER = ("unit", "contract", "simulation", "ray", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of what a failure costs to find: a fault of the core is not first met on a cluster."""
    items.sort(key=lambda item: _rank(item.path))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what was imported for the tests is not looked through for garbage again and again


def _rank(path: Path) -> int:
    folder = path.relative_to(ROOT).parts[0] if path.is_relative_to(ROOT) else ""
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that is left fails the run: it would hold memory, ports and locks of whatever comes next."""
    left = end_descendants()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nThese processes outlived the tests that started them, and were ended:", *left, sep="\n  ")
