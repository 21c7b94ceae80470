"""`rojak schedules`: look at schedules and change them. What a command does is in `schedule_commands`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rojak_ray.schedules.client import SchedulingClient

app = typer.Typer(help="Look at schedules and change them; times are shown in the zone of the schedule.")

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
Unused = Annotated[str | None, typer.Option(help="Not needed: looking reads storage.", hidden=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule.")]
Note = Annotated[str | None, typer.Option(help="Why, for people.")]
Overlap = Annotated[str | None, typer.Option(metavar="POLICY", help="SKIP, BUFFER_ONE, BUFFER_ALL, CANCEL_OTHER, ...")]

_NAMESPACE = "rojak"


def _run(
    act: Callable[[SchedulingClient], Awaitable[None]],
    storage: str | None,
    namespace: str,
    address: str | None = None,
    no_cluster: bool = False,
    *,
    looks: bool = False,
) -> None:
    """Do it through the cluster there, or through the storage alone; a look always reads storage."""
    import asyncio

    from rojak_ray.cli.output import errors_reported, prepare_streams
    from rojak_ray.cli.place import Place, client_of, storage_client, way

    async def connected() -> None:
        place = Place.of(storage, namespace)
        async with storage_client(place) if looks else client_of(place, way(address, no_cluster)) as client:
            await act(client)

    prepare_streams()
    with errors_reported():
        asyncio.run(connected())


@app.command("list")
def list_schedules(
    storage: Storage = None, namespace: Namespace = _NAMESPACE, address: Unused = None, as_json: AsJson = False
) -> None:
    """Every schedule, with its next time."""
    from rojak_ray.cli.schedule_commands import list_all

    _run(lambda rojak: list_all(rojak, as_json=as_json), storage, namespace, looks=True)


@app.command()
def show(
    schedule_id: ScheduleId,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Unused = None,
    as_json: AsJson = False,
) -> None:
    """One schedule: what it does, when it acts next, and what came of the last times."""
    from rojak_ray.cli.schedule_commands import show as show_one

    _run(lambda rojak: show_one(rojak, schedule_id, as_json=as_json), storage, namespace, looks=True)


@app.command()
def create(
    schedule_id: ScheduleId,
    message: Annotated[str, typer.Option("--message", "-m", help="What each run is asked.")],
    cron: Annotated[list[str] | None, typer.Option(metavar="EXPRESSION", help="When, such as '0 9 * * 1-5'.")] = None,
    every: Annotated[list[str] | None, typer.Option(metavar="DURATION", help="When, such as 45m or 6h/5h.")] = None,
    zone: Annotated[
        str | None, typer.Option(help="Time zone of --cron, such as Europe/Berlin; UTC without it.")
    ] = None,
    jitter: Annotated[str | None, typer.Option(metavar="DURATION", help="Put each time off by a part of this.")] = None,
    model: Annotated[str, typer.Option(metavar="PROVIDER:NAME", help="offline, openai:NAME, ...")] = "offline",
    name: Annotated[str, typer.Option(help="Name of the agent.")] = "Agent",
    instructions: Annotated[str, typer.Option(help="Its instructions.")] = "You are a helpful assistant.",
    function: Annotated[list[str] | None, typer.Option(help="A function it may call, registered by a worker.")] = None,
    overlap: Overlap = None,
    catchup: Annotated[str | None, typer.Option(metavar="DURATION", help="How late a time may be noticed.")] = None,
    pause_on_failure: Annotated[bool, typer.Option("--pause-on-failure", help="Pause when a run fails.")] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Create it paused.")] = False,
    note: Note = None,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Create a schedule that asks an agent something whenever its time comes."""
    from rojak_ray.cli.schedule_commands import NewSchedule
    from rojak_ray.cli.schedule_commands import create as create_one

    new = NewSchedule(
        message=message,
        cron=tuple(cron or ()),
        every=tuple(every or ()),
        zone=zone,
        jitter=jitter,
        model=model,
        name=name,
        instructions=instructions,
        functions=tuple(function or ()),
        overlap=overlap,
        catchup=catchup,
        pause_on_failure=pause_on_failure,
        paused=paused,
        note=note,
    )
    _run(lambda rojak: create_one(rojak, schedule_id, new), storage, namespace, address, no_cluster)


@app.command()
def pause(
    schedule_id: ScheduleId,
    note: Note = None,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Take no times into account until it is unpaused."""
    from rojak_ray.cli.schedule_commands import pause as pause_one

    _run(lambda rojak: pause_one(rojak, schedule_id, note), storage, namespace, address, no_cluster)


@app.command()
def unpause(
    schedule_id: ScheduleId,
    note: Note = None,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Go on; what passed meanwhile is forgotten."""
    from rojak_ray.cli.schedule_commands import unpause as unpause_one

    _run(lambda rojak: unpause_one(rojak, schedule_id, note), storage, namespace, address, no_cluster)


@app.command()
def trigger(
    schedule_id: ScheduleId,
    overlap: Overlap = None,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Start a run now."""
    from rojak_ray.cli.schedule_commands import trigger as trigger_one

    _run(lambda rojak: trigger_one(rojak, schedule_id, overlap), storage, namespace, address, no_cluster)


@app.command()
def backfill(
    schedule_id: ScheduleId,
    start: Annotated[str, typer.Argument(metavar="START", help="Such as 2026-06-01T08:00, in the schedule's zone.")],
    end: Annotated[str, typer.Argument(metavar="END", help="Included, as START is.")],
    overlap: Overlap = None,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Go through a span of time as if it passed now."""
    from rojak_ray.cli.schedule_commands import backfill as backfill_one

    _run(lambda rojak: backfill_one(rojak, schedule_id, start, end, overlap), storage, namespace, address, no_cluster)


@app.command("cancel-backfills")
def cancel_backfills(
    schedule_id: ScheduleId,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Call off what is left of the backfills; runs that they started go on."""
    from rojak_ray.cli.schedule_commands import cancel_backfills as cancel_them

    _run(lambda rojak: cancel_them(rojak, schedule_id), storage, namespace, address, no_cluster)


@app.command()
def delete(
    schedule_id: ScheduleId,
    storage: Storage = None,
    namespace: Namespace = _NAMESPACE,
    address: Address = None,
    no_cluster: NoCluster = False,
) -> None:
    """Delete a schedule; runs that are going go on."""
    from rojak_ray.cli.schedule_commands import delete as delete_one

    _run(lambda rojak: delete_one(rojak, schedule_id), storage, namespace, address, no_cluster)
