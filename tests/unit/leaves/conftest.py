"""Collections that look only at what a module of tests made, not at all that the modules before it left."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _cheap_collections() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()
