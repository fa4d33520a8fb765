"""An ingest or an export whose connection breaks goes on where it was: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from conftest import Pair
from services import Service, Site

from scalingnote import (
    AsyncDocumentClient,
    Checkpoint,
    DocumentClient,
    IngestOutcome,
    IngestSummary,
    ScalingnoteError,
)
from scalingnote._proto import message

# Long enough for a service to start on a busy machine, and a test that hangs still fails.
PATIENCE = 60.0
OPERATIONS = 60


class Cutter:
    """A TCP proxy whose connections a test can cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def cut(self) -> int:
        """Cuts all connections, once there is one."""
        for _ in range(200):
            if self.sockets:
                break
            time.sleep(0.05)
        count = len(self.sockets)
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets.clear()
        return count


def source(prefix: str, at: dict[int, Callable[[], object]], pause: float = 0) -> Iterator[dict[str, Any]]:
    """Operations; before some of them, something happens."""
    for index in range(OPERATIONS):
        if index in at:
            at[index]()
        time.sleep(pause)
        yield {"id": f"{prefix}-{index}", "text": f"hello world {index}"}


def run(style: str, address: str, operations: Iterator[dict[str, Any]], **options: Any) -> IngestSummary:
    """An ingest with or without asyncio."""
    options = {"window": 16, "patience": PATIENCE, **options}
    if style == "sync":
        with DocumentClient(address) as client:
            return client.ingest(operations, **options)  # type: ignore[arg-type]

    async def main() -> IngestSummary:
        async def given() -> AsyncIterator[dict[str, Any]]:
            for each in operations:
                yield each
                await asyncio.sleep(0)

        async with AsyncDocumentClient(address) as client:
            return await client.ingest(given(), **options)  # type: ignore[arg-type]

    return asyncio.run(main())


def check(done: IngestSummary, outcomes: list[IngestOutcome]) -> None:
    assert (done.sent, done.watermark, done.rejected) == (OPERATIONS, OPERATIONS, 0)
    assert Counter(each.sequence for each in outcomes) == Counter(range(1, OPERATIONS + 1))


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_a_cut_connection(pair: Pair, style: str) -> None:
    proxy = Cutter(pair.document_address)
    outcomes: list[IngestOutcome] = []
    reconnects: list[ScalingnoteError] = []
    cuts: list[int] = []
    operations = source(style, {20: lambda: cuts.append(proxy.cut()), 40: lambda: cuts.append(proxy.cut())})
    done = run(
        style,
        proxy.address,
        operations,
        collection=f"{pair.collection}-cut",
        tenant=style,
        on_outcome=outcomes.append,
        on_reconnect=lambda error, wait: reconnects.append(error),
    )
    assert all(count >= 2 for count in cuts), "the connection was cut, made again and cut again"
    assert len(reconnects) >= 2
    check(done, outcomes)
    assert pair.documents.count(collection=f"{pair.collection}-cut", tenant=style).documents == OPERATIONS


