import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from rojak_ray.errors import InvalidStorage
from rojak_ray.journal.paths import Owner, OwnerKind, Paths
from rojak_ray.storage.keys import MAX_KEY_LENGTH, MAX_PREFIX_LENGTH, is_key
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store, resolve_storage
from rojak_ray.testing.runtime import InProcessRuntime


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
        ("s3://KEY:SECRET/bucket/x", "environment"),
        ("az://account:SECRET/container", "environment"),
        ("s3://KEY/SECRET+/x", "prefix"),
        ("KEY:SECRET@bucket/x", "no scheme"),
        ("s3:/bucket/prefix", "lost a slash"),
        ("S3:/bucket/prefix", "lost a slash"),
        ("s3:bucket/prefix", "lost a slash"),
        ("gs:/bucket", "lost a slash"),
        ("az:/container", "lost a slash"),
        ("abfs:/container", "lost a slash"),
        ("memory:/", "lost a slash"),
        ("memory:", "lost a slash"),
        ("file:relative", "lost a slash"),
        ("http:/host/x", "lost a slash"),
        ("hdfs:/host/x", "lost a slash"),
        ("arn:aws:s3:::bucket", "lost a slash"),
        ("/home/me/s3:/bucket", "lost a slash"),
        ("./s3:/bucket", "lost a slash"),
        ("C:\\data", "lost a slash"),
        ("$HOME/rojak", "expanded"),
        ("${DATA}/rojak", "expanded"),
        ("/data/$NAME/x", "expanded"),
        ("file:///data/$NAME/x", "expanded"),
        ("%APPDATA%/rojak", "expanded"),
        ("{{ storage }}", "expanded"),
        ("s3://$BUCKET/x", "bucket"),
        ("~nobody/rojak", "home"),
        ("/data/~/rojak", "home"),
        ("file:///~/rojak", "home"),
        ("'/data/rojak'", "quotes"),
        (" /data", "spaces"),
        ("None", "no path"),
        (f"s3://bucket/{'x' * 600}", "at most"),
    ],
)
def test_what_cannot_be_used_is_explained_without_secrets(url: str, words: str, tmp_path: Path) -> None:
    for use in (open_store, lambda value: resolve_storage(value, {}, tmp_path)):
        with pytest.raises(InvalidStorage) as caught:
            use(url)
        assert words in str(caught.value)
        assert "SECRET" not in str(caught.value)


def test_the_longest_prefix_leaves_room_for_the_longest_key() -> None:
    segment = "x" * 99
    prefix = f"{segment}/{segment}/{segment}/{segment}/{segment}/{segment}"
    assert len(prefix) == MAX_PREFIX_LENGTH
    assert len(f"{prefix}/") + MAX_KEY_LENGTH == 1024
    assert resolve_storage(f"s3://bucket/{prefix}", {}) == f"s3://bucket/{prefix}"


def test_the_longest_keys_we_write_are_keys() -> None:
    paths = Paths("A" * 200)
    for kind in get_args(OwnerKind):
        owner = Owner(kind, "ä" * 60 + "B")
        keys = [paths.blob(owner, "record", 1, 1, "f" * 64), paths.archive(owner, 1, 2, 3), paths.marker(owner, 1)]
        assert all(is_key(key) for key in keys), max(map(len, keys))


@pytest.mark.parametrize(
    "made", [lambda place: place, lambda place: f"file:{place}"], ids=["Path", "as Java writes it"]
)
def test_other_ways_to_write_a_path(made: Callable[[Path], str | Path], tmp_path: Path) -> None:
    assert resolve_storage(made(tmp_path / "x"), {}) == (tmp_path / "x").as_uri()
    assert open_store(made(tmp_path / "x")).url == (tmp_path / "x").as_uri()


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "gs://bucket/prefix", "memory://", "https://host/x"])
@pytest.mark.parametrize("made", [Path, lambda url: Path(url).absolute(), lambda url: str(Path(url)), os.path.abspath])
def test_a_url_that_went_through_a_path_is_refused(url: str, made: Callable[[str], str | Path]) -> None:
    for use in (open_store, lambda value: resolve_storage(value, {}), InProcessRuntime):
        with pytest.raises(InvalidStorage, match="lost a slash"):
            use(made(url))


@pytest.mark.parametrize("value", [b"/data", 7, ["/data"]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(InvalidStorage, match=type(value).__name__):
        open_store(value)


NO_HOME = """
import os, sys
os.environ.pop("HOME", None)
os.setuid(54321)
from rojak_ray.errors import InvalidStorage
from rojak_ray.storage.open import open_store, resolve_storage
for place in ("s3://bucket/prefix", "/tmp/x", "memory://"):
    open_store(place)
for place in (None, "~/x"):
    try:
        resolve_storage(place, {})
    except InvalidStorage as error:
        assert "ROJAK_STORAGE" in str(error), error
    else:
        sys.exit("a home was found")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take a uid that nobody has")
def test_a_user_without_a_home_needs_none_where_storage_is_given() -> None:
    program = "import rojak_ray.storage.open, encodings.idna\n" + NO_HOME  # imported before: /root may be closed to it
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
