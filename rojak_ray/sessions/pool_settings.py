"""How a `HostPool` is set up and what it counts; apart from it, so that whoever only names them loads no journal."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from rojak_ray.checks import check_kind, check_number
from rojak_ray.errors import InvalidSetting
from rojak_ray.journal.thresholds import SNAPSHOT_BYTES
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.retry import LONGEST_WAIT_S


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How long conversations stay in memory, what they wait for, and when a cluster works on them.

    Example:
        settings = PoolSettings(session_idle_s=60)  # Rojak(pool=settings): conversations leave memory after a minute
    """

    session_idle_s: float = 300.0
    """A session that nobody asked for this long goes to storage; the next message brings it back."""

    run_idle_s: float = 5.0
    """The same for a run outside any session, counted from its end."""

    sweep_s: float = 1.0
    """How often idle hosts are looked for."""

    timers_s: float = 5.0
    """How often timers of conversations that wait in storage are looked at."""

    most_recoveries: int = 6
    """A session whose process ended so often in a row without a recorded result is set aside."""

    probation_s: float = 10.0
    """In a process with other sessions: how long a suspect must live on to be cleared."""

    code_wait_s: float = 10.0
    """How long a step waits for a worker to register what runs it."""

    code_wait_after_loss_s: float = 600.0
    """The same for a run that outlived its process: workers come back later than hosts."""

    fewer_hosts_after_s: float = 60.0
    """How long nodes must be gone before the shared hosts become fewer, where their number follows the cluster."""

    reign: ReignSettings = field(default_factory=ReignSettings)
    """How fast clusters on one storage notice each other, and how patient they are."""

    snapshot_bytes: int = SNAPSHOT_BYTES
    """Bytes of records after which a conversation is written down whole."""

    def __post_init__(self) -> None:
        """Refuse what is no time or count; raises InvalidSetting naming the field."""
        check_kind(self.reign, "reign", InvalidSetting, ReignSettings)
        for one in fields(self):
            if one.name != "reign":
                whole = not one.name.endswith("_s")
                check_number(getattr(self, one.name), one.name, InvalidSetting, most=LONGEST_WAIT_S, whole=whole)


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A look at one pool."""

    open_hosts: int
    busy_hosts: int
    running_steps: int
