"""What watching one request costs, in microseconds of CPU time: `python -m tests.benchmarks.telemetry_cost [--workers]`.

With `--workers` the metrics live in files, as where several workers serve. The budget is 15 us for the metrics.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable

REQUESTS = 20_000


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {"VAR_DIR": directory, "DJANGO_SETTINGS_MODULE": "gateway_project.settings", "LOG_FORMAT": "json"}
        if "--workers" in sys.argv:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        import django

        django.setup()
        measure()


def measure() -> None:
    from accounting.record import Attempt, Record
    from completions import metrics, telemetry, underway
    from gateway_project import logs

    underway.begin(underway.Underway("gen-1763851000-abcdefghijklmnopqrst"))
    attempt = Attempt(1, "vllm", "Llama-4-Scout", latency_ms=800, ttft_ms=90, status=200)
    record = Record(
        request_id="gen-1763851000-abcdefghijklmnopqrst", timestamp=1_763_851_000.123, model_id="meta-llama/llama-4-scout",
        provider="vllm", status_code=200, stream=True, latency_ms=801, ttft_ms=91, prompt_tokens=900, completion_tokens=100,
        cache_read_tokens=512, reasoning_tokens=20, total_tokens=1000, cost_usd="0.0006", attempts=[attempt],
    )  # fmt: skip
    with open(os.devnull, "w") as nothing:
        handler = logging.StreamHandler(nothing)
        handler.setFormatter(logs.JsonFormatter())
        telemetry.access.addHandler(handler)
        telemetry.access.propagate = False
        telemetry.access.setLevel(logging.INFO)
        show("metrics.observe", lambda: metrics.observe(record, 0.009))
        show("write_access_line", lambda: telemetry.write_access_line(record))
        show("finished, all of it", lambda: telemetry.finished(record, 80))
        telemetry.access.setLevel(logging.WARNING)
        show("finished, without a line", lambda: telemetry.finished(record, 80))
    show("attempted, without traces", lambda: telemetry.attempted(record, attempt))


def show(name: str, step: Callable[[], object]) -> None:
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(REQUESTS // 5):
            step()
        rounds.append((time.process_time() - began) / (REQUESTS // 5))
    sys.stdout.write(f"{name:28} {min(rounds) * 1e6:6.1f} us\n")


if __name__ == "__main__":
    main()
