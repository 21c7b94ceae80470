"""An answer as it is being given: events of a run, shown in the words of `Voice`."""

from __future__ import annotations

from pydantic import JsonValue

from rojak_ray.cli.output import Voice
from rojak_ray.messages import describe_content
from rojak_ray.sessions.events import (
    ContextChangeEvent,
    FunctionCallEvent,
    FunctionResultEvent,
    HandoffEvent,
    MessageEvent,
    RetryEvent,
    SessionEvent,
    TextDeltaEvent,
    WaitingEvent,
)


class LiveAnswer:
    """Shows one run's events."""

    def __init__(self, voice: Voice, speaker: str) -> None:
        """Nothing was said yet; `speaker` answers first."""
        self.speaker = speaker
        self.changed: dict[str, JsonValue] = {}
        self.deleted: set[str] = set()
        self._voice = voice
        self._calls: dict[str, FunctionCallEvent] = {}
        self._speaking = False

    def show(self, event: SessionEvent) -> None:
        """Show what happened next."""
        match event:
            case TextDeltaEvent():
                self._voice.piece(event.agent, event.text, begins=not self._speaking)
                self._speaking = True
            case MessageEvent():
                self._end_line()
            case FunctionCallEvent():
                self._calls[event.call_id] = event
            case FunctionResultEvent():
                call = self._calls.get(event.call_id)
                self._voice.called(
                    event.agent, event.name, call.arguments if call else "", describe_content(event.output)
                )
            case HandoffEvent():
                self._voice.handed_over(event.from_agent, event.to_agent)
                self.speaker = event.to_agent
            case ContextChangeEvent():
                self.changed |= event.set
                self.deleted = (self.deleted - set(event.set)) | set(event.deleted)
                self.changed = {key: value for key, value in self.changed.items() if key not in event.deleted}
            case RetryEvent():
                self._end_line()
                self._voice.note(f"  {event.agent} is asked again: {event.error_type}: {event.error}")
            case WaitingEvent():
                self._voice.note(f"  waiting ({event.reason}): {event.detail}")
            case _:
                pass

    def close(self) -> None:
        """No more will come."""
        self._end_line()

    def context_after(self, before: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The context variables as the answer left them."""
        kept = {key: value for key, value in before.items() if key not in self.deleted}
        return {**kept, **self.changed}

    def _end_line(self) -> None:
        if self._speaking:
            self._voice.piece_ends()
            self._speaking = False
