"""Every example runs as it stands: all but one without Ray, some of them on Ray as well."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "hello": ["Agent B: "],
    "handoff": [
        "I want a refund for order 4711. | Triage -> Refunds | {'order_number': '4711', 'refunded': True}",
        "Back to triage, please. | Refunds -> Triage | ",
    ],
    "session": ["['laksa paste', 'coconut milk']", "8 messages in the history"],
    "functions": [
        "exchange_rate: 0.77",
        "did not finish in time",
        "charged $12.50 for Cashier (attempt 1",
        "average: 3.0",
    ],
    "custom_provider": ["Loud: HELLO FROM A FUNCTION! (3 marks kept)"],
    "retriever": [
        "Do you have noodles in a soup? On the menu: Laksa: rice noodles in a spicy coconut soup.",
        "laksa costs $6.50",
        "Is there parking? I have nothing on that.",
    ],
    "schedule": ["the first guest", "one more guest than before", "paused: closed for today", "backfilled: "],
    "waiting": ["Somebody is asked: Refund $12.50?", "approved by Mei"],
    "weather": [
        "ValueError: There is no report yet",
        "the weather in Singapore? According to get_weather: 31 °C",
        "Berlin, tomorrow: -2 °C",
        "'units': 'metric'",
    ],
    "from_rojak": ["Sales ['Triage', 'Sales']", "Mei gets a red bike."],
    "fan_out": ["100 of 100 runs answered: {'bad': 33, 'good': 34, 'neutral': 33}"],
    "resources": ['"pin": 959', "kopi costs $5"],
    "crash": [
        "A kilo of flour. A warm loaf. Sold for $4.\n"
        "flour is bought\nbread is baked (attempt 1)\nbread is baked (attempt 2)\nbread is sold\n"
    ],
    "testing": ["2 tests passed"],
    "in_process": ["{'name': 'Mei'}", "['user', 'assistant', 'tool', 'assistant']"],
}
ON_RAY_ALONE = {"crash"}
ON_RAY_TOO = ["session", "custom_provider", "retriever", "waiting", "fan_out", "resources"]
LINES = 120


def run(example: str, *arguments: str, storage: Path, timeout_s: float) -> str:
    """Run an example to its end in a Ray and a storage of its own; its output."""
    kept = {key: value for key, value in os.environ.items() if key not in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")}
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / example / "main.py"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=kept | {"ROJAK_STORAGE": str(storage), "RAY_ADDRESS": "local"},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stdout


def test_every_example_is_listed_and_short():
    folders = {path.parent.name for path in EXAMPLES.glob("*/main.py")}
    assert folders == set(SAYS)
    readme = (EXAMPLES / "README.md").read_text()
    for name in folders:
        assert f"({name}/main.py)" in readme
        assert len((EXAMPLES / name / "main.py").read_text().splitlines()) <= LINES


@pytest.mark.parametrize("example", [name for name in SAYS if name not in ON_RAY_ALONE])
def test_example_without_ray(example: str, tmp_path: Path):
    out = run(example, "--in-process", storage=tmp_path, timeout_s=HANG_S)
    for words in SAYS[example]:
        assert words in out


@pytest.mark.ray
@pytest.mark.parametrize("example", [*ON_RAY_TOO, *ON_RAY_ALONE])
def test_example_on_ray(example: str, tmp_path: Path):
    out = run(example, storage=tmp_path, timeout_s=HANG_S)
    for words in SAYS[example]:
        assert words in out


def test_the_testing_example_is_a_pytest_file(tmp_path: Path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLES / "testing" / "main.py")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, cwd=tmp_path, check=False)
    assert "2 passed" in finished.stdout, finished.stdout


@pytest.mark.parametrize("number", range(4))
def test_program_of_the_readme_runs_as_it_stands_on_the_offline_model(number: int, tmp_path: Path):
    blocks = re.findall(r"^```python\n(.*?)^```", (EXAMPLES.parent / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    program = blocks[number].replace("OpenAIAgent", "OfflineAgent").replace("Rojak()", "InProcessRuntime()")
    program = f"from rojak_ray.testing.runtime import InProcessRuntime\n{program}"
    if "def test_" in program:
        program += "\ntest_booking_is_kept()\nprint('passed')\n"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout
