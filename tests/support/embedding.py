"""Embeddings that need no network: a real one from a package, and one that only sees which words there are."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from typing import Any


async def real(text: str) -> list[float]:
    """WordLlama, whose model is in its package. Loaded where it is used: the function may travel."""
    return _model().embed(text)[0].tolist()


@functools.cache
def _model() -> Any:
    from pathlib import Path

    import wordllama

    folder = Path(wordllama.__file__).parent
    # By itself it looks for its own files in another folder, and then on the network.
    return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)


async def by_words(text: str) -> list[float]:
    """Equal words, equal places: exact and dull."""
    return word_vector(text)


def word_vector(text: str, size: int = 64) -> list[float]:
    """A unit vector with a mark for every word of the text."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % size] += 1.0
    length = math.sqrt(sum(number * number for number in vector)) or 1.0
    return [number / length for number in vector]
