"""Numbers out of measurements."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A value measured several times."""

    median: float
    low: float
    high: float
    repeats: int

    def text(self, digits: int = 1) -> str:
        """For a table: the median, and the range if there is one."""
        if self.repeats == 1 or self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and range."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def lateness(arrivals: Sequence[tuple[float, str]], every_s: float) -> list[float]:
    """Seconds between when schedules were due and when each first asked; their texts tell the offset in the period."""
    first: dict[str, float] = {}
    for at, text in sorted(arrivals):
        if text.startswith("offset "):
            late = (at - int(text.split()[1])) % every_s
            first.setdefault(text, late - every_s if late > every_s / 2 else late)
    return list(first.values())


def lines_of_code(source: str) -> int:
    """Lines that are neither empty, nor a comment, nor part of a docstring."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                skipped.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(
        1 for number, line in lines if line.strip() and not line.lstrip().startswith("#") and number not in skipped
    )
