"""One request under way: what was asked, by whom, what has been tried, and the record that will be kept of it.

Owns the request's `Record`: every exit path of the pipeline ends in exactly one of `succeeded`, `failed` or `cancelled`, each
of which makes the record durable before the caller's last byte (invariant 2).
"""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from msgspec import Struct, field

from accounting import ledger, pricing
from accounting.credentials import KeyEntry
from accounting.pricing import FREE, Cost
from accounting.record import Attempt, Record
from accounting.usage import CHARACTERS_PER_TOKEN, NO_USAGE, Usage
from catalog.prices import Prices
from completions import pace, telemetry, underway
from completions.relay import Identity, Tally
from completions.snapshot import Snapshot
from completions.visit import Seat, Visit
from gateway_project.errors import GatewayError, LedgerUnavailable, ProviderAuthFailed, ProviderError, redact
from routingapp import stickiness
from routingapp.plan import Ask, Candidate, Plan

log = logging.getLogger("gateway.completions")

CLIENT_CLOSED_REQUEST = 499


class ClientHeaders(NamedTuple):
    """What a caller says about itself in headers; all untrusted text, cut to the columns' lengths."""

    http_referer: str = ""
    app_title: str = ""
    user_agent: str = ""
    session_id: str | None = None


class Exchange(Struct):
    """The state of one request. `started` is monotonic seconds; the record's times are measured from it.

    `conversation` names the conversation for stickiness; `answering` is the attempt whose answer the caller gets; `usage` and
    `charged` are what all attempts together consumed; `streamed_tokens` those of the answer that set its pace
    (`completions.pace`); `faulted` are the adapters whose fault has been counted;
    `address` is where the caller calls from; `visit` what is held for the request.
    `is_told`: its end has been reported to `completions.telemetry`.
    """

    record: Record
    key: KeyEntry
    snapshot: Snapshot
    chat: dict[str, Any] = field(default_factory=dict)
    ask: Ask | None = None
    prompt_characters: int = 0
    keeps_content: bool = False
    conversation: tuple[int | None, str, str] | None = None
    plan: Plan | None = None
    answering: Attempt | None = None
    usage: Usage = NO_USAGE
    charged: Cost = FREE
    streamed_tokens: int = 0
    faulted: set[int] = field(default_factory=set)
    address: str = ""
    visit: Visit | None = None
    is_told: bool = False
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, key: KeyEntry, snapshot: Snapshot, headers: ClientHeaders, *, endpoint: str = "chat") -> Exchange:
        now = time.time()
        record = Record(
            request_id=(request.claim_id() if (request := underway.current()) else None) or underway.generation_id(now),
            timestamp=now,
            endpoint=endpoint,
            api_key_id=key.id,
            session_id=headers.session_id,
            http_referer=headers.http_referer,
            app_title=headers.app_title,
            user_agent=headers.user_agent,
        )
        return cls(record, key, snapshot)

    @property
    def hides_reasoning(self) -> bool:
        return bool((self.chat.get("reasoning") or {}).get("exclude"))

    @property
    def is_worth_pinning(self) -> bool:
        """A session that the caller named is pinned at once, any other conversation when a cache was used (openrouter.md 8.5)."""
        named = self.conversation is not None and not self.conversation[2].startswith(stickiness.OPENING)
        return named or bool(self.usage.cached_tokens or self.usage.cache_write or self.usage.cache_write_1h)

    def elapsed_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    def identity(self, candidate: Candidate) -> Identity:
        return Identity(
            id=self.record.request_id,
            created=int(self.record.timestamp),
            model=candidate.model.id,
            provider=candidate.adapter.provider.name,
        )

    def planned(self, plan: Plan) -> None:
        """Keep why each adapter was or was not a candidate, where that is not plain from the attempts alone."""
        self.plan = plan
        if plan.exclusions or len(plan.candidates) > 1:
            self.record.plan = plan.describe()

    def attempt(self, candidate: Candidate, seat: Seat | None = None) -> Attempt:
        """Begin an attempt: the record speaks of this candidate until another begins or one has answered."""
        adapter = candidate.adapter
        attempt = Attempt(
            adapter_id=adapter.id,
            provider=adapter.provider.slug,
            upstream_model=adapter.upstream_model,
            started_ms=self.elapsed_ms(),
        )
        self.record.attempts.append(attempt)
        if self.visit is not None and seat is not None:
            self.visit.sit(attempt, seat)
        telemetry.attempted(self.record, attempt)
        if self.answering is None:
            self._speak_of(candidate)
        return attempt

    def key_of(self, attempt: Attempt) -> int:
        """Which of its provider's keys the attempt is sent with."""
        return self.visit.key_of(attempt) if self.visit is not None else 0

    def answered_by(self, candidate: Candidate, attempt: Attempt) -> None:
        """From now on the caller gets this attempt's answer."""
        self.answering = attempt
        if self.record.adapter_id != attempt.adapter_id:
            self._speak_of(candidate)

    def _speak_of(self, candidate: Candidate) -> None:
        adapter, record = candidate.adapter, self.record
        record.model_id = candidate.model.id
        record.provider = adapter.provider.slug
        record.adapter_id = adapter.id
        record.upstream_model = adapter.upstream_model

    def attempt_failed(self, attempt: Attempt, error: GatewayError) -> None:
        attempt.latency_ms = self.elapsed_ms() - attempt.started_ms
        attempt.status = error.upstream_status if isinstance(error, ProviderError) else error.status
        attempt.error_type = "authentication" if isinstance(error, ProviderAuthFailed) else error.error_type
        attempt.error = error.message[:500]
        self._rise(attempt)

    def attempt_abandoned(self, attempt: Attempt) -> None:
        """The attempt was ended by us: its race is lost, or its client has left. One that had failed already stays failed."""
        if attempt.error is not None:
            return
        attempt.latency_ms = self.elapsed_ms() - attempt.started_ms
        attempt.error = "given up by the gateway"
        attempt.prompt_tokens = attempt.prompt_tokens or self.prompt_characters // CHARACTERS_PER_TOKEN
        self._rise(attempt)

    def _rise(self, attempt: Attempt) -> None:
        if self.visit is not None:
            self.visit.rise(attempt)

    def passed_over(self, candidate: Candidate, code: str, reason: str) -> None:
        """The candidate could not be called although it was planned: the record says why, as of one that was left out."""
        if self.plan is None:
            return
        self.record.plan = self.record.plan or self.plan.describe()
        for line in self.record.plan:
            if line["adapter_id"] == candidate.adapter.id:
                line |= {"rank": None, "code": code, "reason": reason}

    def said_first(self, attempt: Attempt) -> None:
        """The first content of an attempt's stream has arrived."""
        elapsed_ms = self.elapsed_ms()
        attempt.ttft_ms = elapsed_ms - attempt.started_ms
        if self.record.ttft_ms is None:
            self.record.ttft_ms = elapsed_ms

    def prices_of(self, candidate: Candidate) -> Prices:
        """What the candidate costs a request that arrived when this one did."""
        return candidate.adapter.prices_at(self.record.timestamp)

    def consumed(self, candidate: Candidate, tally: Tally, usage: Usage, charged: Cost) -> None:
        """Add what the answering attempt used and cost: on success, and for what had gone by when it ended early."""
        attempt, record = self.answering, self.record
        assert attempt is not None
        attempt.prompt_tokens, attempt.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        attempt.cost_usd = format(charged.total, "f")
        attempt.usage = None if pricing.is_free(usage, tally.finish_reason) else usage.classes()
        record.upstream_id = attempt.upstream_id = tally.upstream_id
        record.finish_reason, record.native_finish_reason = tally.finish_reason, tally.native_finish_reason
        record.prices = self.prices_of(candidate).written_for(attempt.prompt_tokens)
        if self.keeps_content and tally.text is not None:
            record.response = "".join(tally.text)
        if self.usage is NO_USAGE:
            self.usage, self.charged = usage, charged
            self.streamed_tokens = pace.streamed_tokens(usage, tally)
            self._total(usage, attempt.prompt_tokens, attempt.completion_tokens, attempt.cost_usd)
        else:  # an answer that was resumed
            usage, charged = self.usage, self.charged = self.usage + usage, self.charged + charged
            self.streamed_tokens = 0  # it has no one pace: there was a pause, and the second stream may have said all again
            self._total(usage, usage.prompt_tokens, usage.completion_tokens, format(charged.total, "f"))

    def _total(self, usage: Usage, prompt_tokens: int, completion_tokens: int, cost_usd: str) -> None:
        record = self.record
        record.prompt_tokens, record.completion_tokens = prompt_tokens, completion_tokens
        record.total_tokens = prompt_tokens + completion_tokens
        record.reasoning_tokens = usage.reasoning
        record.cache_read_tokens = usage.cached_tokens
        record.cache_write_tokens = usage.cache_write + usage.cache_write_1h
        record.audio_tokens = usage.prompt_audio + usage.cache_read_audio + usage.completion_audio
        record.image_tokens = usage.completion_image
        record.is_estimated = usage.is_estimated
        record.cost_usd = cost_usd

    def succeeded(self) -> None:
        """Make the record of an answered request durable. Raises `LedgerUnavailable`: then it must not be answered."""
        attempt = self.answering
        assert attempt is not None
        attempt.status = 200
        attempt.latency_ms = self.elapsed_ms() - attempt.started_ms
        self.record.status_code = 200
        self._settle()

    def failed(self, error: GatewayError) -> None:
        """Make the record of a failed request durable, as far as that is possible. What is settled stays as it is."""
        if self.record.is_settled:
            return
        record = self.record
        record.status_code = error.status
        # A name that no model has may be a key that slipped into the wrong field.
        record.model_id, record.requested_model = redact(record.model_id), redact(record.requested_model)
        record.error = redact(error.message[:2000])
        record.error_type, record.error_domain = error.error_type, error.domain
        self._settle_quietly()

    def cancelled(self) -> None:
        """Make the record of a request durable whose client has left. What is settled stays as it is."""
        if self.record.is_settled:
            return
        self.record.is_cancelled = True
        self.record.status_code = CLIENT_CLOSED_REQUEST
        self.record.error = "The client closed the request"
        if self.answering is not None:
            self.attempt_abandoned(self.answering)
        self._settle_quietly()

    def _settle(self) -> None:
        self.record.latency_ms = self.elapsed_ms()
        try:
            ledger.settle(self.record)
        finally:
            if self.visit is not None:
                self.visit.end(self.record.total_tokens, self.record.cost_usd)
        self._tell()

    def _tell(self) -> None:
        """Tell the outside of the end, once, whether or not the ledger took the record."""
        if not self.is_told:
            self.is_told = True
            telemetry.finished(self.record, self.streamed_tokens)

    def _settle_quietly(self) -> None:
        """Settle where the caller is not told of success anyway: a ledger that is away must not hide the first error."""
        try:
            self._settle()
        except LedgerUnavailable as error:
            log.error("request %s could not be recorded: %s", self.record.request_id, error.message)
            self._tell()
