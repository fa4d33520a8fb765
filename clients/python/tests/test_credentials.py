"""What a client sends to say who it is."""

from __future__ import annotations

import asyncio
import time
from concurrent import futures
from pathlib import Path
from typing import Any, Iterator

import grpc
import pytest

from scalingnote import QueryClient, ScalingnoteError
from scalingnote.aio import AsyncQueryClient

SECRET = "sn_0123456789AB_secret"
FAR = "search.example:7402"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "API_KEY_FILE", "CA", "CLIENT_CERT", "CLIENT_KEY", "CERT", "KEY", "PLAINTEXT"):
        monkeypatch.delenv(f"SCALINGNOTE_{name}", raising=False)


class Recorder(grpc.GenericRpcHandler):
    """Answers nothing, and keeps what calls carry."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def service(self, details: Any) -> Any:
        if "Health" in details.method:
            return None
        self.seen.append(dict(details.invocation_metadata).get("authorization"))
        return None


@pytest.fixture
def recorded() -> Iterator[tuple[str, Recorder]]:
    recorder = Recorder()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(recorder,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", recorder
    server.stop(None)


def ask(client: Any) -> None:
    with client, pytest.raises(ScalingnoteError):
        client.describe()


def test_a_key_goes_with_each_call(recorded: tuple[str, Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    address, recorder = recorded
    ask(QueryClient(address, api_key=SECRET))
    monkeypatch.setenv("SCALINGNOTE_API_KEY", "from-environment")
    ask(QueryClient(address))
    ask(QueryClient(address, api_key="own"))
    monkeypatch.delenv("SCALINGNOTE_API_KEY")
    ask(QueryClient(address))
    assert recorder.seen == [f"Bearer {SECRET}", "Bearer from-environment", "Bearer own", None]


def test_a_key_goes_with_each_call_of_asyncio(recorded: tuple[str, Recorder]) -> None:
    address, recorder = recorded

    async def run() -> None:
        async with AsyncQueryClient(address, api_key=SECRET) as client:
            with pytest.raises(ScalingnoteError):
                await client.describe()

    asyncio.run(run())
    assert recorder.seen == [f"Bearer {SECRET}"]


def test_a_file_is_read_again(recorded: tuple[str, Recorder], tmp_path: Path) -> None:
    address, recorder = recorded
    path = tmp_path / "key"
    path.write_text("first\n")
    with QueryClient(address, api_key_file=str(path)) as client:
        with pytest.raises(ScalingnoteError):
            client.describe()
        path.write_text("the second\n".replace("the ", ""))
        time.sleep(1.1)
        with pytest.raises(ScalingnoteError):
            client.describe()
    assert recorder.seen == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": "a b"}, "ASCII"),
        ({"api_key": "a", "api_key_file": "b"}, "give one of them"),
        ({"api_key_file": "/none/key"}, "api_key_file: can't be read"),
        ({"ca": "/none/ca.pem"}, "ca: can't be read"),
        ({"client_cert": "a.pem"}, "client_cert: needs"),
        ({"client_key": "a.pem"}, "client_key: needs"),
        ({"credentials": grpc.ssl_channel_credentials(), "ca": "a"}, "beside ca"),
        ({"api_key": 7}, "api_key: must be a string"),
        ({"apikey": "a"}, "apikey"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScalingnoteError, match=message):
        QueryClient("127.0.0.1:1", **options)


def test_no_key_goes_to_another_machine_in_plain_text() -> None:
    with pytest.raises(ScalingnoteError, match="plain text") as caught:
        QueryClient(FAR, api_key=SECRET)
    assert SECRET not in str(caught.value)
    QueryClient(FAR, api_key=SECRET, plaintext=True).close()
    QueryClient(FAR, api_key=SECRET, credentials=grpc.ssl_channel_credentials()).close()


@pytest.mark.parametrize("old", ["SCALINGNOTE_CERT", "SCALINGNOTE_KEY"])
def test_old_names_are_refused(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(old, "a.pem")
    with pytest.raises(ScalingnoteError, match=f"{old}: .*SCALINGNOTE_CLIENT_"):
        QueryClient("127.0.0.1:1")
