"""The command line: what is understood, what is refused, and what is loaded for it."""

import subprocess
import sys

import pytest
from support.waiting import HANG_S
from typer.testing import CliRunner

from rojak_ray import __version__
from rojak_ray.agents import AnthropicAgent, OfflineAgent, OpenAIAgent
from rojak_ray.cli import demo
from rojak_ray.cli.main import app
from rojak_ray.cli.models import ModelChoice
from rojak_ray.errors import MissingKey

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ROJAK_STORAGE", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def without_keys(monkeypatch: pytest.MonkeyPatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[demo.DemoOptions]:
    """What the demo was asked for; it is not held."""
    options: list[demo.DemoOptions] = []
    monkeypatch.setattr(demo, "run_demo", options.append)
    return options


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"rojak-ray {__version__}\n")


def test_help_names_the_demo():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output


def test_demo_without_options_is_offline_and_starts_its_own_ray(asked: list[demo.DemoOptions]):
    assert CliRunner().invoke(app, ["demo"]).exit_code == 0
    assert asked == [demo.DemoOptions(ModelChoice())]
    assert asked[0].place.endswith(".rojak/demo")
    assert asked[0].cluster == "local"


def test_keys_in_the_environment_do_not_change_the_model(
    asked: list[demo.DemoOptions], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    CliRunner().invoke(app, ["demo"])
    assert asked[0].model.provider == "offline"
    assert "--model openai:NAME uses your OPENAI_API_KEY" in asked[0].model.describe()


def test_demo_options(asked: list[demo.DemoOptions], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROJAK_STORAGE", "/elsewhere")
    arguments = ["--model", "openai:a:b", "--base-url", "http://h/v1", "--address", "auto", "--session", "s"]
    assert CliRunner().invoke(app, ["demo", *arguments]).exit_code == 0
    assert asked == [demo.DemoOptions(ModelChoice("openai", "a:b", "http://h/v1"), "/elsewhere", "s", "auto")]


def test_ray_address_of_the_environment_is_joined(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert demo.DemoOptions(ModelChoice()).cluster == "head:6379"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "gpt-6-luna"],
        ["--model", "openai:"],
        ["--model", ":x"],
        ["--model", ""],
        ["--model", "gemini:x"],
        ["--model", "offline:x"],
        ["--base-url", "http://h/v1"],
        ["--model", "openai:x", "--base-url", "h/v1"],
        ["--address", "auto", "--in-process"],
        ["--nonsense"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: list[str], asked: list[demo.DemoOptions]):
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 2
    assert asked == []


@pytest.mark.parametrize(
    ("model", "kind", "name"),
    [
        ("offline", OfflineAgent, "offline"),
        ("openai:gpt-6-luna", OpenAIAgent, "gpt-6-luna"),
        ("anthropic:claude", AnthropicAgent, "claude"),
    ],
)
def test_model_choice_makes_agents(model: str, kind: type, name: str):
    agent = ModelChoice.parse(model).make_agent(name="A")
    assert (type(agent), agent.model, agent.name) == (kind, name, "A")


def test_a_server_of_ones_own_needs_no_key():
    (activities,) = ModelChoice.parse("openai:x", "http://127.0.0.1:1/v1").activities()
    assert activities.options.base_url == "http://127.0.0.1:1/v1"


def test_a_vendor_without_a_key_is_refused_before_anything_starts():
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        ModelChoice.parse("anthropic:x").activities()


def test_importing_the_command_loads_neither_ray_nor_a_provider():
    code = (
        "import sys, rojak_ray.cli.main; "
        "print([name for name in ('ray', 'openai', 'anthropic', 'pydantic') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert result.stdout == "[]\n"


def test_options_of_a_bucket_are_given_before_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROJAK_STORAGE_OPTIONS", "")
    given = ["--storage-options", '{"requester_pay": true}', "sessions", "list", "--storage", "s3://bucket/prefix"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 1
    assert "no storage option 'requester_pay'" in result.output
    refused = CliRunner().invoke(app, ["--storage-options", "requester_pays=true", "sessions", "list"])
    assert refused.exit_code == 2
    assert "is not JSON" in refused.output
