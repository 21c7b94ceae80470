"""A Ray that is started here gets what suits us, unless the user says otherwise."""

from __future__ import annotations

from rojak_ray.runtime.cluster import start_options


def test_ours_where_the_user_says_nothing() -> None:
    options = start_options({"num_cpus": 3})
    assert options["num_cpus"] == 3
    assert options["address"] == "local"
    assert options["include_dashboard"] is False
    assert options["_system_config"]["idle_worker_killing_time_threshold_ms"] == 60_000


def test_the_user_has_the_last_word() -> None:
    system = {"idle_worker_killing_time_threshold_ms": 5, "max_pending_lease_requests_per_scheduling_category": 1}
    options = start_options({"include_dashboard": True, "_system_config": system})
    assert options["include_dashboard"] is True
    assert options["_system_config"] == {**system, "worker_niceness": 0}


def test_no_system_config_is_no_mistake() -> None:
    assert start_options({"_system_config": None})["_system_config"]["idle_worker_killing_time_threshold_ms"] == 60_000
