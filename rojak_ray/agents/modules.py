"""Which modules any process can be expected to have, and which are the program's own."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from pathlib import Path


@functools.cache
def is_installed(name: str, file: str | None) -> bool:
    """Whether other processes can be expected to import a module: the standard library and installed packages."""
    top = name.partition(".")[0]
    if top == "rojak_ray" or top in sys.stdlib_module_names:
        return True
    if file is None:
        return False
    roots = _installation_roots()
    return file.startswith(roots) or str(Path(file).resolve()).startswith(roots)


def is_installed_name(name: str) -> bool:
    """The same of a module that this process has loaded, by its name alone; False for one it has not."""
    module = sys.modules.get(name)
    if name == "__main__" or module is None:
        return False
    return is_installed(name, getattr(module, "__file__", None))


@functools.cache
def _installation_roots() -> tuple[str, ...]:
    """Folders of installed modules as they are named and as they are, each with a separator at its end."""
    named = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")]
    return tuple(f"{path}{os.sep}" for path in {*named, *(path.resolve() for path in named)})
