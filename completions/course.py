"""What is left to try for one request, and what a failure leaves of it. Pure: time and dice are arguments."""

from __future__ import annotations

import random

from msgspec import Struct, field

from gateway_project.errors import (
    ConnectionBroken,
    ContextLengthExceeded,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from routingapp.plan import Candidate, Plan

FAST_FAULT_S = 1.0
"""A fault within this time may be a passing one, worth a second try at the same adapter."""
BACKOFF_S = (0.05, 0.15)
"""The pause before that second try, drawn at random so that callers do not return in step."""
_PASSING_STATUSES = frozenset({500, 502})


class Course(Struct):
    """The candidates still waiting, in order. `deadline` is on the clock of `now`; `tries_left` counts the model's calls.

    `longest_wait_s`: how long a provider may be waited for that is rate limited and says until when.

    Tries are counted for each model: whoever names several in `models` wants the next one asked once a model's adapters
    have failed (openrouter.md 4.5), however many those are.
    """

    waiting: list[Candidate]
    max_tries: int
    deadline: float
    longest_wait_s: float
    tries_left: int = 0
    _model: str = ""
    _tried_again: set[int] = field(default_factory=set)
    _limited: list[tuple[float, Candidate]] = field(default_factory=list)
    """Candidates that answered 429, with the time from which they say to serve again."""

    @classmethod
    def of(cls, plan: Plan, deadline: float) -> Course:
        return cls(list(plan.candidates), plan.policy.max_attempts, deadline, plan.policy.longest_wait_s)

    def take(self) -> Candidate | None:
        """The next candidate, None when there is none or the tries are used up."""
        if not self.tries_left:
            self.waiting = [candidate for candidate in self.waiting if candidate.model.id != self._model]
        if not self.waiting:
            return None
        candidate = self.waiting.pop(0)
        if candidate.model.id != self._model:
            self._model, self.tries_left = candidate.model.id, self.max_tries
        self.tries_left -= 1
        return candidate

    def give_back(self, uncalled: Candidate) -> None:
        """`uncalled` was taken but not called: its try is free again, unless its model's turn is over."""
        if uncalled.model.id == self._model:
            self.tries_left += 1

    @property
    def has_siblings(self) -> bool:
        """Whether another adapter of the present model is waiting, and a try left for it."""
        return bool(self.tries_left and self._siblings())

    def after(
        self, failed: Candidate, error: ProviderError, *, took_s: float, now: float, dice: random.Random
    ) -> float | None:
        """Seconds to wait before the next `take`, None when the request has failed with `error`.

        A candidate may come again, once: at once after a fast passing fault if a try is to spare, or when its `Retry-After` is
        over if nothing else is left and that is soon enough. A silent one never does.
        """
        self.waiting = [other for other in self.waiting if may_try(error, failed, other)]
        if now >= self.deadline:
            return None
        if not self.tries_left:
            return 0.0 if any(other.model.id != self._model for other in self.waiting) else None
        adapter_id = failed.adapter.id
        if adapter_id not in self._tried_again:
            if _is_passing(error) and took_s < FAST_FAULT_S and self.tries_left > self._siblings():
                self._tried_again.add(adapter_id)
                self.waiting.insert(0, failed)
                return dice.uniform(*BACKOFF_S)
            if isinstance(error, ProviderRateLimited) and error.retry_after_s is not None:
                self._limited.append((now + error.retry_after_s, failed))
        return 0.0 if self.waiting else self._wait_for_limited(now)

    def _wait_for_limited(self, now: float) -> float | None:
        """Seconds until the first of those that were rate limited serves again; it is then waiting. None: too long."""
        here = [(back_at, candidate) for back_at, candidate in self._limited if candidate.model.id == self._model]
        if not here:
            return None
        back_at, candidate = min(here, key=lambda limited: limited[0])
        wait_s = max(0.0, back_at - now)
        if wait_s > self.longest_wait_s or back_at >= self.deadline:
            return None
        self._limited.remove((back_at, candidate))
        self._tried_again.add(candidate.adapter.id)
        self.waiting.append(candidate)
        return wait_s

    def _siblings(self) -> int:
        return sum(other.model.id == self._model for other in self.waiting)


def may_try(error: ProviderError, failed: Candidate, other: Candidate) -> bool:
    """Whether `other` may be asked after `failed` refused or broke.

    Another model may always (openrouter.md 4.5). Another adapter of the same model only where the request itself was not
    at fault, or was too long for just this adapter.
    """
    if other.model.id != failed.model.id:
        return True
    if isinstance(error, ContextLengthExceeded):
        return other.adapter.context_length > failed.adapter.context_length
    return error.try_next


def _is_passing(error: ProviderError) -> bool:
    return isinstance(error, ConnectionBroken) or (
        isinstance(error, ProviderUnavailable) and error.upstream_status in _PASSING_STATUSES
    )
