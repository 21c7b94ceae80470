"""Ray's warnings about numbers of worker processes don't reach the terminal; what else it says does."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

from rojak_ray.runtime.ray_warnings import WORKER_COUNT, mute_worker_counts

pytestmark = pytest.mark.ray

PROGRAM = """
import sys, threading
if sys.argv[2] == "ray first":
    import ray
from rojak_ray.runtime import cluster
cluster.connect(sys.argv[1], {})
import ray
from ray._private.utils import publish_error_to_driver
from ray._private.worker import global_worker

heard = threading.Event()
write = sys.stdout.write
def listen(text):
    if "something else" in text:
        heard.set()
    return write(text)
sys.stdout.write = listen

for text in ("WARNING: 12 PYTHON worker processes have been started on node: 0a with address: 127.0.0.1, which is 6x "
             "the maximum expected startup concurrency (2).", "something else is wrong"):
    publish_error_to_driver("any", text, gcs_client=global_worker.gcs_client)
assert heard.wait(float(sys.argv[3])), "the other message never came"
"""


@pytest.mark.parametrize("order", ["ray first", "ray later"])
def test_warnings_about_worker_processes_are_not_shown_and_others_are(local_ray: None, order: str):
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", PROGRAM, address, order, str(HANG_S / 2)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "something else is wrong" in ran.stdout
    assert "worker processes" not in ran.stdout + ran.stderr


def test_words_are_still_those_of_ray():
    """If this fails, Ray says it in other words now."""
    import ray

    raylet = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    assert WORKER_COUNT.encode() in raylet.read_bytes()


def test_a_persons_own_setting_stays_in_force():
    environment = {"RAY_DEDUP_LOGS_SKIP_REGEX": "a|b"}
    mute_worker_counts(environment)
    once = dict(environment)
    mute_worker_counts(environment)
    assert environment == once == {"RAY_DEDUP_LOGS_SKIP_REGEX": f"(?:a|b)|{WORKER_COUNT}"}
