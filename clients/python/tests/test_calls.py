"""Deadlines, retries, several servers: against a service that answers as it is told."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from fake import FakeService, fail, rich
from conftest import Pair
from services import Site, free_port

from scalingnote import (
    ArgumentError,
    AsyncDocumentClient,
    AsyncQueryClient,
    DocumentClient,
    Operation,
    QueryClient,
    ScalingnoteError,
)

OVERLOADED = fail(
    rich(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED", retry_after=0.3)
)
Make = Callable[..., FakeService]
SEARCH: Any = {"collection": "c", "query": "q"}


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[FakeService] = []

    def start(*arguments: Any, **options: Any) -> FakeService:
        made.append(FakeService(*arguments, **options))
        return made[-1]

    yield start
    for service in made:
        service.close()


@pytest.fixture(params=["sync", "asyncio"])
def search(request: Any) -> Callable[..., Any]:
    """Searches with a new client, some times over."""

    def sync(times: int = 1, bounds: Any = {}, **options: Any) -> list[Any]:
        with QueryClient(**options) as client:
            return [client.search(**SEARCH, **bounds) for _ in range(times)]

    def asynchronous(times: int = 1, bounds: Any = {}, **options: Any) -> list[Any]:
        async def main() -> list[Any]:
            async with AsyncQueryClient(**options) as client:
                return [await client.search(**SEARCH, **bounds) for _ in range(times)]

        return asyncio.run(main())

    return sync if request.param == "sync" else asynchronous


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ScalingnoteError) as caught:
        call()
    return caught.value.code


def test_it_waits_as_long_as_the_server_asks(make: Make, search: Any) -> None:
    service = make(lambda number, context: OVERLOADED(context) if number < 3 else None)
    search(address=service.address)
    times = [at for at, _ in service.calls]
    assert len(times) == 3
    assert all(later - sooner >= 0.3 for sooner, later in zip(times, times[1:]))


def test_without_retry_info_an_exhausted_resource_is_final(make: Make, search: Any) -> None:
    full = fail(rich(grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full", reason="DISK_FULL"))
    service = make(lambda _, context: full(context))
    assert code_of(lambda: search(address=service.address)) == "RESOURCE_EXHAUSTED"
    assert len(service.calls) == 1


def test_attempts_are_counted(make: Make, search: Any) -> None:
    service = make(lambda _, context: OVERLOADED(context))
    assert code_of(lambda: search(address=service.address, attempts=2)) == "RESOURCE_EXHAUSTED"
    assert len(service.calls) == 2


def test_a_retry_that_the_deadline_does_not_allow_is_not_made(make: Make, search: Any) -> None:
    service = make(lambda _, context: OVERLOADED(context))
    assert code_of(lambda: search(address=service.address, timeout=0.2)) == "RESOURCE_EXHAUSTED"
    assert len(service.calls) == 1


def test_what_changes_once_is_tried_once(make: Make) -> None:
    gone = fail(rich(grpc.StatusCode.UNAVAILABLE, "gone", reason="STORE_UNAVAILABLE"))
    service = make(lambda _, context: gone(context))
    with DocumentClient(service.address) as client:
        assert code_of(lambda: client.drop_collection(physical_name="c--1")) == "UNAVAILABLE"
    assert len(service.calls) == 1


def test_an_outage_is_not_multiplied(make: Make) -> None:
    """Many calls that all fail get a tenth more, and the budget's hundred and ten a second."""
    gone = fail(rich(grpc.StatusCode.UNAVAILABLE, "gone", reason="STORE_UNAVAILABLE"))
    service = make(lambda _, context: gone(context))
    calls, threads = 25, 8
    with QueryClient(service.address, timeout=0.3) as client:
        begun = time.monotonic()

        def work() -> None:
            for _ in range(calls):
                with pytest.raises(ScalingnoteError):
                    client.search(**SEARCH)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        spent = time.monotonic() - begun
    asked = calls * threads
    assert len(service.calls) <= asked * 1.1 + 100 + 10 * spent + 1
    assert len(service.calls) > asked


