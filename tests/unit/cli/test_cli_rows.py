"""Lists: a table where there is room, plain lines elsewhere, and never a cell that is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rojak_ray.cli.rows import print_rows

COLUMNS = ("id", "agent")
ROWS = [{"id": "customer-4711-" + "x" * 80, "agent": "接待"}, {"id": "b\x1b[2J\nc", "agent": "Clerk"}]


def printed(width: int, capsys: pytest.CaptureFixture[str], *, is_terminal: bool) -> str:
    file = io.StringIO()
    print_rows(Console(file=file, force_terminal=is_terminal, width=width, no_color=True), "2 sessions", COLUMNS, ROWS)
    return file.getvalue() + capsys.readouterr().out


@pytest.mark.parametrize("width", [20, 40, 80, 100, 103, 120, 200])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_every_cell_is_whole_on_one_line(width: int, is_terminal: bool, capsys: pytest.CaptureFixture[str]):
    lines = printed(width, capsys, is_terminal=is_terminal).splitlines()
    assert any(ROWS[0]["id"] in line and "接待" in line for line in lines)
    assert any("b\\x1b[2J\\nc" in line and "Clerk" in line for line in lines)


def test_a_table_where_it_fits(capsys: pytest.CaptureFixture[str]):
    assert "2 sessions" in printed(200, capsys, is_terminal=True)
    assert "2 sessions" not in printed(80, capsys, is_terminal=True)
    assert "2 sessions" not in printed(200, capsys, is_terminal=False)


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]):
    head, first, second = printed(80, capsys, is_terminal=False).splitlines()
    assert head.index("agent") == first.index("接待") == second.index("Clerk")
