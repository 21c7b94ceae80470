"""Leaving a Ray that was joined and has ended, before Ray ends this process for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from rojak_ray.clock import Clock
from rojak_ray.logs import get_logger

logger = get_logger(__name__)

_EVERY_S = 3.0
_REACH_S = 3.0
_GONE_S = 40.0
"""A head that is started again (with its state kept elsewhere) is back before that; a minute is Ray's own limit."""


class HeadWatch:
    """Looks, in a thread, whether somebody listens at a cluster's address.

    Ray ends a process from within, with exit code 1 and without an exception, once its cluster has not been there for a
    minute. A program that joined somebody's Ray must outlive it, and be told.
    """

    def __init__(
        self,
        address: str,
        leave: Callable[[], object],
        clock: Clock,
        *,
        every_s: float = _EVERY_S,
        gone_s: float = _GONE_S,
    ) -> None:
        """`address` is host:port; `leave` disconnects this process from the cluster, on the watching thread."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._leave = leave
        self._clock = clock
        self._every_s = every_s
        self._gone_s = gone_s
        self._stopped = threading.Event()
        self.gone = False
        """Whether the cluster has ended and was left."""

        self.words = (
            f"The Ray cluster at {address} has ended, and this program has left it. What was recorded goes on with the "
            "next cluster on the same storage: make a new client (a Ray of one's own starts with address='local')."
        )

    def start(self) -> None:
        """Look from now on, for as long as this process lives; not where the head cannot be seen from here."""
        if self._there():
            threading.Thread(target=self._watch, name="rojak-head-watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        seen = self._clock.monotonic()
        while not self._stopped.wait(self._every_s):
            if self._there():
                seen = self._clock.monotonic()
            elif self._clock.monotonic() - seen >= self._gone_s:
                self.gone = True
                logger.error("%s", self.words)
                try:
                    self._leave()
                except Exception:  # there is nothing to be done about it, and the program goes on
                    logger.exception("could not leave the Ray cluster that has ended")
                return

    def _there(self) -> bool:
        try:
            socket.create_connection((self._host.strip("[]"), self._port), _REACH_S).close()
        except OSError:
            return False
        return True
