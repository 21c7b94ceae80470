"""The suite's own guard finds what a test left behind."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_a_child_in_a_session_of_its_own_is_ended() -> None:
    program = (
        "import subprocess, sys\n"
        "from support.leftovers import end_descendants\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
        "first, second = end_descendants(0.0), end_descendants(0.0)\n"
        "print(len(first), 'signal.pause' in first[0], second)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=TESTS, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True", "[]"]
