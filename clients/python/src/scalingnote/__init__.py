"""Client of scalingnote: search, encode, ingest and export, with and without asyncio."""

from ._aio_stream import AsyncSearchStream
from ._stream import SearchStream
from .aio import AsyncDocumentClient, AsyncQueryClient
from .answers import (
    Checkpoint,
    Collection,
    CountResult,
    DeleteResult,
    DocumentExplanation,
    DocumentOrigin,
    EncodeResult,
    Explanation,
    Familiarity,
    FullDocument,
    Hit,
    IngestOutcome,
    IngestSummary,
    Passage,
    QueryTruncation,
    RankingPlace,
    SearchResult,
    SearchTimings,
    ServiceInfo,
    Snippet,
    Space,
    Tower,
)
from .documents import DocumentClient
from .errors import ArgumentError, FieldViolation, ScalingnoteError
from .query import QueryClient
from .types import Filter, Operation, SearchRequest

__all__ = [
    "ArgumentError",
    "AsyncDocumentClient",
    "AsyncQueryClient",
    "AsyncSearchStream",
    "Checkpoint",
    "Collection",
    "CountResult",
    "DeleteResult",
    "DocumentClient",
    "DocumentExplanation",
    "DocumentOrigin",
    "EncodeResult",
    "Explanation",
    "Familiarity",
    "FieldViolation",
    "Filter",
    "FullDocument",
    "Hit",
    "IngestOutcome",
    "IngestSummary",
    "Operation",
    "Passage",
    "QueryClient",
    "QueryTruncation",
    "RankingPlace",
    "ScalingnoteError",
    "SearchRequest",
    "SearchResult",
    "SearchStream",
    "SearchTimings",
    "ServiceInfo",
    "Snippet",
    "Space",
    "Tower",
]
