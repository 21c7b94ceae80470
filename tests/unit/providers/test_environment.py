"""Providers as a program's environment reaches them: found by their content, named so that no key is told."""

import pickle

import pytest

from rojak_ray.providers.environment import CapturedProvider, captured_providers

FULL = {
    "OPENAI_API_KEY": "sk-openai-0123456789\n",
    "OPENAI_BASE_URL": "https://mine.example/v1",
    "OPENAI_ORG_ID": "org-1",
    "OPENAI_PROJECT_ID": "project-1",
    "ANTHROPIC_AUTH_TOKEN": "token-0123456789",
    "PATH": "/bin",
}


def captured(**environ: str) -> CapturedProvider:
    (found,) = captured_providers(environ)
    return found


def test_only_vendors_with_a_key_are_captured() -> None:
    assert captured_providers({}) == []
    assert captured_providers({"OPENAI_BASE_URL": "http://x", "OPENAI_API_KEY": "  "}) == []
    assert [one.type for one in captured_providers(FULL)] == ["openai", "anthropic"]


@pytest.mark.parametrize(
    "change",
    [
        {"OPENAI_API_KEY": "sk-other"},
        {"OPENAI_BASE_URL": "http://other/v1"},
        {"OPENAI_ORG_ID": "org-2"},
        {"OPENAI_PROJECT_ID": ""},
    ],
)
def test_every_setting_makes_another_provider(change: dict[str, str]) -> None:
    one, other = (captured_providers(environ)[0] for environ in (FULL, {**FULL, **change}))
    assert one.fingerprint("n") != other.fingerprint("n")


def test_name_is_the_same_in_every_program_of_an_installation_and_another_in_the_next() -> None:
    first, again = captured(OPENAI_API_KEY="sk-1"), captured(OPENAI_API_KEY=" sk-1 ", OPENAI_BASE_URL="")
    assert first.fingerprint("n") == again.fingerprint("n") == "49b83be9ee2f743113ad7aaba5363882"
    assert first.fingerprint("n") != first.fingerprint("other")
    assert captured(OPENAI_API_KEY="sk-1").fingerprint("n") != captured(ANTHROPIC_API_KEY="sk-1").fingerprint("n")


def test_no_key_is_shown() -> None:
    for one in captured_providers(FULL):
        shown = repr(one) + repr(one.activities()) + one.fingerprint("n")
        assert "0123456789" not in shown


def client_of(activities: object, monkeypatch: pytest.MonkeyPatch, **environ: str) -> object:
    """The SDK's client that another process with this environment makes."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    there = pickle.loads(pickle.dumps(activities))
    connection = there._endpoint._connect()
    return connection.client


async def test_another_processes_environment_is_not_mixed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = captured(OPENAI_API_KEY="sk-mine").activities()
    client = client_of(
        mine,
        monkeypatch,
        OPENAI_API_KEY="sk-node",
        OPENAI_BASE_URL="http://node/v1",
        OPENAI_ORG_ID="org-node",
        OPENAI_PROJECT_ID="project-node",
    )
    assert client.api_key == "sk-mine"
    assert str(client.base_url) == "https://api.openai.com/v1/"
    assert (client.organization, client.project) == (None, None)
    await client.close()


async def test_all_of_the_programs_settings_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    openai, anthropic = (one.activities() for one in captured_providers(FULL))
    client = client_of(openai, monkeypatch)
    assert client.api_key == "sk-openai-0123456789"
    assert (client.organization, client.project) == ("org-1", "project-1")
    assert str(client.base_url) == "https://mine.example/v1/"
    await client.close()
    client = client_of(anthropic, monkeypatch, ANTHROPIC_API_KEY="sk-node", ANTHROPIC_BASE_URL="http://node")
    assert (client.api_key, client.auth_token) == (None, "token-0123456789")
    assert str(client.base_url) == "https://api.anthropic.com"
    await client.close()
