"""What must be true after a schedule, judged by everything that ever landed in the bucket, not by anybody's memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from rojak_ray.core.commands import Delete, StartRun
from rojak_ray.core.events import Deleted, FunctionReturned, ModelResponded, Opened, RunAccepted, RunEnded
from rojak_ray.core.evolve import evolve
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import CallFunction
from rojak_ray.journal.paths import Owner, number_of
from rojak_ray.journal.records import JournalRecord, unseal
from rojak_ray.journal.replay import read_records, replay
from rojak_ray.messages import Message
from rojak_ray.sessions.requests import RunView, view_run
from rojak_ray.storage.memory import MemoryStore

from .network import Landed
from .work import Execution
from .world import PATHS, Acknowledged, World

_ENDED = {"completed", "failed", "cancelled", "timed_out"}


@dataclass(frozen=True)
class Entry:
    """A record that counts, when it landed, and the conversation after it."""

    at: float
    record: JournalRecord
    state: SessionState


class Truth:
    """One owner's story, from the first record on, with nothing ever removed."""

    def __init__(self, owner: Owner, landed: dict[int, Landed], records: list[JournalRecord]) -> None:
        self.owner = owner
        self.claims: list[tuple[float, str, int, int]] = []
        """Fences that landed: when, whose, slot, epoch."""

        state = SessionState(owner_kind="run" if owner.kind == "run" else "session", owner_id=owner.id)
        self.entries: list[Entry] = []
        self.outcomes: list[tuple[float, str, RunView | None]] = []
        """When which run ended, and how a caller sees it."""

        for record in records:
            at, lane = landed[record.slot].at, landed[record.slot].lane
            if record.kind == "fence":
                self.claims.append((at, lane, record.slot, record.epoch))
            for event in record.events:
                state = evolve(state, event)
                if isinstance(event, RunEnded):
                    self.outcomes.append((at, event.run_id, view_run(state, event.run_id)))
            self.entries.append(Entry(at, record, state))
        self.state = state
        self.events = [(entry, event) for entry in self.entries for event in entry.record.events]

    def unfinished(self) -> list[str]:
        """Accepted runs without an outcome, of a conversation that is not set aside."""
        if self.state.set_aside is not None:
            return []
        running = [self.state.run.run_id] if self.state.run else []
        return running + [queued.run_id for queued in self.state.queue]


class Truths:
    """The owners' stories, each read again only if something of it landed since."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._read: dict[Owner, tuple[int, Truth]] = {}

    async def of(self, owner: Owner) -> Truth:
        """From everything that ever landed; raises if that is no journal."""
        log, blobs = PATHS.log(owner), PATHS.blobs(owner, "record")
        landed: dict[str, Landed] = {}
        for write in self.world.bucket.history:
            if write.data is not None and write.key.startswith((log, blobs)):
                landed.setdefault(write.key, write)
        count, truth = self._read.get(owner, (0, None))
        if truth is None or count != len(landed):
            objects = {key: write.data for key, write in landed.items() if write.data is not None}
            records = await read_records(MemoryStore(objects), PATHS, owner)
            writes = {number_of(key): write for key, write in landed.items() if key.startswith(log)}
            truth = Truth(owner, writes, records)
            self._read[owner] = len(landed), truth
        return truth


async def audit(truths: Truths, owner: Owner) -> list[str]:
    """Everything that is wrong with an owner's story."""
    world = truths.world
    try:
        truth = await truths.of(owner)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
        return [f"{owner}: the journal cannot be read: {error}"]
    wrong = [
        *_accepted_once(truth),
        *_acknowledged(truth, [ack for ack in world.acknowledged if ack.owner == owner], world.sent),
        *_executions(truth, [one for one in world.outside.executions if _is_of(one, owner)]),
        *_fences_stay(world, owner),
        *(await _reads_back(world, truth)),
        *_conversation(truth),
    ]
    return [f"{owner}: {text}" for text in wrong]


