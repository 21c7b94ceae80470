"""A step with everything the process that runs it must know: which code serves its functions and its provider.

Assignments and results travel as JSON, not as pickled objects: Ray's pickler stops at every record it meets, which
costs 10 microseconds for each message of a conversation, and the records validate themselves on arrival.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.core.steps import CallFunction, CallModel, RenderInstructions, Retrieve, StepResult
from rojak_ray.messages import Record
from rojak_ray.runtime.keeping import KeepingPlace

_RESULT: TypeAdapter[StepResult] = TypeAdapter(StepResult)


class AssignedFunction(Record):
    """Which parcel serves a reference."""

    ref: FunctionRef
    key: str
    program: str = ""
    """The client that registered it."""

    @property
    def place(self) -> str:
        """Names the copy of the parcel that serves this reference: two references never share one."""
        return f"{self.ref.ref or self.ref.name}/{self.key}"


class Assignment(Record):
    """One attempt of a step, ready to run anywhere."""

    step: Annotated[RenderInstructions | Retrieve | CallModel | CallFunction, Field(discriminator="kind")]
    functions: tuple[AssignedFunction, ...] = ()
    provider: str | None = None
    """Parcel of its provider or retriever; None: a built-in one with settings of the node's environment."""

    keeping: KeepingPlace | None = None
    """Where the whole of its result is kept, if that is wanted."""

    def assigned(self, ref: FunctionRef) -> AssignedFunction | None:
        """What serves a function."""
        return next((function for function in self.functions if function.ref == ref), None)

    @property
    def program(self) -> str:
        """The client whose function it runs."""
        return self.functions[0].program if self.functions else ""

    def pack(self) -> bytes:
        """For travelling."""
        return self.model_dump_json().encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Assignment:
        """After travelling."""
        return cls.model_validate_json(packed)


class CodeGone(Exception):
    """An assignment names a parcel that only an earlier life of the catalog had. Nothing of it has started."""

    def __init__(self, key: str) -> None:
        """The parcel."""
        super().__init__(f"the code {key} was registered with a catalog that is gone")
        self.key = key


_TEXT, _LAST, _GONE = b"t", b"r", b"g"


def pack_text(text: str) -> bytes:
    """A piece of an answer, as an item of a stream."""
    return _TEXT + text.encode()


def pack_last(packed_result: bytes) -> bytes:
    """A packed result, as the last item of a stream."""
    return _LAST + packed_result


def unpack_item(item: bytes) -> str | bytes:
    """An item of a stream: a piece of text, or the packed result."""
    return item[1:].decode() if item[:1] == _TEXT else item[1:]


def pack_result(result: StepResult) -> bytes:
    """A result for travelling."""
    return _RESULT.dump_json(result)


def pack_gone(gone: CodeGone) -> bytes:
    """In place of a result."""
    return _GONE + gone.key.encode()


def unpack_result(packed: bytes) -> StepResult:
    """A result after travelling.

    Raises:
        CodeGone: There is none: the step has to be assigned again.
    """
    if packed[:1] == _GONE:  # a result is JSON
        raise CodeGone(packed[1:].decode())
    return _RESULT.validate_json(packed)
