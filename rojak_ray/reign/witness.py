"""Whether a ruler on this machine is dead, told by its process: a laptop's program that starts again need not wait.

Where it cannot be told (another machine, another container, a system without /proc) nothing is concluded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import weakref
from pathlib import Path

from rojak_ray.reign.records import Witness

_REACH_S = 1.0


_lives: dict[str, weakref.ref[asyncio.AbstractEventLoop]] = {}
"""The keepers of this process, by the event loops that keep them going: a fact about the process, so kept for it."""


def begin_life(life: str) -> None:
    """A keeper of this process is kept going by the running event loop."""
    _lives[life] = weakref.ref(asyncio.get_running_loop())


def end_life(life: str) -> None:
    """It is not any more."""
    _lives.pop(life, None)


def _is_kept_going(life: str) -> bool:
    loop = _lives[life]() if life in _lives else None
    return loop is not None and not loop.is_closed()


def witness_of(pid: int, address: str = "", life: str = "", proc: Path = Path("/proc")) -> Witness | None:
    """The testimony of a living process of this machine; None where there is no such thing."""
    try:
        return Witness(
            machine=(proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            processes=os.readlink(proc / "self/ns/pid"),
            pid=pid,
            started=_started(pid, proc),
            life=life,
            network=os.readlink(proc / "self/ns/net"),
            address=address,
        )
    except (OSError, ValueError):
        return None


async def is_dead(witness: Witness | None, proc: Path = Path("/proc")) -> bool:
    """Whether the process is gone, and nobody listens at the address if it has one. In doubt it lives."""
    if witness is None or not _here(witness, proc) or _is_running(witness, proc):
        return False
    return not witness.address or await _nobody_listens(witness.address)


def lives(witness: Witness | None, proc: Path = Path("/proc")) -> bool:
    """Whether the process is seen to run on this machine. In doubt, False."""
    return witness is not None and _here(witness, proc) and _is_running(witness, proc)


def _here(witness: Witness, proc: Path) -> bool:
    """Whether what this process sees of processes and networks is what the witness saw."""
    mine = witness_of(os.getpid(), proc=proc)
    if mine is None or (mine.machine, mine.processes) != (witness.machine, witness.processes):
        return False
    return not witness.address or mine.network == witness.network


def _is_running(witness: Witness, proc: Path) -> bool:
    try:
        if _started(witness.pid, proc) != witness.started or _state(witness.pid, proc) in {"Z", "X"}:
            return False
        return witness.pid != os.getpid() or not witness.life or _is_kept_going(witness.life)
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is looked at
        return False
    except (OSError, ValueError):
        return True


def _started(pid: int, proc: Path) -> int:
    return int(_stat(pid, proc)[19])


def _state(pid: int, proc: Path) -> str:
    return _stat(pid, proc)[0]


def _stat(pid: int, proc: Path) -> list[str]:
    """The fields after the name, which may hold spaces and brackets."""
    return (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


async def _nobody_listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_REACH_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    except (ValueError, OverflowError):
        return False
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await writer.wait_closed()
    return False


def place_of_process() -> str:
    """Host and process, for people."""
    return f"{socket.gethostname()}, process {os.getpid()}"
