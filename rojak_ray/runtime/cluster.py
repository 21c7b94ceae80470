"""Joining Ray, or starting it here, without asking a person to set anything."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

from rojak_ray.errors import RayUnavailable

logger = logging.getLogger(__name__)

_REACH_S = 5.0


def prepare_environment() -> None:
    """Let this process speak to clusters with token authentication, which Ray turns on by default.

    Ray reads the mode when it is imported. If it was imported before, its own helper refreshes it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" in os.environ:
        return
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        return
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if has_token or (Path.home() / ".ray" / "auth_token").exists():
        from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]  (compiled, untyped)

        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")


def connect(address: str | None, ray_options: dict[str, Any]) -> bool:
    """Join the cluster at `address`, or with None a running one if there is, else start Ray in this process.

    Args:
        address: As `ray.init` takes it.
        ray_options: More arguments of `ray.init` for a Ray that is started here.

    Returns:
        Whether Ray was started here (and ends with this process).

    Raises:
        RayUnavailable: Neither worked; the text has Ray's words.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        return False
    known = address or os.environ.get("RAY_ADDRESS")
    if known:
        _check_reachable(known)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": ray_options.get("log_to_driver", True)}
    with _ray_noise_muted():
        try:
            ray.init(address=address or "auto", **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            if address is not None:
                raise RayUnavailable(f"No Ray cluster could be joined at {address!r}: {error}") from error
        else:
            return False
        try:
            options: dict[str, Any] = {"address": "local", **quiet, **ray_options}
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            raise RayUnavailable(
                f"Ray could not be started here: {_first_line(error)} Free memory and disk (df -h /tmp), or join a "
                "cluster with address=..."
            ) from error
    return True


def _check_reachable(address: str) -> None:
    """Fail at once where Ray itself would try for minutes: nobody listens at host:port."""
    match = re.fullmatch(r"(?:ray://)?(?P<host>[^/:]+):(?P<port>\d+)", address)
    if match is None:
        return
    try:
        socket.create_connection((match["host"], int(match["port"])), _REACH_S).close()
    except OSError as error:
        raise RayUnavailable(
            f"No Ray cluster listens at {address!r} ({error}). Start one there (ray start --head), or correct "
            "address= or RAY_ADDRESS."
        ) from error


@contextlib.contextmanager
def _ray_noise_muted() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\..*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
