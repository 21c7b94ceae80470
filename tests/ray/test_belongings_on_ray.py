"""On a cluster: what proves who a program is stays out of storage and Ray's logs, and whole results pass no host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import ray
from support.echoes import CANARY, ECHOES, KEY, leaks, serving
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import until

from rojak_ray import OpenAIAgent, Rojak, function
from rojak_ray.errors import RojakError, RunFailed
from rojak_ray.providers.openai import OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.types import RetryOptions, RetryPolicy

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ONCE = RetryOptions(timeout_in_seconds=60, retry_policy=RetryPolicy(maximum_attempts=1))
LOG = "".join(f"line {number}: laksa\n" for number in range(100_000))
FORGED = "Forged\nWARNING:rojak_ray.journal:all is lost\x1b[2J"


@function(keep_result=True, max_result_bytes=2048)
def read_log() -> str:
    """Read the log."""
    return LOG


@function(keep_result=True, max_result_bytes=2048)
async def read_log_later() -> str:
    """Read the log."""
    return LOG


def ray_logs() -> str:
    """All that Ray keeps of this session on this machine."""
    folder = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    return "".join(file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file())


def stored(storage: str) -> str:
    return "".join(file.read_text(errors="replace") for file in Path(storage).rglob("*") if file.is_file())


@pytest.mark.parametrize("fn", [read_log, read_log_later], ids=["sync", "async"])
async def test_the_whole_of_a_result_is_kept_by_who_has_it(
    fn: Any, rojak: Rojak, installation: dict[str, str], unique: str
) -> None:
    async with await rojak.create_worker([PlanActivities()]):
        session = await rojak.create_session(unique, PlanAgent(name="Clerk", functions=[fn]))
        answer = await session.send_messages(plan([[fn.__name__, {}]], "end"))
        assert len(answer.messages[2].text or "") < 3000
        (kept,) = await session.kept_results()
        assert await session.whole_result(kept.call_id) == LOG
        async with Rojak(**installation) as other:
            assert await (await other.get_session(unique)).whole_result(kept.call_id) == LOG
        pieces = [file for file in Path(installation["storage"]).rglob("kept/*") if unique in str(file)]
        assert pieces
        await rojak.delete_session(unique)
        assert not any(file.exists() for file in pieces)


async def test_no_secret_is_in_storage_or_in_rays_logs(
    rojak: Rojak, installation: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as gateway:
        url = f"http://127.0.0.1:{gateway.port}/v1"
        signed: dict[str, OpenAIAgentOptions | None] = {
            "environment": None,
            "registered": OpenAIAgentOptions(
                api_key=KEY, base_url=url.replace("//", f"//user:{quote(CANARY, safe='')}@")
            ),
            "header": OpenAIAgentOptions(
                api_key=KEY, base_url=url, inference_config={"extra_headers": {"X-Gateway-Key": CANARY}}
            ),
        }
        told = ""
        for options in signed.values():
            if options is None:
                monkeypatch.setenv("OPENAI_API_KEY", CANARY)
                monkeypatch.setenv("OPENAI_BASE_URL", url)
            else:
                await rojak.create_worker([OpenAIAgentActivities(options)])
            for echo in ("as text", "as the message of an error", "in base64", "in an answer that is none"):
                gateway.echo = ECHOES[echo]
                agent = OpenAIAgent(name="Clerk", model="m", retry_options=ONCE)
                with pytest.raises(RunFailed) as failed:
                    await rojak.run(agent=agent, messages="hi")
                told += repr(failed.value) + str(failed.value)
        assert leaks("".join(gateway.sent), CANARY)
    assert "403" in stored(installation["storage"])
    seen = {"error": told, "storage": stored(installation["storage"]), "logs": ray_logs()}
    assert {where: leaks(text, CANARY, KEY) for where, text in seen.items()} == {where: [] for where in seen}
    arguments = "".join(str(path.read_bytes()) for path in Path("/proc").glob("[0-9]*/cmdline") if _ours(path))
    assert not leaks(arguments, CANARY, KEY)


def _ours(path: Path) -> bool:
    return path.exists() and path.stat().st_uid == os.getuid()


@pytest.mark.parametrize(
    "given",
    [
        {"storage": f"s3://AKIA:{CANARY}@bucket/p"},
        {"storage": "s3://bucket/p", "storage_options": {"secret_key": CANARY}},
        {"storage": f"az://c/p?sig={CANARY}"},
    ],
)
async def test_a_secret_in_the_place_of_a_storage_goes_nowhere(given: dict[str, Any], local_ray: None) -> None:
    with pytest.raises(RojakError) as refused:
        async with Rojak(**given) as client:
            await client.get_session("s")
    assert not leaks(str(refused.value) + repr(refused.value), CANARY)
    assert not leaks(ray_logs(), CANARY)


async def test_what_is_said_passes_for_no_line_of_an_actors_log(rojak: Rojak, unique: str) -> None:
    async with await rojak.create_worker([PlanActivities()]):
        session = await rojak.create_session(unique, PlanAgent(name=f"Clerk {FORGED}"), debug=True)
        await session.send_messages(plan(FORGED))

    def is_told() -> bool:
        return unique in (logs := ray_logs()) and "Forged\\nWARNING" in logs

    await until(is_told, "the log tells of the session")
    lines = ray_logs().split("\n")
    assert not [line for line in lines if line.startswith("WARNING:rojak_ray.journal:all is lost")]
    assert not [line for line in lines if unique in line and "\x1b" in line]
