"""`rojak demo` as a person meets it: in a process of its own, with a pipe, a terminal or nothing to read from."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.vendor import Calls, Text, Vendor
from support.waiting import HANG_S

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
ROJAK = (sys.executable, "-m", "rojak_ray.cli.main")
AGENTS = ("Front desk", "Orders", "Delivery")
UNSET = {
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "FORCE_COLOR",
    "NO_COLOR",
    "RAY_ADDRESS",
    "ROJAK_STORAGE",
}


@dataclass(frozen=True)
class Finished:
    """What a process left behind."""

    code: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what a developer may have set."""
    return {key: value for key, value in os.environ.items() if key not in UNSET} | changes


def rojak(*arguments: str, stdin: str | None = None, timeout_s: float = 60, **env: str) -> Finished:
    """Run the command to its end; without `stdin` it reads /dev/null."""
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with subprocess.Popen(
        [*ROJAK, *arguments],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env),
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
    return Finished(process.returncode, out, err)


class Terminal:
    """The command on a pseudo terminal."""

    def __init__(self, *arguments: str, deadline_s: float = 60, **env: str) -> None:
        self._deadline = time.monotonic() + deadline_s
        self._main, side = pty.openpty()
        self._process = subprocess.Popen(
            [*ROJAK, *arguments],
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            env=environment(TERM="xterm-256color", COLUMNS="120", **env),
        )
        os.close(side)
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)

    @property
    def text(self) -> str:
        """Everything shown so far, without escape sequences."""
        return ANSI.sub("", self.raw)

    def wait_for(self, words: str) -> None:
        """Read until the words appear behind those waited for before."""
        while (found := self.text.find(words, self._seen)) < 0:
            assert self._read(), f"ended without {words!r}: {self.text}"
        self._seen = found + len(words)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def wait_until_it_listens(self) -> None:
        """Wait until the command sleeps in its wait for a key.

        Between showing the prompt and that, Python takes note of an interruption only with the next key.
        """
        where = Path(f"/proc/{self._process.pid}/wchan")
        while not any(word in where.read_text() for word in ("select", "poll_schedule")):
            assert time.monotonic() < self._deadline, f"it never listened: {where.read_text()}"

    def interrupt(self) -> None:
        os.kill(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Read to the end and give the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=max(self._deadline - time.monotonic(), 1))

    def _read(self) -> bool:
        left = self._deadline - time.monotonic()
        ready = left > 0 and select.select([self._main], [], [], left)[0]
        assert ready, f"nothing more within the time: {self.text}"
        try:
            data = os.read(self._main, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


def assert_clean(finished: Finished, code: int = 0) -> None:
    """The exit code is as expected, and nothing was printed that only a terminal or a developer understands."""
    said = finished.out + finished.err
    assert finished.code == code, said
    assert "\x1b" not in said
    assert "Traceback" not in said


def assert_one_line(finished: Finished, *words: str) -> None:
    assert_clean(finished, code=1)
    assert finished.err.count("\n") == 1, finished.err
    for word in words:
        assert word in finished.err


def session_id(out: str) -> str:
    return re.search(r"^Session (\S+) is kept in", out, re.MULTILINE)[1]


@pytest.mark.ray
def test_demo_on_ray_with_nothing_to_read_shows_handoffs_functions_context_and_a_recovered_error(tmp_path: Path):
    finished = rojak("demo", "--storage", str(tmp_path), timeout_s=110)
    assert_clean(finished)
    for name in AGENTS:
        assert f"\n{name}: " in finished.out
    for words in (
        "handed over: Front desk -> Orders",
        "handed over: Orders -> Delivery",
        'called add_dish_to_order(dish="laksa", quantity=2, size="large")',
        "-> On the order: 2 large laksa, 1 small rojak. Total: $25.00.",
        "-> ValueError: The kitchen makes 1 to 20",
        "called estimate_trip(distance_km=4.5)",
        'context: guest = "Mei"',
    ):
        assert words in finished.out
    again = rojak("demo", "--in-process", "--storage", str(tmp_path), "--session", session_id(finished.out), stdin="hi")
    assert_clean(again)
    assert "Delivery spoke last" in again.out


def test_piped_lines_are_the_messages(tmp_path: Path):
    lines = "My name is Ada.\n\n  Show me the menu.  \n"
    finished = rojak("demo", "--in-process", "--storage", str(tmp_path), stdin=lines)
    assert_clean(finished)
    assert re.findall(r"^You: (.*)", finished.out, re.MULTILINE) == ["My name is Ada.", "Show me the menu."]
    assert 'guest = "Ada"' in finished.out
    assert '"laksa": "$7.50"' in finished.out
    assert finished.err == ""


@pytest.mark.parametrize("stdin", ["", "\n \n"], ids=["empty", "blank lines"])
def test_nothing_piped_plays_the_short_conversation(tmp_path: Path, stdin: str):
    finished = rojak("demo", "--in-process", "--storage", str(tmp_path), stdin=stdin)
    assert_clean(finished)
    assert finished.out.count("\nYou: ") == 5


@pytest.mark.parametrize("closed", [True, False], ids=["closed input", "input that nobody writes to"])
def test_input_that_never_speaks_plays_the_short_conversation(tmp_path: Path, closed: bool):
    reader, writer = os.pipe()
    try:
        command = [*ROJAK, "demo", "--in-process", "--storage", str(tmp_path)]
        finished = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command] if closed else command,
            stdin=reader,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            env=environment(),
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\nYou: ") == 5


