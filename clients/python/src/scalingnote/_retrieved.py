"""What the retrievers of all frameworks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import Hit
from .errors import argument_error, invalid


def search_options(collection: str, query: str, *given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a search; what comes later wins."""
    options: dict[str, Any] = {}
    for each in given:
        if not isinstance(each, Mapping):
            raise invalid("search", f"must be a dict of arguments of search(), not {type(each).__name__}")
        options.update(each)
    for name in ("collection", "query"):
        if name in options:
            raise argument_error(name, "is the retriever's own; leave it out of what else a search takes")
    return {**options, "collection": collection, "query": query}


def content(hit: Hit) -> str:
    """What a hit says: its whole text where the search asked for that, else its best passage, else its title."""
    return hit.document_text or hit.text or hit.title


def about(hit: Hit) -> dict[str, Any]:
    """What is known of a hit beside its own metadata."""
    found: dict[str, Any] = {
        "score": hit.score,
        "title": hit.title,
        "passage": hit.passage,
        "version": hit.version,
    }
    if hit.snippet is not None:
        found["snippet"] = hit.snippet.text
    return found


def field_name(name: Any, path: str) -> str:
    """A field of another framework as ours: `meta.legs` and `legs` are `metadata.legs`."""
    if not isinstance(name, str) or not name:
        raise invalid(path, f"is {name!r}; name a field")
    if name in ("id", "document_id"):
        return "document_id"
    if name == "version" or name.startswith("metadata."):
        return name
    return f"metadata.{name.removeprefix('meta.')}"


_RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def comparison(field: str, operator: str, value: Any, path: str) -> dict[str, Any]:
    """A comparison as a condition of ours. A field that is not there is unequal to everything."""
    if operator == "==":
        return {"field": field, "equals": value}
    if operator == "!=":
        return {"filter": {"must_not": [{"field": field, "equals": value}]}}
    if operator in _RANGES:
        return {"field": field, "range": {_RANGES[operator]: value}}
    if operator == "in":
        return {"field": field, "any_of": value}
    if operator == "not in":
        return {"filter": {"must_not": [{"field": field, "any_of": value}]}}
    raise invalid(path, f"is {operator!r}, which has no condition here; use ==, !=, <, <=, >, >=, in or not in")


def combined(operator: Any, conditions: list[dict[str, Any]], path: str) -> dict[str, Any]:
    """AND, OR or NOT of conditions as a filter of ours."""
    word = str(operator).upper()
    if word == "AND":
        return {"must": conditions}
    if word == "OR":
        return {"should": conditions}
    if word == "NOT":
        # Not all of them.
        return {"must_not": [{"filter": {"must": conditions}}]}
    raise invalid(path, f"is {operator!r}, but must be AND, OR or NOT")
