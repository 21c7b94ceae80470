"""`rojak storage check`: whether a place keeps the promises that durability is built on, in words."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Look at places for storage.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Look at places for storage."""


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