def test_a_failed_call_leaves_nothing_to_the_garbage_collector(make: Make) -> None:
    """Cycles of errors and frames would keep what gRPC holds for a call until somebody collects them."""
    service = make(lambda _, context: OVERLOADED(context))
    with QueryClient(service.address, attempts=1) as client:
        assert code_of(lambda: client.search(**SEARCH)) == "RESOURCE_EXHAUSTED"
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                try:
                    client.search(**SEARCH)
                except ScalingnoteError:
                    pass
            assert gc.collect() < 20
        finally:
            gc.enable()


def test_the_classes_of_messages_stay(make: Make, search: Any) -> None:
    """protobuf makes a class that nobody holds again, and leaves the old one to the garbage collector."""
    import scalingnote._proto as proto

    service = make()
    search(address=service.address)
    kept = [weakref.ref(proto.message(name)) for name in ("SearchResponse", "Hit", "google.protobuf.Duration")]
    gc.collect()
    assert all(each() is not None for each in kept)


def test_a_server_that_never_answers_costs_the_timeout(make: Make, search: Any) -> None:
    over = threading.Event()
    service = make(lambda _, context: over.wait(10) and None)
    begun = time.monotonic()
    assert code_of(lambda: search(address=service.address, bounds={"timeout": 0.3})) == "DEADLINE_EXCEEDED"
    over.set()
    assert time.monotonic() - begun < 5