def _is_of(execution: Execution, owner: Owner) -> bool:
    return execution.step.run_id.startswith(f"{owner.id}.") or execution.step.run_id == owner.id


def _accepted_once(truth: Truth) -> list[str]:
    wrong: list[str] = []
    accepted: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for _, event in truth.events:
        if isinstance(event, Deleted | Opened):
            accepted.clear()
            ended.clear()
        elif isinstance(event, RunAccepted):
            accepted[event.run_id] += 1
        elif isinstance(event, RunEnded):
            ended[event.run_id] += 1
        else:
            continue
        wrong += [f"run {run_id} accepted twice" for run_id, count in accepted.items() if count > 1]
        wrong += [f"run {run_id} ended twice" for run_id, count in ended.items() if count > 1]
    return wrong[:1]


def _acknowledged(truth: Truth, acknowledged: list[Acknowledged], sent: Mapping[str, float]) -> list[str]:
    """What a client was told is in the journal, and was so before it was told."""
    wrong: list[str] = []
    places: dict[str, list[int]] = defaultdict(list)
    for index, (_, event) in enumerate(truth.events):
        if isinstance(event, RunAccepted):
            places[event.run_id].append(index)
    told: dict[str, float] = {}
    for ack in acknowledged:
        for command in ack.ask.commands:
            if isinstance(command, StartRun):
                durable = [place for place in places[command.run_id] if truth.events[place][0].at <= ack.at]
                if not durable:
                    wrong.append(f"run {command.run_id} was acknowledged, but is not in the journal")
                told.setdefault(command.run_id, ack.at)
            elif isinstance(command, Delete) and not _was_gone(truth, ack):
                wrong.append("a deletion was acknowledged, but is not in the journal")
        run = ack.reply.run
        if run is not None and run.status in _ENDED:
            ends = [told for told in truth.outcomes if told[1] == run.run_id and told[0] <= ack.at]
            if run not in [view for _, _, view in ends]:
                wrong.append(f"run {run.run_id} was answered, but not as the journal has it")
    first = {run_id: found[0] for run_id, found in places.items() if found}
    for run_id, at in told.items():
        for later, began in sent.items():
            if at < began and run_id != later and first.get(run_id, 0) > first.get(later, 1e9):
                wrong.append(f"run {run_id} was acknowledged before {later} was sent, but comes after it")
    return wrong


def _was_gone(truth: Truth, ack: Acknowledged) -> bool:
    """Whether there was no conversation at some moment between a request and its answer."""
    before = [entry for entry in truth.entries if entry.at <= ack.asked]
    meanwhile = [entry for entry in truth.entries if ack.asked < entry.at <= ack.at]
    deleted = any(isinstance(event, Deleted) for entry in meanwhile for event in entry.record.events)
    return deleted or any(not entry.state.opened for entry in [*before[-1:], *meanwhile])


