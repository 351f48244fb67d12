"""An S3 server for tests (moto's) and a client of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CREDENTIALS = {"key": "test-key", "secret": "test-secret"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server; yield its address."""
    from moto.server import ThreadedMotoServer  # most processes of pytest start none

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["key"],
        aws_secret_access_key=CREDENTIALS["secret"],
    )


def new_bucket(endpoint: str, of: str) -> str:
    """Make a bucket with a name of its own for what is called ``of``; return the name."""
    name = f"test-{hashlib.sha256(of.encode()).hexdigest()[:12]}"
    s3_client(endpoint).create_bucket(Bucket=name)
    return name
