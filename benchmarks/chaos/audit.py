"""The checker: what clients were told, against what the journals say and what the functions really did."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.load import FUNCTIONS, Conversation
from rojak_ray import Rojak
from rojak_ray.errors import RojakError


@dataclass
class Report:
    """What came of it. Everything under `faults` must be empty."""

    seed: int
    sent: int = 0
    acknowledged: int = 0
    unknown: int = 0
    """Requests that ended in an error: they may have been taken, at most once."""

    kills: dict[str, int] = field(default_factory=dict)
    run_again: int = 0
    """Attempts of side effects beyond the first, before a result was recorded: allowed."""

    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    """By what was lost: from the loss to the answer of each message that was under way."""

    parts_s: dict[str, list[float]] = field(default_factory=dict)
    """The same for processes, in parts: by the mark that ends each, see `trace.PARTS`."""

    slowest: list[str] = field(default_factory=list)
    """The parts of those that took longest, for people."""

    resumed: int = 0
    """Messages in flight when everything was lost, and answered in storage before anybody asked again."""

    ended: dict[str, int] = field(default_factory=dict)
    """Programs that ended although nobody ended them, by the node they were on."""

    left_out: list[str] = field(default_factory=list)
    """Parts this machine does not allow, with the reason."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled, reordered, run again after its result, or answered wrongly."""
        return self.acknowledged > 0 and not any(self.faults.values())

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "faults": dict(self.faults), "ok": self.ok}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """What `as_json` gave, in another process perhaps."""
        fields = {name: value for name, value in data.items() if name != "ok"}
        return cls(**{**fields, "faults": defaultdict(list, data["faults"])})

    def add(self, other: Report) -> None:
        """Put another part of the same run to this one."""
        self.sent += other.sent
        self.acknowledged += other.acknowledged
        self.unknown += other.unknown
        self.run_again += other.run_again
        self.resumed += other.resumed
        self.kills = dict(Counter(self.kills) + Counter(other.kills))
        self.ended = dict(Counter(self.ended) + Counter(other.ended))
        for fault, cases in other.faults.items():
            self.faults[fault] += cases
        for loss, times in other.recovery_s.items():
            self.recovery_s[loss] = self.recovery_s.get(loss, []) + times
        for mark, times in other.parts_s.items():
            self.parts_s[mark] = self.parts_s.get(mark, []) + times
        self.slowest += other.slowest
        self.left_out += other.left_out


async def audit(
    report: Report, conversations: list[Conversation], clients: dict[str, Rojak], effects: list[str]
) -> None:
    """Check every acknowledged message and every side effect (`effects`: the lines the functions wrote)."""
    acknowledged: dict[str, int] = {}
    for one in conversations:
        report.sent += len(one.sent)
        report.acknowledged += len(one.acknowledged)
        report.unknown += len(one.unknown)
        report.faults["wrong"] += one.wrong
        acknowledged |= one.acknowledged
        if one.is_session:
            session = await clients[one.placement].get_session(one.name)
            history = [(message.role, message.content or "") for message in await session.history()]
            _check_order(report, one, history)
        else:
            for message in one.acknowledged:
                try:
                    again = await clients[one.placement].get_run_result(message)
                except RojakError as error:
                    report.faults["lost"].append(f"{message}: {error}")
                else:
                    _check_run(report, message, [(each.role, each.content or "") for each in again.messages])
    _check_effects(report, acknowledged, effects)


def _check_order(report: Report, one: Conversation, history: list[tuple[str, str]]) -> None:
    users = [content for role, content in history if role == "user"]
    answers = [content for role, content in history if role == "assistant" and content]
    for what, found in (("message", users), ("answer", [text.removeprefix("did ") for text in answers])):
        counts = Counter(found)
        report.faults["doubled"] += [f"{what} {text}" for text, number in counts.items() if number > 1]
        report.faults["lost"] += [f"{what} {text}" for text in one.acknowledged if text not in counts]
        report.faults["foreign"] += [f"{what} {text}" for text in counts if text not in one.sent]
        kept = [text for text in one.sent if text in counts]
        if list(dict.fromkeys(found)) != kept:
            report.faults["reordered"].append(f"{what}s of {one.name}")
    results = Counter(content for role, content in history if role == "tool")
    report.faults["doubled"] += [f"result {text}" for text, number in results.items() if number > 1]


def _check_run(report: Report, message: str, messages: list[tuple[str, str]]) -> None:
    expected = [message, f"applied {message}", f"computed {message}", f"did {message}"]
    if [content for _, content in messages if content] != expected:
        report.faults["wrong"].append(f"run {message}: {messages}")


def _check_effects(report: Report, acknowledged: dict[str, int], lines: list[str]) -> None:
    attempts: dict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    for line in lines:
        name, message, key, attempt, _, at = line.split()
        attempts[name, message].append((key, int(attempt), int(at)))
    for (name, message), found in attempts.items():
        what = f"{name} {message}"
        if len({key for key, _, _ in found}) > 1:
            report.faults["other key"].append(what)
        if len({attempt for _, attempt, _ in found}) < len(found):
            report.faults["attempt twice"].append(what)
        # The answer came after its results were recorded: whatever starts later is a recorded step that ran again.
        if message in acknowledged and any(at > acknowledged[message] for _, _, at in found):
            report.faults["run again after its result"].append(what)
        report.run_again += len(found) - 1
    for message in acknowledged:
        report.faults["lost"] += [f"{name} {message}" for name in FUNCTIONS if (name, message) not in attempts]
