import dataclasses
import random

import pytest

from rojak_ray.errors import SchemaTooNew
from rojak_ray.storage import frames
from rojak_ray.storage.frames import Frame, Op, decode, encode, outcome

SOME = [
    Frame(Op.PUT, 1, "a/b", b"x" * 300),
    Frame(Op.DELETE, 2, "a/b"),
    Frame(Op.PUT, 1 << 62, "k" * 900, bytes(range(256))),
]
LOG = b"".join(map(encode, SOME))


def test_frames_come_back_from_a_segment_of_zeros():
    assert decode(LOG + bytes(4096)) == SOME
    assert decode(bytes(4096)) == []
    assert decode(b"") == []


def test_a_log_cut_anywhere_gives_its_whole_frames():
    ends = [0]
    for frame in SOME:
        ends.append(ends[-1] + len(encode(frame)))
    for cut in range(len(LOG)):
        expected = SOME[: sum(end <= cut for end in ends) - 1]
        assert decode(LOG[:cut]) == expected
        assert decode(LOG[:cut] + bytes(len(LOG) - cut + 64)) == expected


def test_reading_stops_at_a_flipped_byte():
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    for _ in range(200):
        at = dice.randrange(len(LOG))
        damaged = bytearray(LOG)
        damaged[at] ^= 1 << dice.randrange(8)
        read = decode(bytes(damaged))
        assert len(read) < len(SOME), f"seed {seed}"
        assert read == SOME[: len(read)], f"seed {seed}"


def test_a_later_version_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "VERSION", 2)
    later = encode(SOME[0])
    monkeypatch.undo()
    with pytest.raises(SchemaTooNew, match="version 2"):
        decode(encode(SOME[0]) + later)


def test_the_last_operation_counts_in_any_order():
    old, removed, new = Frame(Op.PUT, 1, "k", b"1"), Frame(Op.DELETE, 2, "k"), Frame(Op.PUT, 3, "k", b"2")
    for order in ([old, removed, new], [new, removed, old], [removed, new, old]):
        assert outcome(order) == {"k": new}
    assert outcome([removed, old]) == {"k": removed}
    same = dataclasses.replace(new, stamp=2)
    assert outcome([same, removed]) == outcome([removed, same]) == {"k": same}, "rather back than lost"
