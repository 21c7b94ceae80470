"""Whatever is wrong with a stored object is an error that names it; nothing is ever read past it."""

import hashlib
import json

import pytest
from support.journals import OWNER, PATHS, Desk, note, tags_in

from rojak_ray.core.events import ConfigUpdated
from rojak_ray.errors import Fenced, JournalDamaged, SchemaTooNew
from rojak_ray.journal.paths import Owner
from rojak_ray.journal.records import SCHEMA_VERSION, JournalRecord, decode_record, encode_record, seal, unseal
from rojak_ray.journal.replay import exists, read_records, replay


def slot(number):
    return PATHS.slot(OWNER, number)


async def written():
    """Slots: 1 fence, 2 `a`, 3 `b c`, 4 `d`."""
    desk = Desk()
    journal = await desk.opened()
    for batch in (("a",), ("b", "c"), ("d",)):
        await journal.append(note(*batch))
    return desk


async def assert_refused(desk, key, error=JournalDamaged):
    """Readers and writers refuse, naming the object, and the log stays as it is."""
    before = desk.objects("log")
    for refused in (
        lambda: replay(desk.memory, PATHS, OWNER),
        lambda: read_records(desk.memory, PATHS, OWNER),
        lambda: desk.journal().open(),
    ):
        with pytest.raises(error) as raised:
            await refused()
        assert raised.value.key == key
        assert key in str(raised.value)
        assert not raised.value.retryable
    assert desk.objects("log") == before


def document_of(data):
    return json.loads(data.split(b"\n")[1])


def resealed(data, **changes):
    """A record with other content and a checksum that fits it."""
    return seal({**document_of(data), **changes})[0]


def sealed_text(body):
    return b"rojak-record sha256=" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_missing_record_is_named(number):
    desk = await written()
    desk.replace(slot(number), None)
    await assert_refused(desk, slot(number))


async def test_several_missing_records_name_the_first():
    desk = await written()
    desk.replace(slot(2), None)
    desk.replace(slot(3), None)
    await assert_refused(desk, slot(2))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "cut", [lambda data: data[:1], lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: data[1:]]
)
async def test_truncated_record_is_damaged(number, cut):
    desk = await written()
    desk.replace(slot(number), cut(desk.objects("log")[slot(number)]))
    await assert_refused(desk, slot(number))


@pytest.mark.parametrize("part", ["magic", "checksum", "first newline", "body", "last newline"])
async def test_flipped_bit_in_a_stored_record_is_damaged(part):
    desk = await written()
    data = desk.objects("log")[slot(3)]
    first, last = data.index(b"\n"), len(data) - 1
    at = {"magic": 2, "checksum": first - 3, "first newline": first, "body": (first + last) // 2, "last newline": last}
    flipped = bytearray(data)
    flipped[at[part]] ^= 1
    desk.replace(slot(3), bytes(flipped))
    await assert_refused(desk, slot(3))


async def test_every_flipped_bit_and_every_truncation_of_a_record_is_damaged():
    data = (await written()).objects("log")[slot(2)]
    decode_record(slot(2), data, OWNER, 2)
    bad = [data[:length] for length in range(len(data))]
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            bad.append(bytes(flipped))
    bad += [data + b"\n", data + data, b"\n" + data, b"", b"\n", b"\0" * len(data)]
    for broken in bad:
        with pytest.raises(JournalDamaged):
            decode_record(slot(2), broken, OWNER, 2)


async def test_record_without_its_header_word_is_damaged():
    desk = await written()
    data = desk.objects("log")[slot(2)]
    desk.replace(slot(2), data.removeprefix(b"rojak-record sha256="))
    await assert_refused(desk, slot(2))


async def test_swapped_records_are_damaged():
    desk = await written()
    second, third = desk.objects("log")[slot(2)], desk.objects("log")[slot(3)]
    desk.replace(slot(2), third)
    desk.replace(slot(3), second)
    await assert_refused(desk, slot(2))


@pytest.mark.parametrize("owner", [Owner("session", "other"), Owner("run", "s"), Owner("session", "S")])
async def test_record_of_another_owner_is_damaged(owner):
    desk = await written()
    foreign = desk.journal(owner=owner)
    await foreign.open()
    await foreign.append(note("theirs"))
    desk.replace(slot(2), await desk.memory.get(PATHS.slot(owner, 2)))
    with pytest.raises(JournalDamaged, match="belongs to"):
        await replay(desk.memory, PATHS, OWNER)
    await assert_refused(desk, slot(2))


async def test_record_of_another_timeline_in_the_same_slot_breaks_the_chain():
    """Restored from a backup of the same session: right owner, right slot, wrong past."""
    other = Desk(writers=7)
    journal = await other.opened()
    await journal.append(note("other a"))
    await journal.append(note("other b"))
    desk = await written()
    desk.replace(slot(3), other.objects("log")[slot(3)])
    await assert_refused(desk, slot(3))


async def test_record_with_a_wrong_number_of_events_before_it_breaks_the_chain():
    desk = await written()
    desk.replace(slot(4), resealed(desk.objects("log")[slot(4)], first_seq=99))
    await assert_refused(desk, slot(4))


async def test_record_altered_with_a_fitting_checksum_breaks_the_chain_after_it():
    desk = await written()
    desk.replace(slot(2), resealed(desk.objects("log")[slot(2)], at="yesterday"))
    await assert_refused(desk, slot(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"events": [{"kind": "from the future"}]},
        {"events": "none"},
        {"events": [{"kind": "run_accepted"}]},
        {"kind": "snapshot"},
        {"surprise": 1},
        {"slot": "two"},
        {"epoch": None},
    ],
)
async def test_record_that_does_not_hold_what_a_record_holds_is_damaged(changes):
    desk = await written()
    desk.replace(slot(2), resealed(desk.objects("log")[slot(2)], **changes))
    await assert_refused(desk, slot(2))


