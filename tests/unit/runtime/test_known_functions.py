"""Which functions a catalog knows, which of them a reference means, and when each is forgotten."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.agents.function import FunctionSettings
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.runtime.known import GRACE_S, LEASE_S, MOST_HOLDERS, KnownFunctions
from rojak_ray.runtime.shipping import FunctionEntry, Parcel

AGES = GRACE_S + 2 * LEASE_S
numbers = itertools.count(1)


def entry(program, *, name="f", path=None, content=None, key=None, fixed=False, handed_over=False):
    ref = FunctionRef(name=name, ref=f"{program}.{next(numbers)}", path=path, content=content)
    return FunctionEntry(
        ref=ref,
        origin="?",
        key=key or f"parcel of {ref.ref}",
        is_async=True,
        settings=FunctionSettings(),
        offer=None,
        fixed=fixed,
        program=program,
        handed_over=handed_over,
    )


class World:
    """A catalog's functions, and a clock."""

    def __init__(self):
        self.known = KnownFunctions()
        self.now = 0.0

    def bring(self, *entries):
        for one in entries:
            if not one.handed_over:
                self.known.alive(one.program, self.now)
            self.known.add([one], [Parcel(one.key, b"code")], self.now)
        return entries[0]

    def pass_time(self, seconds, *living):
        """Programs that live are heard of every now and then."""
        end = self.now + seconds
        while self.now < end:
            self.now += LEASE_S / 3
            for program in living:
                self.known.alive(program, self.now)
            self.known.expire(self.now)


@pytest.fixture
def world():
    return World()


def after_restart(ref):
    return ref.model_copy(update={"ref": "gone.1"})


def test_callable_of_a_living_program_is_itself_whatever_else_looks_like_it(world):
    mine = world.bring(entry("a", path="m:f", content="c", key="k"))
    world.bring(entry("b", path="m:f", content="c", key="k"))
    world.known.name([mine.ref], world.now)
    assert world.known.find(mine.ref) is mine


def test_name_means_what_a_worker_registered_last_and_stays_when_the_worker_is_gone(world):
    one, two = entry("w"), entry("w")
    assert world.known.find(FunctionRef(name="f")) is None
    for each in (one, two):
        world.bring(each)
        assert world.known.find(FunctionRef(name="f")) is not each, "a callable has no name of its own"
        world.known.name([each.ref], world.now)
        assert world.known.find(FunctionRef(name="f")) is each
    world.pass_time(AGES)
    assert world.known.find(FunctionRef(name="f")) is two
    assert world.known.parcel(two.key) is not None
    assert world.known.parcel(one.key) is None


def test_reference_of_a_program_that_is_gone_never_means_what_only_has_its_name(world):
    other = world.bring(entry("b", content="other", path="m:g"))
    world.known.name([other.ref], world.now)
    for lost in (entry("a"), entry("a", content="c"), entry("a", path="m:f")):
        assert world.known.find(lost.ref) is None


def test_new_code_under_an_import_path_takes_over_when_the_old_program_is_gone(world):
    old = world.bring(entry("old", path="m:f", content="1"))
    world.known.hold([(old.ref.ref, 7)], (), world.now)
    new = world.bring(entry("new", path="m:f", content="2"))
    assert world.known.find(old.ref) is old, "its program lives"
    world.pass_time(AGES, "new")
    assert world.known.find(old.ref) is new
    world.pass_time(AGES)
    assert world.known.find(old.ref) is old, "nobody else is there, and a conversation names it"


def test_new_code_never_takes_over_what_has_state(world):
    old = world.bring(entry("old", content="1"))
    world.known.hold([(old.ref.ref, 7)], (), world.now)
    world.bring(entry("new", content="1"))
    world.pass_time(AGES, "new")
    assert world.known.find(old.ref) is old


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"path": "m:f", "content": "1"}, {"path": "m:f", "content": "1"}, True),
        ({"path": "m:f", "content": "1"}, {"path": "m:f", "content": "2"}, False),
        ({"path": "m:f"}, {"path": "m:f"}, False),
        ({"path": "m:f", "key": "k"}, {"path": "m:f", "key": "k"}, True),
        ({"content": "1", "fixed": True}, {"content": "1", "fixed": True}, True),
        ({"content": "1"}, {"content": "1"}, False),
        ({"content": "1", "key": "k"}, {"content": "1", "key": "k"}, True),
    ],
)
def test_of_several_none_is_called_unless_it_makes_no_difference(world, one, other, found):
    world.bring(entry("a", **one), entry("b", **other))
    path, content = one.get("path"), one.get("content")
    lost = FunctionRef(name="f", ref="gone.1", path=path, content=None if path else content)
    assert (world.known.find(lost) is not None) is found
    world.pass_time(LEASE_S + 1, "b")
    assert world.known.find(lost).program == "b", "the program that lives comes first"


