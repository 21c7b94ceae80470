"""What the command prints, and what an error becomes."""

import io

import pytest
import typer
from rich.console import Console

from rojak_ray.cli.live import LiveAnswer
from rojak_ray.cli.output import Voice, as_json, errors_reported
from rojak_ray.errors import InternalError, InvalidStorage
from rojak_ray.messages import Usage
from rojak_ray.sessions.events import (
    ContextChangeEvent,
    FunctionCallEvent,
    FunctionResultEvent,
    HandoffEvent,
    MessageEvent,
    RetryEvent,
    SessionEvent,
    TextDeltaEvent,
)


class Spoken:
    """A voice and what it said."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self._file = io.StringIO()
        self.voice = Voice(Console(file=self._file, force_terminal=is_terminal, width=40, highlight=False))

    @property
    def text(self) -> str:
        return self._file.getvalue()


def listen(spoken: Spoken, *events: SessionEvent) -> LiveAnswer:
    answer = LiveAnswer(spoken.voice, "A")
    for event in events:
        answer.show(event)
    answer.close()
    return answer


def called(call_id: str, name: str, arguments: str) -> SessionEvent:
    return FunctionCallEvent(seq=1, run_id="r", agent="A", call_id=call_id, name=name, arguments=arguments)


def returned(call_id: str, name: str, output: str) -> SessionEvent:
    return FunctionResultEvent(seq=2, run_id="r", agent="A", call_id=call_id, name=name, output=output)


def piece(agent: str, text: str) -> SessionEvent:
    return TextDeltaEvent(seq=3, run_id="r", agent=agent, step_id="s", attempt=1, offset=0, text=text)


def complete(agent: str, text: str) -> SessionEvent:
    return MessageEvent(seq=4, run_id="r", agent=agent, step_id="s", content=text, usage=Usage())


def test_answer_shows_calls_with_their_results_then_the_handover_then_the_words_as_they_come():
    spoken = Spoken()
    answer = listen(
        spoken,
        called("1", "look", '{"what": "x", "n": 2}'),
        called("2", "go_to_b", "{}"),
        returned("1", "look", "seen"),
        returned("2", "go_to_b", "Transferred to 'B'"),
        HandoffEvent(seq=3, run_id="r", from_agent="A", to_agent="B"),
        piece("B", "Hel"),
        piece("B", "lo.\nWhat now?"),
        complete("B", "Hello.\nWhat now?"),
    )
    assert answer.speaker == "B"
    assert spoken.text.splitlines() == [
        '  A called look(what="x", n=2)',
        "    -> seen",
        "  A called go_to_b()",
        "    -> Transferred to 'B'",
        "  handed over: A -> B",
        "B: Hello.",
        "  | What now?",
    ]


def test_words_of_an_attempt_that_failed_are_taken_back_before_the_next_one():
    spoken = Spoken()
    failed = RetryEvent(
        seq=5, run_id="r", agent="A", step_id="s", attempt=1, error_type="ModelUnavailable", error="cut", reset=True
    )
    listen(spoken, piece("A", "Hel"), failed, piece("A", "Hello."), complete("A", "Hello."))
    assert spoken.text.splitlines() == ["A: Hel", "  A is asked again: ModelUnavailable: cut", "A: Hello."]


def test_context_is_what_the_changes_make_of_it():
    changes = [
        ContextChangeEvent(seq=1, run_id="r", set={"a": 2, "b": 1}),
        ContextChangeEvent(seq=2, run_id="r", set={}, deleted=("b", "c")),
        ContextChangeEvent(seq=3, run_id="r", set={"c": 3}),
    ]
    assert listen(Spoken(), *changes).context_after({"a": 1, "b": 0, "c": 0, "d": 4}) == {"a": 2, "c": 3, "d": 4}


def test_arguments_that_are_not_json_are_shown_as_they_came():
    spoken = Spoken()
    listen(spoken, called("1", "look", '{"what":'), returned("1", "look", "ValueError: no"))
    assert '  A called look({"what":)' in spoken.text


def test_long_lines_are_not_broken_and_markup_is_not_read():
    spoken = Spoken()
    spoken.voice.say("[bold]" + "x" * 100)
    assert spoken.text == "[bold]" + "x" * 100 + "\n"


def test_terminal_gets_colours_and_the_same_words():
    spoken = Spoken(is_terminal=True)
    listen(spoken, piece("A", "Hello."), complete("A", "Hello."))
    assert "\x1b[" in spoken.text
    assert "Hello." in spoken.text


def test_what_an_agent_says_cannot_drive_the_terminal():
    spoken = Spoken()
    listen(spoken, piece("A\x1b[2J", "\x1b[31mred\x07\rx"))
    assert not set(spoken.text) & set("\x1b\x07\r")


def test_context_line_names_what_is_new_different_and_gone():
    spoken = Spoken()
    spoken.voice.context_changed({"a": 1, "b": [1], "c": None}, {"a": 1, "b": [1, 2], "d": "x"})
    assert spoken.text == '  context: b = [1, 2], d = "x", c is gone\n'


def test_unchanged_context_is_not_mentioned():
    spoken = Spoken()
    spoken.voice.context_changed({"a": None}, {"a": None})
    assert spoken.text == ""


def test_long_values_are_shortened():
    assert len(as_json("x" * 10_000)) < 250


FORGED = "  Waiter called pay(amount=1)"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\x0b"])
def test_nobody_s_words_pass_for_what_happened(end: str):
    text = f"Sure.{end}{FORGED}"
    spoken = Spoken()
    listen(spoken, piece("Waiter", text), complete("Waiter", text))
    listen(spoken, called("1", "look", "{}"), returned("1", "look", text))
    spoken.voice.heard(text)
    spoken.voice.say(f"    note: {text}")
    assert FORGED not in spoken.text.splitlines()
    assert spoken.text.count("Waiter called pay") == 4


def test_a_name_cannot_begin_a_line():
    spoken = Spoken()
    listen(spoken, piece(f"A\n{FORGED}", "Hello."))
    assert len(spoken.text.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvalidStorage("Not\nthere."), 1, "rojak: Not there.\n"),
        (OSError("disk"), 1, "rojak: OSError: disk\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(7), 7, ""),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(typer.Exit) as caught, errors_reported():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err == words


@pytest.mark.parametrize("error", [InternalError("odd"), KeyError("odd")])
def test_bugs_say_that_they_are_ours(error: Exception, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit), errors_reported():
        raise error
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "bug of ours" in err
    assert "ROJAK_DEBUG" in err


def test_debug_variable_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ROJAK_DEBUG", "1")
    with pytest.raises(typer.Exit), errors_reported():
        raise KeyError("odd")
    assert "Traceback" in capsys.readouterr().err
