"""The client of the document service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from ._calls import DEFAULT_TIMEOUT, ServiceClient, _serialize
from ._filters import Filter, set_filter
from ._operations import Operation
from ._proto import message, method
from ._values import flag, seconds, text, token, whole
from .answers import Collection, ServiceInfo, from_collection, from_service
from .errors import invalid
from .ingest import DEFAULT_PATIENCE, DEFAULT_WINDOW, Ingest, IngestOutcome, IngestSummary

DEFAULT_ADDRESS = "127.0.0.1:7401"
# More would only take memory: 32 MiB are the other bound.
_MAX_WINDOW = 1_000_000


@dataclass(frozen=True)
class DeleteResult:
    """What was deleted."""

    documents: int
    freshness_token: str
    """A search that takes it does not see them any more."""


@dataclass(frozen=True)
class CountResult:
    """How many there are."""

    documents: int
    passages: int


class DocumentClient(ServiceClient):
    """A client of the document service; safe to use from several threads."""

    _service = "DocumentService"

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """`timeout` is how long a call may take, retries included, in seconds. Without credentials: plain text."""
        super().__init__(address, timeout=timeout, credentials=credentials)

    def ingest(
        self,
        source: Iterable[Operation],
        *,
        collection: str,
        tenant: str = "",
        omit_text: bool = False,
        bulk: bool = False,
        on_outcome: Callable[[IngestOutcome], None] | None = None,
        on_watermark: Callable[[int, str], None] | None = None,
        expected_identity: str | None = None,
        expected_freshness: str | None = None,
        window: int = DEFAULT_WINDOW,
        patience: float = DEFAULT_PATIENCE,
    ) -> IngestSummary:
        """Sends operations until the source is exhausted and everything is durable.

        A broken connection is made again and goes on after the last watermark: nothing is lost, nothing doubles. An
        operation that is refused is an outcome, not the end. Source and callbacks run on the caller's thread; what
        they raise ends the ingest. `patience` is how long to retry without progress, in seconds. To resume in another
        process, keep what `on_watermark` is called with, and leave out the operations up to that sequence.
        """
        begin = message("IngestBegin")(
            collection=text(collection, "collection"),
            tenant=text(tenant, "tenant"),
            omit_text=flag(omit_text, "omit_text"),
            bulk=flag(bulk, "bulk"),
        )
        if expected_identity is not None:
            begin.expected_identity = token(expected_identity, "expected_identity")
        if expected_freshness is not None:
            begin.expected_freshness_token = token(expected_freshness, "expected_freshness")
        if isinstance(source, (str, bytes, dict)):
            raise invalid("source", f"must be an iterable of operations, not {type(source).__name__}")
        ingest = Ingest(
            source,
            begin=begin,
            on_outcome=on_outcome,
            on_watermark=on_watermark,
            window=whole(window, "window", _MAX_WINDOW, 1),
            patience=seconds(patience, "patience"),
            open_timeout=self._timeout,
        )
        path, _, response = method(self._service, "Ingest")
        return ingest.run(
            self._channel.stream_stream(
                path, request_serializer=_serialize, response_deserializer=response.FromString
            )
        )

    def delete(
        self,
        *,
        collection: str,
        tenant: str = "",
        document_ids: Sequence[str] | None = None,
        filter: Filter | None = None,
        timeout: float | None = None,
    ) -> DeleteResult:
        """Deletes documents by id, or all that match a filter, whatever their versions."""
        request = _scope("DeleteRequest", collection, tenant, filter)
        if document_ids is not None:
            if isinstance(document_ids, (str, bytes)):
                raise invalid("document_ids", "must be a list of ids, not a string")
            request.document_ids.extend(text(each, f"document_ids[{i}]") for i, each in enumerate(document_ids))
        response = self._call("Delete", request, timeout)
        return DeleteResult(response.documents, response.freshness_token)

    def count(
        self,
        *,
        collection: str,
        tenant: str = "",
        filter: Filter | None = None,
        timeout: float | None = None,
    ) -> CountResult:
        """Counts documents and their passages."""
        response = self._call("Count", _scope("CountRequest", collection, tenant, filter), timeout)
        return CountResult(response.documents, response.passages)

    def collections(self, *, timeout: float | None = None) -> list[Collection]:
        """Every collection of the store, of any space."""
        response = self._call("ListCollections", message("ListCollectionsRequest")(), timeout)
        return [from_collection(each) for each in response.collections]

    def drop_collection(
        self, *, physical_name: str, with_aliases: bool = False, timeout: float | None = None
    ) -> list[str]:
        """Drops a physical collection, and returns the aliases that went with it. It is tried once."""
        request = message("DropCollectionRequest")(
            physical_name=text(physical_name, "physical_name"),
            with_aliases=flag(with_aliases, "with_aliases"),
        )
        return list(self._call("DropCollection", request, timeout, attempts=1).aliases)

    def describe(self, *, timeout: float | None = None) -> ServiceInfo:
        """What the service is and which tower it runs."""
        request = message("DocumentServiceDescribeRequest")()
        return from_service(self._call("Describe", request, timeout).service)


def _scope(name: str, collection: str, tenant: str, filter: Filter | None) -> Any:
    request = message(name)(collection=text(collection, "collection"), tenant=text(tenant, "tenant"))
    if filter is not None:
        set_filter(request.filter, filter)
    return request
