"""Who claims, rules, yields and stands by, decided on plain data."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.reign.succession import Memory, Move, ReignSettings, Sight, judge

SETTINGS = ReignSettings()
OTHER = Sight(number=3, renewals=7)
MINE = Sight(number=3, mine=True)


def after(*looks: tuple[float, Sight], **circumstances: bool) -> tuple[Memory, Move]:
    """What comes of looks at these times, the circumstances being those of the last one."""
    memory, move = Memory(), Move.STAND_BY
    for number, (now, sight) in enumerate(looks, 1):
        last = circumstances if number == len(looks) else {}
        memory, move = judge(memory, sight, now, SETTINGS, **last)
    return memory, move


@pytest.mark.parametrize(
    ("sight", "circumstances", "expected"),
    [
        (Sight(), {}, Move.CLAIM),
        (OTHER, {}, Move.STAND_BY),
        (replace(OTHER, ended=True), {}, Move.CLAIM),
        (replace(OTHER, dead=True), {}, Move.CLAIM),
        (OTHER, {"ordered": True}, Move.CLAIM),
        (MINE, {}, Move.RULE),
        (MINE, {"ordered": True}, Move.RULE),
        (replace(MINE, ended=True), {}, Move.CLAIM),
        (replace(OTHER, mine_before=2), {}, Move.YIELD),
        (replace(OTHER, mine_before=2, ended=True), {}, Move.CLAIM),
    ],
)
def test_first_look_decides(sight, circumstances, expected):
    assert after((0, sight), **circumstances)[1] is expected


def test_a_ruler_that_falls_silent_is_followed_after_thirty_seconds_of_the_newcomers_own_clock():
    looks = [(1000.0 + seconds, OTHER) for seconds in (0, 10, 29.9)]
    assert after(*looks)[1] is Move.STAND_BY
    assert after(*looks, (1030.0, OTHER))[1] is Move.CLAIM


def test_each_renewal_is_a_sign_of_life_however_late_it_is_seen():
    looks = [(seconds, replace(OTHER, renewals=int(seconds // 20))) for seconds in range(0, 600, 5)]
    assert {after(*looks[:count])[1] for count in range(1, len(looks), 9)} == {Move.STAND_BY}


def test_a_ruler_yields_to_a_later_reign_and_signs_off_when_nothing_is_open_or_its_time_is_over():
    ruling = [(0.0, Sight(number=2, mine=True)), (100.0, replace(OTHER, mine_before=2))]
    assert after(*ruling)[1] is Move.YIELD
    later = replace(OTHER, renewals=9, mine_before=2)
    assert after(*ruling, (110.0, later))[1] is Move.YIELD
    assert after(*ruling, (110.0, later), drained=True)[1] is Move.SIGN_OFF
    looks = [(100.0 + seconds, replace(later, renewals=10 + seconds)) for seconds in range(0, 70, 5)]
    moves = [after(*ruling, *looks[:count])[1] for count in range(1, len(looks) + 1)]
    assert moves == [Move.YIELD] * 13 + [Move.SIGN_OFF]
    memory, _ = after(*ruling, (110.0, later), drained=True)
    assert judge(memory, replace(later, mine_before=0), 111.0, SETTINGS)[1] is Move.STAND_BY


def test_work_of_a_living_earlier_reign_is_waited_for_until_it_signs_off_falls_silent_or_its_time_is_over():
    won = replace(MINE, earlier=2, renewals=5)
    assert after((0, won))[0].handover
    assert not after((0, won), (1, MINE))[0].handover
    silent = [(float(seconds), won) for seconds in range(0, 31, 5)]
    assert [after(*silent[:count])[0].handover for count in range(1, 8)] == [True] * 6 + [False]
    alive = [(float(seconds), replace(won, renewals=seconds)) for seconds in range(0, 70, 5)]
    assert [after(*alive[:count])[0].handover for count in (1, 13, 14)] == [True, True, False]


def test_work_of_a_reign_that_fell_silent_is_not_waited_for():
    memory, move = after((0.0, OTHER), (30.0, OTHER))
    assert move is Move.CLAIM
    memory, move = judge(memory, Sight(number=4, mine=True, earlier=3), 30.1, SETTINGS)
    assert (move, memory.handover) == (Move.RULE, False)


def test_taking_back_while_it_yields_is_possible_at_once():
    ruling = [(0.0, Sight(number=2, mine=True)), (100.0, replace(OTHER, mine_before=2))]
    assert after(*ruling, (101.0, replace(OTHER, mine_before=2)), ordered=True)[1] is Move.CLAIM
    memory, _ = after(*ruling)
    mine_again = Sight(number=4, mine=True, mine_before=2, earlier=3)
    memory, move = judge(memory, mine_again, 102.0, SETTINGS)
    assert (move, memory.held, memory.yields, memory.handover) == (Move.WAIT, 4, False, True)
    assert judge(memory, mine_again, 109.0, SETTINGS)[1] is Move.RULE, "the other one has looked by now"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_of_clusters_that_see_the_same_storage_at_most_one_rules(data):
    """Looks, claims, stalls, orders and deaths in any order; a claim is one atomic create."""
    claims: list[int] = []  # who holds reign n+1
    ended: set[int] = set()
    renewals: dict[int, int] = {}
    memories = {name: Memory() for name in range(3)}
    moves = dict.fromkeys(memories, Move.STAND_BY)
    now = 0.0
    for _ in range(data.draw(st.integers(1, 40), "steps")):
        now += data.draw(st.floats(0.1, 40), "seconds")
        name = data.draw(st.sampled_from(sorted(memories)), "who")
        top = len(claims)
        mine = bool(claims) and claims[-1] == name
        open_before = [number for number in range(1, top) if number not in ended]
        earlier = max(open_before, default=0) if mine else 0
        sight = Sight(
            number=top,
            mine=mine,
            ended=top in ended,
            renewals=renewals.get(earlier if mine else top, 0),
            earlier=earlier,
            mine_before=max((number for number in open_before if claims[number - 1] == name), default=0),
        )
        ordered = data.draw(st.booleans(), "ordered") and data.draw(st.booleans(), "really")
        held = memories[name].held
        memories[name], moves[name] = judge(
            memories[name], sight, now, SETTINGS, ordered=ordered, drained=data.draw(st.booleans(), "drained")
        )
        if moves[name] is Move.CLAIM:
            claims.append(name)
        elif moves[name] is Move.SIGN_OFF:
            ended.add(held or sight.mine_before)
        elif moves[name] in {Move.RULE, Move.YIELD}:
            renewals[memories[name].held] = renewals.get(memories[name].held, 0) + 1
        if moves[name] is Move.RULE:
            assert claims[-1] == name
        if moves[name] is Move.YIELD:
            assert claims[memories[name].held - 1] == name
            assert memories[name].held < len(claims)
