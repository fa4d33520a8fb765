"""The pair that the tests run against: DOCUMENT_ADDRESS and QUERY_ADDRESS name it."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from services import Site

from scalingnote import DocumentClient, QueryClient


@dataclass
class Pair:
    documents: DocumentClient
    queries: QueryClient
    collection: str
    document_address: str
    query_address: str
    store: str


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    document, query = os.environ.get("DOCUMENT_ADDRESS"), os.environ.get("QUERY_ADDRESS")
    if not document or not query:
        pytest.skip("not tested: DOCUMENT_ADDRESS and QUERY_ADDRESS name no running pair")
    collection = f"behaviour-{uuid.uuid4().hex[:8]}"
    with DocumentClient(document) as documents, QueryClient(query) as queries:
        yield Pair(documents, queries, collection, document, query, queries.describe().store)
        for found in documents.list_collections():
            if found.name == collection:
                documents.drop_collection(physical_name=found.physical_name, with_aliases=True)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Services of the tests' own, to be killed."""
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()
