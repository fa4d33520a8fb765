"""
Qdrant's own engine behind the part of Qdrant's REST API that this store uses, for tests.

The engine (`qdrant-edge-py`, the server's code for a shard) does what a filter, an update and a query mean. What a server
has around it is here: HTTP, collections, aliases. A request that is not known, or has a field that is not known, is
refused. Prints one line of JSON when it listens, and ends with its standard input.
"""

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import translate
from catalog import Catalog
from translate import Refused

PACKAGE = "qdrant-edge-py"
# The server whose API this is: its recorded answers and its OpenAPI document are what it is checked against.
API_VERSION = "1.18.3"
ORDERINGS = ("weak", "medium", "strong")


def filters_in(value):
    """The filters of a request, as they were sent."""
    return [value[name] for name in ("filter", "update_filter") if name in value]


class Api:
    """What the paths do. A body has been parsed, parameters have been checked."""

    def __init__(self, catalog, node):
        self.catalog = catalog
        # Which copy answers what is asked here.
        self.node = node

    def copies(self, body):
        return self.catalog.set_copies(body)

    def aliases(self):
        pairs = self.catalog.aliases.items()
        return {"aliases": [{"alias_name": alias, "collection_name": target} for alias, target in pairs]}

    def change_aliases(self, body):
        return self.catalog.change_aliases(body)

    def collections(self):
        return {"collections": [{"name": name} for name in list(self.catalog.collections)]}

    def create(self, name, body):
        return self.catalog.create(name, body)

    def describe(self, name):
        return self.catalog.find(name).description(name)

    def configure(self, name, body):
        return self.catalog.configure(name, body)

    def drop(self, name):
        return self.catalog.drop(name)

    def index(self, name, body, wait=False):
        collection = self.catalog.find(name)
        return collection.update(name, [translate.field_index(body)], wait)[0]

    def upsert(self, name, body, wait=False, ordering=None):
        collection = self.catalog.find(name)
        operation = translate.upsert(body)
        collection.check_vectors(body["points"])
        collection.check_strict(name, filters_in(body))
        return collection.update(name, [operation], wait)[0]

    def batch(self, name, body, wait=False, ordering=None):
        collection = self.catalog.find(name)
        body = translate.fields(body, "batch", "operations", required=["operations"])
        operations = translate.each(body["operations"], "operations", translate.operation)
        collection.check_strict(name, [one for each in body["operations"] for kind in each.values() for one in filters_in(kind)])
        return collection.update(name, operations, wait)

    def retrieve(self, name, body):
        collection = self.catalog.find(name)
        ids, selector, vectors = translate.retrieve(body)
        found = collection.use(name, lambda shard: shard.retrieve(ids, selector, vectors), self.node)
        return [translate.record_json(record) for record in found]

    def scroll(self, name, body):
        collection = self.catalog.find(name)
        request = translate.scroll(body)
        collection.check_strict(name, filters_in(body), request.limit)
        records, following = collection.use(name, lambda shard: shard.scroll(request), self.node)
        return {
            "points": [translate.record_json(record) for record in records],
            "next_page_offset": None if following is None else translate.id_json(following),
        }

    def count(self, name, body, consistency=None):
        collection = self.catalog.find(name)
        request = translate.count(body)
        collection.check_strict(name, filters_in(body))
        # Of several copies, the least counts.
        return {"count": min(collection.use_all(name, lambda shard: shard.count(request), consistency, self.node))}

    def facet(self, name, body):
        collection = self.catalog.find(name)
        request = translate.facet(body)
        collection.check_strict(name, filters_in(body), request.limit)
        answer = collection.use(name, lambda shard: shard.facet(request), self.node)
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in answer.hits]}

    def query(self, name, body):
        collection = self.catalog.find(name)
        request = translate.query(body)
        collection.check_strict(name, filters_in(body), request.limit)
        points = collection.use(name, lambda shard: shard.query(request), self.node)
        return {"points": [translate.scored_json(point) for point in points]}


