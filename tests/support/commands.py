"""Running the `rojak` command and examples as a person would: in a process of their own, on a pipe or a terminal."""

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

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
ROJAK = (sys.executable, "-m", "rojak_ray.cli.main")


@dataclass(frozen=True)
class Finished:
    """What a process left behind."""

    code: int
    out: str
    err: str


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment without keys, colours and addresses a developer may have set; None removes one."""
    removed = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "FORCE_COLOR", "RAY_ADDRESS", "ROJAK_STORAGE"}
    kept = {key: value for key, value in os.environ.items() if key not in removed | set(changes)}
    return kept | {key: value for key, value in changes.items() if value is not None}


def run(*command: str, stdin: str | None = None, timeout_s: float = 60, cwd: Path | None = None, **env: str) -> Finished:
    """Run a command to its end; without `stdin` it reads /dev/null."""
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with subprocess.Popen(
        command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment(**env)
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
    return Finished(process.returncode, out, err)


def rojak(*arguments: str, stdin: str | None = None, timeout_s: float = 60, **env: str) -> Finished:
    """Run the `rojak` command."""
    return run(*ROJAK, *arguments, stdin=stdin, timeout_s=timeout_s, **env)


class Terminal:
    """A command on a pseudo terminal.

    with Terminal("demo", "--in-process") as terminal:
        terminal.wait_for("you> ")
        terminal.type("hello\\n")
    """

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
        """Read until the words appear after those waited for before."""
        while (found := self.text.find(words, self._seen)) < 0:
            assert self._read(), f"ended without {words!r}: {self.text}"
        self._seen = found + len(words)

    def type(self, text: str) -> None:
        """Type; Ctrl-D is "\\x04"."""
        os.write(self._main, text.encode())

    def interrupt(self) -> None:
        """What Ctrl-C does to the program in the foreground."""
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
        except OSError:  # Linux: the other side is closed
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)