def test_bytes_that_are_no_text_and_escape_sequences_do_no_harm(tmp_path: Path):
    command = [*ROJAK, "demo", "--in-process", "--storage", str(tmp_path)]
    finished = subprocess.run(
        command,
        input=b"my name is \xff\x1b[31mEve\n",
        capture_output=True,
        timeout=HANG_S,
        env=environment(),
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert b"\x1b" not in finished.stdout


def test_a_reader_that_leaves_early_ends_the_demo_without_a_traceback(tmp_path: Path):
    command = f"{sys.executable} -m rojak_ray.cli.main demo --in-process --storage {tmp_path} < /dev/null | head -1"
    finished = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=HANG_S, env=environment(), check=False
    )
    assert finished.stdout.startswith("Rojak Corner")
    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr


def test_terminal_holds_a_conversation_and_exit_says_where_it_is_kept(tmp_path: Path):
    with Terminal("demo", "--in-process", "--storage", str(tmp_path)) as terminal:
        terminal.wait_for("you> ")
        for way in ("help", "/help", "?"):
            terminal.type(f"{way}\n")
            terminal.wait_for("Show me the menu.")
            terminal.wait_for("you> ")
        terminal.type("My name is Ada. 2 large laksa please\n")
        terminal.wait_for("handed over: Front desk -> Orders")
        terminal.wait_for('context: guest = "Ada", order = {"large laksa": 2}')
        terminal.wait_for("you> ")
        terminal.type("I want to order 1 small rojak\n")
        terminal.wait_for("Orders: ")
        terminal.wait_for("you> ")
        terminal.type("exit\n")
        assert terminal.wait() == 0
        assert "rojak demo --session" in terminal.text
        assert "\x1b[" in terminal.raw
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-d"])
def test_leaving_at_the_prompt_is_polite(tmp_path: Path, how: str):
    with Terminal("demo", "--in-process", "--storage", str(tmp_path)) as terminal:
        terminal.wait_for("you> ")
        if how == "ctrl-c":
            terminal.wait_until_it_listens()
            terminal.interrupt()
        else:
            terminal.type("\x04")
        assert terminal.wait() == 0
        assert "is kept in" in terminal.text
        assert "Traceback" not in terminal.text


def test_ctrl_c_during_an_answer_ends_quietly_with_130(tmp_path: Path):
    with Vendor([Text("never", delay=50)]) as vendor:
        arguments = ("--model", "openai:test", "--base-url", vendor.openai_url, "--storage", str(tmp_path))
        with Terminal("demo", "--in-process", *arguments) as terminal:
            terminal.wait_for("you> ")
            terminal.type("hello\n")
            terminal.wait_for("Front desk ...")
            terminal.interrupt()
            assert terminal.wait() == 130
            assert "Traceback" not in terminal.text


def test_real_provider_uses_the_same_agents_and_functions(tmp_path: Path):
    replies = [
        Calls([("transfer_to_orders", {})]),
        Calls([("add_dish_to_order", {"dish": "satay", "quantity": 2})]),
        Text("Two satay, coming up."),
    ]
    with Vendor(replies) as vendor:
        arguments = ("--model", "openai:test-model", "--base-url", vendor.openai_url, "--storage", str(tmp_path))
        finished = rojak("demo", "--in-process", *arguments, stdin="two satay")
        assert_clean(finished)
        assert "Model: openai:test-model at http://" in finished.out
        assert "-> On the order: 2 regular satay. Total: $1.80." in finished.out
        assert "\nOrders: Two satay, coming up.\n" in finished.out
        assert {request.body["model"] for request in vendor.requests} == {"test-model"}
        assert "On the order so far: {'regular satay': 2}" in vendor.requests[2].body["messages"][0]["content"]


def test_unreachable_provider_is_one_line_and_exit_code_1(tmp_path: Path):
    arguments = ("--model", "openai:test", "--base-url", "http://127.0.0.1:9/v1", "--storage", str(tmp_path))
    assert_one_line(rojak("demo", "--in-process", *arguments, stdin="hello"), "OpenAI")


@pytest.mark.parametrize(("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
def test_missing_key_is_one_line_that_names_the_variable(provider: str, variable: str):
    assert_one_line(rojak("demo", "--model", f"{provider}:x"), variable)


def test_storage_that_cannot_be_written_is_one_line():
    assert_one_line(rojak("demo", "--in-process", "--storage", "/dev/null/x"), "/dev/null")


def test_a_session_id_that_cannot_be_is_one_line(tmp_path: Path):
    finished = rojak("demo", "--in-process", "--storage", str(tmp_path), "--session", "../x")
    assert_one_line(finished, "session id")


def test_model_without_a_name_is_a_usage_error():
    finished = rojak("demo", "--model", "gpt-6-luna")
    assert_clean(finished, code=2)
    assert "openai:NAME" in finished.err
