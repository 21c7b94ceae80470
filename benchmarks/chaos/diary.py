"""What the programs of users know, outside any storage of ours: it outlives the programs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Word = Literal["sent", "answered", "unknown", "wrong"]


@dataclass(frozen=True)
class Note:
    """Something that happened to one message of one conversation."""

    conversation: str
    word: Word
    message: str
    at: int
    """Time in ns."""

    text: str = ""


class Diary:
    """Notes in a file, a line each; any number of processes may write to it."""

    def __init__(self, path: Path) -> None:
        """The file need not exist yet."""
        self._path = path

    def write(self, note: Note) -> None:
        """Keep a note. In one piece, so that a process that is killed leaves a whole line or none."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, json.dumps(asdict(note)).encode() + b"\n")
        finally:
            os.close(file)

    def read(self) -> list[Note]:
        """All notes so far, in order."""
        if not self._path.exists():
            return []
        whole, _, _ = self._path.read_text().rpartition("\n")
        return [Note(**json.loads(line)) for line in whole.splitlines()]
