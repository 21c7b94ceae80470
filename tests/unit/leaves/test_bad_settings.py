"""Settings are looked at where they are written: junk is refused with the name of the field, as an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from support.junk import JUNK, Fickle

from rojak_ray import checks
from rojak_ray.agents import Agent, WaitForAnswer, function
from rojak_ray.agents.function import SETTINGS_ATTRIBUTE
from rojak_ray.errors import InvalidSetting, RojakError
from rojak_ray.messages import FilePart, ImagePart, TextPart, VendorState
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.retry import RetryOptions, RetryPolicy
from rojak_ray.runtime.client import Rojak
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.testing.runtime import InProcessRuntime

TEXTS = ("text", "long", "blank", "empty", "surrogate")
ROWS: list[tuple[str, Callable[..., Any], str, tuple[str, ...]]] = []
"""What is made, how, with which argument, and the junk that it takes."""


def rows(made: Callable[..., Any], **takes: tuple[str, ...]) -> None:
    ROWS.extend((made.__name__, made, field, taken) for field, taken in takes.items())


rows(RetryOptions, timeout_in_seconds=("five",), retry_policy=("none",))
rows(
    RetryPolicy,
    initial_interval_in_seconds=("five", "half"),
    backoff_coefficient=("five",),
    maximum_interval_in_seconds=("none", "five"),
    maximum_attempts=("five",),
    non_retryable_error_types=("none", "list"),
    maximum_retry_after_in_seconds=("five", "half"),
)
rows(
    function,
    timeout=("none", "five", "half"),
    retry_policy=("none",),
    num_cpus=("none", "five", "half"),
    num_gpus=("none", "five", "half"),
    memory=("none", "five", "half"),
    resources=("none", "dict"),
    runtime_env=("none", "dict"),
    at_most_once=("true",),
    max_result_bytes=(),
)
rows(
    WaitForAnswer,
    question=TEXTS,
    timeout_in_seconds=("none", "five", "half", "inf", "huge"),
    options=("list",),
)
rows(PoolSettings, reign=(), most_recoveries=("five",), snapshot_bytes=("five",))
rows(PoolSettings, **{one.name: ("five", "half") for one in fields(PoolSettings) if one.name.endswith("_s")})
rows(ReignSettings, **{one.name: ("five", "half") for one in fields(ReignSettings)})
rows(TextPart, text=(*TEXTS, "bytes"))
rows(ImagePart, url=("none", *TEXTS, "bytes"), media_type=("none", *TEXTS, "bytes"), detail=("none",))
rows(FilePart, data=("none", *TEXTS, "bytes"), name=("none", *TEXTS, "bytes"))
rows(VendorState, vendor=())  # it lacks the other fields
rows(
    InProcessRuntime,
    storage=("none", "text", "long"),
    storage_options=("none", "dict"),
    namespace=("text",),
    clock=("none",),
    ids=("none",),
    settings=("none",),
    takeover=("true",),
)
rows(
    Rojak,
    namespace=("text",),
    placement=(),
    hosts=("none", "five"),
    step_workers=("none", "five"),
    pool=("none",),
    ray_options=("none", "dict"),
    address=("none", "text", "long"),
    takeover=("true",),
)


@pytest.mark.parametrize(("what", "make", "field", "takes"), ROWS, ids=[f"{row[0]}.{row[2]}" for row in ROWS])
def test_junk_in_a_setting_is_refused_by_name(
    what: str, make: Callable[..., Any], field: str, takes: tuple[str, ...], tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong: list[str] = []
    for name, value in JUNK.items():
        if what == "Rojak" and name in takes:
            continue  # making one imports Ray
        given = {field: value, **({"storage": str(tmp_path)} if what == "Rojak" else {})}
        try:
            make(**given)
        except RojakError as error:
            words = str(error)
            named = field in words or field.partition("_")[0] in words.lower() or "finite" in words
            if name in takes or not named or len(words) > 1000:
                wrong.append(f"{name}: {words}")
        except BaseException as error:  # noqa: BLE001
            wrong.append(f"{name}: {type(error).__name__}")
        else:
            if name not in takes:
                wrong.append(f"{name} was taken")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("given", [5, "name", len, "".join, Agent.__repr__.__get__(object())])
def test_function_settings_belong_to_functions(given: Any) -> None:
    with pytest.raises(InvalidSetting, match="@function"):
        function(timeout=1)(given)


def test_a_function_may_be_decorated_without_more() -> None:
    @function
    def plain() -> None: ...

    assert hasattr(plain, SETTINGS_ATTRIBUTE)


@pytest.mark.parametrize("name", [*JUNK, "fickle"])
def test_whatever_it_is_it_is_shown(name: str) -> None:
    value = JUNK[name] if name in JUNK else Fickle()
    assert 0 < len(checks.shown(value)) < 100
    assert checks.kind_of(value)
    assert not checks.is_kind(value, RojakError)
