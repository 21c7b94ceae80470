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
from typing import Any

from rojak_ray.errors import RayUnavailable
from rojak_ray.logs import get_logger
from rojak_ray.runtime.ray_warnings import mute_worker_counts
from rojak_ray.runtime.settings import CATALOG, RuntimeSettings

logger = get_logger(__name__)

_REACH_S = 5.0
_LEAN = {"include_dashboard": False}  # half a second, ten processes and a port that nobody asked for
_SYSTEM = {
    # Ray ends idle function processes after a second, all but one for each CPU. Starting one again takes 0.7 s of CPU,
    # which makes a crowd that comes back a few seconds later a third slower.
    "idle_worker_killing_time_threshold_ms": 60_000,
    # Ray's own value is 15: beside one busy program each of our processes would get a thirtieth of a core, and a lost
    # one would need ten seconds and more to start. Functions, which compute, stand back by themselves.
    "worker_niceness": 0,
}

_HOST_AND_PORT = re.compile(r"(?:ray://)?(?P<host>[^/:]+):(?P<port>\d+)")

_RAY_ERRORS = (ConnectionError, RuntimeError, ValueError, OSError)
"""What `ray.init` raises when there is no cluster or it cannot be started (TimeoutError is an OSError)."""


def prepare_environment() -> None:
    """Let this process speak to clusters with token authentication, which Ray turns on by default.

    Ray reads the mode when it is imported. If it was imported before, its own helper refreshes it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    mute_worker_counts()
    if "RAY_AUTH_MODE" in os.environ:
        return
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        return
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if has_token or os.path.exists(os.path.expanduser("~/.ray/auth_token")):
        from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]  (compiled, untyped)

        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")


def connect(address: str | None, ray_options: dict[str, Any]) -> bool:
    """Join the cluster at `address`, or with None one that was started to stay, else start Ray in this process.

    With None that is the one at RAY_ADDRESS, or the last one that `ray start` began here, if its token is ours. A Ray
    that another program started for itself ends with that program, so it is never joined by chance.

    Args:
        address: As `ray.init` takes it.
        ray_options: More arguments of `ray.init` for a Ray that is started here.

    Returns:
        Whether Ray was started here (and ends with this process).

    Raises:
        RayUnavailable: Neither worked, or this process has joined another cluster; the text has Ray's words.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        _check_it_is(address)
        return False
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": ray_options.get("log_to_driver", True)}
    with _ray_noise_muted():
        if address != "local" and _joined(address, quiet):
            return False
        try:
            ray.init(**start_options({**quiet, **ray_options}))
        except _RAY_ERRORS as error:
            raise RayUnavailable(
                f"Ray could not be started here: {_first_line(error)} Free memory and disk (df -h /tmp), or join a "
                "cluster with address=..."
            ) from error
    return True


def start_options(ray_options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `ray.init` for a Ray that is started here: these, and ours where they say nothing."""
    system = _SYSTEM | (ray_options.get("_system_config") or {})
    return {**_LEAN, **ray_options, "_system_config": system, "address": "local"}


def join(address: str | None) -> bool:
    """Join a cluster that runs, without starting one; False if none was named and none was started to stay.

    Raises:
        RayUnavailable: None runs at the address that was named.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        _check_it_is(address)
        return True
    with _ray_noise_muted():
        return _joined(address, {"logging_level": logging.ERROR, "log_to_driver": False})


def hosts_installation(storage: str, namespace: str) -> bool:
    """Whether somebody uses an installation on the cluster that was joined."""
    import ray

    settings = RuntimeSettings(storage=storage, namespace=namespace)
    try:
        ray.get_actor(CATALOG, settings.ray_namespace)
    except ValueError:
        return False
    return True


def standing() -> str | None:
    """The address of the last cluster that `ray start` began on this machine, if somebody still listens there."""
    from ray._private.services import find_bootstrap_address

    try:
        address: str | None = find_bootstrap_address(None)
    except OSError:  # another user's, and not for us to read
        return None
    if not address or _HOST_AND_PORT.fullmatch(address) is None:
        return None
    try:
        _check_reachable(address)
    except RayUnavailable:  # it has ended, and its note has not
        return None
    return address


def _joined(address: str | None, quiet: dict[str, Any]) -> bool:
    """Join a cluster; False if none was named, and none was started to stay whose token we have."""
    import ray
    from ray.exceptions import AuthenticationError

    named = address or os.environ.get("RAY_ADDRESS")
    if named == "auto":
        named = None
    if named:
        _check_reachable(named)
    found = named or standing()
    if found is None:
        return False
    try:
        ray.init(address=found, **quiet)
    except AuthenticationError as error:
        if named:
            raise RayUnavailable(
                f"The Ray cluster at {named!r} asks for its token, and this program has another or none. Have whoever "
                "started it give you the token (RAY_AUTH_TOKEN, or ~/.ray/auth_token)."
            ) from error
        logger.info(
            "the Ray cluster at %s is somebody else's: it asks for a token that this program does not have", found
        )
        return False
    except _RAY_ERRORS as error:
        if named:
            raise RayUnavailable(
                f"No Ray cluster could be joined at {named!r}: {_first_line(error)}. If it asks for a token, this "
                "program needs the same one (RAY_AUTH_TOKEN, or ~/.ray/auth_token)."
            ) from error
        return False
    return True


def _check_it_is(address: str | None) -> None:
    """Fail where this process is in another cluster than the one that was named: what it is told would run there."""
    import ray

    joined = str(ray.get_runtime_context().gcs_address)
    if is_same_cluster(address or "", joined, ray.util.get_node_ip_address()):
        return
    raise RayUnavailable(
        f"This process has joined the Ray cluster at {joined!r} already, so it cannot join {address!r}. Use a process "
        "for each cluster, or call ray.shutdown() first."
    )


def is_same_cluster(named: str, joined: str, node_ip: str) -> bool:
    """Whether two addresses may be of one cluster.

    Args:
        named: As `ray.init` takes it. What is no host and port says nothing else than "any", and the port of a Ray
            client is not the cluster's: both are taken for the same.
        joined: Host and port of the cluster that was joined.
        node_ip: Of this machine, in that cluster.
    """
    one, other = _HOST_AND_PORT.fullmatch(named), _HOST_AND_PORT.fullmatch(joined)
    if one is None or other is None or named.startswith("ray://"):
        return True
    return one["port"] == other["port"] and bool(_machines(one["host"], node_ip) & _machines(other["host"], node_ip))


def _machines(host: str, node_ip: str) -> set[str]:
    """The addresses of a host. All names of this machine have one in common."""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        addresses = {host}
    is_here = any(each in {node_ip, "::1"} or each.startswith("127.") for each in addresses)
    return addresses | {node_ip} if is_here else addresses


def _check_reachable(address: str) -> None:
    """Fail at once where Ray itself would try for minutes: nobody listens at host:port."""
    match = _HOST_AND_PORT.fullmatch(address)
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
