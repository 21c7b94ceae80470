"""What the command prints, and what an error becomes."""

import io

import pytest
import typer
from rich.console import Console

from rojak_ray.cli.output import Voice, as_json, errors_reported, printable
from rojak_ray.errors import InternalError, InvalidStorage
from rojak_ray.messages import ConversationMessage


class Spoken:
    """A voice and what it said."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self._file = io.StringIO()
        self.voice = Voice(Console(file=self._file, force_terminal=is_terminal, width=40, highlight=False))

    @property
    def text(self) -> str:
        return self._file.getvalue()


def said(sender: str, content: str | None = None, *calls: tuple[str, str, str]) -> ConversationMessage:
    made = [{"id": id_, "type": "function", "function": {"name": name, "arguments": text}} for id_, name, text in calls]
    return ConversationMessage("assistant", content, tool_calls=made or None, sender=sender)


def returned(call_id: str, content: str) -> ConversationMessage:
    return ConversationMessage("tool", content, tool_call_id=call_id)


def test_answer_shows_calls_with_their_results_then_the_handover_then_the_words():
    spoken = Spoken()
    messages = [
        ConversationMessage("user", "hi"),
        said("A", None, ("1", "look", '{"what": "x", "n": 2}'), ("2", "go_to_b", "{}")),
        returned("1", "seen"),
        returned("2", "Transferred to 'B'"),
        said("B", "Hello.\nWhat now?"),
    ]
    assert spoken.voice.answered(messages, "A") == "B"
    assert spoken.text.splitlines() == [
        '  A called look(what="x", n=2)',
        "    -> seen",
        "  A called go_to_b()",
        "    -> Transferred to 'B'",
        "  handed over: A -> B",
        "B: Hello.",
        "  What now?",
    ]


def test_arguments_that_are_not_json_are_shown_as_they_came():
    spoken = Spoken()
    spoken.voice.answered([said("A", None, ("1", "look", '{"what":')), returned("1", "ValueError: no")], "A")
    assert '  A called look({"what":)' in spoken.text


def test_long_lines_are_not_broken_and_markup_is_not_read():
    spoken = Spoken()
    spoken.voice.say("[bold]" + "x" * 100)
    assert spoken.text == "[bold]" + "x" * 100 + "\n"


def test_terminal_gets_colours_and_the_same_words():
    spoken = Spoken(is_terminal=True)
    spoken.voice.answered([said("A", "Hello.")], "A")
    assert "\x1b[" in spoken.text
    assert "Hello." in spoken.text


def test_what_an_agent_says_cannot_drive_the_terminal():
    spoken = Spoken()
    spoken.voice.answered([said("A\x1b[2J", "\x1b[31mred\x07\rx")], "A")
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


def test_printable_keeps_words_of_all_languages():
    assert printable("naïve 你好 🍜\n\tx") == "naïve 你好 🍜\n\tx"


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
