"""Who has to do what about the reign: decided on plain data, without storage or clocks.

A cluster that finds a living reign stands by. It claims the next one if nobody rules, if the ruler signed off, is
known to be dead, or renewed nothing for a while, and if a person or program orders it. A ruler that sees a later reign
yields: it begins nothing, lets go of what it has, and signs off.

Seconds are of the observer's own clock that never goes back; no clocks of two machines are ever compared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum

from rojak_ray.checks import check_number
from rojak_ray.errors import InvalidSetting
from rojak_ray.retry import LONGEST_WAIT_S


@dataclass(frozen=True, kw_only=True)
class ReignSettings:
    """How fast a cluster notices, and how patient it is. The same for all clusters of an installation."""

    look_s: float = 5.0
    """Between two looks at storage, one LIST each."""

    hurry_s: float = 1.0
    """The same while one reign follows another."""

    renew_s: float = 10.0
    """Between two renewals, one PUT each."""

    takeover_after_s: float = 30.0
    """A ruler that renewed nothing for so long is taken for lost."""

    margin_s: float = 5.0
    """So much earlier a ruler that cannot renew begins nothing new."""

    drain_s: float = 60.0
    """How long steps may go on after another cluster has taken over."""

    patience_s: float = 10.0
    """How long a request that changes something waits where it may not be taken, before it is refused."""

    def __post_init__(self) -> None:
        """Refuse what is no time; raises InvalidSetting naming the field."""
        for one in fields(self):
            check_number(getattr(self, one.name), one.name, InvalidSetting, most=LONGEST_WAIT_S)


class Move(StrEnum):
    """What is to be done now."""

    CLAIM = "claim"
    WAIT = "wait"
    """It has claimed, but the ruler before may not have seen that yet: both would open the same conversation."""

    RULE = "rule"
    YIELD = "yield"
    SIGN_OFF = "sign off"
    STAND_BY = "stand by"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What one look at storage, and at this machine, showed."""

    number: int = 0
    """Of the latest reign; 0 if there never was one."""

    mine: bool = False
    """Whether its claimant is this cluster."""

    ended: bool = False
    """Whether it was signed off."""

    dead: bool = False
    """Whether its holder is known to be dead."""

    renewals: int = 0
    """Of the latest reign if it is another's, else of the one before."""

    earlier: int = 0
    """The latest one before it that was never signed off and whose holder is not known to be dead; 0 if none."""

    mine_before: int = 0
    """The latest earlier reign that was never signed off and is this cluster's; 0 if there is none."""


@dataclass(frozen=True)
class Memory:
    """What a cluster remembers from look to look."""

    held: int = 0
    """The reign it holds or yields; 0 if none."""

    progress: tuple[int, bool, int] = (0, False, 0)
    """The last sign of life that was seen of the other one."""

    silent_since: float = 0.0
    """When that was seen first."""

    since: float = 0.0
    """When it began to rule, or to yield."""

    lost: int = 0
    """The reign that it followed because it had fallen silent."""

    yields: bool = False
    handover: bool = False
    """Whether what earlier reigns have open has to be waited for."""


def judge(
    memory: Memory, sight: Sight, now: float, settings: ReignSettings, *, ordered: bool = False, drained: bool = False
) -> tuple[Memory, Move]:
    """What a look means.

    Args:
        memory: From the last look.
        sight: What it showed.
        now: Seconds on this process's clock.
        settings: Intervals.
        ordered: Somebody wants this cluster to take over.
        drained: If it yields: whether it has let everything go.

    Returns:
        What to remember, and what to do. A claim that fails, or whose outcome is unknown, is settled by the next look.
    """
    progress = (sight.number, sight.ended, sight.renewals)
    if progress != memory.progress:
        memory = replace(memory, progress=progress, silent_since=now)
    if sight.mine and not sight.ended:
        return _rule(memory, sight, now, settings)
    held = memory.held if memory.held and memory.held <= sight.number else 0
    held = held or sight.mine_before  # a keeper that was restarted in the middle
    if held and not memory.yields:
        memory = replace(memory, held=held, yields=True, since=now, handover=False)
    silent = now - memory.silent_since >= settings.takeover_after_s
    if silent:
        memory = replace(memory, lost=sight.number)
    if not sight.number or sight.ended or sight.dead or silent or ordered:
        return memory, Move.CLAIM
    if memory.yields:
        over = drained or now - memory.since >= settings.drain_s + settings.margin_s
        return (_nobody(memory), Move.SIGN_OFF) if over else (memory, Move.YIELD)
    return _nobody(memory), Move.STAND_BY


def _rule(memory: Memory, sight: Sight, now: float, settings: ReignSettings) -> tuple[Memory, Move]:
    if memory.held != sight.number or memory.yields:
        memory = replace(memory, held=sight.number, yields=False, since=now, handover=True, silent_since=now)
    waited = now - memory.since >= settings.drain_s + settings.look_s
    silent = now - memory.silent_since >= settings.takeover_after_s
    if memory.handover and (sight.earlier <= memory.lost or waited or silent):
        memory = replace(memory, handover=False)
    unseen = memory.handover and now - memory.since < settings.look_s + settings.hurry_s
    return memory, Move.WAIT if unseen else Move.RULE


def _nobody(memory: Memory) -> Memory:
    return replace(memory, held=0, yields=False, handover=False)
