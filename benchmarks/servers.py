"""Servers that systems need beside their program, and what the model server itself can do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.envs import ROOT, Unavailable, program
from benchmarks.processes import Program

BUCKET = "rojak-bench"
_START_S = 60


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_port(server: Program, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    server.end()
    raise Unavailable("its server did not start")


def start(kind: str, folder: Path) -> tuple[Program, str, dict[str, str]]:
    """A server, the address to give to the system, and what its program needs in the environment."""
    folder.mkdir(parents=True, exist_ok=True)
    return _temporal(folder) if kind == "temporal" else _seaweed(folder)


def _temporal(folder: Path) -> tuple[Program, str, dict[str, str]]:
    port = free_port()
    command = [str(program("temporal_server", "temporal")), "server", "start-dev", "--headless", "--log-level", "error"]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--db-filename", str(folder / "temporal.sqlite")]
    env = {**os.environ, "TEMPORAL_VERSION_CHECK_DISABLED": "1"}
    server = Program(command, env=env, cwd=folder, log=folder.parent / "server.log")
    _await_port(server, port)
    address = f"127.0.0.1:{port}"
    return server, address, {"TEMPORAL_ADDRESS": address}


def _seaweed(folder: Path) -> tuple[Program, str, dict[str, str]]:
    """An S3 server that is not ours, on ports of its own (each service also takes its port + 10,000)."""
    command = [str(program("seaweedfs", "weed")), "server", f"-dir={folder}", "-filer", "-s3"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=5", "-master.volumeSizeLimitMB=512"]
    ports = {name: _low_port() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    command += [f"-{name}={port}" for name, port in ports.items()]
    server = Program(command, env=os.environ, cwd=folder, log=folder.parent / "server.log")
    _await_port(server, ports["s3.port"])
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    make_bucket(endpoint)
    return server, f"s3://{BUCKET}/rojak", s3_environment(endpoint)


def _low_port() -> int:
    while (port := free_port()) > 55_000:
        pass
    return port


def s3_environment(endpoint: str) -> dict[str, str]:
    """What leads an S3 client to a server on this machine."""
    keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL": endpoint}


def make_bucket(endpoint: str) -> None:
    """The bucket, once the server answers."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
    client: Any = boto3.client("s3", endpoint_url=endpoint, **keys)
    deadline = time.monotonic() + _START_S
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def model_stats(url: str) -> Mapping[str, Any]:
    """What a model server was asked so far."""
    try:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as reply:
            return json.load(reply)
    except urllib.error.URLError as error:
        raise Unavailable(f"the model server is gone: {error}") from error


def model_capacity(url: str, seconds: float = 1.0, connections: int = 50) -> float:
    """Requests a second that the model server answers to a client that does nothing else."""
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "What is one plus two?"}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    address = urlsplit(url)

    async def one(deadline: float) -> int:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        answered = 0
        while time.monotonic() < deadline:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().rsplit(b"content-length:", 1)[1]))
            answered += 1
        writer.close()
        return answered

    async def every() -> int:
        deadline = time.monotonic() + seconds
        return sum(await asyncio.gather(*(one(deadline) for _ in range(connections))))

    return asyncio.run(every()) / seconds


__all__ = ["BUCKET", "ROOT", "make_bucket", "model_capacity", "model_stats", "s3_environment", "start"]