def test_a_server_that_is_not_there(search: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    begun = time.monotonic()
    assert code_of(lambda: search(address=address, wait_for_ready=False, timeout=30)) == "UNAVAILABLE"
    assert code_of(lambda: search(address=address, attempts=1, timeout=30)) == "UNAVAILABLE"
    assert time.monotonic() - begun < 20, "it did not wait for the server"
    assert code_of(lambda: search(address=address, timeout=0.3)) == "UNAVAILABLE"


def test_it_waits_for_a_server_that_comes(make: Make, search: Any) -> None:
    port = free_port()
    timer = threading.Timer(0.5, make, kwargs={"port": port})
    timer.start()
    assert len(search(address=f"127.0.0.1:{port}", timeout=30)) == 1
    timer.join()


def test_a_stream_waits_for_a_server_that_comes_back(make: Make) -> None:
    first = make()
    with QueryClient(first.address, timeout=30) as client, client.search_stream() as stream:
        assert stream.search(**SEARCH) is not None
        first.close()
        timer = threading.Timer(0.3, make, kwargs={"port": first.port})
        timer.start()
        assert stream.search(**SEARCH) is not None
        timer.join()


def test_what_a_call_carries(make: Make, search: Any) -> None:
    service = make()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bounds = {"metadata": {"x-own": "1", "x-bytes-bin": b"\x00\xff"}, "traceparent": trace}
    search(address=service.address, metadata={"authorization": "Bearer abc"}, bounds=bounds)
    ((_, carried),) = service.calls
    expected = {"authorization": "Bearer abc", "x-own": "1", "x-bytes-bin": b"\x00\xff", "traceparent": trace}
    assert {key: carried.get(key) for key in expected} == expected


def test_several_servers_take_turns(make: Make, search: Any) -> None:
    services = [make(), make(), make()]
    search(times=30, addresses=[each.address for each in services])
    counts = [len(each.calls) for each in services]
    # Until all are connected, the first that is takes all.
    assert min(counts) >= 5, counts


def test_a_server_that_does_not_serve_gets_no_calls(make: Make, search: Any) -> None:
    well, ill = make(), make()
    ill.serve(False)
    search(times=20, addresses=[ill.address, well.address])
    assert (len(well.calls), len(ill.calls)) == (20, 0)


def test_a_server_that_is_away_fails_no_call(make: Make, search: Any) -> None:
    well = make()
    search(times=20, addresses=[f"127.0.0.1:{free_port()}", well.address], timeout=20)
    assert len(well.calls) == 20


def test_a_server_that_shuts_down_is_left_for_another(make: Make, search: Any) -> None:
    leaving = fail(rich(grpc.StatusCode.UNAVAILABLE, "bye", reason="SHUTTING_DOWN", retry_after=30))
    one, other = make(lambda _, context: leaving(context)), make()
    search(times=10, addresses=[one.address, other.address], timeout=10)
    assert len(other.calls) == 10


@pytest.mark.parametrize("style", ["sync", "asyncio"])
def test_a_stopped_server_is_left_for_another(site: Site, style: str) -> None:
    addresses = site.start_queries()
    with DocumentClient(site.document.address) as client:
        client.ingest([{"id": "a", "text": "hello"}], collection="stopped")
    asked: Any = {"collection": "stopped", "query": "hello"}
    stopped = site.queries[0]

    async def main() -> None:
        async with AsyncQueryClient(addresses=addresses, timeout=20) as client:
            for number in range(30):
                if number == 10:
                    stopped.signal(signal.SIGSTOP)
                await client.search(**asked)

    try:
        if style == "asyncio":
            asyncio.run(main())
            return
        with QueryClient(addresses=addresses, timeout=20) as client:
            for number in range(30):
                if number == 10:
                    stopped.signal(signal.SIGSTOP)
                client.search(**asked)
    finally:
        stopped.signal(signal.SIGCONT)


def test_a_killed_server_fails_no_call_and_no_stream(site: Site) -> None:
    addresses = site.start_queries()
    with DocumentClient(site.document.address) as client:
        client.ingest([{"id": "a", "text": "hello"}], collection="killed")
    asked: Any = {"collection": "killed", "query": "hello"}
    killed = site.queries[0]

    async def main() -> Counter[str]:
        found: Counter[str] = Counter()
        async with AsyncQueryClient(addresses=addresses, timeout=30) as client:
            async with client.search_stream() as stream:
                for number in range(60):
                    if number == 20:
                        killed.signal(signal.SIGKILL)
                    found["search"] += len((await client.search(**asked)).hits)
                    result = await stream.search(**asked)
                    found["stream"] += len(result.hits) if result else 0
        return found

    assert asyncio.run(main()) == {"search": 60, "stream": 60}


def test_tls_is_the_callers(make: Make, search: Any) -> None:
    """Against plain text, TLS fails: the credentials are used."""
    service = make()
    options = {"address": service.address, "credentials": grpc.ssl_channel_credentials(), "timeout": 0.5}
    assert code_of(lambda: search(**options)) == "UNAVAILABLE"
    assert service.calls == []


def test_a_closed_client_says_so(make: Make) -> None:
    service = make(lambda _, context: time.sleep(1))
    client = QueryClient(service.address)
    stream = client.search_stream()
    waiting = stream.submit(**SEARCH)
    threading.Timer(0.2, client.close).start()
    with pytest.raises(ScalingnoteError, match="the client is closed"):
        client.search(**SEARCH)
    with pytest.raises(ScalingnoteError, match="the client is closed"):
        waiting.result(10)
    with pytest.raises(ScalingnoteError, match="the client is closed"):
        client.search(**SEARCH)


def test_a_query_of_a_stream_is_given_up(make: Make) -> None:
    service = make(lambda number, _: time.sleep(0.5) if number == 1 else None)
    with QueryClient(service.address) as client, client.search_stream() as stream:
        waiting = stream.submit(**SEARCH)
        assert waiting.cancel()
        assert stream.search(**SEARCH) is not None


def test_an_asyncio_client_belongs_to_its_loop(make: Make) -> None:
    client = AsyncQueryClient(make().address)

    async def once() -> Any:
        return await client.search(**SEARCH)

    asyncio.run(once())
    with pytest.raises(ScalingnoteError, match="another event loop"):
        asyncio.run(once())


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"address": "localhost"}, "address", "port"),
        ({"address": "http://localhost:7402"}, "address", "scheme"),
        ({"address": "::1:7402"}, "address", "brackets"),
        ({"address": "a b:7402"}, "address", "host"),
        ({"address": "a:99999"}, "address", "port"),
        ({"address": 7402}, "address", "string"),
        ({"addresses": []}, "addresses", "empty"),
        ({"addresses": "a:1"}, "addresses", "list"),
        ({"addresses": ["a:1", "a:1"]}, "addresses[1]", "again"),
        ({"address": "a:1", "addresses": ["a:2"]}, "addresses", "beside"),
        ({"address": "a:1", "timeout": "5"}, "timeout", "number"),
        ({"address": "a:1", "timeout": float("nan")}, "timeout", "finite"),
        ({"address": "a:1", "attempts": 0}, "attempts", "from 1"),
        ({"address": "a:1", "credentials": "tls"}, "credentials", "ssl_channel_credentials"),
        ({"address": "a:1", "wait_for_ready": 1}, "wait_for_ready", "True or False"),
        ({"address": "a:1", "channel_options": {"timeout": 1}}, "channel_options.timeout", "grpc."),
        ({"address": "a:1", "time_out": 1}, "time_out", 'did you mean "timeout"'),
    ],
)
@pytest.mark.parametrize("kind", [QueryClient, AsyncQueryClient])
def test_options_that_can_not_be_followed(kind: Any, options: Any, field: str, says: str) -> None:
    with pytest.raises(ScalingnoteError) as caught:
        kind(**options)
    assert caught.value.violations[0].field == field
    assert says in caught.value.message


