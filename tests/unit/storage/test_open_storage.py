import os
from pathlib import Path

import pytest

from rojak_ray.errors import InvalidStorage
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store, resolve_storage


def test_the_default_is_in_the_home_directory(tmp_path: Path) -> None:
    assert resolve_storage(None, {}, tmp_path) == (tmp_path / ".rojak" / "storage").as_uri()


def test_the_argument_goes_before_the_environment(tmp_path: Path) -> None:
    environ = {"ROJAK_STORAGE": "s3://from-env/x"}
    assert resolve_storage(None, environ, tmp_path) == "s3://from-env/x"
    assert resolve_storage("memory://", environ, tmp_path) == "memory://"


def test_one_place_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a place%41?"
    place.mkdir()
    (tmp_path / "link").symlink_to(place)
    monkeypatch.chdir(tmp_path)
    ways = [
        str(place),
        f"{place}/",
        f"{tmp_path}/other/../{place.name}",
        place.name,
        f"./{place.name}",
        "link",
        f"~/{place.name}",
        place.as_uri(),
        f"file://localhost{place.as_uri().removeprefix('file://')}",
    ]
    names = {resolve_storage(way, {}, tmp_path) for way in ways}
    assert names == {place.as_uri()}
    assert {resolve_storage(name, {}, tmp_path) for name in names} == names
    assert open_store(place.as_uri()).url == place.as_uri()


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("abfs://container/a", "az://container/a"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_buckets(written: str, canonical: str, tmp_path: Path) -> None:
    assert resolve_storage(written, {}, tmp_path) == canonical
    store = open_store(written)
    assert isinstance(store, ObjectStore)
    assert (store.url, store.shared) == (canonical, True)


def test_each_memory_url_is_a_fresh_store() -> None:
    first, second = open_store("memory://"), open_store("memory://")
    assert isinstance(first, MemoryStore)
    assert first is not second
    assert not first.shared


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "cannot be shown"),
        ("simplecache::s3://bucket", "::"),
        ("zip://a.zip", "zip://"),
        ("http://host/x", "http://"),
        ("https://host/x", "s3://bucket"),
        ("ftp://host", "ftp://"),
        ("file://host/x", "file:///"),
        ("file://relative", "file:///"),
        ("s3://", "bucket"),
        ("s3:///x", "bucket"),
        ("s3://[x", "bucket"),
        ("s3://bucket/../other", "prefix"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://KEY:SECRET@bucket/x", "environment"),
        ("s3://KEY@bucket/x", "environment"),
        ("s3://bucket/x?key=SECRET", "environment"),
        ("s3://bucket/x#SECRET", "environment"),
        ("abfs://container@SECRET.dfs.core.windows.net/x", "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_what_cannot_be_used_is_explained_without_secrets(url: str, words: str, tmp_path: Path) -> None:
    for use in (open_store, lambda value: resolve_storage(value, {}, tmp_path)):
        with pytest.raises(InvalidStorage) as caught:
            use(url)
        assert words in str(caught.value)
        assert "SECRET" not in str(caught.value)


def test_a_file_is_not_a_place(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(InvalidStorage, match="is a file"):
        resolve_storage(str(file), {}, tmp_path)


async def test_opening_does_not_touch_the_disk(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "later" / "root"))
    assert isinstance(store, LocalStore)
    assert await store.list("") == []
    assert not os.listdir(tmp_path)
    await store.put_new("a", b"x")
    assert (tmp_path / "later" / "root" / "a").read_bytes() == b"x"
    await store.aclose()
