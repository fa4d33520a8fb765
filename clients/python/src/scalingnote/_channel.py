"""How a client reaches its servers: addresses, and options of the channels."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._credentials import Credentials, credentials_of
from ._values import arguments, call_metadata, flag, seconds, text, texts, whole
from .errors import invalid
from .types import ClientOptions

# Ten seconds: longer than any healthy call, shorter than a person waits.
DEFAULT_TIMEOUT = 10.0

# As the TypeScript client (clients/channel.ts), for the same reasons.
_OPTIONS: dict[str, Any] = {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 1_000,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # We retry ourselves, within the deadline.
    "grpc.enable_retries": 0,
    # Clients of one process do not share connections: each has its own options.
    "grpc.use_local_subchannel_pool": 1,
}
_ROUND_ROBIN: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_HOST = re.compile(r"(?=.{1,253}$)\w(?:[\w-]*\w)?(?:\.[\w-]+)*\.?")
_EXAMPLE = 'write "host:port", such as "127.0.0.1:7402"'


def check_address(address: Any, field: str = "address") -> str:
    """`host:port`, with an IPv6 host in brackets; or `unix:PATH`."""
    given = text(address, field)
    if given.startswith("unix:"):
        return given
    if "://" in given:
        raise invalid(field, f'is {given!r}, with a scheme; leave out what is before "//", and {_EXAMPLE}')
    host, colon, port = given.rpartition(":")
    if not host.startswith("[") and _is_ip(given) == 6:
        raise invalid(field, f'is {given!r}, an IPv6 address without brackets; write "[::1]:7402"')
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise invalid(field, f"is {given!r}, but a port from 1 to 65535 belongs to it; {_EXAMPLE}")
    if host.startswith("[") and host.endswith("]"):
        if _is_ip(host[1:-1]) != 6:
            raise invalid(field, f'is {given!r}, with no IPv6 address in the brackets; write "[::1]:7402"')
    elif not _HOST.fullmatch(host):
        raise invalid(field, f"is {given!r}, where {host!r} names no host; {_EXAMPLE}")
    return given


def _is_ip(host: str) -> int:
    """4 or 6 for an address, 0 for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return 0


def is_loopback(address: str) -> bool:
    """Whether an address, with its port, leads to this machine."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:"):
        return True
    if _is_ip(host) == 0:
        return re.fullmatch(r"(.+\.)?localhost\.?", host, re.IGNORECASE) is not None
    parsed = ipaddress.ip_address(host.partition("%")[0])
    return parsed.is_loopback or parsed.is_unspecified


def channel_options(address: str, has_others: bool, own: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Options of the channel to an address.

    gRPC's health check is on where calls can go elsewhere: a channel is ready then only if its server serves. Alone, a
    server that does not serve is better asked, because it says why.
    """
    service = {**_ROUND_ROBIN, "healthCheckConfig": {"serviceName": ""}} if has_others else _ROUND_ROBIN
    options = {
        **_OPTIONS,
        "grpc.service_config": json.dumps(service),
        # gRPC would send calls to this machine to the proxy of `http_proxy`, too.
        "grpc.enable_http_proxy": 0 if is_loopback(address) else 1,
        **own,
    }
    return list(options.items())


@dataclass(frozen=True)
class Settings:
    """The checked options of a client."""

    addresses: tuple[str, ...]
    timeout: float
    attempts: float
    wait_for_ready: bool
    credentials: Credentials
    metadata: tuple[tuple[str, str | bytes], ...]
    channel_options: dict[str, str | int]

    def options_of(self, address: str) -> list[tuple[str, Any]]:
        return channel_options(address, len(self.addresses) > 1, self.channel_options)


def settings_of(default_address: str, address: str | None, options: Mapping[str, Any]) -> Settings:
    """Checks the options of a client. Raises ScalingnoteError INVALID_ARGUMENT that names the option."""
    given = arguments(options, ClientOptions)
    if address is not None and "addresses" in given:
        raise invalid("addresses", 'is given beside "address"; give one of them')
    if "addresses" in given:
        addresses = tuple(
            check_address(each, f"addresses[{i}]")
            for i, each in enumerate(texts(given["addresses"], "addresses"))
        )
        if not addresses:
            raise invalid("addresses", "is empty; name at least one server, or leave it out")
        for index, each in enumerate(addresses):
            if each in addresses[:index]:
                raise invalid(f"addresses[{index}]", f"is {each!r} again; name each server once")
    else:
        addresses = (check_address(default_address if address is None else address),)
    return Settings(
        addresses=addresses,
        timeout=seconds(given.get("timeout", DEFAULT_TIMEOUT)),
        attempts=whole(given["attempts"], "attempts", lowest=1) if "attempts" in given else float("inf"),
        wait_for_ready=flag(given.get("wait_for_ready", True), "wait_for_ready"),
        credentials=credentials_of(
            given, lambda: next((each for each in addresses if not is_loopback(each)), None)
        ),
        metadata=call_metadata(given.get("metadata", {})),
        channel_options=_check_channel_options(given.get("channel_options", {})),
    )


def _check_channel_options(value: Any) -> dict[str, str | int]:
    if not isinstance(value, Mapping):
        raise invalid("channel_options", f"must be a dict, not {type(value).__name__}")
    for name, item in value.items():
        at = f"channel_options.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"grpc\.[a-z0-9_.]+", name):
            raise invalid(at, 'is no option of gRPC; these begin with "grpc."')
        if isinstance(item, bool) or not isinstance(item, (int, str)):
            raise invalid(at, f"is {item!r}; give a whole number or a string")
    return dict(value)
