"""A retriever for Haystack (extra `haystack`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from ._retrieved import about, combined, comparison, content, field_name, search_options
from ._values import known_keys
from .errors import invalid
from .query import QueryClient

__all__ = ["ScalingnoteRetriever", "to_filter"]


@component
class ScalingnoteRetriever:
    """The best passages of a collection.

    `search` is what else a search takes: `{"limit": 5, "filter": {...}}`. `filters` and `top_k` of a run are Haystack's,
    and win. A document has its own metadata, and under `scalingnote` its title, passage and version.
    """

    def __init__(
        self,
        address: str,
        collection: str,
        search: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
    ) -> None:
        """`client`: what else a `QueryClient` takes, such as `{"timeout": 5}`."""
        self.address = address
        self.collection = collection
        self.search = dict(search or {})
        self.client = dict(client or {})
        search_options(collection, "", self.search)
        self._client = QueryClient(address, **self.client)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Searches."""
        own: dict[str, Any] = {}
        if filters is not None:
            own["filter"] = to_filter(filters)
        if top_k is not None:
            own["limit"] = top_k
        result = self._client.search(**search_options(self.collection, query, self.search, own))
        return {
            "documents": [
                Document(
                    id=hit.id,
                    content=content(hit),
                    meta={**hit.metadata, "scalingnote": about(hit)},
                    score=hit.score,
                )
                for hit in result.hits
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Searches in a thread: a component outlives event loops, and an asyncio client does not."""
        found: dict[str, list[Document]] = await asyncio.to_thread(self.run, query, filters, top_k)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline that is saved."""
        written: dict[str, Any] = default_to_dict(
            self, address=self.address, collection=self.collection, search=self.search, client=self.client
        )
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ScalingnoteRetriever:
        """From a pipeline that was saved."""
        read: ScalingnoteRetriever = default_from_dict(cls, data)
        return read


def to_filter(filters: Any, path: str = "filters") -> dict[str, Any]:
    """Haystack's filters as ours."""
    if not isinstance(filters, Mapping):
        raise invalid(path, f"must be a dict, not {type(filters).__name__}")
    if not filters:
        return {}
    if "conditions" not in filters:
        return {"must": [_condition(filters, path)]}
    return combined(filters.get("operator"), _conditions(filters, path), f"{path}.operator")


def _conditions(filters: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    known_keys(filters, path, ("operator", "conditions"))
    given = filters["conditions"]
    if not isinstance(given, (list, tuple)) or not given:
        raise invalid(f"{path}.conditions", "must be a list of one condition or more")
    return [_condition(each, f"{path}.conditions[{index}]") for index, each in enumerate(given)]


def _condition(filters: Any, path: str) -> dict[str, Any]:
    if isinstance(filters, Mapping) and "conditions" in filters:
        return {"filter": to_filter(filters, path)}
    known_keys(filters, path, ("field", "operator", "value"))
    for name in ("field", "operator", "value"):
        if name not in filters:
            raise invalid(f"{path}.{name}", "is missing")
    field = field_name(filters["field"], f"{path}.field")
    return comparison(field, filters["operator"], filters["value"], f"{path}.operator")
