import json
from typing import Any

import pytest

from rojak_ray.errors import InvalidStorage
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store, resolve_options
from rojak_ray.storage.options import OPTIONS_VARIABLE
from rojak_ray.testing.runtime import InProcessRuntime

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("s3://bucket/x", {"requester_pays": True}),
    ("s3://bucket/x", {"endpoint_url": "https://s3.example.org:9000", "addressing_style": "path", "region": "eu"}),
    ("s3://bucket/x", {"server_side_encryption": "AES256"}),
    ("s3://bucket/x", {"server_side_encryption": "aws:kms", "sse_kms_key_id": "arn:aws:kms:eu-west-1:1:key/abc"}),
    ("gs://bucket/x", {"requester_pays": "project-that-pays", "kms_key_name": "projects/p/cryptoKeys/k"}),
    ("az://container/x", {"endpoint_url": "https://account.blob.core.windows.net", "encryption_scope": "ours"}),
]


@pytest.mark.parametrize(("place", "options"), GOOD)
def test_options_are_taken_from_the_program_or_else_the_environment(place: str, options: dict[str, Any]) -> None:
    environ = {OPTIONS_VARIABLE: json.dumps(options)}
    assert resolve_options(place, options, {}) == options
    assert resolve_options(place, json.dumps(options), {}) == options
    assert resolve_options(place, None, environ) == options
    assert resolve_options(place, {}, environ) == {}, "the program's go before the environment's"
    assert resolve_options(place, None, {}) == {}
    assert isinstance(open_store(place, options), ObjectStore)


@pytest.mark.parametrize(
    ("place", "options", "words"),
    [
        ("s3://bucket", {"requester_pay": True}, "requester_pays"),
        ("s3://bucket", {"key": "CANARY"}, "credential"),
        ("s3://bucket", {"secret": "CANARY"}, "credential"),
        ("s3://bucket", {"aws_secret_access_key": "CANARY"}, "credential"),
        ("az://bucket", {"account_key": "CANARY"}, "credential"),
        ("az://bucket", {"connection_string": "AccountKey=CANARY"}, "credential"),
        ("gs://bucket", {"token": "CANARY"}, "credential"),
        ("s3://bucket", {"sse_customer_key": "CANARY"}, "credential"),
        ("s3://bucket", {"requester_pays": "CANARY"}, "true or false"),
        ("s3://bucket", {"requester_pays": 1}, "true or false"),
        ("gs://bucket", {"requester_pays": True}, "a text"),
        ("s3://bucket", {"addressing_style": "CANARY"}, "path, virtual"),
        ("s3://bucket", {"server_side_encryption": "CANARY"}, "aws:kms"),
        ("s3://bucket", {"server_side_encryption": ["CANARY"]}, "aws:kms"),
        ("s3://bucket", {"server_side_encryption": "AES256", "sse_kms_key_id": "CANARY"}, "aws:kms"),
        ("s3://bucket", {"region": ""}, "a text"),
        ("s3://bucket", {"region": "CAN\nARY"}, "a text"),
        ("s3://bucket", {"endpoint_url": "s3.example.org"}, "http"),
        ("s3://bucket", {"endpoint_url": "ftp://CANARY"}, "http"),
        ("s3://bucket", {"endpoint_url": "https://user:CANARY@host"}, "without user"),
        ("s3://bucket", {"endpoint_url": "https://host/?sig=CANARY"}, "query"),
        ("s3://bucket", {"endpoint_url": "https://host:CANARY"}, "http"),
        ("gs://bucket", {"server_side_encryption": "AES256"}, "kms_key_name"),
        ("file:///tmp/x", {"requester_pays": True}, "for buckets"),
        ("memory://", {"requester_pays": True}, "for buckets"),
        ("s3://bucket", "CANARY", "not JSON"),
        ("s3://bucket", '["CANARY"]', "object"),
        ("s3://bucket", ["CANARY"], "object"),
    ],
)
def test_what_cannot_be_an_option_is_named_without_its_value(place: str, options: Any, words: str) -> None:
    uses = [lambda: open_store(place, options), lambda: InProcessRuntime(place, storage_options=options)]
    for use in uses:
        with pytest.raises(InvalidStorage) as told:
            use()
        assert words in str(told.value)
        assert "CANARY" not in str(told.value)
        assert told.value.__cause__ is None


def test_options_of_buckets_in_the_environment_are_nothing_to_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTIONS_VARIABLE, '{"requester_pays": true}')
    assert open_store("/tmp/anywhere").url == "file:///tmp/anywhere"
    monkeypatch.setenv(OPTIONS_VARIABLE, "{not json")
    with pytest.raises(InvalidStorage, match=OPTIONS_VARIABLE):
        open_store("s3://bucket")
