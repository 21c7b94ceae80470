"""Noticing that a machine's clock was set: by comparing what it shows with how long it went on."""

from __future__ import annotations

from rojak_ray.clock import Clock

_NOTICED_S = 5.0
_TRUSTED_AFTER_S = 600.0


class ClockWatch:
    """Watches one clock from one process."""

    def __init__(self, clock: Clock) -> None:
        """Begin; what it shows now is not trusted yet, as a machine that has just started may not have been told."""
        self._clock = clock
        self._offset = self._look()
        self._since = clock.monotonic()

    def was_set(self) -> bool:
        """Whether it was set since the last look, or its machine slept."""
        offset = self._look()
        if abs(offset - self._offset) <= _NOTICED_S:
            return False
        self._offset, self._since = offset, self._clock.monotonic()
        return True

    @property
    def trusted(self) -> bool:
        """Whether it has gone on for a while: long enough for what must not be done by mistake."""
        return self._clock.monotonic() - self._since >= _TRUSTED_AFTER_S

    def _look(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
