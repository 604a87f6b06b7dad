"""What recording one request costs, in microseconds of CPU time: `python -m tests.benchmarks.ledger_cost`.

`settle` is what the request path pays; the rest is the writer's thread, per row, in batches of 200 on a SQLite file: reading
the line, making it fit, inserting it, and the hourly sums. Medians, because a batch now and then pays for a checkpoint. The
budget is 25 us for `settle` and 60 us for everything.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BATCH = 200
BATCHES = 60


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {"VAR_DIR": directory, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        measure(Path(directory))


def measure(directory: Path) -> None:
    from django.db import connection, transaction

    from accounting import attempts, lines, rollups, rows, store
    from accounting.ledger import Ledger
    from accounting.record import Attempt, Record

    dice = random.Random(1)

    def record(number: int) -> Record:
        latency_ms = int(dice.lognormvariate(6.5, 0.6))
        return Record(
            request_id=f"gen-1763851000-{number:020d}",
            timestamp=1_763_851_000.123 + number / 1000,
            model_id="meta-llama/llama-4-scout",
            requested_model="meta-llama/llama-4-scout",
            provider="vLLM",
            upstream_model="Llama-4-Scout",
            upstream_id="chatcmpl-0123456789",
            status_code=200,
            finish_reason="stop",
            stream=True,
            latency_ms=latency_ms,
            ttft_ms=latency_ms // 5,
            prompt_tokens=900,
            completion_tokens=100,
            total_tokens=1000,
            cost_usd="0.0006",
            prices={"prompt": "0.0000005", "completion": "0.0000015"},
            user_agent="benchmark",
            plan=[{"adapter": 1, "provider": "vLLM"}, {"adapter": 2, "provider": "DeepSeek", "why": "weight"}],
            attempts=[Attempt(1, "vLLM", "Llama-4-Scout", latency_ms=latency_ms, status=200)],
        )

    ledger = Ledger(directory / "journal")
    cost: dict[str, list[float]] = {}
    for batch in range(BATCHES):
        records = [record(batch * BATCH + number) for number in range(BATCH)]
        raw = [lines.encode(one) for one in records]
        timed(cost, "settle", lambda records=records: [ledger.settle(one) for one in records])
        read = timed(cost, "read", lambda raw=raw: [rows.read(line) for line in raw])
        timed(cost, "insert and sum, with commit", lambda read=read: store.add(read, "default"))
        timed(cost, "(of which sums in memory)", lambda read=read: rollups.summed(read))
        with transaction.atomic():
            timed(cost, "(of which sums of attempts)", lambda read=read: attempts.add(read, connection))
    for name, values in cost.items():
        sys.stdout.write(f"{name:<30} {statistics.median(values):6.1f} us  (fastest batch {min(values):.1f})\n")


def timed(cost: dict[str, list[float]], name: str, work: Callable[[], object]) -> object:
    start = time.process_time()
    result = work()
    cost.setdefault(name, []).append((time.process_time() - start) / BATCH * 1e6)
    return result


if __name__ == "__main__":
    main()
