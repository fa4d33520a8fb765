"""The retriever in the real LangChain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Pair

from scalingnote import AsyncQueryClient, ScalingnoteError

from langchain_core.runnables import RunnableLambda

from scalingnote.langchain import ScalingnoteRetriever

FARM: Any = {"must": [{"field": "metadata.place", "equals": "farm"}]}


def retriever(pair: Pair, animals: Any, **more: Any) -> ScalingnoteRetriever:
    return ScalingnoteRetriever(client=pair.queries, collection=pair.collection, search=animals, **more)


def test_it_finds(pair: Pair, animals: dict[str, Any]) -> None:
    found = retriever(pair, animals).invoke("insects that make honey")
    assert (found[0].id, found[0].page_content) == ("bee", "Bees are insects that live in hives and make honey.")
    own = found[0].metadata.pop("scalingnote")
    assert found[0].metadata == {"legs": 6, "place": "hive"}
    assert 0 < own["score"] <= 1 and (own["title"], own["passage"], own["version"]) == ("", 0, 0)
    scores = [own["score"], *(each.metadata["scalingnote"]["score"] for each in found[1:])]
    assert scores == sorted(scores, reverse=True)


def test_filters(pair: Pair, animals: dict[str, Any]) -> None:
    once = retriever(pair, {**animals, "filter": FARM}).invoke("animal")
    each = retriever(pair, animals).invoke("animal", filter=FARM)
    assert {found.id for found in once} == {found.id for found in each} == {"cow", "hen"}
    assert len(retriever(pair, animals).invoke("animal", limit=1)) == 1


@pytest.mark.parametrize("own_client", [True, False])
def test_asyncio(pair: Pair, animals: dict[str, Any], own_client: bool) -> None:
    async def main() -> list[str | None]:
        async with AsyncQueryClient(pair.query_address) as client:
            asked = retriever(pair, animals, async_client=client if own_client else None)
            return [each.id for each in await asked.ainvoke("animal", filter=FARM)]

    assert set(asyncio.run(main())) == {"cow", "hen"}


def test_in_a_chain(pair: Pair, animals: dict[str, Any]) -> None:
    chain = retriever(pair, animals) | RunnableLambda(lambda found: found[0].id)
    assert chain.invoke("insects that make honey") == "bee"
    assert chain.batch(["insects that make honey", "cattle that give milk"]) == ["bee", "cow"]


def test_what_it_refuses(pair: Pair, animals: dict[str, Any]) -> None:
    with pytest.raises(ScalingnoteError, match='did you mean "limit"'):
        retriever(pair, {**animals, "limits": 1}).invoke("animal")
    with pytest.raises(ScalingnoteError, match='did you mean "filter"'):
        retriever(pair, animals).invoke("animal", filters=FARM)
    with pytest.raises(ScalingnoteError, match="collection: is the retriever's own"):
        retriever(pair, {**animals, "collection": "other"}).invoke("animal")
    with pytest.raises(ValueError, match="top_k"):
        retriever(pair, animals, top_k=3)
