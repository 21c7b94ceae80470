"""What type checkers see of an installed rojak_ray: README's programs, the types of answers, and wrong names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

ROOT = Path(__file__).parents[2]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SEEN = """
import rojak_ray
from rojak_ray import OpenAIAgent, Rojak, RunFailed

async def main() -> None:
    async with Rojak() as rojak:
        reveal_type(rojak)
        reveal_type(await rojak.run(agent=OpenAIAgent(name="Poet"), messages="Hello!"))
        session = await rojak.create_session()
        reveal_type(await session.history())
        async for event in session.events():
            if event.kind == "text_delta":
                reveal_type(event.text)
    reveal_type(rojak_ray.RunFailed("x").run_id)
    raise RunFailed("x")
"""
TYPES = ["Rojak", "OrchestratorResponse", "list[ConversationMessage]", "str", "str"]
WRONG = [
    "from rojak_ray import OpenAIAgnet\n",
    "import rojak_ray\nrojak_ray.OpenAIAgnet\n",
    "from rojak_ray.agents import OpenAIAgentActivitys\n",
    "from rojak_ray.agents.openai_agent import OpenAIAgentOption\n",
    "from rojak_ray.agents.anthropic_agent import AnthropicAgentOption\n",
    "from rojak_ray.errors import RunFail\n",
    'from rojak_ray import Rojak\nRojak(placement="Shared")\n',
    'from rojak_ray import Rojak\nRojak(hosts="many")\n',
    'from rojak_ray import OpenAIAgent\nOpenAIAgent("Poet")\n',
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with every program, outside the project as a user's would be."""
    folder = tmp_path_factory.mktemp("programs")
    for number, program in enumerate(PROGRAMS):
        (folder / f"readme_{number}.py").write_text(program)
    for number, program in enumerate(WRONG):
        (folder / f"wrong_{number}.py").write_text(program)
    (folder / "seen.py").write_text(SEEN)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    return folder


@pytest.fixture(scope="module")
def mypy(programs: Path) -> list[tuple[str, str, str]]:
    """What mypy says in its strict mode, as (file, kind, text)."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".cache", "--output", "json", "."]
    ran = subprocess.run(command, cwd=programs, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 1, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    return [(Path(one["file"]).stem, one["severity"], one["message"]) for one in told]


@pytest.fixture(scope="module")
def pyright(programs: Path) -> list[tuple[str, str, str]]:
    """What pyright says in its strict mode, as (file, kind, text)."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", ".", "--pythonpath", sys.executable]
    ran = subprocess.run(command, cwd=programs, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 1, ran.stderr
    told = json.loads(ran.stdout)["generalDiagnostics"]
    return [(Path(one["file"]).stem, one["severity"], one["message"]) for one in told]


CHECKERS = pytest.mark.parametrize("checker", ["mypy", "pyright"])


def test_the_package_says_that_it_has_types():
    assert (ROOT / "rojak_ray" / "py.typed").exists()


@CHECKERS
def test_readmes_programs_are_without_fault(checker: str, request: pytest.FixtureRequest):
    told = request.getfixturevalue(checker)
    assert len(PROGRAMS) == 4
    assert [one for one in told if one[0].startswith("readme_")] == []


@CHECKERS
def test_types_of_answers_are_seen(checker: str, request: pytest.FixtureRequest):
    told = [text for file, kind, text in request.getfixturevalue(checker) if file == "seen" and kind != "error"]
    shown = [re.search(r'"([^"]*)"$|Revealed type is "(.*)"', text) for text in told]
    types = [re.sub(r"[\w.]+\.(\w+)", r"\1", next(filter(None, found.groups()))) for found in shown if found]
    assert types == TYPES


@CHECKERS
def test_the_names_and_choices_that_do_not_exist_are_errors(checker: str, request: pytest.FixtureRequest):
    wrong = {file for file, kind, _ in request.getfixturevalue(checker) if kind == "error"}
    assert wrong == {f"wrong_{number}" for number in range(len(WRONG))}


@CHECKERS
def test_a_wrong_name_is_named(checker: str, request: pytest.FixtureRequest):
    told = [text for file, _, text in request.getfixturevalue(checker) if file == "wrong_0"]
    assert any("OpenAIAgnet" in text for text in told)
