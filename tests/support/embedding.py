"""Embeddings that need no network: a real one from a package, and one that only sees which words there are."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any


class Real:
    """WordLlama, whose model is in its package. It is loaded where it is used and does not travel."""

    async def __call__(self, text: str) -> list[float]:
        if not vars(self):
            import wordllama

            folder = Path(wordllama.__file__).parent
            # By itself it looks for its own files in another folder, and then on the network.
            self.model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        return self.model.embed(text)[0].tolist()

    def __getstate__(self) -> dict[str, Any]:
        return {}


real = Real()


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
