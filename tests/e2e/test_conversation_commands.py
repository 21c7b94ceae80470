"""`rojak sessions`, `rojak runs` and `rojak storage` as people type them, over storage that a program left behind."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import HANG_S

from rojak_ray import function
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.testing.runtime import InProcessRuntime


@function
async def never() -> str:
    """Never return."""
    await asyncio.Event().wait()
    return ""


async def left_behind(storage: Path) -> None:
    """A session that answered, a run that did too, and a session whose program ended in the middle of a run."""
    async with InProcessRuntime(str(storage)) as rojak:
        await rojak.create_worker([PlanActivities()])
        session = await rojak.create_session("done", PlanAgent(name="A"), {"guest": "Mei"})
        await session.send_messages(plan("Hello, Mei."))
        await rojak.run("one-shot", PlanAgent(name="B"), plan("Once."))
        stuck = await rojak.create_session("stuck", PlanAgent(name="C", functions=[never]))
        waiting = asyncio.create_task(stuck.send_messages(plan([["never", {}]])))

        async for event in stuck.events():
            if event.kind == "function_call":
                break
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("commands") / "storage"
    asyncio.run(left_behind(place))
    return place


def rojak(*arguments: str, storage: Path, ok: bool = True) -> str:
    """Run the command; its output, or its complaint."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "ROJAK_DEBUG")}
    finished = subprocess.run(
        [sys.executable, "-m", "rojak_ray.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env=kept | {"ROJAK_STORAGE": str(storage)},
        check=False,
    )
    assert (finished.returncode == 0) == ok, finished.stderr + finished.stdout
    assert "Traceback" not in finished.stderr
    return finished.stdout if ok else finished.stderr


def test_list_tells_what_each_is_doing(storage: Path):
    lines = rojak("sessions", "list", storage=storage).splitlines()
    assert [line.split()[:-1] for line in lines] == [
        ["id", "status", "messages", "agent", "queued"],
        ["done", "idle", "2", "A", "0"],
        ["stuck", "running", "2", "C", "0"],
    ]
    assert lines[0].split()[-1] == "written"
    for line in lines[1:]:
        assert datetime.fromisoformat(line.split()[-1]).tzinfo is not None
    assert "stuck" in rojak("sessions", "list", "--active", storage=storage)
    (run,) = map(json.loads, rojak("runs", "list", "--json", storage=storage).splitlines())
    assert (run["id"], run["status"]) == ("one-shot", "completed")


def test_show_has_history_context_and_what_is_under_way(storage: Path):
    shown = rojak("sessions", "show", "done", storage=storage)
    assert 'context {"guest": "Mei"}' in shown
    assert "A: Hello, Mei." in shown
    stuck = json.loads(rojak("sessions", "show", "stuck", "--json", storage=storage))
    assert stuck["status"] == "running"
    assert [step["kind"] for step in stuck["pending"]] == ["call_function"]


def test_journal_and_tail_tell_everything_in_order(storage: Path):
    lines = rojak("sessions", "journal", "done", storage=storage).splitlines()
    assert "writer 1" in lines[0]
    assert any("A: Hello, Mei." in line for line in lines)
    records = [
        json.loads(line) for line in rojak("runs", "journal", "one-shot", "--json", storage=storage).splitlines()
    ]
    assert [record["slot"] for record in records] == list(range(1, len(records) + 1))
    told = rojak("sessions", "tail", "done", "--until-idle", "--json", storage=storage)
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["kind"] for event in events[:2]] == ["context_change", "run_started"]
    assert events[-1]["kind"] == "run_ended"
    rest = rojak(
        "sessions", "tail", "done", "--until-idle", "--json", "--after", str(events[1]["seq"]), storage=storage
    )
    assert [json.loads(line) for line in rest.splitlines()] == events[2:]


