"""A list of things for people: a table where the terminal is wide enough, aligned plain lines everywhere else.

No cell is ever cut: an id that cannot be copied is of no use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rojak_ray.display import one_line, width_of

_PER_COLUMN = 3
"""Two spaces of padding and a border."""


def print_rows(console: Console, title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows whole, whatever the width.

    Args:
        console: Standard output. Anything but a terminal gets the columns' names and the rows as plain lines.
        title: Above a table.
        columns: Keys of the rows, in order.
        rows: Values are shown as text.
    """
    cells = [[one_line(str(row[column])) for column in columns] for row in rows]
    widths = [max(map(width_of, [name, *column])) for name, *column in zip(columns, *cells, strict=True)]
    if not console.is_terminal or sum(widths) + _PER_COLUMN * len(columns) + 1 > console.width:
        for line in [list(columns), *cells]:
            typer.echo("  ".join(map(_padded, line, widths)).rstrip())
        return
    table = Table(title=Text(one_line(title)))
    for name in columns:
        table.add_column(name, no_wrap=True)
    for line in cells:
        table.add_row(*map(Text, line))
    console.print(table)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - width_of(cell))
