"""Finding the actors of an installation by name, without loading their classes."""

from __future__ import annotations

from typing import Any, cast

import ray
from ray.actor import ActorHandle

from rojak_ray.runtime.settings import RuntimeSettings

Handle = ActorHandle[Any]


def find(name: str, settings: RuntimeSettings) -> Handle | None:
    """An actor that is there already."""
    try:
        return cast("Handle", ray.get_actor(name, settings.ray_namespace))
    except ValueError:
        return None


def names_of(settings: RuntimeSettings) -> set[str]:
    """The actors of an installation that Ray has, running or on their way."""
    every = cast("list[dict[str, str]]", ray.util.list_named_actors(all_namespaces=True))
    return {actor["name"] for actor in every if actor["namespace"] == settings.ray_namespace}
