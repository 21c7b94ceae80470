"""Functions whose annotations are text, as `from __future__ import annotations` leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from rojak_ray.agents.function import ToolContext as Renamed

if TYPE_CHECKING:
    from nowhere import Nowhere  # type: ignore[import-not-found]

    from rojak_ray.agents.function import ToolContext


class Guest(BaseModel):
    name: str


def book(
    room: Literal["small", "large"],
    guests: list[Guest],
    context_variables: Nowhere,
    call: ToolContext | None = None,
    renamed: Renamed | None = None,
) -> Nowhere:
    return guests


def make_closure() -> Any:
    class Local(BaseModel):
        a: int

    def closure(it: Local):
        return Local

    return closure


def lost(here: int, missing: Nowhere): ...
