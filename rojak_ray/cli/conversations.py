"""`rojak sessions` and `rojak runs`: the same commands for both. What a command does is in `conversation_commands`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

Storage = Annotated[
    str | None, typer.Option(metavar="PATH|URL", help="Where everything is kept.", envvar="ROJAK_STORAGE")
]
Namespace = Annotated[str, typer.Option(help="The installation.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to go through; without it one on this machine, if any runs.")
]
NoCluster = Annotated[
    bool, typer.Option("--no-cluster", help="Go to the storage itself, whatever cluster runs on this machine.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]

_NAMESPACE = "rojak"


def conversations(kind: Literal["session", "run"]) -> typer.Typer:
    """The commands for sessions, or for runs outside them."""
    app = typer.Typer(help=f"Look at {kind}s, straight in storage, and change them.", no_args_is_help=True)
    _add_looks(app, kind)
    _add_changes(app, kind)
    return app


def _add_looks(app: typer.Typer, kind: Literal["session", "run"]) -> None:
    @app.command("list")
    def list_all(
        active: Annotated[bool, typer.Option("--active", help="Only those that some process has open.")] = False,
        storage: Storage = None,
        namespace: Namespace = _NAMESPACE,
        as_json: AsJson = False,
    ) -> None:
        """All of them, with what they are doing."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            asyncio.run(commands.list_all(commands.Place.of(storage, namespace), kind, active=active, as_json=as_json))

    @app.command()
    def show(id: Id, storage: Storage = None, namespace: Namespace = _NAMESPACE, as_json: AsJson = False) -> None:
        """Settings, history, what is under way and how earlier requests ended."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            asyncio.run(
                commands.show(commands.Place.of(storage, namespace), commands.owner_of(kind, id), as_json=as_json)
            )

    @app.command()
    def journal(id: Id, storage: Storage = None, namespace: Namespace = _NAMESPACE, as_json: AsJson = False) -> None:
        """Everything that was ever recorded, in order; of a damaged journal, what can be read."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            asyncio.run(
                commands.journal(commands.Place.of(storage, namespace), commands.owner_of(kind, id), as_json=as_json)
            )

    @app.command()
    def tail(
        id: Id,
        after: Annotated[int, typer.Option(metavar="SEQ", help="Go on after this event.")] = 0,
        until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing is going on.")] = False,
        storage: Storage = None,
        namespace: Namespace = _NAMESPACE,
        address: Address = None,
        no_cluster: NoCluster = False,
        as_json: AsJson = False,
    ) -> None:
        """Follow what happens, live where a cluster runs."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            place, owner = commands.Place.of(storage, namespace), commands.owner_of(kind, id)
            asyncio.run(
                commands.tail(
                    place, owner, commands.way(address, no_cluster), commands.Tail(after, until_idle, as_json)
                )
            )


def _add_changes(app: typer.Typer, kind: Literal["session", "run"]) -> None:
    @app.command()
    def resume(
        id: Id,
        storage: Storage = None,
        namespace: Namespace = _NAMESPACE,
        address: Address = None,
        no_cluster: NoCluster = False,
    ) -> None:
        """Go on with one that was set aside because it kept ending its process."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            place, owner = commands.Place.of(storage, namespace), commands.owner_of(kind, id)
            asyncio.run(commands.resume(place, owner, commands.way(address, no_cluster)))

    @app.command()
    def cancel(
        id: Id,
        storage: Storage = None,
        namespace: Namespace = _NAMESPACE,
        address: Address = None,
        no_cluster: NoCluster = False,
    ) -> None:
        """Stop what it is doing and drop what waits."""
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            place, owner = commands.Place.of(storage, namespace), commands.owner_of(kind, id)
            asyncio.run(commands.cancel(place, owner, commands.way(address, no_cluster)))

    @app.command()
    def delete(
        id: Id,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        storage: Storage = None,
        namespace: Namespace = _NAMESPACE,
        address: Address = None,
        no_cluster: NoCluster = False,
    ) -> None:
        """Stop it and remove everything it ever stored."""
        if not yes and not sys.stdin.isatty():
            raise typer.BadParameter("pass --yes: there is nobody to ask.", param_hint="--yes")
        if not yes:
            typer.confirm(f"Remove everything that {kind} {id!r} ever stored?", abort=True)
        with _reported():
            from rojak_ray.cli import conversation_commands as commands

            place, owner = commands.Place.of(storage, namespace), commands.owner_of(kind, id)
            asyncio.run(commands.delete(place, owner, commands.way(address, no_cluster)))


@contextmanager
def _reported() -> Generator[None]:
    """Every error in one line, also those of what was typed."""
    from rojak_ray.cli.output import errors_reported, prepare_streams

    prepare_streams()
    with errors_reported():
        yield
