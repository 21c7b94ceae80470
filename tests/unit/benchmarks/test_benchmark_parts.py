"""The parts of the benchmarks that decide what a number means; what they measure is tested by running them."""

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, cost, counting_s3, model_server, report, stats
from benchmarks.peers import driver
from benchmarks.systems import CONTENDERS, WORKLOADS, named


def row(system: str, workload: str, repeat: int, **metrics: float) -> dict[str, Any]:
    return {"system": system, "workload": workload, "repeat": repeat, "metrics": metrics, "took_s": 1.0}


class TestStats:
    def test_a_spread_shows_median_and_range(self) -> None:
        assert stats.spread([3, 1, 2]).text(0) == "2 (1-3)"

    def test_one_value_has_no_range(self) -> None:
        assert stats.spread([1234.5]).text() == "1,234.5"

    @pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
    def test_percentiles_are_values_that_occurred(self, share: float, expected: int) -> None:
        assert stats.percentile(list(range(1, 101)), share) == expected

    def test_there_is_no_percentile_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="nothing"):
            stats.percentile([], 0.5)

    def test_a_schedule_is_late_from_its_offset_on_and_may_be_early(self) -> None:
        arrivals = [(131.0, "offset 10 of b"), (120.5, "offset 0 of a"), (179.75, "offset 0 of c"), (125.0, "add")]
        again = [(180.0, "offset 0 of a")]
        assert stats.lateness(arrivals + again, 60) == [0.5, 1.0, -0.25]

    def test_only_code_is_counted(self) -> None:
        head = '"""Doc."""\n\n# comment\nimport os\n\n\n'
        source = head + 'def f():\n    """Two\n    lines."""\n    text = "#"\n    return text\n'
        assert stats.lines_of_code(source) == 4


class TestProtocol:
    class Calculator:
        packages = ("pytest",)

        def __init__(self, setup: driver.Setup) -> None:
            self.asked: list[str] = []

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def turn(self, conversation: str, text: str) -> str:
            self.asked.append(conversation)
            return driver.ANSWER

        once = turn

    def options(self, workload: str, count: int) -> argparse.Namespace:
        common = {"url": "", "folder": Path(), "server": "", "variant": "", "limit_s": 5.0, "every_s": 1}
        return argparse.Namespace(workload=workload, count=count, at_once=2, **common)

    @pytest.mark.parametrize("workload", ["latency", "crowd"])
    def test_one_line_of_json_tells_all(
        self, workload: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver, "SETTLE_S", 0.0)
        asyncio.run(driver.run(self.Calculator, self.options(workload, 4)))
        (line,) = capsys.readouterr().out.splitlines()
        found = json.loads(line)
        assert (found["asked"], found["answered"], len(found["seconds"])) == (4, 4, 4)
        assert found["marks"]["ready"] <= found["marks"]["done"]
        assert found["versions"].keys() == {"pytest"}

    def test_a_wrong_answer_is_no_measurement(self) -> None:
        async def wrong() -> str:
            return "4"

        with pytest.raises(RuntimeError, match="'4'"):
            asyncio.run(driver.timed(wrong()))

    def test_a_system_without_schedules_says_not_yet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "SETTLE_S", 0.0)
        with pytest.raises(driver.NoNumber):
            asyncio.run(driver.run(self.Calculator, self.options("schedules", 1)))


class TestModel:
    def test_it_asks_for_the_function_and_then_answers(self) -> None:
        asked = model_server.Asked(0.0, 7.0, trace=True)
        call, _ = asked.answer(b'{"messages": [{"role": "user", "content": "add"}]}')
        text, held = asked.answer(b'{"messages": [{"role": "user"}, {"role": "tool"}]}')
        _, later = asked.answer(b'{"messages":[{"role":"user"},{"role":"tool"}]}')
        assert b"call_00000001" in call
        assert driver.ANSWER.encode() in text
        assert (held, later) == (7.0, 0.0)
        assert [words for _, words in asked.arrivals] == ["add"]


class TestReport:
    def test_every_workload_has_a_table_and_every_number_a_place(self) -> None:
        rows = [
            row(contender.name, workload.name, 1, **{column.metric: 1.0 for column in report.COLUMNS[workload.name]})
            for workload in WORKLOADS
            for contender in CONTENDERS
            if workload.name not in contender.skips
        ]
        text = report.page(rows, [contender.name for contender in CONTENDERS])
        tables = [block for block in text.split("\n\n") if block.startswith("| ")]
        assert len(tables) == len(WORKLOADS) + 2
        for block in tables:
            assert len({line.count("|") for line in block.splitlines()}) == 1

    def test_a_failure_is_a_reason_in_its_row(self) -> None:
        failed = {"system": "langgraph", "workload": "crowd", "repeat": 1, "error": "could not be installed"}
        text = report.section(WORKLOADS[1], [failed], ["langgraph"])
        assert "| LangGraph + SQLite, sync | could not be installed |  |  |" in text

    def test_the_plot_is_a_picture_of_what_was_measured(self) -> None:
        svg = report.plot([row("openai", "turns", 1, p50_ms=12.0)], ["openai", "langgraph"])
        assert svg.count("<rect") == 2  # the ground and one bar
        assert "12.0" in svg

    def test_hello_worlds_are_counted(self) -> None:
        assert "**rojak-ray**, shared | 10 | none" in report.hello_lines()


class TestPlan:
    def test_repetitions_alternate_between_systems(self) -> None:
        jobs = compare.plan(["openai", "langgraph"], ["turns"], 2)
        assert [(job.contender.name, job.repeat) for job in jobs] == [
            ("openai", 1),
            ("langgraph", 1),
            ("openai", 2),
            ("langgraph", 2),
        ]

    def test_unknown_names_end_the_command_with_the_known_ones(self) -> None:
        with pytest.raises(SystemExit, match="langgraph"):
            named("langchain", CONTENDERS)

    def test_a_run_goes_on_where_it_was_cut(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[str] = []

        def perform(job: compare.Job, quick: bool) -> dict[str, Any]:
            made.append(job.file)
            return row(job.contender.name, job.workload.name, job.repeat, p50_ms=1.0)

        monkeypatch.setattr(compare, "perform", perform)
        jobs = compare.plan(["openai", "langgraph"], ["turns"], 1)
        console = compare.Console(quiet=True)
        assert compare.run(jobs[:1], tmp_path, True, 0, console) == 0
        assert compare.run(jobs, tmp_path, True, 0, console) == 0
        assert made == [job.file for job in jobs]
        assert len(compare.load(tmp_path)) == 2

    def test_a_slice_ends_before_the_next_measurement_would(self, tmp_path: Path) -> None:
        jobs = compare.plan(["openai"], ["turns"], 1)
        assert compare.run(jobs, tmp_path, True, 1.0, compare.Console(quiet=True)) == 1


class TestCost:
    @pytest.mark.parametrize(
        ("method", "path", "query", "expected"),
        [
            ("PUT", "/bucket/key", "", "PUT"),
            ("GET", "/bucket/key", "", "GET"),
            ("GET", "/bucket", "list-type=2&prefix=a", "LIST"),
            ("GET", "/", "", "LIST"),
            ("DELETE", "/bucket/key", "", "DELETE"),
        ],
    )
    def test_requests_are_what_a_bill_calls_them(self, method: str, path: str, query: str, expected: str) -> None:
        assert counting_s3.kind(method, path, query) == expected

    def test_dollars(self) -> None:
        assert cost.bucket_dollars(Counter(PUT=1000, LIST=1000, GET=1000, DELETE=9000)) == pytest.approx(0.0104)
        assert cost.action_dollars(1_000_000) == 50
