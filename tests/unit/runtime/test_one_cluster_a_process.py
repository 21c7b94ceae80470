"""A process is in one Ray cluster; a program that names another one is not served by it in silence."""

import pytest

from rojak_ray.runtime.cluster import is_same_cluster

HERE = "192.0.2.5"


@pytest.mark.parametrize(
    ("named", "joined", "same"),
    [
        ("192.0.2.5:6379", "192.0.2.5:6379", True),
        ("localhost:6379", "192.0.2.5:6379", True),
        ("192.0.2.5:6379", "127.0.0.1:6379", True),
        ("127.0.0.1:6379", "192.0.2.9:6379", False),
        ("192.0.2.9:6379", "192.0.2.5:6379", False),
        ("127.0.0.1:1", "127.0.0.1:6379", False),
        ("ray://192.0.2.9:10001", "192.0.2.5:6379", True),
        ("", "192.0.2.5:6379", True),
        ("auto", "192.0.2.5:6379", True),
        ("local", "192.0.2.5:6379", True),
    ],
)
def test_addresses_of_one_cluster(named: str, joined: str, same: bool) -> None:
    assert is_same_cluster(named, joined, HERE) is same
