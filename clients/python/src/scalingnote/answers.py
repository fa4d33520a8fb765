"""What the services answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ._values import from_struct


@dataclass(frozen=True)
class Space:
    """The vector space that one document tower defines."""

    fingerprint: str
    dimensions: int


@dataclass(frozen=True)
class Tower:
    """A model that maps text to vectors of one space."""

    name: str
    role: Literal["document", "query"]
    space: Space
    device: str
    max_tokens: int
    retention: float | None


@dataclass(frozen=True)
class ServiceInfo:
    """What a service is and what it has loaded."""

    version: str
    pid: int
    uptime_seconds: float
    tower: Tower
    store: str
    not_serving_reason: str
    writes_refused_reason: str


@dataclass(frozen=True)
class Collection:
    """A logical collection."""

    name: str
    physical_name: str
    space: Space
    documents: int
    passages: int
    identity: str
    read_only: bool
    admitted_spaces: list[str]


@dataclass(frozen=True)
class Hit:
    """One document that was found."""

    id: str
    score: float
    title: str
    passage: int
    """Index of its best passage."""
    text: str
    """Text of its best passage."""
    metadata: dict[str, Any]
    version: int


@dataclass(frozen=True)
class SearchTimings:
    """Where the time of a search went on the server, in milliseconds."""

    tokenize_ms: float
    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float
    cached: bool


@dataclass(frozen=True)
class SearchResult:
    """Ranked documents, best first."""

    hits: list[Hit]
    timings: SearchTimings
    query_tower: Tower


@dataclass(frozen=True)
class EncodeResult:
    """One vector for each text."""

    embeddings: list[list[float]]
    query_tower: Tower


def from_space(space: Any) -> Space:
    """From the wire."""
    return Space(space.fingerprint, space.dimensions)


def from_tower(tower: Any) -> Tower:
    """From the wire."""
    return Tower(
        name=tower.name,
        role="document" if tower.role == 1 else "query",
        space=from_space(tower.space),
        device=tower.device,
        max_tokens=tower.max_tokens,
        retention=tower.retention if tower.HasField("retention") else None,
    )


def from_service(info: Any) -> ServiceInfo:
    """From the wire."""
    return ServiceInfo(
        version=info.version,
        pid=info.pid,
        uptime_seconds=info.uptime_seconds,
        tower=from_tower(info.tower),
        store=info.store,
        not_serving_reason=info.not_serving_reason,
        writes_refused_reason=info.writes_refused_reason,
    )


def from_collection(found: Any) -> Collection:
    """From the wire."""
    return Collection(
        name=found.name,
        physical_name=found.physical_name,
        space=from_space(found.space),
        documents=found.documents,
        passages=found.passages,
        identity=found.identity,
        read_only=found.read_only,
        admitted_spaces=list(found.admitted_spaces),
    )


def from_search(response: Any) -> SearchResult:
    """From the wire."""
    timings = response.timings
    return SearchResult(
        hits=[
            Hit(
                id=hit.document_id,
                score=hit.score,
                title=hit.title,
                passage=hit.passage,
                text=hit.text,
                metadata=from_struct(hit.metadata),
                version=hit.version,
            )
            for hit in response.hits
        ],
        timings=SearchTimings(
            timings.tokenize_ms,
            timings.queue_ms,
            timings.encode_ms,
            timings.search_ms,
            timings.total_ms,
            timings.cached,
        ),
        query_tower=from_tower(response.query_tower),
    )
