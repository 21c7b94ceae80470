"""Where a disk's work is done: on the calling thread, or on one of a pool."""

from __future__ import annotations

from rojak_ray.clock import Clock

_ALONE_S = 0.0015
_SLOW_S = 0.004
_SLOW_REST_S = 10.0


class WritePace:
    """Decides whether the next write is made on the calling thread or on one of the pool.

    A thread costs a write 0.4 to 1 ms while Python code runs on the loop (each system call ends in a wait for the
    interpreter's lock), more than a quick disk takes. So a write that comes alone is made at once. Writes that come
    thick and fast go to the pool, where their syncs overlap; and so do all writes of a disk that was slow of late.
    """

    def __init__(self, clock: Clock) -> None:
        """Nothing is known of the disk yet."""
        self._clock = clock
        self._last_end = float("-inf")
        self._cost_s = _SLOW_S / 2
        self._try_again_at = float("-inf")

    def inline(self) -> bool:
        """Whether to write on the calling thread."""
        now = self._clock.monotonic()
        if self._cost_s >= _SLOW_S:
            if now < self._try_again_at:
                return False
            self._cost_s = _SLOW_S / 2
        return now - self._last_end >= _ALONE_S

    def wrote_inline(self, seconds: float) -> None:
        """A write on the calling thread took this long."""
        self._last_end = self._clock.monotonic()
        self._cost_s = 0.8 * self._cost_s + 0.2 * seconds
        if self._cost_s >= _SLOW_S:
            self._try_again_at = self._last_end + _SLOW_REST_S

    def wrote_beside(self) -> None:
        """A write on the pool ended."""
        self._last_end = self._clock.monotonic()
