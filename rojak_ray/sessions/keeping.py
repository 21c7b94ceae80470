"""Keeping the whole of a result that its model is given a part of, in the process that has it."""

from __future__ import annotations

from typing import Any, Protocol

from rojak_ray.agents.invoke import Whole
from rojak_ray.core.kept import KeptResult
from rojak_ray.core.steps import CallFunction, FunctionResult
from rojak_ray.errors import RojakError
from rojak_ray.journal.paths import Owner
from rojak_ray.logs import get_logger
from rojak_ray.messages import TextPart
from rojak_ray.sessions.missing import owner_of

logger = get_logger(__name__)


class Keeper(Protocol):
    """Where whole results are kept: `KeptResults`."""

    async def write(self, owner: Owner, about: KeptResult, text: str) -> KeptResult:
        """Store a text; see `KeptResults.write`."""
        ...


async def keep_whole(keeper: Keeper, step: CallFunction, whole: Whole, result: FunctionResult) -> FunctionResult:
    """The result, naming its stored whole.

    The function has run, so nothing fails here: where the whole cannot be kept, the log and the model are told.
    """
    owner = owner_of(step)
    about = KeptResult(
        call_id=step.call_id, name=step.call.name, size=0, form=whole.form, write_id="", pieces=0, sha256=""
    )
    try:
        return result.model_copy(update={"kept": await keeper.write(owner, about, whole.text)})
    except RojakError as error:
        logger.warning("the whole result of %s in %s is not kept: %s", step.call_id, owner, error)
        return result.model_copy(update={"output": _with_word(result.output, f"[The whole is not kept: {error}]")})


def _with_word(output: Any, word: str) -> Any:
    return f"{output}\n{word}" if isinstance(output, str) else (*output, TextPart(text=word))
