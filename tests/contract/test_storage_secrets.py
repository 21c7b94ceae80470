"""What a bucket's client proves who we are with comes back nowhere: not in errors, not in logs, at any level.

As in test_secrets a gateway answers with what it was sent, in every form, here also in those of the vendors. Clients
find their credentials in each of the places they look at, and logs are at their most talkative.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from aiohttp import ClientSession, DummyCookieJar, web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.echoes import CANARY, ECHOES, KEY, Answer, Gateway, leaks, serving

from rojak_ray.errors import InvalidStorage, StorageError
from rojak_ray.storage.azure import _credential, _Transport
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.open import open_store
from rojak_ray.storage.proxies import proxy_for

VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "GCE_METADATA", "IDENTITY_", "MSI_")
TOKEN = f"token-{CANARY}"
SIGNATURE = f"sv=2024&sp=rw&sig={quote(TOKEN)}"
FAR_AWAY = "2099-01-01T00:00:00Z"

VENDORS_ECHOES: dict[str, Answer] = {
    "as S3": lambda sent: (
        403,
        "application/xml",
        f"<Error><Code>AccessDenied</Code><Message>{escape(sent)}</Message></Error>",
    ),
    "as Google": lambda sent: (
        403,
        "application/json",
        json.dumps({"error": {"message": sent, "errors": [{"reason": "forbidden"}]}}),
    ),
    "as Google's text": lambda sent: (404, "text/plain", f"No such object: {sent}"),
}


def aws_keys(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    env |= {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": TOKEN}
    return {}


def aws_file(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    file = tmp / "credentials"
    file.write_text(f"[default]\naws_access_key_id=A\naws_secret_access_key={KEY}\naws_session_token={TOKEN}\n")
    env["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    return {}


def aws_web_identity(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    (tmp / "identity").write_text(f"jwt-{CANARY}")
    env |= {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp / "identity"),
        "AWS_ENDPOINT_URL_STS": f"{url}/sts",
    }
    given = (
        f"<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>{KEY}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken>"
    )
    text = (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult><Credentials>{given}<Expiration>{FAR_AWAY}</Expiration></Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    return {"/sts": web.Response(text=text, content_type="text/xml")}


def aws_container(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    env |= {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"Bearer {CANARY}",
    }
    given = {"AccessKeyId": "ASIA", "SecretAccessKey": KEY, "Token": TOKEN, "Expiration": FAR_AWAY}
    return {"/container": web.json_response(given)}


def aws_machine(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    del env["AWS_EC2_METADATA_DISABLED"]
    env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = url
    given = {"Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": KEY, "Token": TOKEN, "Expiration": FAR_AWAY}
    return {
        "/latest/api/token": web.Response(
            text=f"metadata-{CANARY}", headers={"X-aws-ec2-metadata-token-ttl-seconds": "9"}
        ),
        "/latest/meta-data/iam/security-credentials/r": web.json_response(given),
        "/latest/meta-data/iam/security-credentials/": web.Response(text="r"),
    }


def google_service(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    about = {
        "type": "service_account",
        "client_email": "c@p.example",
        "private_key": key.decode(),
        "private_key_id": "1",
    }
    (tmp / "google").write_text(json.dumps({**about, "token_uri": f"{url}/token", "project_id": "p"}))
    env["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp / "google")
    return {"/token": web.json_response({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})}


def google_user(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    about = {"type": "authorized_user", "client_id": "c", "client_secret": KEY, "refresh_token": f"refresh-{CANARY}"}
    (tmp / "google").write_text(json.dumps({**about, "token_uri": f"{url}/token"}))
    env |= {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp / "google"), "GOOGLE_CLOUD_PROJECT": "p"}
    return {"/token": web.json_response({"access_token": TOKEN, "expires_in": 3600})}


def azure_key(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    key = base64.b64encode(CANARY.encode()).decode()
    env["AZURE_STORAGE_CONNECTION_STRING"] = (
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={key};BlobEndpoint={url}/a;"
    )
    return {}


def azure_signature(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    env |= {
        "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "AZURE_STORAGE_SAS_TOKEN": f"sv=2024&sp=rw&sig={TOKEN.replace('+', '%2B')}",
    }
    return {}


def azure_signature_in_a_string(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    env["AZURE_STORAGE_CONNECTION_STRING"] = f"BlobEndpoint={url}/a;SharedAccessSignature={SIGNATURE}"
    return {}


def azure_identity(env: dict[str, str], url: str, tmp: Path) -> dict[str, web.Response]:
    env |= {
        "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "IDENTITY_ENDPOINT": f"{url}/identity",
        "IDENTITY_HEADER": f"head-{CANARY}",
    }
    given = {"access_token": TOKEN, "expires_on": "4070908800", "resource": "r", "token_type": "Bearer"}
    return {"/identity": web.json_response(given)}


Found = Callable[[dict[str, str], str, Path], dict[str, web.Response]]
WAYS: dict[str, tuple[str, Found]] = {
    "S3: variables": ("s3", aws_keys),
    "S3: file": ("s3", aws_file),
    "S3: web identity": ("s3", aws_web_identity),
    "S3: container": ("s3", aws_container),
    "S3: machine": ("s3", aws_machine),
    "Google: service account": ("gs", google_service),
    "Google: user": ("gs", google_user),
    "Azure: key": ("az", azure_key),
    "Azure: signature": ("az", azure_signature),
    "Azure: signature in a connection string": ("az", azure_signature_in_a_string),
}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as served:
        yield served


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "aiobotocore", "google", "azure", "msal", "aiohttp", "urllib3", "requests", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the answer is, it is the last."""
    monkeypatch.setattr("rojak_ray.storage.objects._Deadline.is_over", lambda *_: True)


