"""What was promised to clients and what became of it."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field


@dataclass
class AcceptedRequest:
    """A search that was answered with 202, until its task ends."""

    task_id: str
    accepted_at: float
    cancelled: bool = False


@dataclass
class Record:
    """Promises and outcomes, shared by all client threads.

    Attributes:
        pending: accepted searches whose end was not seen yet, oldest first.
        ended: processes that ended without a fault, and were started again, by name.
        outcomes: ended searches by state, or by error code where they failed.
        waits_s: seconds from acceptance to the first poll that showed the end.
        keys: task id by idempotency key.
        products: version by product id, None where it was deleted; as the last 202 promised.
        unsure: products whose last write had no answer.
        history: each write of a product: seconds of the run, version, and status or job id.
        jobs: accepted jobs whose end was not seen yet.
        violations: sentences about broken invariants.
    """

    answers: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    pending: deque[AcceptedRequest] = field(default_factory=deque)
    accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    job_outcomes: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    products: dict[str, int | None] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    history: dict[str, list[tuple[float, int | None, str]]] = field(default_factory=lambda: defaultdict(list))
    jobs: deque[str] = field(default_factory=deque)
    lost: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, task_id: str, key: str) -> None:
        """Note a promise; a key that gives two tasks is a doubled search."""
        with self.lock:
            known = self.keys.setdefault(key, task_id)
            if known != task_id:
                self.violations.append(f"idempotency key {key} gave {known} and {task_id}")
                return
            if not any(each.task_id == task_id for each in self.pending):
                self.accepted += 1
                self.pending.append(AcceptedRequest(task_id, time.monotonic()))

    def end(self, search: AcceptedRequest, outcome: str) -> None:
        with self.lock:
            self.outcomes[outcome] += 1
            self.waits_s.append(time.monotonic() - search.accepted_at)

    def count(self, what: str) -> None:
        with self.lock:
            self.answers[what] += 1

    def violate(self, sentence: str) -> None:
        with self.lock:
            self.violations.append(sentence)
