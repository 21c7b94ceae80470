"""Which of Ray's warnings don't reach the terminal of a program that speaks to it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping

WORKER_COUNT = "worker processes have been started on node"
"""What Ray says when a node has more processes than it expects. Sessions are actors, so it says so in good health."""

_SKIPPED = "RAY_DEDUP_LOGS_SKIP_REGEX"


def mute_worker_counts(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let Ray skip its warnings about the number of worker processes, and nothing else.

    Ray reads the setting when it is imported; if it was imported before, its printer is told as well. A person's own
    setting stays in force beside ours. With RAY_DEDUP_LOGS=0 Ray skips nothing.
    """
    own = environment.get(_SKIPPED, "")
    if WORKER_COUNT in own:
        return
    environment[_SKIPPED] = f"(?:{own})|{WORKER_COUNT}" if own else WORKER_COUNT
    printer = getattr(sys.modules.get("ray._private.ray_logging"), "stdout_deduplicator", None)
    if printer is not None:
        printer.skip_re = re.compile(environment[_SKIPPED])
