"""A retriever for LangChain (extra `langchain`)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from ._retrieved import about, content, search_options
from .aio import AsyncQueryClient
from .answers import Hit
from .query import QueryClient

__all__ = ["ScalingnoteRetriever"]


class ScalingnoteRetriever(BaseRetriever):
    """The best passages of a collection.

    `search` is what else a search takes, `{"limit": 5, "filter": {...}}`; so are the named arguments of `invoke`, which
    win. A document has its own metadata, and under `scalingnote` its score, title, passage and version.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    client: QueryClient
    collection: str
    search: dict[str, Any] = Field(default_factory=dict)
    async_client: AsyncQueryClient | None = None
    """For `ainvoke`; without it, the client is used in a thread."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **search: Any
    ) -> list[Document]:
        options = search_options(self.collection, query, self.search, search)
        return [_document(hit) for hit in self.client.search(**options).hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **search: Any
    ) -> list[Document]:
        if self.async_client is None:
            find = partial(self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **search)
            return await asyncio.to_thread(find)
        options = search_options(self.collection, query, self.search, search)
        return [_document(hit) for hit in (await self.async_client.search(**options)).hits]


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, page_content=content(hit), metadata={**hit.metadata, "scalingnote": about(hit)})
