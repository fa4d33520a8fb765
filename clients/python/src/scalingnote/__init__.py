"""Client of scalingnote: search, encode, ingest."""

from ._filters import Filter
from .answers import Collection, EncodeResult, Hit, SearchResult, SearchTimings, ServiceInfo, Space, Tower
from .documents import CountResult, DeleteResult, DocumentClient
from .errors import FieldViolation, ScalingnoteError
from .ingest import IngestOutcome, IngestSummary
from .query import QueryClient

__all__ = [
    "Collection",
    "CountResult",
    "DeleteResult",
    "DocumentClient",
    "EncodeResult",
    "FieldViolation",
    "Filter",
    "Hit",
    "IngestOutcome",
    "IngestSummary",
    "QueryClient",
    "ScalingnoteError",
    "SearchResult",
    "SearchTimings",
    "ServiceInfo",
    "Space",
    "Tower",
]
