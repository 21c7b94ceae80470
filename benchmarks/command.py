"""What the commands of `make budgets` have in common: how they are called, and to whom they say what they found."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import Console

Found = TypeVar("Found")


def parser(words: str | None, json_help: str = "print the figures as JSON") -> argparse.ArgumentParser:
    """Takes `--json`; add what else a benchmark is told."""
    made = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help=json_help)
    return made


def console(as_json: bool) -> Console:
    """Where progress and tables go: not where JSON goes."""
    return Console(stderr=as_json)


def tell(
    found: Found,
    as_json: bool,
    report: Callable[[Found, Console], None],
    figures: Callable[[Found], Any] = lambda found: found,
) -> None:
    """Print what was found: its figures as JSON, or the report for people."""
    if as_json:
        json.dump(figures(found), sys.stdout)
    else:
        report(found, console(as_json))
