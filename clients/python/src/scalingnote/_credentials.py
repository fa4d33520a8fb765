"""Who a client is, and whom it trusts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any, Callable

import grpc

from ._values import flag, text
from .errors import invalid

# How often the file of a key is looked at, in seconds.
_LOOK_EVERY = 1.0
_HEADER_VALUE = re.compile(r"[!-~]+")
_VARIABLES = {
    "api_key": "SCALINGNOTE_API_KEY",
    "api_key_file": "SCALINGNOTE_API_KEY_FILE",
    "ca": "SCALINGNOTE_CA",
    "client_cert": "SCALINGNOTE_CLIENT_CERT",
    "client_key": "SCALINGNOTE_CLIENT_KEY",
}
# Names that were too near to those of the services' own keys.
_OLD_VARIABLES = {"SCALINGNOTE_CERT": "SCALINGNOTE_CLIENT_CERT", "SCALINGNOTE_KEY": "SCALINGNOTE_CLIENT_KEY"}
OPTIONS = (*_VARIABLES, "plaintext")

Headers = tuple[tuple[str, str], ...]


class Credentials:
    """The checked credentials of a client: how its channels speak, and what each call carries."""

    def __init__(self, channel: grpc.ChannelCredentials | None, secret: Callable[[], str] | None) -> None:
        self.channel = channel
        self._secret = secret

    def headers(self) -> Headers:
        """What a call carries to say who makes it."""
        return () if self._secret is None else (("authorization", f"Bearer {self._secret()}"),)

    def __repr__(self) -> str:
        return "Credentials(...)"


def credentials_of(given: Mapping[str, Any], is_far: Callable[[], str | None]) -> Credentials:
    """Reads what the options say, or where they say nothing the environment.

    `is_far` gives an address that is another machine's, where there is one. Raises ScalingnoteError INVALID_ARGUMENT that
    names what does not fit, and no secret.
    """
    channel = given.get("credentials")
    if channel is not None and not isinstance(channel, grpc.ChannelCredentials):
        raise invalid("credentials", "must be grpc.ChannelCredentials, as grpc.ssl_channel_credentials() makes")
    own = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    if channel is not None and ("ca" in own or "client_cert" in own or "client_key" in own):
        raise invalid("credentials", "is given beside ca, client_cert or client_key; give one of them")
    if not own and channel is None:
        own = _from_environment(os.environ)
    for name in own:
        if name != "plaintext":
            text(own[name], name)
    if "api_key" in own and "api_key_file" in own:
        raise invalid("api_key", "is given beside api_key_file; give one of them")
    if ("client_cert" in own) != ("client_key" in own):
        raise invalid("client_cert" if "client_cert" in own else "client_key", "needs the other of client_cert and client_key")
    if channel is None and ("ca" in own or "client_cert" in own):
        channel = grpc.ssl_channel_credentials(
            root_certificates=_bytes_of(own, "ca"),
            private_key=_bytes_of(own, "client_key"),
            certificate_chain=_bytes_of(own, "client_cert"),
        )
    secret = _secret_of(own)
    far = None if secret is None or channel is not None else is_far()
    if far is not None and not flag(own.get("plaintext", False), "plaintext"):
        raise invalid(
            "api_key",
            f"would go to {far} in plain text, for everybody on the way to read; name the CA of the service with ca "
            "(SCALINGNOTE_CA), give credentials, or allow it with plaintext",
        )
    return Credentials(channel, secret)


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    for old, now in _OLD_VARIABLES.items():
        if env.get(old):
            raise invalid(f"environment.{old}", f"has another name now: {now}")
    found: dict[str, Any] = {name: env[variable] for name, variable in _VARIABLES.items() if env.get(variable)}
    if not found:
        return found
    plaintext = env.get("SCALINGNOTE_PLAINTEXT", "")
    if plaintext not in ("", "true", "false"):
        raise invalid("plaintext", "comes from SCALINGNOTE_PLAINTEXT; set that to true or false")
    return {**found, "plaintext": plaintext == "true"}


def _bytes_of(own: Mapping[str, Any], name: str) -> bytes | None:
    if name not in own:
        return None
    try:
        with open(own[name], "rb") as file:
            return file.read()
    except OSError as error:
        raise invalid(name, f"can't be read: {error}") from None


def _secret_of(own: Mapping[str, Any]) -> Callable[[], str] | None:
    if "api_key" in own:
        key = _checked(own["api_key"], "api_key")
        return lambda: key
    return _FileSecret(own["api_key_file"]) if "api_key_file" in own else None


def _checked(secret: str, name: str) -> str:
    if _HEADER_VALUE.fullmatch(secret):
        return secret
    raise invalid(name, "must be characters of ASCII without white space")


class _FileSecret:
    """The text of a file, read again when it has changed; what can't be read then leaves the text as it was."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._looked_at = time.monotonic()
        try:
            self._seen = self._stamp()
            self._secret = self._read()
        except OSError as error:
            raise invalid("api_key_file", f"can't be read: {error}") from None

    def __call__(self) -> str:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            try:
                current = self._stamp()
                if current != self._seen:
                    self._secret = self._read()
                    self._seen = current
            except Exception:
                pass  # It is being written; the next look finds it whole.
        return self._secret

    def _read(self) -> str:
        with open(self._path, encoding="utf-8") as file:
            return _checked(file.read().strip(), f"api_key_file: what {self._path} holds")

    def _stamp(self) -> tuple[int, int, int]:
        found = os.stat(self._path)
        return found.st_ino, found.st_size, found.st_mtime_ns
