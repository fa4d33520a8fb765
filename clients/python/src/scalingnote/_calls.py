"""Channels, deadlines and retries."""

from __future__ import annotations

import ipaddress
import random
import re
import time
from typing import Any

import grpc

from ._proto import method
from ._values import seconds, text
from .errors import ScalingnoteError, from_rpc, invalid

# Ten seconds: longer than any healthy call, shorter than a person waits.
DEFAULT_TIMEOUT = 10.0
# First step and ceiling of the wait between attempts, in seconds.
_BACKOFF_BASE, _BACKOFF_MAX = 0.05, 1.0

# As the TypeScript client (clients/channel.ts), for the same reasons.
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # We retry ourselves, within the deadline.
    ("grpc.enable_retries", 0),
    ("grpc.lb_policy_name", "round_robin"),
)


def is_loopback(address: str) -> bool:
    """Whether an address, with its port, leads to this machine."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"(.+\.)?localhost\.?", host, re.IGNORECASE) is not None
    return parsed.is_loopback or parsed.is_unspecified


def check_address(address: Any) -> str:
    """`host:port`."""
    host, _, port = text(address, "address").rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise invalid("address", f'is {address!r}, but must be "host:port", such as "127.0.0.1:7402"')
    return str(address)


def channel_options(address: str) -> list[tuple[str, Any]]:
    """Calls to this machine never go through the proxy of `http_proxy`."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback(address) else 1)]


def backoff(attempt: int, error: ScalingnoteError) -> float:
    """How long to wait after that attempt: full jitter, and never less than the server asks for."""
    ceiling = min(_BACKOFF_MAX, _BACKOFF_BASE * 2.0 ** min(attempt, 16))
    return (error.retry_delay or 0.0) + random.random() * ceiling


def wait_or_raise(attempt: int, error: ScalingnoteError, deadline: float, attempts: int | None) -> float:
    """How long to wait before the next attempt. Raises the error where there is none."""
    if not error.retryable or (attempts is not None and attempt >= attempts):
        raise error
    wait = backoff(attempt, error)
    if time.monotonic() + wait >= deadline:
        raise error
    return wait


class ServiceClient:
    """A client of one service. It holds a connection; close it when done, or use it in a `with`."""

    _service: str

    def __init__(
        self, address: str, *, timeout: float, credentials: grpc.ChannelCredentials | None
    ) -> None:
        self._timeout = seconds(timeout)
        check_address(address)
        options = channel_options(address)
        self._channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )

    def close(self) -> None:
        """Ends the connection and every call on it."""
        self._channel.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _span(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else seconds(timeout)

    def _call(self, name: str, request: Any, timeout: float | None, *, attempts: int | None = None) -> Any:
        """Makes a unary call, and repeats it while the server is away or overloaded and the deadline allows."""
        path, _, response = method(self._service, name)
        call = self._channel.unary_unary(
            path, request_serializer=_serialize, response_deserializer=response.FromString
        )
        deadline = time.monotonic() + self._span(timeout)
        attempt = 0
        while True:
            attempt += 1
            try:
                return call(request, timeout=max(0.001, deadline - time.monotonic()))
            except grpc.RpcError as error:
                time.sleep(wait_or_raise(attempt, from_rpc(error), deadline, attempts))


def _serialize(request: Any) -> bytes:
    data: bytes = request.SerializeToString()
    return data
