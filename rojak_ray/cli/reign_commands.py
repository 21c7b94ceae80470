"""`rojak takeover` and `rojak doctor`: which of several clusters works on a storage, and letting another one do so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from rojak_ray.cli.output import Voice
from rojak_ray.cli.place import Place
from rojak_ray.display import json_line
from rojak_ray.errors import JournalDamaged, RayUnavailable, RojakError, SchemaTooNew, StoreUnavailable
from rojak_ray.reign.keeper import list_claims
from rojak_ray.reign.records import Claim, decode_claim
from rojak_ray.reign.reign import Duty, Standing
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.reign.witness import is_dead, lives
from rojak_ray.storage.base import Store
from rojak_ray.storage.open import open_store

if TYPE_CHECKING:
    from rojak_ray.runtime.client import Rojak

_LOOK_S = 0.5
_LONGEST_S = 120.0


async def take_over(place: Place, address: str | None) -> None:
    """Let the cluster there work, and wait until it does.

    Raises:
        RayUnavailable: There is no cluster.
    """
    from rojak_ray.runtime import cluster

    if not cluster.join(address):
        raise RayUnavailable(
            "No cluster runs here that could take over. Start one on this storage, or name it with --address; a "
            "program takes over with takeover=True."
        )
    from rojak_ray.runtime.client import Rojak

    voice = Voice()
    async with Rojak(place.storage, address=address, namespace=place.namespace) as rojak:
        before = await rojak.standing()
        if before.duty is Duty.RULES:
            voice.say(f"This cluster works on {place.storage} already, as reign {before.number}.")
            return
        await rojak.take_over()
        with voice.waiting("waiting for the cluster ..."):
            standing = await _ruling(rojak)
        voice.say(f"This cluster works on {place.storage} now, as reign {standing.number}.")
        if before.ruler:
            drain_s = rojak.settings.pool.reign.drain_s
            voice.say(f"It followed {before.ruler}, whose running steps have {drain_s:g} s to end.")


async def _ruling(rojak: Rojak) -> Standing:
    try:
        async with asyncio.timeout(_LONGEST_S):
            while True:
                standing = await rojak.standing()
                if standing.duty is Duty.RULES:
                    return standing
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise StoreUnavailable(
            f"The cluster was told to take over and does not after {_LONGEST_S:g} s; look at its log, and ask again."
        ) from None


async def doctor(place: Place, *, as_json: bool) -> None:
    """Say what is known of an installation without touching it: its storage, and who works on it."""
    store = open_store(place.storage)
    try:
        found = await _diagnose(store, place)
    finally:
        await store.aclose()
    if as_json:
        typer.echo(json_line(found))
    else:
        voice = Voice()
        for name, value in found.items():
            if name != "healthy":
                voice.say(f"{name.replace('_', ' '):10} {value}")
    if not found["healthy"]:
        raise typer.Exit(1)


async def _diagnose(store: Store, place: Place) -> dict[str, str | bool | int]:
    found: dict[str, str | bool | int] = {"storage": place.words(), "namespace": place.namespace}
    try:
        numbers, ended = await list_claims(store, place.paths)
        if not numbers:
            return found | {"reign": 0, "ruler": "nobody has worked here yet", "healthy": True}
        number = max(numbers)
        found["reign"] = number
        if number in ended:
            return found | {"ruler": f"nobody: reign {number} is over", "healthy": True}
        claim = await _claim(store, place, number)
        if isinstance(claim, str):
            return found | {"ruler": claim, "healthy": False}
        return found | {"ruler": claim.title, "state": await _state(store, place, claim), "healthy": True}
    except RojakError as error:
        return found | {"error": f"{type(error).__name__}: {error}", "healthy": False}


async def _claim(store: Store, place: Place, number: int) -> Claim | str:
    key = place.paths.reign(number)
    try:
        return decode_claim(key, await store.get(key))
    except (JournalDamaged, SchemaTooNew) as error:
        return f"unknown: {error}"


async def _state(store: Store, place: Place, claim: Claim) -> str:
    """Whether the ruler lives: its process tells, if it is of this machine, else its next renewal."""
    if lives(claim.witness):
        return "working: its process runs on this machine"
    if await is_dead(claim.witness):
        return "dead: its process on this machine has ended; the next cluster follows at once"
    settings = ReignSettings()
    before = await store.list(place.paths.renewals(claim.number))
    waited = 0.0
    while waited < settings.renew_s + settings.look_s:
        await asyncio.sleep(1.0)
        waited += 1.0
        if await store.list(place.paths.renewals(claim.number)) != before:
            return "working: it has just renewed its reign"
    return f"silent for {waited:g} s; after {settings.takeover_after_s:g} s another cluster follows"
