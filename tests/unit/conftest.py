"""What all unit tests share: what was imported for them is not looked through for garbage again and again."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
