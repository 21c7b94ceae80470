"""What a server turned out to take and to refuse, as one process remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_REMEMBERED = 10_000


@dataclass(eq=False)
class Habits:
    """How questions are best put to one server. Nothing is lost with it but a request that is refused again."""

    refused: set[str] = field(default_factory=set[str])
    """Fields of a request for a stream that the server does not take."""

    plain_models: set[str] = field(default_factory=set[str])
    """Models that the server does not stream."""

    streamed_models: set[str] = field(default_factory=set[str])
    """Models that the server only streams."""

    _plain_questions: dict[str, None] = field(default_factory=dict[str, None])
    """Keys of questions whose streams could not be read to their end, the latest last."""

    def takes_no_stream(self, model: str, key: str) -> bool:
        """Whether a question is better asked plainly, though somebody watches."""
        return model in self.plain_models or key in self._plain_questions

    def ask_plainly_next(self, key: str) -> None:
        """Remember a question whose stream could not be read to its end: its next attempt asks for the whole."""
        if key:
            self._plain_questions[key] = None
            while len(self._plain_questions) > _MOST_REMEMBERED:
                del self._plain_questions[next(iter(self._plain_questions))]
