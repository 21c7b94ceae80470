"""The `rojak` command. Light: what a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from rojak_ray import __version__
from rojak_ray.cli import schedules, storage_check
from rojak_ray.cli.conversations import Address, Namespace, Storage, conversations

app = typer.Typer(
    name="rojak",
    help="Durable multi-agent orchestration on Ray. Begin with `rojak demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(conversations("session"), name="sessions")
app.add_typer(conversations("run"), name="runs")
app.add_typer(schedules.app, name="schedules")
app.add_typer(storage_check.app, name="storage")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"rojak-ray {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    storage_options: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="What the URL of a bucket does not say; wins over ROJAK_STORAGE_OPTIONS."),
    ] = None,
) -> None:
    """Durable multi-agent orchestration on Ray. Begin with `rojak demo`."""
    if storage_options is not None:
        _set_options(storage_options)


def _set_options(text: str) -> None:
    """Let every storage that this command opens, here and in the processes it starts, have these options."""
    import os

    from rojak_ray.errors import InvalidStorage
    from rojak_ray.storage.options import OPTIONS_VARIABLE, read_options

    try:
        read_options(text, {})
    except InvalidStorage as error:
        raise typer.BadParameter(str(error), param_hint="--storage-options") from None
    os.environ[OPTIONS_VARIABLE] = text


@app.command()
def demo(
    model: Annotated[
        str, typer.Option(metavar="PROVIDER:NAME", help="offline, openai:NAME or anthropic:NAME.")
    ] = "offline",
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Server that speaks the provider's API; OpenAI's ends in /v1.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="PATH|URL", help="Where the session is kept.", envvar="ROJAK_STORAGE")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Go on with an earlier session.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join (auto: one on this machine). Without it Ray starts here.")
    ] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="Run without Ray, in this process.")] = False,
) -> None:
    """Talk to three agents who hand the conversation to each other.

    On a terminal you type; elsewhere the lines of standard input are the messages, and without any a short
    conversation is played. The conversation is a durable session, kept in ~/.rojak/demo unless --storage says
    otherwise.
    """
    from rojak_ray.cli.demo import DemoOptions, run_demo
    from rojak_ray.cli.models import ModelChoice
    from rojak_ray.cli.output import errors_reported

    try:
        choice = ModelChoice.parse(model, base_url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from None
    if address is not None and in_process:
        raise typer.BadParameter("--address names a Ray cluster, --in-process runs without Ray; pass one of them.")
    with errors_reported():
        run_demo(DemoOptions(choice, storage, session, address, in_process))


@app.command()
def takeover(storage: Storage = None, namespace: Namespace = "rojak", address: Address = None) -> None:
    """Let the cluster here work on a storage, whichever one does now.

    That one lets its running steps end, for a minute at most, and hands everything over. Nothing is lost or run twice.
    """
    import asyncio

    from rojak_ray.cli.output import errors_reported, prepare_streams

    prepare_streams()
    with errors_reported():
        from rojak_ray.cli.place import Place
        from rojak_ray.cli.reign_commands import take_over

        asyncio.run(take_over(Place.of(storage, namespace), address))


@app.command()
def doctor(
    storage: Storage = None,
    namespace: Namespace = "rojak",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is known of a storage without touching it: whether it can be read, and which cluster works on it.

    Ends with exit code 1 if something has to be looked at.
    """
    import asyncio

    from rojak_ray.cli.output import errors_reported, prepare_streams

    prepare_streams()
    with errors_reported():
        from rojak_ray.cli.place import Place
        from rojak_ray.cli.reign_commands import doctor as examine

        asyncio.run(examine(Place.of(storage, namespace), as_json=as_json))


def main() -> None:
    """Run the command and exit."""
    app()


if __name__ == "__main__":
    main()