class Forgetful(grpc.GenericRpcHandler):
    """A document service that says what became of an operation, and breaks before it is durable; then says it again."""

    def __init__(self) -> None:
        self.attempts: list[tuple[int, str]] = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(
            self._ingest,
            request_deserializer=message("IngestRequest").FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def _ingest(self, requests: Any, context: Any) -> Iterator[Any]:
        response = message("IngestResponse")
        for request in requests:
            if request.WhichOneof("operation") == "begin":
                self.attempts.append((request.begin.attempt, request.begin.expected_identity))
                answer = response()
                answer.ready.collection.identity = "col_1"
                yield answer
                continue
            yield response(outcome={"sequence": request.sequence, "kind": 1})
            if len(self.attempts) < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield response(watermark={"sequence": request.sequence, "freshness_token": "col_1.1"})

    def close(self) -> None:
        self._server.stop(0).wait()


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_an_outcome_that_comes_twice_is_reported_once(style: str) -> None:
    service = Forgetful()
    outcomes: list[IngestOutcome] = []
    operations = iter([{"id": "a", "text": "a"}])
    done = run(style, service.address, operations, collection="c", on_outcome=outcomes.append)
    service.close()
    assert service.attempts == [(1, ""), (2, "col_1"), (3, "col_1")]
    assert (done.indexed, len(outcomes), done.watermark) == (1, 1, 1)


class Silent(Forgetful):
    """A document service that opens the stream, and says nothing more."""

    def _ingest(self, requests: Any, context: Any) -> Iterator[Any]:
        next(requests)
        answer = message("IngestResponse")()
        answer.ready.collection.identity = "col_1"
        yield answer
        for _ in requests:
            pass
        time.sleep(30)


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_the_source_is_not_asked_while_the_service_is_busy(style: str) -> None:
    service = Silent()
    asked: list[int] = []

    def operations() -> Iterator[dict[str, Any]]:
        for index in range(10_000):
            asked.append(index)
            yield {"id": str(index), "text": "a"}

    with pytest.raises(ScalingnoteError, match="said nothing") as caught:
        run(style, service.address, operations(), collection="c", window=8, patience=1.0)
    service.close()
    assert caught.value.code == "UNAVAILABLE"
    # What the generator is one ahead is asyncio's.
    assert 8 <= len(asked) <= 9


def killer(service: Service) -> Callable[[], object]:
    """SIGKILL, and the service comes back while the ingest goes on."""

    def kill() -> None:
        service.signal(signal.SIGKILL)
        service.start(wait=False)

    return kill


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_a_killed_service(site: Site, style: str) -> None:
    collection = f"killed-{style}"
    outcomes: list[IngestOutcome] = []
    kill = killer(site.document)
    done = run(
        style,
        site.document.address,
        source(style, {30: kill}, pause=0.005),
        collection=collection,
        on_outcome=outcomes.append,
    )
    check(done, outcomes)
    with DocumentClient(site.document.address) as client:
        found = Counter(each.id for each in client.export(collection=collection))
    assert found == Counter(f"{style}-{index}" for index in range(OPERATIONS))


PROGRAM = """
import json, os, sys, time
from scalingnote import Checkpoint, DocumentClient

def keep(checkpoint):
    with open(sys.argv[3] + ".new", "w") as file:
        json.dump(checkpoint.__dict__, file)
    os.replace(sys.argv[3] + ".new", sys.argv[3])

resume = Checkpoint(**json.load(open(sys.argv[3]))) if os.path.exists(sys.argv[3]) else None

def source():
    for index in range(200):
        if not resume or index >= resume.sequence:
            time.sleep(0.01)
        yield {"id": f"own-{index}", "text": f"hello world {index}"}

with DocumentClient(sys.argv[1]) as client:
    done = client.ingest(source(), collection=sys.argv[2], resume=resume, on_checkpoint=keep, window=8)
    print(json.dumps([done.skipped, done.sent, done.watermark]))
"""


def test_a_killed_program(site: Site, tmp_path: Any) -> None:
    """A program that is killed in the middle goes on from the checkpoint that it kept."""
    collection, kept = f"program-{uuid.uuid4().hex[:6]}", str(tmp_path / "checkpoint.json")
    command = [sys.executable, "-c", PROGRAM, site.document.address, collection, kept]
    first = subprocess.Popen(command)
    for _ in range(600):
        if os.path.exists(kept):
            break
        time.sleep(0.05)
    first.kill()
    first.wait()
    second = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    skipped, sent, watermark = eval(second.stdout)
    assert skipped > 0 and skipped + sent == 200 and watermark == 200
    with DocumentClient(site.document.address) as client:
        found = Counter(each.id for each in client.export(collection=collection))
    assert found == Counter(f"own-{index}" for index in range(200))


def test_a_checkpoint_of_a_collection_that_is_gone(site: Site) -> None:
    checkpoints: list[Checkpoint] = []
    with DocumentClient(site.document.address) as client:
        client.ingest([{"id": "a", "text": "hello"}], collection="gone", on_checkpoint=checkpoints.append)
        for found in client.list_collections():
            if found.name == "gone":
                client.drop_collection(physical_name=found.physical_name, with_aliases=True)
        client.ingest([{"id": "b", "text": "hello"}], collection="gone")
        with pytest.raises(ScalingnoteError) as caught:
            client.ingest([{"id": "a", "text": "hello"}], collection="gone", resume=checkpoints[-1])
    assert caught.value.reason == "COLLECTION_REPLACED"


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_an_export_over_a_cut_connection(site: Site, style: str) -> None:
    tenant = f"export-{style}"
    text = "hello world " * 100
    count = 300
    with DocumentClient(site.document.address) as client:
        client.ingest(
            ({"id": f"{index:04}", "text": text[: 900 + index]} for index in range(count)),
            collection="export",
            tenant=tenant,
        )
    proxy = Cutter(site.document.address)
    options: Any = {"collection": "export", "tenant": tenant, "patience": PATIENCE, "with_vectors": True}
    if style == "sync":
        with DocumentClient(proxy.address) as client:
            found = []
            for document in client.export(**options):
                found.append(document.id)
                if len(found) in (10, 150):
                    proxy.cut()
    else:

        async def main() -> list[str]:
            ids = []
            async with AsyncDocumentClient(proxy.address) as client:
                async for document in client.export(**options):
                    ids.append(document.id)
                    if len(ids) in (10, 150):
                        proxy.cut()
            return ids

        found = asyncio.run(main())
    assert len(found) == count and set(found) == {f"{index:04}" for index in range(count)}