def test_a_wrong_name_is_a_type_error_that_names_the_right_one() -> None:
    with QueryClient("127.0.0.1:1") as client:
        with pytest.raises(ArgumentError, match='did you mean "score_threshold"') as caught:
            client.search(collection="c", query="q", treshold=0.5)  # type: ignore[call-arg]
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, ScalingnoteError)
        with pytest.raises(ArgumentError, match="query: is missing"):
            client.search(collection="c")  # type: ignore[call-arg]


def test_what_a_tenant_has_and_its_end(pair: Pair) -> None:
    tenant = f"{pair.collection}-tenant"
    documents: list[Operation] = [{"id": str(number), "text": "a bee"} for number in range(3)]
    pair.documents.ingest(documents, collection=pair.collection, tenant=tenant)
    used = pair.documents.tenant_usage(tenant=tenant)
    assert (used.documents, used.passages, used.max_documents) == (3, 3, None)
    assert used.bytes > 15
    listed = pair.documents.list_tenants(collection=pair.collection)
    assert [(each.documents, each.passages) for each in listed if each.tenant == tenant] == [(3, 3)]
    assert tenant in [each.tenant for each in pair.documents.list_tenants()]
    assert code_of(lambda: pair.documents.list_tenants(collection="")) == "INVALID_ARGUMENT"
    assert code_of(lambda: pair.documents.drop_tenant(tenant=tenant)) == "INVALID_ARGUMENT"
    assert code_of(lambda: pair.documents.drop_tenant(tenant=tenant, collection="")) == "INVALID_ARGUMENT"
    would = pair.documents.drop_tenant(tenant=tenant, dry_run=True)
    assert (sum(each.documents for each in would.drops), would.complete) == (3, False)

    async def drop() -> tuple[int, int]:
        async with AsyncDocumentClient(pair.document_address) as client:
            dropped = await client.drop_tenant(tenant=tenant, confirm_tenant=tenant)
            while not dropped.complete:
                dropped = await client.drop_tenant(tenant=tenant, confirm_tenant=tenant)
            assert tenant not in [each.tenant async for each in client.list_tenants()]
            left = await client.tenant_usage(tenant=tenant)
            return sum(each.remaining for each in dropped.drops), left.documents

    assert asyncio.run(drop()) == (0, 0)


def test_documents_and_tenants_page_by_page(pair: Pair) -> None:
    tenants = [f"{pair.collection}-page-{number:03}" for number in range(3)]
    documents: list[Operation] = [{"id": f"{number:03}", "text": "a bee"} for number in range(45)]
    for tenant in tenants:
        pair.documents.ingest(documents, collection=pair.collection, tenant=tenant)
    scope: Any = {"collection": pair.collection, "tenant": tenants[0]}
    found = list(pair.documents.list_documents(**scope))
    assert sorted(each.id for each in found) == [each["id"] for each in documents]  # type: ignore[typeddict-item]
    assert found[0].passages == ["a bee"]

    async def again() -> list[str]:
        async with AsyncDocumentClient(pair.document_address) as client:
            return [each.id async for each in client.list_documents(**scope)]

    assert asyncio.run(again()) == [each.id for each in found]
