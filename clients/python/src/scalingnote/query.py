"""The client of the query service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _requests as requests
from ._client import ServiceClient
from ._stream import SearchStream
from .answers import EncodeResult, Familiarity, SearchResult, ServiceInfo

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .types import (
        CallOptions,
        EncodeOptions,
        FamiliarityOptions,
        SearchByVectorOptions,
        SearchOptions,
        StreamOptions,
    )


class QueryClient(ServiceClient):
    """A client of the query service, at `127.0.0.1:7402` by default; safe to use from several threads."""

    _service = "QueryService"
    _default_address = "127.0.0.1:7402"

    def search(self, **options: Unpack[SearchOptions]) -> SearchResult:
        """Text in, ranked documents out: `query`, `collection`, and what `types.SearchOptions` has."""
        return self._call(requests.search(options))

    def search_by_vector(self, **options: Unpack[SearchByVectorOptions]) -> SearchResult:
        """A vector in, ranked documents out: `space`, `vector`, `collection`, and so on.

        The text of the query stays with the caller, who has a query tower of the same space.
        """
        return self._call(requests.search_by_vector(options))

    def encode(self, **options: Unpack[EncodeOptions]) -> EncodeResult:
        """Vectors of 1 to 256 `texts`, in order."""
        return self._call(requests.encode(options))

    def measure_familiarity(self, **options: Unpack[FamiliarityOptions]) -> Familiarity:
        """How well the query tower knows a `collection`, by a sample of its documents."""
        return self._call(requests.measure_familiarity(options))

    def describe(self, **options: Unpack[CallOptions]) -> ServiceInfo:
        """What the service is and which tower it runs."""
        return self._call(requests.describe(self._service, options))

    def search_stream(self, **options: Unpack[StreamOptions]) -> SearchStream:
        """Search as you type, over one stream. Close it when the search box is gone."""
        return SearchStream(self._servers, options)
