"""What `rojak storage prune` does, and the words it prints."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rojak_ray.cli.output import Voice
from rojak_ray.clock import Clock, SystemClock
from rojak_ray.display import json_line
from rojak_ray.errors import InvalidSchedule, InvalidSetting
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import OwnerKind, Paths
from rojak_ray.schedules.cron import read_duration
from rojak_ray.schedules.retention import KINDS, PruneReport, prune
from rojak_ray.storage.open import open_store, resolve_storage

_ONLY: dict[str | None, tuple[OwnerKind, ...]] = {None: KINDS, "runs": ("run",), "sessions": ("session",)}


@dataclass(frozen=True)
class PruneOptions:
    """What a person wrote after `prune`."""

    older_than: str
    only: str | None = None
    dry_run: bool = False
    storage: str | None = None
    namespace: str = "rojak"
    as_json: bool = False


async def prune_storage(options: PruneOptions, voice: Voice | None = None, clock: Clock | None = None) -> PruneReport:
    """Remove what is old, saying how far it has got: a bar on a terminal, nothing before the end in a pipe."""
    voice, clock = voice or Voice(), clock or SystemClock()
    if options.only not in _ONLY:
        raise InvalidSetting(f"--only takes runs or sessions, not {options.only!r}.")
    try:
        before = clock.now() - read_duration(options.older_than, "--older-than")
    except (InvalidSchedule, OverflowError) as error:
        raise InvalidSetting(str(error)) from error
    store = open_store(resolve_storage(options.storage, os.environ))
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("folders"),
        TimeRemainingColumn(),
        console=console,
        disable=options.as_json or not console.is_terminal,
        transient=True,
    )
    try:
        with bar:
            report = await prune(
                store,
                Paths(options.namespace),
                before,
                clock,
                RandomIds(),
                kinds=_ONLY[options.only],
                only_look=options.dry_run,
                told=_shown_on(bar),
            )
    finally:
        await store.aclose()
    if options.as_json:
        typer.echo(json_line(summary(report, dry_run=options.dry_run)))
    else:
        _say(voice, report, store.url, options)
    return report


def _shown_on(bar: Progress) -> Callable[[PruneReport], None]:
    task = bar.add_task("looking", total=None)

    def told(report: PruneReport) -> None:
        words = f"{report.buried['run']:,} runs, {report.buried['session']:,} sessions"
        bar.update(task, description=words, completed=report.done, total=report.folders)

    return told


def summary(report: PruneReport, *, dry_run: bool) -> dict[str, object]:
    """A report as JSON."""
    return {
        "dry_run": dry_run,
        "runs": report.buried["run"],
        "sessions": report.buried["session"],
        "objects": report.objects,
        "kept": {str(fate): count for fate, count in sorted(report.kept.items())},
        "damaged": report.damaged,
        "unreadable": report.unreadable,
    }


def _say(voice: Voice, report: PruneReport, url: str, options: PruneOptions) -> None:
    would = "would be removed" if options.dry_run else "removed"
    voice.say(
        f"{report.buried['run']:,} runs and {report.buried['session']:,} sessions {would} from {url}, "
        f"{report.objects:,} objects."
    )
    kept = ", ".join(f"{count:,} {fate}" for fate, count in sorted(report.kept.items()))
    if kept:
        voice.say(f"Kept: {kept}.")
    for error in report.unreadable:
        voice.say(f"Kept, because it cannot be read: {error}", "red")
    if report.damaged > len(report.unreadable):
        voice.say(f"And {report.damaged - len(report.unreadable):,} more that cannot be read.", "red")