def test_function_that_writes_instructions_is_not_one_that_models_call(world):
    world.bring(entry("a", name="instructions", path="m:f", content="1"))
    assert world.known.find(FunctionRef(name="f", ref="gone.1", path="m:f", content="1")) is None


def test_what_is_handed_over_lives_by_the_conversations_that_name_it(world):
    world.known.alive("a", world.now)
    handed = world.bring(entry("a", handed_over=True))
    world.pass_time(GRACE_S / 2, "a")
    world.known.hold([(handed.ref.ref, 1)], (), world.now)
    world.pass_time(AGES, "a")
    assert world.known.find(handed.ref) is handed
    world.known.hold((), [(handed.ref.ref, 1)], world.now)
    world.pass_time(AGES, "a")
    assert len(world.known) == 0


def test_schedule_keeps_what_it_names_until_it_is_deleted(world):
    mine = world.bring(entry("a"))
    world.known.keep("schedule s", [mine.ref.ref])
    world.pass_time(AGES)
    assert world.known.find(mine.ref) is mine
    world.known.release("schedule s", world.now)
    world.pass_time(AGES)
    assert world.known.find(mine.ref) is None


def test_function_of_very_many_conversations_stays_and_costs_no_more_memory(world):
    mine = world.bring(entry("a"))
    everyone = [(mine.ref.ref, number) for number in range(2 * MOST_HOLDERS)]
    world.known.hold(everyone, (), world.now)
    world.known.hold((), everyone, world.now)
    world.pass_time(AGES)
    assert world.known.find(mine.ref) is mine
    assert len(world.known._holders[mine.ref.ref]) == MOST_HOLDERS


def test_program_that_was_given_up_is_told_to_register_again(world):
    assert not world.known.alive("a", world.now)
    assert world.known.alive("a", world.now)
    world.pass_time(AGES)
    assert not world.known.alive("a", world.now)


def empty(known):
    state = vars(known)
    return {name: value for name, value in state.items() if isinstance(value, dict | set) and value}


actions = st.lists(
    st.tuples(st.sampled_from(["bring", "hand", "gone", "hold", "drop", "name", "leave", "wait"]), st.integers(0, 5)),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(actions)
def test_what_is_needed_is_there_and_what_is_not_is_gone(script):
    world, program = World(), "a"
    brought: list[FunctionEntry] = []
    has: set[str] = set()
    holders: dict[str, set[int]] = {}
    for action, number in script:
        one = brought[number % len(brought)] if brought else None
        if action == "bring":
            brought.append(world.bring(entry(program)))
            has.add(brought[-1].ref.ref)
        elif action == "hand":
            brought.append(world.bring(replace(entry(program), handed_over=True)))
        elif action == "leave":
            world.known.leave(program, world.now)
            has.clear()
        elif action == "wait":
            world.pass_time(AGES, program)
        elif one is None:
            continue
        elif action == "gone":
            world.known.gone(program, [one.ref.ref], world.now)
            has.discard(one.ref.ref)
        elif action == "hold" and world.known.find(one.ref):
            world.known.hold([(one.ref.ref, number)], (), world.now)
            holders.setdefault(one.ref.ref, set()).add(number)
        elif action == "drop":
            world.known.hold((), [(one.ref.ref, number)], world.now)
            holders.get(one.ref.ref, set()).discard(number)
        for each in brought:
            if each.ref.ref in has or holders.get(each.ref.ref):
                assert world.known.find(each.ref) is each
    world.pass_time(AGES, program)
    needed = {each.ref.ref for each in brought if each.ref.ref in has or holders.get(each.ref.ref)}
    assert {each.ref.ref for each in brought if world.known.find(each.ref)} == needed
    world.known.hold((), [(token, number) for token, those in holders.items() for number in those], world.now)
    world.pass_time(AGES)
    assert empty(world.known) == {}