async def test_record_without_events_field_is_damaged():
    desk = await written()
    document = document_of(desk.objects("log")[slot(2)])
    del document["events"]
    desk.replace(slot(2), seal(document)[0])
    await assert_refused(desk, slot(2))


@pytest.mark.parametrize("body", [b"not json", b"[]", b'"text"', b"null", b"{}", b"", b"\xff\xfe"])
async def test_object_with_a_fitting_checksum_that_is_no_record_is_damaged(body):
    desk = await written()
    desk.replace(slot(2), sealed_text(body))
    await assert_refused(desk, slot(2))


async def test_record_of_a_newer_version_is_refused_as_such():
    desk = await written()
    newer = resealed(desk.objects("log")[slot(3)], version=SCHEMA_VERSION + 1, surprise="field", events="elsewhere")
    desk.replace(slot(3), newer)
    await assert_refused(desk, slot(3), SchemaTooNew)


async def test_claim_of_a_newer_version_met_while_claiming_is_refused_as_such():
    desk = await written()
    key = PATHS.epoch(OWNER, 2)

    async def outrun(operation):
        if operation.place == "put_new epoch" and key not in desk.objects("epoch"):
            await desk.memory.put_new(key, seal({"version": SCHEMA_VERSION + 1})[0])
        return await operation.run()

    with pytest.raises(SchemaTooNew) as raised:
        await desk.journal(outrun).open()
    assert raised.value.key == key


@pytest.mark.parametrize("folder", ["log", "epoch"])
@pytest.mark.parametrize("name", ["README", "00000000000000000009.bak", "x"])
async def test_object_that_is_no_record_of_ours_in_a_folder_is_named(folder, name):
    desk = await written()
    key = (PATHS.log(OWNER) if folder == "log" else PATHS.epochs(OWNER)) + name
    await desk.memory.put_new(key, b"who put this here")
    with pytest.raises(JournalDamaged) as raised:
        await desk.journal().open()
    assert name in str(raised.value)


async def test_writer_that_meets_a_damaged_record_in_its_slot_names_it():
    desk = await written()
    journal = await desk.opened()
    key = slot(journal.position.slot + 1)
    await desk.memory.put_new(key, b"garbage")
    with pytest.raises(JournalDamaged) as raised:
        await journal.append(note("e"))
    assert raised.value.key == key


async def test_damage_never_reads_as_an_empty_conversation():
    desk = await written()
    for number in range(1, 5):
        desk.replace(slot(number), b"garbage")
    await assert_refused(desk, slot(1))


