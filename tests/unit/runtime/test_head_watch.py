"""A program outlives the Ray that it joined."""

import socket
import threading
from pathlib import Path

import pytest

from rojak_ray.clock import SystemClock
from rojak_ray.runtime import cluster
from rojak_ray.runtime.head_watch import HeadWatch


def listening() -> tuple[socket.socket, str]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_cluster_that_has_ended_is_left_and_said() -> None:
    listener, address = listening()
    left = threading.Event()
    watch = HeadWatch(address, left.set, SystemClock(), every_s=0.01, gone_s=0.05)
    watch.start()
    assert not left.wait(0.2), "it is there"
    listener.close()
    assert left.wait(30)
    assert watch.gone
    assert address in watch.words


def test_a_head_that_comes_back_in_time_is_kept() -> None:
    listener, address = listening()
    left = threading.Event()
    watch = HeadWatch(address, left.set, SystemClock(), every_s=0.01, gone_s=600)
    watch.start()
    listener.close()
    assert not left.wait(0.1)
    again = socket.create_server(("127.0.0.1", int(address.rpartition(":")[2])))
    assert not left.wait(0.1)
    watch.stop()
    again.close()
    assert not watch.gone


def test_leaving_that_fails_is_survived() -> None:
    listener, address = listening()
    tried = threading.Event()

    def fail() -> None:
        tried.set()
        raise RuntimeError("no core worker")

    watch = HeadWatch(address, fail, SystemClock(), every_s=0.01, gone_s=0.0)
    watch.start()
    listener.close()
    assert tried.wait(30)
    assert watch.gone


def test_a_head_that_cannot_be_seen_from_here_is_not_watched() -> None:
    listener, address = listening()
    listener.close()
    left = threading.Event()
    watch = HeadWatch(address, left.set, SystemClock(), every_s=0.001, gone_s=0.0)
    watch.start()
    assert not left.wait(0.1)
    assert not watch.gone


def test_only_a_ray_that_was_started_to_stay_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray start` notes its address; a program that starts Ray for itself does not."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert cluster.standing() is None
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    listener, address = listening()
    note.write_text(f"{address}\n")
    assert cluster.standing() == address
    listener.close()
    assert cluster.standing() is None, "it has ended, and its note has not"
    note.write_text("nonsense")
    assert cluster.standing() is None
