"""Functions and providers as they travel between processes, and back.

Code goes by import path where the module is installed on every node (a package), and by value otherwise: a program's
own modules need not be there. It travels over Ray's authenticated channel and lives in memory only; storage never
sees it. Provider settings can hold keys, so what carries them never shows itself.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ray import cloudpickle

from rojak_ray.agents.function import FunctionSettings
from rojak_ray.agents.modules import is_installed
from rojak_ray.agents.program import Implementation
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.checks import kind_of, reason_of
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

    fixed: bool = False
    """See `Content.fixed`."""

    program: str = ""
    """The client that registered it."""

    handed_over: bool = False
    """It came with an agent that a function of that client's handed over to: the client itself does not have it."""


@dataclass(frozen=True)
class ProviderEntry:
    """What the cluster knows about a provider without loading it."""

    kind: str
    """"agent" or "retriever"."""

    type: str
    key: str
    built_in: bool = False
    """One of ours: known to wait without blocking, so a shared host may ask it itself."""

    fingerprint: str = ""
    """Captured from a program's environment: it serves the runs that name it, and no others. Without one it is what
    a worker registered: it serves all runs of its type that name none."""

    exclusive: bool = False
    """To be asked in the `RetrieverActor` alone."""

    node: str = ""
    """Where it was registered: what an exclusive one opens is there."""

    timeout_s: float | None = None
    """Seconds a retrieval may take."""


def ship_function(
    implementation: Implementation, program: str, *, ref: FunctionRef | None = None
) -> tuple[FunctionEntry, Parcel]:
    """Make a function ready to travel.

    Args:
        implementation: The function.
        program: The client that has it.
        ref: What it is known by, if it was handed over: see `CodeCache.refer`.

    Raises:
        ConfigError: It (or something it refers to) cannot be shipped; the text says what.
    """
    parcel = _parcel(implementation.fn, f"function {implementation.ref.name!r}")
    is_async, settings, offer = True, FunctionSettings(), None
    if not implementation.writes_instructions:
        definition = implementation.definition
        is_async, settings, offer = definition.is_async, definition.settings, offer_of(definition)
    entry = FunctionEntry(
        ref=ref or implementation.ref,
        origin=implementation.origin,
        key=parcel.key,
        is_async=is_async,
        settings=settings,
        offer=offer,
        fixed=implementation.fixed,
        program=program,
        handed_over=ref is not None,
    )
    return entry, parcel


def ship_provider(provider: Any, *, fingerprint: str = "", node: str = "") -> tuple[ProviderEntry, Parcel]:
    """Make a provider or retriever ready to travel.

    Raises:
        ConfigError: It holds something that cannot be shipped, such as an open connection.
    """
    parcel = _parcel(provider, f"provider {kind_of(provider)}")
    if isinstance(provider, RetrieverActivities):
        exclusive, timeout_s = provider.exclusive, provider.timeout_s
        return ProviderEntry(
            "retriever", provider.type, parcel.key, exclusive=exclusive, node=node, timeout_s=timeout_s
        ), parcel
    built_in = type(provider).__module__.startswith("rojak_ray.providers.")
    return ProviderEntry("agent", provider.type, parcel.key, built_in, fingerprint), parcel


def unpack(parcel: Parcel) -> Any:
    """The function or provider in a parcel."""
    return cloudpickle.loads(parcel.content)


def _parcel(value: Any, what: str) -> Parcel:
    try:
        with _own_modules_by_value():
            content: bytes = cloudpickle.dumps(value)  # pyright: ignore[reportPrivateImportUsage]
    except BaseException as error:  # noqa: BLE001  (pickling runs code of the objects' classes)
        raise ConfigError(
            f"The {what} cannot be shipped to the cluster: {reason_of(error)}. Create connections and locks inside "
            "the function, or put it into an installed package."
        ) from None
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
        and not is_installed(name, getattr(module, "__file__", None))
    ]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