def straggler(number, *, epoch, previous="whatever", first_seq=1, tag="void"):
    record = JournalRecord(
        owner_kind=OWNER.kind,
        owner_id=OWNER.id,
        slot=number,
        epoch=epoch,
        write_id=f"straggler-{number}",
        previous=previous,
        first_seq=first_seq,
        at="",
        events=note(tag),
    )
    return encode_record(record)[0]


async def test_straggler_of_an_older_epoch_is_ignored_by_readers():
    desk = await written()
    journal = await desk.opened()  # fence of epoch 2 in slot 5
    await desk.memory.put_new(slot(6), straggler(6, epoch=1))
    found = await replay(desk.memory, PATHS, OWNER)
    assert tags_in(found.state) == list("abcd")
    assert (found.position.slot, found.position.epoch) == (6, 2)
    assert found.position.checksum == journal.position.checksum


async def test_straggler_of_an_older_epoch_is_stepped_over_by_the_writer():
    desk = await written()
    journal = await desk.opened()
    await desk.memory.put_new(slot(6), straggler(6, epoch=1))
    await desk.memory.put_new(slot(7), straggler(7, epoch=1))
    assert await journal.append(note("e")) == 5
    assert journal.position.slot == 8
    await desk.memory.put_new(slot(9), straggler(9, epoch=1, previous=journal.position.checksum, first_seq=6))
    assert await journal.append(note("f")) == 6
    assert tags_in(await desk.journal().open()) == list("abcdef")


async def test_straggler_found_while_opening_is_stepped_over():
    desk = await written()
    await desk.opened()
    await desk.memory.put_new(slot(6), straggler(6, epoch=1))
    journal = desk.journal()
    assert tags_in(await journal.open()) == list("abcd")
    assert (journal.position.slot, journal.position.epoch) == (7, 3)


async def test_straggler_that_lands_right_after_the_fence_makes_the_opening_start_over_once():
    desk = await written()
    await desk.opened()
    landed = False

    async def land(operation):
        nonlocal landed
        result = await operation.run()
        if operation.place == "put_new log" and not landed:
            landed = True
            await desk.memory.put_new(slot(7), straggler(7, epoch=1))
        return result

    journal = desk.journal(land)
    assert tags_in(await journal.open()) == list("abcd")
    assert (journal.position.slot, journal.position.epoch) == (8, 4)


async def test_record_of_a_newer_epoch_in_the_slot_fences():
    desk = await written()
    journal = await desk.opened()
    await desk.memory.put_new(slot(6), straggler(6, epoch=3))
    with pytest.raises(Fenced):
        await journal.append(note("e"))


def test_seal_is_stable_and_unseal_gives_it_back():
    document = {"version": SCHEMA_VERSION, "text": "ünï \ud800", "n": [1, 2.5, None]}
    data, checksum = seal(document)
    assert unseal("k", data) == (document, checksum)
    assert seal(document) == (data, checksum)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_seal_of_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError):
        seal({"value": value})


async def test_append_of_what_json_cannot_hold_stores_nothing_and_leaves_the_journal_usable():
    desk = Desk()
    journal = await desk.opened()
    with pytest.raises(ValueError):
        await journal.append([ConfigUpdated(max_turns=float("inf"))])
    assert await journal.append(note("b")) == 1
    assert tags_in((await replay(desk.memory, PATHS, OWNER)).state) == ["b"]


async def test_journal_whose_records_were_all_removed_is_damaged_and_not_unknown():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(note("a"))
    await journal.mark_tail()
    for key in desk.objects("log"):
        desk.replace(key, None)
    assert await exists(desk.memory, PATHS, OWNER)
    with pytest.raises(JournalDamaged):
        await replay(desk.memory, PATHS, OWNER)


async def test_journal_whose_many_claims_were_removed_is_opened_at_once_above_its_last_writer():
    desk = await written()
    for _ in range(20):
        await desk.opened()
    for key in list(desk.objects("epoch")):
        desk.replace(key, None)
    journal = desk.journal()
    assert tags_in(await journal.open()) == list("abcd")
    assert journal.position.epoch == 22
