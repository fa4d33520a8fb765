"""The pair that the tests run against: DOCUMENT_ADDRESS and QUERY_ADDRESS name it."""

import importlib.util
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from perform import TABLE
from services import Site

from scalingnote import DocumentClient, QueryClient

# What these tests need is optional; `npm run python-client -- --all` installs it.
_OPTIONAL = {
    "test_frames.py": ("pandas", "pyarrow"),
    "test_langchain.py": ("langchain_core",),
    "test_llama_index.py": ("llama_index",),
    "test_haystack.py": ("haystack",),
}
_MISSING = {
    file: [name for name in modules if importlib.util.find_spec(name) is None] for file, modules in _OPTIONAL.items()
}
collect_ignore = [file for file, modules in _MISSING.items() if modules]


def pytest_configure(config: pytest.Config) -> None:
    """Says what is not tested, and why, where a file is asked for by name: then pytest does not ignore it."""
    for file in collect_ignore:
        if any(argument.endswith(file) for argument in config.args):
            install = "npm run python-client -- --all"
            pytest.exit(f"not tested: {file}: there is no {', '.join(_MISSING[file])}: {install}", 0)


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
            if found.name.startswith(collection):
                documents.drop_collection(physical_name=found.physical_name, with_aliases=True)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Services of the tests' own, to be killed."""
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def animals(pair: Pair) -> dict[str, Any]:
    """The table's documents are there, and a search with these arguments sees them."""
    done = pair.documents.ingest(TABLE["documents"], collection=pair.collection)
    return {"at_least_as_fresh_as": done.freshness_token}
