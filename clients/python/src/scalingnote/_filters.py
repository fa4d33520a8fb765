"""Filters as plain dicts."""

from __future__ import annotations

from typing import Any

from ._values import known_keys, number, set_value, text
from .errors import invalid

_CLAUSES = ("must", "should", "must_not")
_TESTS = ("equals", "any_of", "range", "exists")
_BOUNDS = ("gt", "gte", "lt", "lte")
# The services take no deeper filter, and none with more conditions.
_MAX_DEPTH = 8
_MAX_CONDITIONS = 256


class _Budget:
    """Conditions that may still come, over all levels: a filter that holds a part of itself many times grows by powers."""

    left = _MAX_CONDITIONS

    def take(self, count: int, path: str) -> None:
        self.left -= count
        if self.left < 0:
            raise invalid(path, f"has more than {_MAX_CONDITIONS} conditions; put values of one field into any_of")


def set_filter(
    target: Any, value: Any, path: str = "filter", depth: int = 1, budget: _Budget | None = None
) -> None:
    """Writes a filter into a message. Raises ScalingnoteError INVALID_ARGUMENT that names what is wrong."""
    budget = budget or _Budget()
    if depth > _MAX_DEPTH:
        raise invalid(path, f"is nested more than {_MAX_DEPTH} deep")
    known_keys(value, path, _CLAUSES)
    target.SetInParent()
    for clause in _CLAUSES:
        conditions = value.get(clause, ())
        if not isinstance(conditions, (list, tuple)):
            raise invalid(f"{path}.{clause}", f"must be a list of conditions, not {type(conditions).__name__}")
        budget.take(len(conditions), f"{path}.{clause}")
        for index, condition in enumerate(conditions):
            at = f"{path}.{clause}[{index}]"
            _set_condition(getattr(target, clause).add(), condition, at, depth, budget)


def _set_condition(target: Any, condition: Any, path: str, depth: int, budget: _Budget) -> None:
    known_keys(condition, path, ("field", *_TESTS, "filter"))
    if "filter" in condition:
        if len(condition) > 1:
            raise invalid(path, 'has "filter" beside other keys; make them conditions of their own')
        return set_filter(target.filter, condition["filter"], f"{path}.filter", depth + 1, budget)
    tests = [test for test in _TESTS if test in condition]
    if len(tests) != 1:
        given = ", ".join(tests) or "none"
        raise invalid(path, f"has to have exactly one of {', '.join(_TESTS)}; it has {given}")
    if "field" not in condition:
        raise invalid(f"{path}.field", 'is missing; write for example "metadata.KEY"')
    (test,) = tests
    message, value = getattr(target, test), condition[test]
    message.field = text(condition["field"], f"{path}.field")
    if test == "equals":
        _set_plain(message.value, value, f"{path}.equals.value")
    elif test == "any_of":
        if not isinstance(value, (list, tuple)) or not value:
            raise invalid(f"{path}.any_of.values", "must be a list of 1 to 256 values")
        for index, item in enumerate(value):
            _set_plain(message.values.add(), item, f"{path}.any_of.values[{index}]")
    elif test == "range":
        bounds = known_keys(value, f"{path}.range", _BOUNDS)
        if not bounds:
            raise invalid(f"{path}.range", f"has no bound; give one of {', '.join(_BOUNDS)}")
        for bound, limit in bounds.items():
            setattr(message, bound, number(limit, f"{path}.range.{bound}"))
    elif value is not True:
        raise invalid(
            f"{path}.exists", f'is {value!r}, but must be True; for "has no such field", put it under "must_not"'
        )


def _set_plain(target: Any, value: Any, path: str) -> None:
    if not isinstance(value, (str, bool, int, float)):
        raise invalid(path, f"must be a string, a number or a boolean, not {type(value).__name__}")
    set_value(target, value, path)
