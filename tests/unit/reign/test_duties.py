"""What a process does when its cluster rules, rules no more, or rules again."""

from rojak_ray.concurrency import background
from rojak_ray.reign.duties import follow
from rojak_ray.reign.reign import Duty, Reign, Standing
from rojak_ray.testing.clock import FakeClock


async def test_whoever_could_not_know_whether_it_ruled_looks_for_what_it_left_meanwhile() -> None:
    clock, done = FakeClock(), list[str]()
    reign, rules = Reign(clock), Standing(Duty.RULES, 1)

    async def note(what: str) -> None:
        done.append(what)

    task = background("obey", lambda: follow(reign, lambda: note("begin"), lambda: note("end")), clock)
    for pause_s, began in ((0, 1), (10, 1), (24, 1), (31, 2), (5, 2), (600, 3)):
        await clock.advance(pause_s)
        reign.learn(rules, valid_s=25)
        await clock.advance(0)
        assert done == ["begin"] * began, f"after {pause_s} s without news"
    reign.learn(Standing(Duty.STANDS_BY, 2))
    await clock.advance(0)
    assert done[-1] == "end"
    task.cancel()
