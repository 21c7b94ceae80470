"""What a reign stores: a claim, renewals of it, and its end. Objects are created once and never changed.

v1/{namespace}/reign/{n}        the claim of reign n: who rules from then on
v1/{namespace}/reign/{n}.end    reign n is over: whoever held it has let everything go
v1/{namespace}/alive/{n}/{k}    the k-th renewal: the holder of reign n was alive
v1/{namespace}/order/{name}     a take-over that its caller named was carried out
"""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from rojak_ray.journal.records import damaged, seal, unseal
from rojak_ray.journal.schema import SCHEMA_VERSION
from rojak_ray.messages import Record

Mode = Literal["ray", "in-process", "command"]


class Witness(Record):
    """A process whose end is the end of its cluster, so that a newcomer on the same machine need not wait."""

    machine: str
    """Which boot of which machine."""

    processes: str
    """Which of its process namespaces: containers count by themselves."""

    pid: int
    started: int
    """When it was started, in the kernel's ticks: a number that is used again is another process."""

    life: str = ""
    """Of a keeper that lives and dies within the process, as a program may have several one after another."""

    network: str = ""
    """In which network namespace `address` means something."""

    address: str = ""
    """`host:port` on which the cluster listens as long as it lives; nothing if the process says it all."""


class Claim(Record):
    """Who rules. Everything but `cluster` is for people, and to tell that the ruler is gone."""

    version: int = SCHEMA_VERSION
    number: int
    cluster: str
    """The claimant: the same for all processes of a cluster, also when they are restarted."""

    mode: Mode
    place: str
    """Where it runs, for people: host and process, or the cluster's address."""

    library: str
    """Version of rojak_ray."""

    at: str
    """When it was claimed, by its own clock; nothing is decided by it."""

    witness: Witness | None = None
    order: str = ""
    """What names the order to take over that it carries out, if that has a name."""

    @property
    def title(self) -> str:
        """The claimant in a sentence."""
        kinds = {"ray": "the Ray cluster", "in-process": "the program", "command": "the command"}
        return f"{kinds[self.mode]} at {self.place} ({self.cluster[:12]}, rojak_ray {self.library}) since {self.at}"


def encode_claim(claim: Claim) -> bytes:
    """A claim as it is stored."""
    return seal(claim.model_dump(mode="json"))[0]


def decode_claim(key: str, data: bytes) -> Claim:
    """A stored claim.

    Raises:
        JournalDamaged: It cannot be read. SchemaTooNew: a newer rojak_ray wrote it.
    """
    document, _ = unseal(key, data)
    try:
        return Claim.model_validate(document)
    except ValidationError as error:
        raise damaged(key, f"it is no claim ({error.error_count()} fields)") from error


def encode_note(cluster: str) -> bytes:
    """A renewal, or the end of a reign: its name says what it is, its content by whom."""
    return seal({"version": SCHEMA_VERSION, "cluster": cluster})[0]
