"""The client of the query service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import grpc

from ._calls import DEFAULT_TIMEOUT, ServiceClient
from ._filters import Filter, set_filter
from ._proto import message
from ._values import choice, flag, number, text, token, whole
from .answers import EncodeResult, SearchResult, ServiceInfo, from_search, from_service, from_tower
from .errors import invalid

Mode = Literal["dense", "sparse", "hybrid"]
_MODES = {"dense": 1, "sparse": 2, "hybrid": 3}
DEFAULT_ADDRESS = "127.0.0.1:7402"


def search_request(
    *,
    collection: str,
    query: str,
    tenant: str = "",
    limit: int | None = None,
    offset: int = 0,
    filter: Filter | None = None,
    score_threshold: float | None = None,
    mode: Mode | None = None,
    omit_text: bool = False,
    omit_metadata: bool = False,
    at_least_as_fresh_as: str | None = None,
) -> Any:
    """A search as a message. Raises ScalingnoteError INVALID_ARGUMENT for what can't be written."""
    if collection == "":
        # On the wire, an empty name means the default collection of the service.
        raise invalid("collection", "is empty; name the collection")
    request = message("SearchRequest")(
        collection=text(collection, "collection"),
        query=text(query, "query"),
        tenant=text(tenant, "tenant"),
        offset=whole(offset, "offset", 10_000),
        omit_text=flag(omit_text, "omit_text"),
        omit_metadata=flag(omit_metadata, "omit_metadata"),
    )
    if limit is not None:
        request.limit = whole(limit, "limit", 1000, 1)
    if filter is not None:
        set_filter(request.filter, filter)
    if score_threshold is not None:
        request.score_threshold = number(score_threshold, "score_threshold")
    if mode is not None:
        request.mode = _MODES[choice(mode, "mode", _MODES)]
    if at_least_as_fresh_as is not None:
        request.at_least_as_fresh_as = token(at_least_as_fresh_as, "at_least_as_fresh_as")
    return request


def encode_request(texts: Sequence[str]) -> Any:
    """Texts as a message; a lone string is refused, or each of its letters would be a text."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
        raise invalid("texts", f"must be a list of strings, not {type(texts).__name__}")
    return message("EncodeRequest")(texts=[text(each, f"texts[{i}]") for i, each in enumerate(texts)])


def encode_result(response: Any) -> EncodeResult:
    """From the wire."""
    return EncodeResult(
        [list(each.values) for each in response.embeddings], from_tower(response.query_tower)
    )


class QueryClient(ServiceClient):
    """A client of the query service; safe to use from several threads."""

    _service = "QueryService"

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """`timeout` is how long a call may take, retries included, in seconds. Without credentials: plain text."""
        super().__init__(address, timeout=timeout, credentials=credentials)

    def search(
        self,
        *,
        collection: str,
        query: str,
        tenant: str = "",
        limit: int | None = None,
        offset: int = 0,
        filter: Filter | None = None,
        score_threshold: float | None = None,
        mode: Mode | None = None,
        omit_text: bool = False,
        omit_metadata: bool = False,
        at_least_as_fresh_as: str | None = None,
        timeout: float | None = None,
    ) -> SearchResult:
        """Text in, ranked documents out."""
        request = search_request(
            collection=collection,
            query=query,
            tenant=tenant,
            limit=limit,
            offset=offset,
            filter=filter,
            score_threshold=score_threshold,
            mode=mode,
            omit_text=omit_text,
            omit_metadata=omit_metadata,
            at_least_as_fresh_as=at_least_as_fresh_as,
        )
        return from_search(self._call("Search", request, timeout))

    def encode(self, *, texts: Sequence[str], timeout: float | None = None) -> EncodeResult:
        """Vectors of 1 to 256 texts, in order."""
        return encode_result(self._call("Encode", encode_request(texts), timeout))

    def describe(self, *, timeout: float | None = None) -> ServiceInfo:
        """What the service is and which tower it runs."""
        request = message("QueryServiceDescribeRequest")()
        return from_service(self._call("Describe", request, timeout).service)
