"""A retriever for LlamaIndex (extra `llama-index`)."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from ._retrieved import about, combined, comparison, content, field_name, search_options
from .aio import AsyncQueryClient
from .answers import Hit
from .errors import invalid
from .query import QueryClient

__all__ = ["ScalingnoteRetriever"]


class ScalingnoteRetriever(BaseRetriever):
    """The best passages of a collection.

    `search` is what else a search takes: `limit=5, filter={...}`; a filter may be LlamaIndex's `MetadataFilters`, too. A
    node has its document's metadata, and under `scalingnote` its title, passage and version. With `async_client`,
    `aretrieve` uses that; without it, the client is used in a thread.
    """

    def __init__(
        self,
        client: QueryClient,
        *,
        collection: str,
        async_client: AsyncQueryClient | None = None,
        **search: Any,
    ) -> None:
        if isinstance(search.get("filter"), MetadataFilters):
            search["filter"] = to_filter(search["filter"])
        search_options(collection, "", search)
        self._client, self._async_client = client, async_client
        self._collection, self._search = collection, search
        super().__init__()

    def _options(self, bundle: QueryBundle) -> dict[str, Any]:
        return search_options(self._collection, bundle.query_str, self._search)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in self._client.search(**self._options(query_bundle)).hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._async_client is None:
            return await asyncio.to_thread(self._retrieve, query_bundle)
        result = await self._async_client.search(**self._options(query_bundle))
        return [_node(hit) for hit in result.hits]


def _node(hit: Hit) -> NodeWithScore:
    # What is ours is for the program, not for the texts that a language model gets.
    node = TextNode(
        id_=hit.id,
        text=content(hit),
        metadata={**hit.metadata, "scalingnote": about(hit)},
        excluded_llm_metadata_keys=["scalingnote"],
        excluded_embed_metadata_keys=["scalingnote"],
    )
    return NodeWithScore(node=node, score=hit.score)


_OPERATORS = {"nin": "not in"}


def to_filter(filters: MetadataFilters, path: str = "filter") -> dict[str, Any]:
    """LlamaIndex's filters as ours."""
    conditions: list[dict[str, Any]] = []
    for index, each in enumerate(filters.filters):
        at = f"{path}.filters[{index}]"
        if isinstance(each, MetadataFilters):
            conditions.append({"filter": to_filter(each, at)})
        elif isinstance(each, MetadataFilter):
            operator = str(each.operator.value)
            field = field_name(each.key, f"{at}.key")
            conditions.append(comparison(field, _OPERATORS.get(operator, operator), each.value, f"{at}.operator"))
        else:
            raise invalid(at, f"is {type(each).__name__}; give a MetadataFilter or MetadataFilters")
    condition = "and" if filters.condition is None else filters.condition.value
    return combined(condition, conditions, f"{path}.condition")
