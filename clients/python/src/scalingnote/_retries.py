"""When a call that failed is made again. The TypeScript client (clients/retries.ts) does the same."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from .errors import ScalingnoteError

# First step and ceiling of the wait between attempts, in seconds.
_BACKOFF_BASE, _BACKOFF_MAX = 0.05, 1.0

# How many retries a client may make: a tenth of its calls, and ten a second besides, so that a client with few calls
# retries at all. A service that fails every call thus gets little more load than before, and not a multiple.
_BUDGET_SHARE, _BUDGET_PER_SECOND, _BUDGET_MAX = 0.1, 10.0, 100.0


def backoff(attempt: int, error: ScalingnoteError | None) -> float:
    """How long to wait after that attempt: full jitter, and never less than the server asks for."""
    ceiling = min(_BACKOFF_MAX, _BACKOFF_BASE * 2.0 ** min(attempt, 16))
    return ((error and error.retry_delay) or 0.0) + random.random() * ceiling


class RetryBudget:
    """The retries that a client may still make. What is not there yet can be waited for."""

    def __init__(self) -> None:
        self._tokens = _BUDGET_MAX
        self._counted_at = time.monotonic()
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Counts a call that was made."""
        with self._lock:
            self._tokens = min(_BUDGET_MAX, self._tokens + _BUDGET_SHARE)

    def take(self, longest: float) -> float | None:
        """Takes a token, and says after how many seconds it may be used; None, and no token, where that is too long."""
        with self._lock:
            now = time.monotonic()
            earned = (now - self._counted_at) * _BUDGET_PER_SECOND
            self._tokens = min(_BUDGET_MAX, self._tokens + earned)
            self._counted_at = now
            wait = max(0.0, (1 - self._tokens) / _BUDGET_PER_SECOND)
            if wait > longest:
                return None
            self._tokens -= 1
            return wait


@dataclass(frozen=True)
class Wait:
    """What to do before a call is made again."""

    seconds: float = 0.0
    until_ready: bool = False
    """Wait until a server is connected."""


class Retries:
    """The retries of one call. They spend the deadline that there is."""

    def __init__(self, budget: RetryBudget, *, attempts: float, wait_for_ready: bool, deadline: float) -> None:
        self._budget = budget
        self._attempts, self._wait_for_ready = attempts, wait_for_ready
        self.deadline = deadline
        self._attempt = 0
        self._moves = 0
        budget.deposit()

    def next(self, error: ScalingnoteError, *, any_ready: bool, other_ready: bool, same_ready: bool) -> Wait | None:
        """What to wait for; None where another attempt can't help, or can't be made in time.

        `any_ready`: a server is connected; `other_ready`: one that was not asked; `same_ready`: the one that was.
        """
        self._attempt += 1
        if not error.retryable or self._attempt >= self._attempts:
            return None
        is_broken = error.reason == ""
        if is_broken and not any_ready:
            # Nothing is asked of a server that is not there, so this costs nothing of the budget.
            if not self._wait_for_ready:
                return None
            return Wait(until_ready=True)
        is_over = is_broken or error.reason == "SHUTTING_DOWN"
        is_elsewhere = is_over and other_ready
        wait = backoff(self._attempt, None if is_elsewhere else error)
        if is_elsewhere:
            self._moves += 1
            if self._moves == 1:
                # What a server that ends says of the wait does not hold for another one.
                wait = 0.0
        # The first repetition after a lost connection is free: all calls of a server that ends come back at once.
        if not (self._attempt == 1 and is_over and not same_ready):
            turn = self._budget.take(self.deadline - time.monotonic())
            if turn is None:
                return None
            wait = max(wait, turn)
        if time.monotonic() + wait >= self.deadline:
            return None
        return Wait(wait)
