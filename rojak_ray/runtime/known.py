"""`KnownFunctions`: every function of an installation, which of them a reference means, and until when each is kept.

A callable is kept while a program that lives has it, or a conversation names it. What nobody has or names any more is
forgotten after a while; what a worker registered under a name stays until the name is given to another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from rojak_ray.agents.spec import FunctionRef
from rojak_ray.runtime.shipping import FunctionEntry, Parcel

LEASE_S = 15.0
"""A program that was not heard of for so long is gone."""

GRACE_S = 60.0
"""How long a function stays that nobody has or names: a conversation may be about to say that it names it."""

MOST_HOLDERS = 256
"""A function that more conversations named is no request's own: it stays, and nobody counts any further."""


@dataclass
class _Program:
    """One client of a program that registered something."""

    seen_at: float
    tokens: set[str] = field(default_factory=set[str])


@dataclass
class _Entry:
    entry: FunctionEntry
    programs: set[str] = field(default_factory=set[str])
    """Clients that have it and live."""


class KnownFunctions:
    """In memory only. Times are seconds of a monotonic clock, given by whoever calls."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._entries: dict[str, _Entry] = {}
        self._alike: dict[str, dict[str, None]] = {}
        self._named: dict[str, str] = {}
        """Tokens of what workers registered, by name."""

        self._programs: dict[str, _Program] = {}
        self._holders: dict[str, set[int | str]] = {}
        self._kept: dict[str, set[str]] = {}
        self._idle: dict[str, float] = {}
        """Since when nobody has or names a function, the longest first."""

        self._parcels: dict[str, Parcel] = {}
        self._uses: Counter[str] = Counter()
        self._expired_at = float("-inf")

    def __len__(self) -> int:
        """Callables known."""
        return len(self._entries)

    @property
    def needed(self) -> int:
        """Those of them that a program has or something names; the others are about to be forgotten."""
        return len(self._entries) - len(self._idle)

    @property
    def parcels(self) -> int:
        """Parcels of code that are kept."""
        return len(self._parcels)

    def parcel(self, key: str) -> Parcel | None:
        """A function's code."""
        return self._parcels.get(key)

    def add(self, entries: Iterable[FunctionEntry], parcels: Iterable[Parcel], now: float) -> None:
        """Make callables known, by what their references say. Each entry names the client that has it."""
        content = {parcel.key: parcel for parcel in parcels}
        for entry in entries:
            token = entry.ref.ref or ""
            if token not in self._entries:
                self._use(entry.key, content)
                self._entries[token] = _Entry(entry)
                for alike in (entry.ref.path, entry.ref.content):
                    if alike is not None:
                        self._alike.setdefault(alike, {})[token] = None
            if entry.program in self._programs and not entry.handed_over:
                self._programs[entry.program].tokens.add(token)
                self._entries[token].programs.add(entry.program)
            self._idle.pop(token, None)
            self._touch(token, now)

    def name(self, refs: Iterable[FunctionRef], now: float) -> None:
        """Register known callables of a worker under their names, replacing what had them."""
        for ref in refs:
            token, replaced = ref.ref or "", self._named.get(ref.name)
            self._hold(token, f"name {ref.name}")
            self._named[ref.name] = token
            if replaced not in (None, token):
                self._unhold(replaced or "", f"name {ref.name}", now)

    def alive(self, program: str, now: float) -> bool:
        """A client lives. False if it was not known to: then it is to register everything again."""
        known = self._programs.get(program)
        if known is None:
            self._programs[program] = _Program(now)
            return False
        known.seen_at = now
        return True

    def gone(self, program: str, tokens: Iterable[str], now: float) -> None:
        """A client does not have these any more."""
        known = self._programs.get(program)
        for token in tokens:
            if known is not None:
                known.tokens.discard(token)
            if token in self._entries:
                self._entries[token].programs.discard(program)
                self._touch(token, now)

    def leave(self, program: str, now: float) -> None:
        """A client ends."""
        known = self._programs.pop(program, None)
        if known is not None:
            self.gone(program, known.tokens, now)

    def hold(self, added: Iterable[tuple[str, int]], dropped: Iterable[tuple[str, int]], now: float) -> None:
        """Conversations name these functions, and those no more: pairs of a token and a conversation's number."""
        for token, holder in added:
            self._hold(token, holder)
        for token, holder in dropped:
            self._unhold(token, holder, now)

    def keep(self, holder: str, tokens: Iterable[str]) -> None:
        """Something else names these besides what it named before."""
        kept = self._kept.setdefault(holder, set())
        for token in tokens:
            kept.add(token)
            self._hold(token, holder)

    def release(self, holder: str, now: float) -> None:
        """It names nothing any more."""
        for token in self._kept.pop(holder, ()):
            self._unhold(token, holder, now)

    def expire(self, now: float) -> bool:
        """Forget clients that were not heard of and functions nobody needs; whether a client is gone."""
        if now - self._expired_at < 1.0:
            return False
        self._expired_at = now
        departed = [name for name, known in self._programs.items() if now - known.seen_at > LEASE_S]
        for name in departed:
            self.leave(name, now)
        for token, since in list(self._idle.items()):
            if now - since <= GRACE_S:
                break
            self._forget(token)
        return bool(departed)

    def find(self, ref: FunctionRef) -> FunctionEntry | None:
        """The function a reference means; None if it is not known, or there are several that differ.

        The very callable, while its program lives; else what a living program has under its import path; else the
        callable itself as long as it is kept; else what has its content. A name alone: what a worker registered.
        """
        if ref.by_name or ref.ref is None:
            named = self._entries.get(self._named.get(ref.name, ""))
            return named.entry if named is not None else None
        own = self._entries.get(ref.ref)
        if own is not None and (ref.path is None or self._lives(own)):
            return own.entry
        for alike in (ref.path, ref.content) if own is None else (ref.path,):
            candidates = [self._entries[token] for token in self._alike.get(alike or "", ())]
            candidates = [one for one in candidates if one.entry.ref.name == ref.name]
            living = [one for one in candidates if self._lives(one)]
            found = _only_one([one.entry for one in living or (candidates if own is None else ())], ref.path == alike)
            if found is not None:
                return found
        return own.entry if own is not None else None

    def _lives(self, one: _Entry) -> bool:
        return bool(one.programs) or (one.entry.handed_over and one.entry.program in self._programs)

    def _hold(self, token: str, holder: int | str) -> None:
        holders = self._holders.setdefault(token, set())
        if len(holders) < MOST_HOLDERS:
            holders.add(holder)
        self._idle.pop(token, None)

    def _unhold(self, token: str, holder: int | str, now: float) -> None:
        holders = self._holders.get(token)
        if holders is None or len(holders) >= MOST_HOLDERS:
            return
        holders.discard(holder)
        if not holders:
            del self._holders[token]
        self._touch(token, now)

    def _touch(self, token: str, now: float) -> None:
        """Begin to count the time of a function that nobody has or names."""
        known = self._entries.get(token)
        if known is not None and not known.programs and token not in self._holders:
            self._idle.setdefault(token, now)

    def _forget(self, token: str) -> None:
        self._idle.pop(token, None)
        known = self._entries.pop(token, None)
        if known is None:
            return
        for alike in (known.entry.ref.path, known.entry.ref.content):
            tokens = self._alike.get(alike or "")
            if tokens is not None:
                tokens.pop(token, None)
                if not tokens:
                    del self._alike[alike or ""]
        self._drop(known.entry.key)

    def _use(self, key: str, content: dict[str, Parcel]) -> None:
        self._uses[key] += 1
        if key in content:
            self._parcels[key] = content[key]

    def _drop(self, key: str) -> None:
        self._uses[key] -= 1
        if self._uses[key] <= 0:
            del self._uses[key]
            self._parcels.pop(key, None)


def _only_one(found: Collection[FunctionEntry], by_path: bool) -> FunctionEntry | None:
    """Any of these if it makes no difference which; None if it does.

    It makes none where they were shipped as the same bytes, as each conversation gets a copy of its own of those; or
    where all have one content, which can never change or is that of one import path.
    """
    if not found:
        return None
    first = next(iter(found))
    same = all(one.key == first.key for one in found)
    alike = first.ref.content is not None and all(one.ref.content == first.ref.content for one in found)
    return first if same or (alike and (by_path or all(one.fixed for one in found))) else None
