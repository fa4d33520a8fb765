"""The retriever in the real LlamaIndex."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Pair

from scalingnote import AsyncQueryClient, ScalingnoteError

from llama_index.core.schema import MetadataMode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from scalingnote.llama_index import ScalingnoteRetriever


def retriever(pair: Pair, animals: Any, **more: Any) -> ScalingnoteRetriever:
    return ScalingnoteRetriever(pair.queries, collection=pair.collection, **{**animals, **more})


def test_it_finds(pair: Pair, animals: dict[str, Any]) -> None:
    found = retriever(pair, animals).retrieve("insects that make honey")
    first = found[0]
    assert first.node.node_id == "bee" and first.node.get_content() == (
        "Bees are insects that live in hives and make honey."
    )
    assert first.score is not None and 0 < first.score <= 1
    assert first.node.metadata["legs"] == 6
    assert first.node.metadata["scalingnote"]["score"] == first.score
    assert "scalingnote" not in first.node.get_content(MetadataMode.LLM)


def where(condition: FilterCondition, *filters: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


def is_(key: str, operator: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, operator=FilterOperator(operator), value=value)


# The oldest versions have no NOT.
NOT = (
    [(where(FilterCondition.NOT, is_("place", "==", "farm")), {"bee", "eel", "owl"})]
    if hasattr(FilterCondition, "NOT")
    else []
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"must": [{"field": "metadata.place", "equals": "farm"}]}, {"cow", "hen"}),
        (where(FilterCondition.AND, is_("place", "==", "farm"), is_("legs", ">", 2)), {"cow"}),
        (where(FilterCondition.OR, is_("place", "==", "hive"), is_("legs", "<=", 0)), {"bee", "eel"}),
        *NOT,
        (where(FilterCondition.AND, is_("place", "in", ["farm", "wood"])), {"cow", "hen", "owl"}),
        (where(FilterCondition.AND, is_("place", "nin", ["farm", "wood"])), {"bee", "eel"}),
        (where(FilterCondition.AND, is_("legs", "!=", 2)), {"bee", "cow", "eel"}),
        (
            where(FilterCondition.AND, is_("legs", ">=", 2), where(FilterCondition.OR, is_("place", "==", "wood"))),
            {"owl"},
        ),
    ],
)
def test_filters(pair: Pair, animals: dict[str, Any], filters: Any, expected: set[str]) -> None:
    found = retriever(pair, animals, filter=filters).retrieve("animal")
    assert {each.node.node_id for each in found} == expected


@pytest.mark.parametrize("own_client", [True, False])
def test_asyncio(pair: Pair, animals: dict[str, Any], own_client: bool) -> None:
    async def main() -> str:
        async with AsyncQueryClient(pair.query_address) as client:
            asked = retriever(pair, animals, async_client=client if own_client else None)
            return (await asked.aretrieve("insects that make honey"))[0].node.node_id

    assert asyncio.run(main()) == "bee"


def test_what_it_refuses(pair: Pair, animals: dict[str, Any]) -> None:
    with pytest.raises(ScalingnoteError, match='did you mean "limit"'):
        retriever(pair, animals, limits=1).retrieve("animal")
    with pytest.raises(ScalingnoteError, match="has no condition here"):
        retriever(pair, animals, filter=where(FilterCondition.AND, is_("place", "text_match", "fa")))
