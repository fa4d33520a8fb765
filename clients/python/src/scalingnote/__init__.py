"""Client of scalingnote: search, encode, ingest."""

from ._filters import Filter
from .answers import Collection, EncodeResult, Hit, SearchResult, SearchTimings, ServiceInfo, Space, Tower
from .errors import FieldViolation, ScalingnoteError
from .query import QueryClient

__all__ = [
    "Collection",
    "EncodeResult",
    "FieldViolation",
    "Filter",
    "Hit",
    "QueryClient",
    "ScalingnoteError",
    "SearchResult",
    "SearchTimings",
    "ServiceInfo",
    "Space",
    "Tower",
]
