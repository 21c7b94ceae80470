"""Durable multi-agent orchestration on Ray.

What is listed in `__all__` is stable; everything else may change in any release. Importing this package loads neither
Ray nor a provider's SDK: names are resolved when they are used.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

__version__ = "0.1.0"


@functools.cache
def _homes() -> dict[str, str]:
    """Which module each public name is from: read from `__init__.pyi`, so that there is one list of them."""
    stub = pkgutil.get_data(__name__, "__init__.pyi") or b""
    imports = (line.split() for line in stub.decode("utf-8").splitlines() if line.startswith("from "))
    return {words[-1]: words[1] for words in imports}  # from MODULE import NAME as NAME


def __getattr__(name: str) -> Any:
    """Load a public name from its home, when it is asked for."""
    if name == "__all__":
        return sorted(_homes())
    home = None if name.startswith("__") else _homes().get(name)  # importlib asks for __path__ and its like
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """The stable names."""
    return sorted(_homes())