# Method, path, what it does, parameters, whether it has a body.
ROUTES = [
    (method, re.compile(f"/{path}".replace("NAME", "([^/]+)")), action, parameters, body)
    for method, path, action, parameters, body in [
        ("PUT", "testing/copies", "copies", (), True),
        ("GET", "aliases", "aliases", (), False),
        ("POST", "collections/aliases", "change_aliases", ("timeout",), True),
        ("GET", "collections", "collections", (), False),
        ("PUT", "collections/NAME", "create", ("timeout",), True),
        ("GET", "collections/NAME", "describe", (), False),
        ("PATCH", "collections/NAME", "configure", ("timeout",), True),
        ("DELETE", "collections/NAME", "drop", ("timeout",), False),
        ("PUT", "collections/NAME/index", "index", ("wait",), True),
        ("PUT", "collections/NAME/points", "upsert", ("wait", "ordering", "timeout"), True),
        ("POST", "collections/NAME/points", "retrieve", ("timeout",), True),
        ("POST", "collections/NAME/points/batch", "batch", ("wait", "ordering", "timeout"), True),
        ("POST", "collections/NAME/points/scroll", "scroll", ("timeout",), True),
        ("POST", "collections/NAME/points/count", "count", ("consistency", "timeout"), True),
        ("POST", "collections/NAME/facet", "facet", ("timeout",), True),
        ("POST", "collections/NAME/points/query", "query", ("timeout",), True),
    ]
]


def parameters_of(text, known):
    given = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known:
            raise Refused(400, f"Deserialize error in query parameters: unknown parameter `{name}`")
        if name == "wait" and value in ("true", "false"):
            given[name] = value == "true"
        elif name == "consistency" and (value == "all" or (value.isdecimal() and int(value) > 0)):
            given[name] = value if value == "all" else int(value)
        elif name == "ordering" and value in ORDERINGS:
            given[name] = value
        elif name == "timeout" and value.isdecimal() and int(value) > 0:
            pass  # Nothing here has to wait for others to agree.
        else:
            raise Refused(400, f"Deserialize error in query parameters: invalid value for `{name}`: {value}")
    return given


def no_number(text):
    raise ValueError(f"expected value, not {text}")


def json_of(body):
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=no_number)
        json.dumps(value, ensure_ascii=False).encode()  # Half a surrogate pair is no character.
        return value
    except ValueError as error:
        raise Refused(400, f"Format error in JSON body: {error}") from None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            result = self.result(body)
            self.send(200, result if self.path == "/" else {"result": result, "status": "ok", "time": 0.0})
        except Refused as refusal:
            if refusal.args[0] == "":
                self.send(refusal.status, None)
            else:
                self.send(refusal.status, {"status": {"error": str(refusal)}, "time": 0.0})
        except (TypeError, ValueError) as error:
            self.send(400, {"status": {"error": f"Format error in JSON body: {error}"}, "time": 0.0})
        except Exception as error:  # The engine has one class of its own for whatever is wrong.
            wrong = type(error) is Exception
            message = f"Wrong input: {error}" if wrong else f"Service internal error: {error!r}"
            self.send(400 if wrong else 500, {"status": {"error": message}, "time": 0.0})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def result(self, body):
        address = urlsplit(self.path)
        if self.command == "GET" and self.path == "/":
            engine = f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
            return {"title": engine, "version": API_VERSION}
        for method, path, action, known, has_body in ROUTES:
            match = path.fullmatch(address.path)
            if method != self.command or match is None:
                continue
            if not has_body and body:
                raise Refused(400, f"{method} {address.path} takes no body")
            names = [unquote(name) for name in match.groups()]
            parameters = parameters_of(address.query, known)
            return getattr(self.server.api, action)(*names, *([json_of(body)] if has_body else []), **parameters)
        raise Refused(404, "")

    def send(self, status, value):
        body = b"" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        # One piece, with the head: a second one would wait for the first to be acknowledged.
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()


class Server(ThreadingHTTPServer):
    """A node."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, api):
        self.api = api
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="where the data are kept")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--temporary", action="store_true", help="remove the folder when standard input ends")
    parser.add_argument("--nodes", type=int, default=1, help="each has its own copy of a replicated collection")
    options = parser.parse_args()
    catalog = Catalog(options.folder, options.nodes)
    nodes = [Server(options.port if node == 0 else 0, Api(catalog, node)) for node in range(options.nodes)]
    print(json.dumps({"url": nodes[0].url, "urls": [node.url for node in nodes]}), flush=True)
    sys.stdin.read()
    if options.temporary:
        shutil.rmtree(options.folder, ignore_errors=True)
    os._exit(0)


main()