@pytest.mark.parametrize("command", ["show", "journal", "tail", "cancel", "resume"])
def test_what_is_not_there_is_an_error_of_one_line(storage: Path, command: str):
    complaint = rojak("sessions", command, "nobody", storage=storage, ok=False)
    assert "nobody" in complaint
    assert len(complaint.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sessions", "show", "a/b"], "a/b"),
        (["sessions", "list", "--storage", "http://x"], "http://"),
        (["sessions", "list", "--namespace", ".."], ".."),
        (["runs", "cancel", "x", "--address", "127.0.0.1:1"], "127.0.0.1:1"),
        (["storage", "check", "http://x"], "http://"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_one_line(storage: Path, arguments: list[str], named: str):
    complaint = rojak(*arguments, storage=storage, ok=False)
    assert named in complaint
    assert len(complaint.strip().splitlines()) == 1


def test_deleting_where_nobody_can_be_asked_wants_to_be_told_so(storage: Path):
    assert "--yes" in rojak("sessions", "delete", "done", storage=storage, ok=False)
    assert "done" in rojak("sessions", "list", storage=storage)


def test_looking_loads_no_ray(storage: Path, tmp_path: Path):
    program = (
        "import sys\nfrom rojak_ray.cli.main import app\n"
        "try:\n    app(sys.argv[1:], standalone_mode=False)\nfinally:\n    assert 'ray' not in sys.modules\n"
    )
    done = ["done", "--storage", str(storage)]
    for looks in (
        ["sessions", "list", *done[1:]],
        ["sessions", "show", *done],
        ["sessions", "journal", *done],
        ["storage", "check", str(tmp_path / "place")],
    ):
        finished = subprocess.run(
            [sys.executable, "-c", program, *looks],
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr


def test_damage_is_named_and_what_came_before_can_be_read(storage: Path, tmp_path: Path):
    place = tmp_path / "storage"
    for path in sorted(storage.rglob("*")):
        if path.is_file():
            copy = place / path.relative_to(storage)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    harmed = place / Paths("rojak").slot(Owner("session", "done"), 3)
    harmed.write_bytes(harmed.read_bytes().replace(b"Mei", b"Moi"))
    complaint = rojak("sessions", "show", "done", storage=place, ok=False)
    assert "log/00000000000000000003 is damaged" in complaint
    assert "rojak sessions journal done" in complaint
    assert "rojak sessions journal done" in rojak("sessions", "list", storage=place, ok=False), "exit code 1"
    assert "is damaged" in rojak("sessions", "journal", "done", storage=place, ok=False)


def test_cancel_and_delete_without_a_cluster(storage: Path):
    rojak("sessions", "cancel", "stuck", storage=storage)
    assert json.loads(rojak("sessions", "show", "stuck", "--json", storage=storage))["status"] == "idle"
    rojak("sessions", "delete", "stuck", "--yes", storage=storage)
    assert "stuck" not in rojak("sessions", "list", storage=storage)
    rojak("runs", "delete", "one-shot", "--yes", storage=storage)
    assert rojak("runs", "list", "--json", storage=storage) == ""


@pytest.mark.parametrize("command", [["sessions", "cancel", "done"], ["schedules", "pause", "nightly"]])
def test_a_cluster_and_none_cannot_both_be_asked_for(command: list[str], storage: Path):
    complaint = rojak(*command, "--address", "127.0.0.1:1", "--no-cluster", storage=storage, ok=False)
    assert "pass one of them" in complaint


def test_without_a_cluster_nothing_of_ray_is_loaded(storage: Path):
    assert (
        "ray"
        not in subprocess.run(
            [
                sys.executable,
                "-X",
                "importtime",
                "-m",
                "rojak_ray.cli.main",
                "sessions",
                "cancel",
                "done",
                "--no-cluster",
            ],
            capture_output=True,
            text=True,
            timeout=HANG_S,
            env={**os.environ, "ROJAK_STORAGE": str(storage), "RAY_ADDRESS": "127.0.0.1:1"},
        ).stderr.split()
    )


def test_storage_check_says_what_holds(tmp_path: Path):
    said = rojak("storage", "check", str(tmp_path / "place"), storage=tmp_path)
    assert "ok      refuse a second write" in said
    assert not [path for path in (tmp_path / "place").rglob("*") if path.is_file()]
    assert (
        "would be refused"
        in subprocess.run(
            [sys.executable, "-m", "rojak_ray.cli.main", "storage", "check", "memory://"],
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        ).stdout
    )
