"""How one question's answer is read, whole or put together from events; what cannot be used is an error of ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from rojak_ray.errors import ModelCutShort, ModelMisbehaved, StepError
from rojak_ray.providers.failures import causes, quoted, reply_failure, stream_failure
from rojak_ray.providers.streaming import Assembly, ErrorEvent
from rojak_ray.providers.wire import CutReply, FailedReply, UnusableReply
from rojak_ray.redaction import Secrets

Answer = TypeVar("Answer")

_EXCERPT = 300


@dataclass(frozen=True)
class ReplyReader(Generic[Answer]):
    """Reads the answer to one question."""

    vendor: str
    read: Callable[[Any], Answer]
    """Takes the body, as data."""

    assembly: Callable[[], Assembly]
    """Makes what puts a body together."""

    def whole(self, text: str, secrets: Secrets) -> Answer:
        """The answer in a body.

        Raises:
            ModelMisbehaved, ModelCutShort, ModelRejected, ModelUnavailable: It is none that can be used.
        """
        try:
            return self.read(_json_in(text))
        except RecursionError:
            raise self._too_deep() from None
        except (UnusableReply, ValidationError) as error:
            raise self._unusable(error, text, secrets) from None

    def assembled(self, assembly: Assembly, secrets: Secrets) -> Answer:
        """The answer that events stand for; raises what `whole` raises."""
        if not assembly.complete:
            raise ModelMisbehaved(f"{self.vendor}'s answer was cut short: the stream ended without its last event.")
        try:
            text = json.dumps(assembly.reply())
        except RecursionError:
            raise self._too_deep() from None
        return self.whole(text, secrets)

    @contextlib.contextmanager
    def receiving(self, secrets: Callable[[], Secrets]) -> Generator[None]:
        """What goes wrong while events are taken, as an error of ours."""
        try:
            yield
        except ErrorEvent as error:
            raise stream_failure(self.vendor, error.body, str(error.body), secrets()) from None
        except RecursionError:
            raise self._too_deep() from None
        except ValueError as error:
            raise ModelMisbehaved(f"{self.vendor} sent an event that is not JSON: {causes(error, secrets())}") from None

    def _too_deep(self) -> ModelMisbehaved:
        return ModelMisbehaved(f"{self.vendor}'s answer cannot be used: it is nested too deep.")

    def _unusable(self, error: UnusableReply | ValidationError, text: str, secrets: Secrets) -> StepError:
        """The error for an answer that is none."""
        reason = quoted(str(error) if isinstance(error, UnusableReply) else _first_fault(error), secrets)
        if isinstance(error, FailedReply):
            return reply_failure(self.vendor, reason, error.error, secrets)
        words = f"{self.vendor}'s answer cannot be used: {reason}."
        if isinstance(error, CutReply):
            words += " Raise the limit, or ask for less: asked again without a change it would be cut again."
            return ModelCutShort(words, finish_reason=error.finish_reason)
        return ModelMisbehaved(f"{words} It began: {quoted(text, secrets, _EXCERPT)!r}")


def _json_in(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableReply("it is not JSON, or was cut short") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place or 'the body'}: {fault['msg']}"
