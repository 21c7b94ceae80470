"""What must be true after two clusters shared a storage: nothing ran twice, was interrupted, lost or set aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reigns.program import FUNCTIONS
from benchmarks.reigns.rivals import NAMESPACE
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.storage.open import open_store

RESULTS = ["waited", "computed", "paid"]


@dataclass
class Sent:
    """A message, and what its caller was told."""

    session: str
    text: str
    seconds: float
    output: str = ""
    results: list[str] = field(default_factory=list[str])
    error: str = ""


@dataclass
class Report:
    """What was found."""

    sent: int = 0
    answered: int = 0
    calls: int = 0
    faults: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def fault(self, kind: str, case: str) -> None:
        """Note one."""
        self.faults.setdefault(kind, []).append(case)


async def audit(sent: list[Sent], folder: Path) -> Report:
    """Compare what was asked with what callers heard, what functions did, and what is stored."""
    report = Report(len(sent), sum(bool(one.output) for one in sent))
    for one in sent:
        if one.error:
            report.fault("failed", f"{one.session} {one.text!r}: {one.error}")
        elif one.output != f"did {one.text}":
            report.fault("answered wrongly", f"{one.session} {one.text!r}: {one.output!r}")
        elif one.seconds and one.results != RESULTS:
            report.fault("interrupted", f"{one.session} {one.text!r}: {one.results}")
    _audit_calls(report, folder / "effects.txt", len(FUNCTIONS) * sum(bool(one.seconds) for one in sent))
    await _audit_sessions(report, sent, folder / "storage")
    return report


def _audit_calls(report: Report, effects: Path, expected: int) -> None:
    lines = [line.split() for line in effects.read_text().splitlines()] if effects.exists() else []
    begun, ended = (Counter(key for word, key, *_ in lines if word == each) for each in ("begins", "ends"))
    report.calls = len(begun)
    for key, times in begun.items():
        if times > 1:
            report.fault("ran twice", key)
        if not ended[key]:
            report.fault("did not end", key)
    for _, key, attempt, *_ in lines:
        if attempt != "1":
            report.fault("tried again", f"{key}, attempt {attempt}")
    if len(begun) != expected:
        report.fault("calls missing", f"{len(begun)} of {expected}")


async def _audit_sessions(report: Report, sent: list[Sent], storage: Path) -> None:
    store = open_store(str(storage))
    try:
        for name in sorted({one.session for one in sent}):
            state = (await replay(store, Paths(NAMESPACE), Owner("session", name))).state
            asked = [one.text for one in sent if one.session == name]
            heard = [message.content for message in state.history if message.role == "user"]
            if state.set_aside is not None:
                report.fault("set aside", f"{name}: {state.set_aside}")
            if not state.idle:
                report.fault("unfinished", name)
            if heard != asked:
                report.fault("lost, doubled or reordered", f"{name}: {len(heard)} messages of {len(asked)}")
    finally:
        await store.aclose()
