"""The pair that the behaviour table runs against: DOCUMENT_ADDRESS and QUERY_ADDRESS name it."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scalingnote import DocumentClient, QueryClient


@dataclass
class Pair:
    documents: DocumentClient
    queries: QueryClient
    collection: str


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    addresses = [os.environ.get(name) for name in ("DOCUMENT_ADDRESS", "QUERY_ADDRESS")]
    if not addresses[0] or not addresses[1]:
        pytest.skip("not tested: DOCUMENT_ADDRESS and QUERY_ADDRESS name no running pair")
    collection = f"behaviour-{uuid.uuid4().hex[:8]}"
    with DocumentClient(addresses[0]) as documents, QueryClient(addresses[1]) as queries:
        yield Pair(documents, queries, collection)
        for found in documents.collections():
            if found.name == collection:
                documents.drop_collection(physical_name=found.physical_name, with_aliases=True)
