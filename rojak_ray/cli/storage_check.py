"""`rojak storage`: whether a place keeps the promises that durability is built on, and removing what is old there."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Look at places for storage, and remove what is old there.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Look at places for storage, and remove what is old there."""


@app.command()
def check(
    url: Annotated[str, typer.Argument(metavar="PATH|URL", help="The place, as Rojak(storage=...) takes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Try every promise that a store has to keep, with objects below probe/ that are removed again.

    Ends with exit code 1 if the place would be refused.
    """
    from rojak_ray.cli.output import errors_reported, prepare_streams

    prepare_streams()
    with errors_reported():
        asyncio.run(_check(url, as_json=as_json))


@app.command()
def prune(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="DURATION", help="For how long nothing was written to it, as 30d or 12h."),
    ],
    only: Annotated[str | None, typer.Option(metavar="runs|sessions", help="Only these; both without it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    storage: Annotated[
        str | None, typer.Option(metavar="PATH|URL", help="Where everything is kept.", envvar="ROJAK_STORAGE")
    ] = None,
    namespace: Annotated[str, typer.Option(help="The installation.")] = "rojak",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object.")] = False,
) -> None:
    """Remove runs that ended, and sessions in which nothing runs or waits, that are older than this.

    One small object is left of each, so that its id still answers truthfully. What is under way, waits for an answer
    or was set aside stays, and so does what cannot be read. It may be stopped and begun again at any time, also
    beside a cluster that works.
    """
    from rojak_ray.cli.output import errors_reported, prepare_streams
    from rojak_ray.cli.pruning import PruneOptions, prune_storage

    prepare_streams()
    with errors_reported():
        options = PruneOptions(older_than, only, dry_run, storage, namespace, as_json)
        asyncio.run(prune_storage(options))


async def _check(url: str, *, as_json: bool) -> None:
    import os

    from rojak_ray.cli.output import Voice
    from rojak_ray.display import json_line
    from rojak_ray.storage.folders import open_to_others
    from rojak_ray.storage.open import folder_of, open_store, resolve_storage
    from rojak_ray.storage.probe import probe

    store = open_store(resolve_storage(url, os.environ))
    voice = Voice()
    try:
        with voice.waiting(f"trying {store.url} ..."):
            report = await probe(store)
    finally:
        await store.aclose()
    accepted = report.ok and store.shared
    if as_json:
        for one in report.checks:
            typer.echo(json_line({"check": one.name, "ok": one.ok, "words": one.words, "why": one.why}))
        typer.echo(json_line({"url": report.url, "ok": accepted}))
    else:
        for one in report.checks:
            said = f"{'ok    ' if one.ok else 'FAILED'}  {one.name}: {one.words}"
            voice.say(f"{said} Needed because {one.why}.", "" if one.ok else "red")
        if not store.shared:
            voice.say("FAILED  be shared: it lives in one process, and no other would see its objects.", "red")
        if (folder := folder_of(report.url)) and (remark := open_to_others(folder)):
            voice.say(f"BEWARE  {remark}", "yellow")
        voice.say(
            f"{report.url} can be used as storage." if accepted else f"{report.url} would be refused.",
            "bold green" if accepted else "bold red",
        )
    if not accepted:
        raise typer.Exit(1)