@pytest.fixture
def surroundings(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Found], str]:
    """Sets the environment of one way to be found, and gives the endpoint."""

    def prepare(found: Found) -> str:
        url = f"http://127.0.0.1:{gateway.port}"
        for name in [name for name in os.environ if name.startswith(VARIABLES)]:
            monkeypatch.delenv(name)
        env = {
            "HOME": str(tmp_path),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        gateway.routes = found(env, url, tmp_path)
        monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{url}/token")
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return url

    return prepare


async def trouble(call: Any) -> str:
    """What a call's error says to whoever prints it, with all that is behind it."""
    try:
        await call
    except StorageError as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    return ""


@pytest.mark.parametrize("way", WAYS)
async def test_what_signs_a_request_comes_back_nowhere(
    way: str, gateway: Gateway, surroundings: Any, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, found = WAYS[way]
    url = surroundings(found)
    options = {} if "CONNECTION" in "".join(os.environ) and scheme == "az" else {"endpoint_url": url}
    store = ObjectStore(f"{scheme}://bucket/p", options=options, patience_s=60.0)
    told = ""
    for echo in {**ECHOES, **VENDORS_ECHOES}.values():
        gateway.echo = echo
        for call in (store.get("key"), store.put_new("key", b"x"), store.list(""), store.delete("key")):
            told += await trouble(call)
    await store.aclose()
    assert "Store" in told
    assert logged.records
    signed = "".join(gateway.sent)
    assert TOKEN in signed or "Signature" in signed or "SharedKey" in signed or quote(TOKEN) in signed
    assert not leaks(told, CANARY, KEY), told
    lines = [record.name + " " + record.getMessage() + (record.exc_text or "") for record in logged.records]
    assert [line for line in lines if leaks(line, CANARY, KEY)] == []


async def test_an_identity_of_azures_signs_in_without_a_word_of_it(
    gateway: Gateway, surroundings: Any, logged: Any, tmp_path: Path
) -> None:
    surroundings(azure_identity)  # its token goes over TLS only, so it is asked for by itself
    keep_netrc(tmp_path)
    transport = _Transport(ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False))
    credential = _credential(os.environ, transport)
    assert (await credential.get_token("https://storage.azure.com/.default")).token == TOKEN
    await credential.close()
    await transport.end()
    assert not leaks(logged.text, CANARY)
    assert IN_FILE not in "".join(gateway.sent)


IN_FILE = base64.b64encode(b"user:canary-of-a-file").decode()


def keep_netrc(home: Path) -> None:
    (home / ".netrc").write_text("default login user password canary-of-a-file")
    (home / ".netrc").chmod(0o600)


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_netrc_file_holds_is_not_sent(
    way: str, gateway: Gateway, surroundings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, found = WAYS[way]
    url = surroundings(found)
    keep_netrc(tmp_path)
    monkeypatch.delenv("NETRC", raising=False)
    options = {} if "CONNECTION" in "".join(os.environ) and scheme == "az" else {"endpoint_url": url}
    store = ObjectStore(f"{scheme}://bucket/p", options=options, patience_s=60.0)
    await trouble(store.get("key"))
    await store.aclose()
    assert gateway.sent
    assert IN_FILE not in "".join(gateway.sent)


@pytest.mark.parametrize("way", ["S3: variables", "Google: service account", "Azure: signature"])
async def test_requests_go_through_the_proxy_of_the_environment_and_tell_nothing_of_it(
    way: str, gateway: Gateway, surroundings: Any, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, found = WAYS[way]
    url = surroundings(found).replace("//", f"//user:{quote(CANARY, safe='')}@")
    monkeypatch.setenv("HTTP_PROXY", url)
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    store = ObjectStore(f"{scheme}://bucket/p", options={"endpoint_url": "http://vendor.example"}, patience_s=60.0)
    gateway.echo = lambda sent: (407, "text/plain", sent)
    told = await trouble(store.get("key")) + await trouble(store.put_new("key", b"x"))
    monkeypatch.setenv("http_proxy", url.replace(str(gateway.port), "1"))
    silent = ObjectStore(f"{scheme}://bucket/p", options={"endpoint_url": "http://vendor.example"}, patience_s=60.0)
    told += await trouble(silent.get("key"))
    await store.aclose()
    await silent.aclose()
    assert "vendor.example" in "".join(gateway.sent)
    assert base64.b64encode(f"user:{CANARY}".encode()).decode() in "".join(gateway.sent)
    assert not leaks(told + logged.text, CANARY, KEY), told
    monkeypatch.setenv("no_proxy", "vendor.example")
    assert proxy_for("http://vendor.example/x") is None


@pytest.mark.parametrize(
    "storage",
    [
        f"s3://AKIA:{CANARY}@bucket/p",
        f"s3://AKIA:{CANARY}/bucket",
        f"az://container/p?sv=1&sig={CANARY}",
        f"https://a.blob.core.windows.net/c?sig={CANARY}",
        f"gs://bucket/p#{CANARY}",
        f"AKIA:{CANARY}@bucket/p",
        f"s3:/AKIA:{CANARY}@bucket/p",
        f"simplecache::s3://AKIA:{CANARY}@bucket",
        f"S3://AKIA:{CANARY}@bucket",
        f" s3://AKIA:{CANARY}@bucket/p",
        f"'s3://AKIA:{CANARY}@bucket/p'",
        f"ftp://AKIA:{CANARY}@bucket/p",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={CANARY};EndpointSuffix=core.windows.net",
    ],
)
def test_a_secret_in_a_storage_url_is_refused_and_not_repeated(storage: str) -> None:
    with pytest.raises(InvalidStorage) as refused:
        open_store(storage)
    assert not leaks("".join(traceback.format_exception(refused.value)).partition("InvalidStorage:")[2], CANARY)
