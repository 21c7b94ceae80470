"""What only some tests need, and not every Python and system has: such a test is skipped, and says why.

Where everything has to run, as in CI, ROJAK_SKIPS=never makes a missing part a failure.
"""

from __future__ import annotations

import importlib.util
import os
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be skipped."""
    if os.environ.get("ROJAK_SKIPS") == "never":
        pytest.fail(f"{reason} (ROJAK_SKIPS=never)", pytrace=False)
    pytest.skip(reason)


def need_package(module: str, package: str) -> None:
    """Skip the test unless a package is installed."""
    if importlib.util.find_spec(module) is None:
        skip(f"The package {package} is not installed: it has no build for this Python or system")
