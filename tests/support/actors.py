"""The processes of an installation's actors on Ray, to be killed."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Literal

from rojak_ray import Rojak
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.settings import home_of, host_name

_COMES_BACK_S = 60.0


def shared_host_of(rojak: Rojak, kind: Literal["session", "run"], owner_id: str) -> str:
    """The name of the shared host where a run or session lives."""
    return host_name(home_of(Owner(kind, owner_id), rojak.settings.hosts))


def process_of(rojak: Rojak, name: str) -> int:
    """The process of an actor; waits for one that Ray is starting again."""
    import ray

    handle: Any = ray.get_actor(name, rojak.settings.ray_namespace)
    deadline = time.monotonic() + _COMES_BACK_S
    while True:
        try:
            return ray.get(handle.__ray_call__.remote(lambda _: os.getpid()))
        except ray.exceptions.ActorUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def kill_actor(rojak: Rojak, name: str) -> None:
    """Kill the process of an actor as a lost machine would."""
    os.kill(process_of(rojak, name), signal.SIGKILL)