def _executions(truth: Truth, executions: list[Execution]) -> list[str]:
    wrong: list[str] = []
    recorded: dict[str, tuple[float, int, str | None]] = {}
    """By key: when a result was recorded, by which epoch, and what."""

    planned: dict[str, float] = {}
    incarnation = ""
    keys: dict[str, set[str]] = defaultdict(set)
    for entry, event in truth.events:
        if isinstance(event, FunctionReturned | ModelResponded):
            key = f"{incarnation}/{event.step_id}"
            output = event.output if isinstance(event, FunctionReturned) else None
            recorded[key] = (entry.at, entry.record.epoch, output)
        if isinstance(event, ModelResponded):
            turn = event.step_id.rsplit("/", 1)[0]
            for index in range(len(event.calls)):
                planned.setdefault(f"{incarnation}/{turn}/call/{index}", entry.at)
        if isinstance(event, Opened | Deleted):
            incarnation = event.incarnation if isinstance(event, Opened) else ""
    incarnations = _incarnations(truth)
    once: Counter[str] = Counter()
    outputs = {output for _, _, output in recorded.values() if output}
    for execution in executions:
        step = execution.step
        mine = [f"{incarnation}/{step.step_id}" for incarnation in incarnations]
        if isinstance(step, CallFunction):
            keys[step.step_id].add(step.idempotency_key)
            if not any(planned.get(key, 1e9) <= execution.at for key in mine):
                wrong.append(f"{step.step_id} ran before the answer that asked for it was recorded")
            if step.plan.at_most_once:
                once[step.idempotency_key] += 1
        epoch = max((e for at, lane, _, e in truth.claims if lane == execution.lane and at <= execution.at), default=0)
        for key in mine if len(incarnations) == 1 else ():
            at, by, _ = recorded.get(key, (1e9, 0, None))
            if at < execution.at and by <= epoch:
                wrong.append(f"{step.step_id} ran again at {execution.at:.4f} although its result was recorded")
    wrong += [f"{key} may run at most once and ran {count} times" for key, count in once.items() if count > 1]
    wrong += [
        f"{step_id} had {len(found)} idempotency keys"
        for step_id, found in keys.items()
        if len(found) > max(1, len(incarnations))
    ]
    done = {f"{one.name} {one.number}" for one in executions}
    for output in outputs:
        if (
            output.split(" ", 1)[0] in {"pay", "once", "count", "write", "hand_over"}
            and " ".join(output.split(" ")[:2]) not in done
        ):
            wrong.append(f"the journal has the result {output[:40]!r} of a call that was never made")
    return wrong


def _incarnations(truth: Truth) -> list[str]:
    return [event.incarnation for _, event in truth.events if isinstance(event, Opened)]


def _fences_stay(world: World, owner: Owner) -> list[str]:
    log = PATHS.log(owner)
    first: dict[str, bytes] = {}
    wrong: list[str] = []
    for write in world.bucket.history:
        if not write.key.startswith(log):
            continue
        if write.data is not None:
            first.setdefault(write.key, write.data)
        elif write.key in first and unseal(write.key, first[write.key])[0]["kind"] == "fence":
            wrong.append(f"the fence in slot {number_of(write.key)} was removed")
    return wrong


async def _reads_back(world: World, truth: Truth) -> list[str]:
    """What is left in the bucket, read from its snapshots or from its archives, is the whole truth."""
    try:
        state = (await replay(world.bucket.store, PATHS, truth.owner)).state
        records = await read_records(world.bucket.store, PATHS, truth.owner)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
        return [f"what is left of the journal cannot be read: {error}"]
    wrong = [] if state == truth.state else ["reading it from its snapshot gives another conversation"]
    everything = [entry.record for entry in truth.entries]
    if any(isinstance(event, Deleted) for _, event in truth.events):
        everything = everything[len(everything) - len(records) :]
    if [(r.slot, r.events) for r in records if r.events] != [(r.slot, r.events) for r in everything if r.events]:
        wrong.append("records are missing from the archives")
    return wrong


def _conversation(truth: Truth) -> list[str]:
    """The history is the completed runs' messages, once each, in order; context counts what completed runs counted."""
    history: list[Message] = []
    counted = 0
    state = truth.entries[0].state if truth.entries else truth.state
    for entry in truth.entries:
        for event in entry.record.events:
            if isinstance(event, Deleted):
                history, counted = [], 0
            if isinstance(event, RunEnded) and event.status == "completed":
                outcome = entry.state.outcome(event.run_id)
                if outcome is None:
                    continue
                history += outcome.messages
                counted += sum(
                    message.role == "tool" and (message.content or "").startswith("count ")
                    for message in outcome.messages
                )
        state = entry.state
    wrong: list[str] = []
    if list(state.history) != history:
        wrong.append("the conversation is not what its runs said, in order")
    if state.context_variables.get("count", 0) != counted:
        wrong.append(f"{counted} calls counted, the context says {state.context_variables.get('count', 0)}")
    return wrong
