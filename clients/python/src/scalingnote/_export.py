"""An export over as many connections as it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import grpc

from ._filters import set_filter
from ._from_wire import from_full_document
from ._progress import DEFAULT_PATIENCE, Patience
from ._proto import message, method
from ._requests import bounds_of
from ._servers import Server, Servers, serialize
from ._values import arguments, flag, seconds, text, token
from .answers import FullDocument
from .errors import ScalingnoteError, from_rpc, invalid, unavailable
from .types import ExportOptions


class Cursor:
    """What to export, and how far it has come."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = arguments(options, ExportOptions)
        self.request = message("ExportRequest")(
            collection=text(given["collection"], "collection"),
            tenant=text(given.get("tenant", ""), "tenant"),
            all_tenants=flag(given.get("all_tenants", False), "all_tenants"),
            with_vectors=flag(given.get("with_vectors", False), "with_vectors"),
            after_tenant=text(given.get("after_tenant", ""), "after_tenant"),
        )
        if "filter" in given:
            set_filter(self.request.filter, given["filter"])
        if "after" in given:
            if given["after"] == "":
                raise invalid("after", "is empty; give the id, or leave it out to begin at the beginning")
            self.request.after_document_id = token(given["after"], "after")
        elif self.request.after_tenant:
            raise invalid("after_tenant", 'says whose document "after" is, which is not given')
        if self.request.after_tenant and not self.request.all_tenants:
            raise invalid("after_tenant", 'goes with all_tenants; otherwise give "tenant"')
        self.metadata = bounds_of(given).metadata
        self.patience_seconds = seconds(given.get("patience", DEFAULT_PATIENCE), "patience")
        self.patience = Patience(self.patience_seconds)
        self._identity: str | None = None

    def take(self, response: Any) -> FullDocument | None:
        """A message of the server: a document, or the header."""
        if response.WhichOneof("event") == "header":
            self._begin(response.header.collection)
            return None
        self.patience.progressed()
        document = response.document
        self.request.after_document_id = document.id
        if self.request.all_tenants:
            self.request.after_tenant = document.tenant
        return from_full_document(document)

    def _begin(self, found: Any) -> None:
        began = self._identity
        if began is not None and began != found.identity:
            # What broke off in one collection can't go on in another: documents would be missing or there twice.
            raise ScalingnoteError(
                code="FAILED_PRECONDITION",
                reason="COLLECTION_REPLACED",
                message=f'collection "{found.name}" became another one while it was exported: it was {began} and is '
                f"{found.identity}; export it again",
                metadata={"collection": found.name, "expected_identity": began, "identity": found.identity},
            )
        self._identity = found.identity

    def limit(self, is_open: bool, open_timeout: float) -> float:
        """How long the server may say nothing."""
        return self.patience_seconds if is_open else min(open_timeout, self.patience_seconds)


def silent(address: str, limit: float) -> ScalingnoteError:
    """A server that says nothing."""
    return unavailable(f"{address} said nothing on the stream within {limit:g} s")


class _Watchdog:
    """Cancels a call whose next message takes too long; gRPC's own timeout is of the whole stream."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._until: float | None = None
        self._wake = threading.Event()
        self._is_over = False
        self.has_bitten = False
        threading.Thread(target=self._run, daemon=True, name="scalingnote-watchdog").start()

    def watch(self, limit: float | None) -> None:
        """Begins a wait; None ends it."""
        self._until = None if limit is None else time.monotonic() + limit
        if limit is not None and limit < 1:
            self._wake.set()

    def close(self) -> None:
        self._is_over = True
        self._wake.set()

    def _run(self) -> None:
        while not self._is_over:
            until = self._until
            left = 1.0 if until is None else until - time.monotonic()
            if left <= 0:
                self.has_bitten = True
                self._call.cancel()
                return
            # A wait that begins meanwhile is seen a second late at most.
            self._wake.wait(min(left, 1.0))
            self._wake.clear()


def run_export(servers: Servers, cursor: Cursor) -> Iterator[FullDocument]:
    """Every document, each once."""
    open_timeout = servers.settings.timeout
    server: Server | None = None
    while True:
        server = servers.pick(time.monotonic() + open_timeout, server)
        try:
            yield from _over_one_connection(servers, server, cursor, open_timeout)
            return
        except grpc.RpcError as error:
            servers.check_open()
            time.sleep(cursor.patience.next(from_rpc(error)))
        except ScalingnoteError as error:
            time.sleep(cursor.patience.next(error))


def _over_one_connection(
    servers: Servers, server: Server, cursor: Cursor, open_timeout: float
) -> Iterator[FullDocument]:
    path, read = method("DocumentService", "Export")
    open_ = server.channel.unary_stream(path, request_serializer=serialize, response_deserializer=read)
    try:
        call: Any = open_(cursor.request, metadata=servers.metadata(cursor.metadata))
    except ValueError:
        servers.check_open()
        raise
    watchdog = _Watchdog(call)
    is_open = False
    limit = cursor.limit(is_open, open_timeout)
    try:
        watchdog.watch(limit)
        for message_ in call:
            watchdog.watch(None)
            document = cursor.take(message_)
            is_open = True
            if document is not None:
                yield document
            limit = cursor.limit(is_open, open_timeout)
            watchdog.watch(limit)
    except grpc.RpcError:
        if watchdog.has_bitten:
            raise silent(server.address, limit) from None
        raise
    finally:
        watchdog.close()
        call.cancel()
