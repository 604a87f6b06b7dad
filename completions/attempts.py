"""Calling the candidates of a plan until one answers: falling back, trying again, hedging, and going on with a broken answer.

The order is decided in `completions.course`, a call is made in `completions.calls`; this module has one follow the other, and
tells the exchange and the health of each.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from accounting.record import Attempt
from completions import resume, streams
from completions.admission import Gate, NoSeat
from completions.calls import Calls, Result, Sending
from completions.course import Course
from completions.dialects.base import JSON, Completion
from completions.exchange import Exchange
from completions.resume import Replay, Said
from completions.streams import OpenStream
from completions.visit import Seat
from gateway_project.errors import (
    GatewayError,
    InvalidRequest,
    NoCandidates,
    ProviderError,
    ProviderTimeout,
    redact,
)
from routingapp.health import Health
from routingapp.plan import Candidate, Plan

HEDGE_AFTER_S = 0.05
"""No second candidate is asked sooner: a start that is usually over within this time is late by chance, not by fault."""

UNSENDABLE = "unsendable"
"""The code in a plan of what a candidate cannot be told: only its dialect can say so, which no filter asks."""

Call = Callable[[Exchange, Candidate], Sending[Result]]


@dataclass(frozen=True, slots=True)
class Attempts:
    """Tries candidates and tells `health` how each did."""

    calls: Calls
    health: Health
    gate: Gate = field(default_factory=Gate)
    dice: random.Random = field(default_factory=random.Random)

    async def answer(self, exchange: Exchange, plan: Plan) -> tuple[Candidate, Completion]:
        """The first whole answer, and who gave it. Raises the last candidate's error when none answers."""
        candidate, attempt, completion = await self._first(exchange, self._course(exchange, plan), self.calls.complete)
        exchange.answered_by(candidate, attempt)
        return candidate, completion

    async def open(self, exchange: Exchange, plan: Plan) -> OpenStream:
        """The first stream that says something. Raises the last candidate's error when none does."""
        patience = self._hedge_after_s(plan)
        if patience is None:
            opened = await self._lead(exchange, self._course(exchange, plan))
        else:
            opened = await self._hedged(exchange, plan, patience)
        exchange.answered_by(opened.candidate, opened.attempt)
        return opened

    async def reopen(
        self, exchange: Exchange, plan: Plan, broken: OpenStream, said: Said, error: ProviderError
    ) -> OpenStream | None:
        """Another stream that goes on where `broken` ended with `error`, None where nobody can.

        Only adapters of the same model are asked, as often as the policy still allows: the broken one last, and not at all
        if it had run out of time.
        """
        candidates = [other for other in plan.candidates if other.model.id == broken.candidate.model.id]
        if isinstance(error, ProviderTimeout):
            candidates = [other for other in candidates if other.adapter.id != broken.candidate.adapter.id]
        candidates.sort(key=lambda candidate: candidate.adapter.id == broken.candidate.adapter.id)
        tries_left = plan.policy.max_attempts - len(exchange.record.attempts)
        for candidate in candidates[: max(0, tries_left)]:
            if self.health.is_open(candidate.adapter.id, time.monotonic()):
                continue
            chat = resume.continuation(exchange.chat, said, candidate.adapter.provider.quirks.continuation)
            replay = None if chat else Replay(said)
            try:
                _, opened = await self._try(exchange, candidate, partial(self.calls.stream, chat=chat, replay=replay))
            except (ProviderError, NoSeat):
                continue
            exchange.answered_by(opened.candidate, opened.attempt)
            return opened
        return None

    def failed(self, exchange: Exchange, candidate: Candidate, error: GatewayError) -> None:
        """Tell `health` of a failure, once per adapter and request. What is not the provider's error is nobody's fault."""
        adapter_id = candidate.adapter.id
        if isinstance(error, ProviderError):
            error.metadata["provider_name"] = candidate.adapter.provider.name
            error.metadata["is_byok"] = False
            if adapter_id not in exchange.faulted:
                exchange.faulted.add(adapter_id)
                self.health.failed(adapter_id, time.monotonic(), error)
                return
        self.health.released(adapter_id)

    # --- one after the other ------------------------------------------------------------------------------------------

    def _course(self, exchange: Exchange, plan: Plan) -> Course:
        return Course.of(plan, exchange.started + plan.policy.deadline_s)

    async def _first(self, exchange: Exchange, course: Course, call: Call[Result]) -> tuple[Candidate, Attempt, Result]:
        failed: list[tuple[Candidate, ProviderError]] = []
        uncalled: list[GatewayError] = []
        while (candidate := course.take()) is not None:
            now = time.monotonic()
            if self.health.is_open(candidate.adapter.id, now):
                course.give_back(candidate)  # Paused since the plan was made, or another request is probing it.
                uncalled.append(_paused())
                continue
            try:
                attempt, result = await self._try(exchange, candidate, call)
                return candidate, attempt, result
            except NoSeat as error:
                uncalled.append(error.error or _paused())
                course.give_back(candidate)
            except ProviderError as error:
                failed.append((candidate, error.with_traceback(None)))
                took_s = time.monotonic() - now
                delay_s = course.after(candidate, error, took_s=took_s, now=time.monotonic(), dice=self.dice)
                if delay_s is None:
                    break
                if delay_s:
                    # The loop's timers count whole milliseconds and may ring early, when the adapter is still paused.
                    await asyncio.sleep(delay_s + 0.01)
        try:
            raise _conclusion(failed, uncalled)
        finally:
            # Else the error would hold its traceback, that this call, and this call the error, until the next full collection.
            failed.clear()
            uncalled.clear()

    async def _try(self, exchange: Exchange, candidate: Candidate, call: Call[Result]) -> tuple[Attempt, Result]:
        """One attempt with its bookkeeping. Until its first content is there, it ends in `failed` or `released`.

        A key that its provider holds something against is followed by the next one: more attempts, but one try. Raises
        `NoSeat` where the candidate cannot be told the request, or has no room or no key, and has not been called.
        """
        sending = self._put(exchange, candidate, call)
        seat = await self._seat(exchange, candidate)
        attempt = exchange.attempt(candidate, seat)
        self.health.started(candidate.adapter.id, time.monotonic())
        try:
            result = await sending(attempt)
        except ProviderError as error:
            exchange.attempt_failed(attempt, error)
            if self.gate.another_key(seat, error):
                self.health.released(candidate.adapter.id)
                return await self._try(exchange, candidate, call)
            self.failed(exchange, candidate, error)
            raise
        except BaseException:
            exchange.attempt_abandoned(attempt)
            self.health.released(candidate.adapter.id)
            raise
        self.health.answered(candidate.adapter.id, time.monotonic())
        return attempt, result

    def _put(self, exchange: Exchange, candidate: Candidate, call: Call[Result]) -> Sending[Result]:
        """The request in the candidate's words. Raises `NoSeat` where it has none for it, and keeps the reason on the record.

        Comes before the seat, so that nothing has been reserved for what cannot be sent.
        """
        try:
            return call(exchange, candidate)
        except InvalidRequest as error:
            exchange.passed_over(candidate, UNSENDABLE, redact(error.message[:500]))
            raise NoSeat(UNSENDABLE, error.message, error) from error

    async def _seat(self, exchange: Exchange, candidate: Candidate) -> Seat:
        """A place at the candidate's adapter. Raises `NoSeat`, and keeps the reason on the record."""
        try:
            seat = await self.gate.seat(exchange, candidate)
            if self.health.is_open(candidate.adapter.id, time.monotonic()):
                # Asked once more, as the gate may have waited: only one request may probe a half-open adapter.
                self.gate.leave(exchange, seat)
                raise NoSeat("breaker_open", "paused since this request was planned")
            return seat
        except NoSeat as error:
            exchange.passed_over(candidate, error.code, error.reason)
            raise

    # --- two at once --------------------------------------------------------------------------------------------------

    def _hedge_after_s(self, plan: Plan) -> float | None:
        """How long the first candidate may be silent before a second is asked as well, None where none is to be."""
        if not plan.policy.hedges or len(plan.candidates) < 2:
            return None
        ttft = self.health.measured(plan.candidates[0].adapter.id, time.monotonic()).ttft_s
        return max(HEDGE_AFTER_S, ttft.p95) if ttft else None

    async def _hedged(self, exchange: Exchange, plan: Plan, patience: float) -> OpenStream:
        """The first of two streams to say something. The other is given up, and stays on the record as an attempt.

        The second is of the same model, since a slow start is no reason for another one, and comes from the course that the
        first is on: so nobody is asked by both.
        """
        course = self._course(exchange, plan)
        racing = [asyncio.ensure_future(self._lead(exchange, course))]
        winner: OpenStream | None = None
        try:
            await asyncio.wait(racing, timeout=patience)
            if not racing[0].done() and course.has_siblings:
                racing.append(asyncio.ensure_future(self._chase(exchange, course)))
                await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            ready = [task for task in racing if task.done() and task.exception() is None]
            if not ready:
                # Both have failed, or one has and the other is on its way.
                await asyncio.wait(racing)
                ready = [task for task in racing if task.exception() is None]
            winner = (ready or racing)[0].result()
            return winner
        finally:
            for task in racing:
                await self._end(exchange, task, winner)

    async def _lead(self, exchange: Exchange, course: Course) -> OpenStream:
        return (await self._first(exchange, course, self.calls.stream))[2]

    async def _chase(self, exchange: Exchange, course: Course) -> OpenStream:
        candidate = course.take()
        if candidate is None:
            raise _paused()
        if self.health.is_open(candidate.adapter.id, time.monotonic()):
            course.give_back(candidate)
            raise _paused()
        try:
            return (await self._try(exchange, candidate, self.calls.stream))[1]
        except NoSeat as error:
            course.give_back(candidate)
            raise error.error or _paused() from error

    async def _end(self, exchange: Exchange, task: asyncio.Future[OpenStream], winner: OpenStream | None) -> None:
        """End a task that has raced for a stream, and its stream unless that is the winner."""
        opened = await streams.give_up(task)
        if opened is not None and opened is not winner:
            exchange.attempt_abandoned(opened.attempt)
            self.health.released(opened.candidate.adapter.id)
            await opened.answer.aclose()


def _told(candidate: Candidate, error: ProviderError) -> JSON:
    """An earlier failure, as the caller is told of it beside the last one."""
    return {"provider": candidate.adapter.provider.name, "code": error.status, "status": error.upstream_status}


def _conclusion(failed: Sequence[tuple[Candidate, ProviderError]], uncalled: Sequence[GatewayError]) -> GatewayError:
    """What a caller is told to whom nobody has answered: the last failure, with those before it."""
    if not failed:
        return _foremost(uncalled)
    *previous, (_, last) = failed
    if previous:
        last.metadata["previous_errors"] = [_told(*before) for before in previous]
    return last


def _foremost(uncalled: Sequence[GatewayError]) -> GatewayError:
    """What a caller is told for whom nobody could be called: the first that passes by itself, else the first thing to change."""
    passing = [error for error in uncalled if not isinstance(error, InvalidRequest)]
    return next(iter(passing or uncalled), _paused())


def _paused() -> NoCandidates:
    return NoCandidates("Every adapter of this model was paused a moment ago; try again.", headers={"Retry-After": "1"})
