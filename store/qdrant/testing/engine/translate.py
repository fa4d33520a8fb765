"""Requests of Qdrant's REST API as objects of the engine. What is not known here is refused, never ignored."""

import math
from uuid import UUID

import qdrant_edge as edge


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def malformed(message):
    return Refused(400, f"Format error in JSON body: {message}")


def fields(value, what, *known, required=()):
    """An object that has only known fields, and the required ones."""
    if not isinstance(value, dict):
        raise malformed(f"{what} has to be an object, not {value!r}")
    for name in value:
        if name not in known:
            raise malformed(f"unknown field `{name}` in {what}, expected one of {', '.join(known)}")
    for name in required:
        if name not in value:
            raise malformed(f"missing field `{name}` in {what}")
    return value


def typed(value, what, *types):
    """A value of one of some types. A boolean is no number."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join(one.__name__ for one in types)
        raise malformed(f"invalid type: {value!r} for {what}, expected {names}")
    return value


def each(values, what, convert):
    return [convert(value) for value in typed(values, what, list)]


def whole(value, what, least=0):
    if typed(value, what, int) < least:
        raise Refused(422, f"Validation error in JSON body: [{what}: value {value} invalid, must be {least} or larger]")
    return value


def text(value, what):
    return typed(value, what, str)


def point_id(value):
    if type(value) is int and 0 <= value < 2**64:
        return value
    try:
        return str(UUID(value))
    except (AttributeError, TypeError, ValueError):
        raise malformed(
            f"value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        ) from None


# --- filters

CLAUSES = ("must", "should", "must_not")

# Two values that the bindings take for booleans. They take Python's own for the numbers 0 and 1 where a filter is
# matched, but ask a scalar of NumPy, which they know by its name, what it is.
NumpyBool = type("bool_", (), {"__module__": "numpy", "__init__": lambda self, value: setattr(self, "value", value),
                               "__bool__": lambda self: self.value})


def filter_of(value, what="filter"):
    body = fields(value, what, *CLAUSES)
    return edge.Filter(**{clause: each(body[clause], clause, condition) for clause in body})


def condition(value):
    if not isinstance(value, dict):
        raise malformed(f"a condition has to be an object, not {value!r}")
    if "is_empty" in value:
        fields(value, "condition", "is_empty")
        return edge.IsEmptyCondition(text(fields(value["is_empty"], "is_empty", "key", required=["key"])["key"], "key"))
    if "has_id" in value:
        fields(value, "condition", "has_id")
        return edge.HasIdCondition(set(each(value["has_id"], "has_id", point_id)))
    if "has_vector" in value:
        fields(value, "condition", "has_vector")
        return edge.HasVectorCondition(text(value["has_vector"], "has_vector"))
    if "key" in value:
        fields(value, "condition", "key", "match", "range")
        if len(value) != 2:
            raise malformed(f"a condition on a field has one of match and range: {value!r}")
        key = text(value["key"], "key")
        if "match" in value:
            return edge.FieldCondition(key, match=match_of(value["match"]))
        return edge.FieldCondition(key, range=range_of(value["range"]))
    return filter_of(value, "condition")


def match_of(value):
    fields(value, "match", "value", "any")
    if len(value) != 1:
        raise malformed(f"a match has one of value and any: {value!r}")
    if "any" in value:
        return edge.MatchAny(each(value["any"], "any", lambda one: text(one, "any")))
    wanted = typed(value["value"], "match", str, int, bool)
    return edge.MatchValue(NumpyBool(wanted) if isinstance(wanted, bool) else wanted)


def range_of(value):
    bounds = fields(value, "range", "gt", "gte", "lt", "lte")
    return edge.RangeFloat(**{name: float(typed(bound, name, int, float)) for name, bound in bounds.items()})


def conditions_of(value):
    """Every condition on a field in a filter, as it was sent."""
    for clause in CLAUSES:
        for one in value.get(clause, []):
            if "key" in one or "is_empty" in one:
                yield one
            elif "has_id" not in one and "has_vector" not in one:
                yield from conditions_of(one)


# --- points

def sparse_of(value):
    body = fields(value, "sparse vector", "indices", "values", required=["indices", "values"])
    indices = each(body["indices"], "indices", lambda one: whole(one, "indices"))
    values = each(body["values"], "values", lambda one: float(typed(one, "values", int, float)))
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise Refused(422, "Validation error in JSON body: [indices: must be unique, and as many as values]")
    return edge.SparseVector(indices, values)


def dense_of(value):
    return [float(typed(one, "vector", int, float)) for one in typed(value, "vector", list)]


def vector_of(value):
    return sparse_of(value) if isinstance(value, dict) else dense_of(value)


def point_of(value):
    body = fields(value, "point", "id", "vector", "payload", required=["id", "vector"])
    given = body["vector"]
    # A list is the vector of a collection whose one vector has no name.
    vectors = {name: vector_of(one) for name, one in given.items()} if isinstance(given, dict) else {"": dense_of(given)}
    return edge.Point(point_id(body["id"]), vectors, typed(body.get("payload", {}), "payload", dict))


def payload_selector(value):
    return each(value, "with_payload", lambda one: text(one, "with_payload")) if isinstance(value, list) else typed(
        value, "with_payload", bool
    )


# --- updates

def operation(value):
    """One of a batch of updates."""
    fields(value, "operation", "delete", "set_payload", "delete_payload")
    if len(value) != 1:
        raise malformed(f"an operation has one kind: {list(value)}")
    ((kind, body),) = value.items()
    return OPERATIONS[kind](body)


def upsert(value):
    body = fields(value, "upsert", "points", "update_filter", required=["points"])
    points = each(body["points"], "points", point_of)
    if not points:
        raise Refused(400, "Bad request: Empty update request")
    condition = filter_of(body["update_filter"], "update_filter") if "update_filter" in body else None
    return edge.UpdateOperation.upsert_points(points, condition=condition)


def delete(value):
    body = fields(value, "delete", "filter", required=["filter"])
    return edge.UpdateOperation.delete_points_by_filter(filter_of(body["filter"]))


def set_payload(value):
    body = fields(value, "set_payload", "payload", "filter", required=["payload", "filter"])
    return edge.UpdateOperation.set_payload_by_filter(filter_of(body["filter"]), typed(body["payload"], "payload", dict))


def delete_payload(value):
    body = fields(value, "delete_payload", "keys", "filter", required=["keys", "filter"])
    keys = each(body["keys"], "keys", lambda one: text(one, "keys"))
    return edge.UpdateOperation.delete_payload_by_filter(filter_of(body["filter"]), keys)


OPERATIONS = {"delete": delete, "set_payload": set_payload, "delete_payload": delete_payload}

INDEXES = {
    "keyword": edge.KeywordIndexParams,
    "integer": edge.IntegerIndexParams,
    "float": edge.FloatIndexParams,
    "bool": edge.BoolIndexParams,
    "uuid": edge.UuidIndexParams,
    "datetime": edge.DatetimeIndexParams,
}


def field_index(value):
    body = fields(value, "index", "field_name", "field_schema", required=["field_name", "field_schema"])
    schema = body["field_schema"]
    if isinstance(schema, str):
        schema = {"type": schema}
    fields(schema, "field_schema", "type", "is_tenant", required=["type"])
    if schema["type"] not in INDEXES:
        raise malformed("data did not match any variant of untagged enum PayloadFieldSchema")
    options = {"is_tenant": typed(schema["is_tenant"], "is_tenant", bool)} if "is_tenant" in schema else {}
    return edge.UpdateOperation.create_field_index(
        text(body["field_name"], "field_name"), INDEXES[schema["type"]](**options)
    )


# --- reads

def query(value):
    known = ("query", "using", "filter", "limit", "with_payload", "with_vector", "params", "score_threshold")
    body = fields(value, "query", *known, required=["query"])
    using = text(body.get("using", ""), "using")
    threshold = body.get("score_threshold")
    return edge.QueryRequest(
        limit=whole(body.get("limit", 10), "internal.limit", 1),
        query=sample_of(body["query"]) or edge.Query.Nearest(vector_of(body["query"]), using=using),
        filter=filter_of(body["filter"]) if "filter" in body else None,
        with_payload=payload_selector(body.get("with_payload", False)),
        with_vector=vector_selector(body.get("with_vector", False)),
        params=params_of(body.get("params", {})),
        score_threshold=None if threshold is None else float(typed(threshold, "score_threshold", int, float)),
    )


def sample_of(value):
    """Points by chance; `None` for another query."""
    if not isinstance(value, dict) or "sample" not in value:
        return None
    if fields(value, "query", "sample")["sample"] != "random":
        raise malformed(f"unknown variant `{value['sample']}`, expected `random`")
    return edge.Sample.Random


def vector_selector(value):
    return each(value, "with_vector", lambda one: text(one, "with_vector")) if isinstance(value, list) else typed(
        value, "with_vector", bool
    )


def params_of(value):
    body = fields(value, "params", "hnsw_ef", "exact", "quantization")
    quantization = None
    if "quantization" in body:
        given = fields(body["quantization"], "quantization", "rescore", "oversampling")
        quantization = edge.QuantizationSearchParams(
            rescore=typed(given["rescore"], "rescore", bool) if "rescore" in given else None,
            oversampling=float(typed(given["oversampling"], "oversampling", int, float))
            if "oversampling" in given
            else None,
        )
    return edge.SearchParams(
        hnsw_ef=whole(body["hnsw_ef"], "hnsw_ef") if "hnsw_ef" in body else None,
        exact=typed(body.get("exact", False), "exact", bool),
        quantization=quantization,
    )


def scroll(value):
    body = fields(value, "scroll", "filter", "limit", "offset", "with_payload", "with_vector")
    return edge.ScrollRequest(
        offset=point_id(body["offset"]) if "offset" in body else None,
        limit=whole(body.get("limit", 10), "limit", 1),
        filter=filter_of(body["filter"]) if "filter" in body else None,
        with_payload=payload_selector(body.get("with_payload", True)),
        with_vector=vector_selector(body.get("with_vector", False)),
    )


def retrieve(value):
    body = fields(value, "retrieve", "ids", "with_payload", "with_vector", required=["ids"])
    vectors = vector_selector(body.get("with_vector", False))
    return each(body["ids"], "ids", point_id), payload_selector(body.get("with_payload", True)), vectors


def count(value):
    body = fields(value, "count", "filter", "exact")
    return edge.CountRequest(
        exact=typed(body.get("exact", True), "exact", bool),
        filter=filter_of(body["filter"]) if "filter" in body else None,
    )


def facet(value):
    body = fields(value, "facet", "key", "filter", "limit", "exact", required=["key"])
    return edge.FacetRequest(
        text(body["key"], "key"),
        limit=whole(body.get("limit", 10), "limit", 1),
        exact=typed(body.get("exact", False), "exact", bool),
        filter=filter_of(body["filter"]) if "filter" in body else None,
    )


# --- answers

def id_json(value):
    return value if isinstance(value, int) else str(value)


def record_json(record):
    answer = {"id": id_json(record.id)}
    if record.payload is not None:
        answer["payload"] = record.payload
    if record.vector is not None:
        answer["vector"] = vectors_json(record.vector)
    return answer


def vectors_json(vector):
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    if isinstance(vector, dict):
        return {name: vectors_json(one) for name, one in vector.items()}
    return list(vector)


def scored_json(point):
    # JSON has no number for what is none.
    return {**record_json(point), "version": point.version, "score": point.score if math.isfinite(point.score) else None}
