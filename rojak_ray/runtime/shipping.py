"""Functions and providers as they travel between processes, and back.

Code goes by import path where the module is installed on every node (a package), and by value otherwise: a program's
own modules need not be there. It travels over Ray's authenticated channel and lives in memory only; storage never
sees it. Provider settings can hold keys, so what carries them never shows itself.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ray import cloudpickle

from rojak_ray.agents.function import FunctionSettings
from rojak_ray.agents.registry import Implementation
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import ConfigError
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.sessions.steps import Offer, offer_of


@dataclass(frozen=True)
class Parcel:
    """Code or settings, pickled. Never stored; its content is not shown."""

    key: str
    """Fingerprint of the content."""

    content: bytes = field(repr=False)


@dataclass(frozen=True)
class FunctionEntry:
    """What the cluster knows about a function without loading it."""

    ref: FunctionRef
    origin: str
    key: str
    is_async: bool
    settings: FunctionSettings
    offer: Offer | None
    """What models are shown; None for a function that writes instructions."""


@dataclass(frozen=True)
class ProviderEntry:
    """What the cluster knows about a provider without loading it."""

    kind: str
    """"agent" or "retriever"."""

    type: str
    key: str
    built_in: bool = False
    """One of ours: known to wait without blocking, so a shared host may ask it itself."""

    from_environment: bool = False
    """Captured from a driver's environment: serves where no worker has registered the type."""

    exclusive: bool = False
    """To be asked in the `RetrieverActor` alone."""

    node: str = ""
    """Where it was registered: what an exclusive one opens is there."""

    timeout_s: float | None = None
    """Seconds a retrieval may take."""


def ship_function(implementation: Implementation) -> tuple[FunctionEntry, Parcel]:
    """Make a function ready to travel.

    Raises:
        ConfigError: It (or something it refers to) cannot be shipped; the text says what.
    """
    parcel = _parcel(implementation.fn, f"function {implementation.ref.name!r}")
    ref, origin = implementation.ref, implementation.origin
    if implementation.writes_instructions:
        return FunctionEntry(ref, origin, parcel.key, True, FunctionSettings(), None), parcel
    definition = implementation.definition
    offer = offer_of(definition)
    return FunctionEntry(ref, origin, parcel.key, definition.is_async, definition.settings, offer), parcel


def ship_provider(provider: Any, *, from_environment: bool = False, node: str = "") -> tuple[ProviderEntry, Parcel]:
    """Make a provider or retriever ready to travel.

    Raises:
        ConfigError: It holds something that cannot be shipped, such as an open connection.
    """
    parcel = _parcel(provider, f"provider {type(provider).__name__}")
    if isinstance(provider, RetrieverActivities):
        exclusive, timeout_s = provider.exclusive, provider.timeout_s
        return ProviderEntry(
            "retriever", provider.type, parcel.key, exclusive=exclusive, node=node, timeout_s=timeout_s
        ), parcel
    built_in = type(provider).__module__.startswith("rojak_ray.providers.")
    return ProviderEntry("agent", provider.type, parcel.key, built_in, from_environment), parcel


def unpack(parcel: Parcel) -> Any:
    """The function or provider in a parcel."""
    return cloudpickle.loads(parcel.content)


def _parcel(value: Any, what: str) -> Parcel:
    try:
        with _own_modules_by_value():
            content: bytes = cloudpickle.dumps(value)  # pyright: ignore[reportPrivateImportUsage]
    except Exception as error:
        raise ConfigError(
            f"The {what} cannot be shipped to the cluster: {type(error).__name__}: {error}. Create connections and "
            "locks inside the function, or put it into an installed package."
        ) from error
    return Parcel(hashlib.sha256(content).hexdigest()[:32], content)


@contextmanager
def _own_modules_by_value() -> Generator[None]:
    """While pickling, treat the program's own modules as if they were `__main__`: nodes need not have them."""
    already = set(cloudpickle.list_registry_pickle_by_value())
    own = [
        module
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(module, ModuleType)
        and module.__name__ == name
        and name not in already
        and not _installed(name, getattr(module, "__file__", None))
    ]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


@functools.cache
def _installed(name: str, file: str | None) -> bool:
    """Whether other nodes can be expected to import a module: the standard library and installed packages."""
    top = name.partition(".")[0]
    if top == "rojak_ray" or top in sys.stdlib_module_names:
        return True
    if file is None:
        return False
    roots = _installation_roots()
    return file.startswith(roots) or str(Path(file).resolve()).startswith(roots)


@functools.cache
def _installation_roots() -> tuple[str, ...]:
    """Folders of installed modules as they are named and as they are, each with a separator at its end."""
    named = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")]
    return tuple(f"{path}{os.sep}" for path in {*named, *(path.resolve() for path in named)})
