"""What is to be sent over OTLP, and where: the standard OTEL_* variables that the gateway reads itself.

The SDK reads the others by itself, as they stand in the environment; `.env.example` lists both. What cannot be had stops the start
where nothing would arrive, and is warned of where the rest works.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gateway_project.variables import Variables

SPOKEN = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Signal:
    """Where traces or metrics go. `headers` as in OTEL_EXPORTER_OTLP_HEADERS: `name=value`, comma-separated, perhaps a key."""

    endpoint: str
    headers: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Otlp:
    """`traces`, `metrics`: None for what is not sent. `unheard`: sentences on what was asked for and is not served.

    `joins_traces`: the context of a trace is taken from callers and handed on to providers.
    """

    traces: Signal | None = None
    metrics: Signal | None = None
    joins_traces: bool = True
    unheard: tuple[str, ...] = ()


class _Names(NamedTuple):
    """The variables of one signal. `elsewhere`: exporters of the standard that send nothing over OTLP."""

    exporter: str
    endpoint: str
    headers: str
    protocol: str
    path: str
    elsewhere: tuple[str, ...]


_TRACES = _Names(
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "v1/traces",
    ("none", "console"),
)
_METRICS = _Names(
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "v1/metrics",
    ("none", "console", "prometheus"),
)
_BOTH = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_PROTOCOL")


def read(variables: Variables) -> Otlp:
    """What the variables ask for. Notes in `variables` what cannot be."""
    is_off = variables.flag("OTEL_SDK_DISABLED", False)
    exporters = {names: _exporters(variables, names) for names in (_TRACES, _METRICS)}
    if is_off:
        return Otlp()
    traces, metrics = (_signal(variables, names) if "otlp" in exporters[names] else None for names in (_TRACES, _METRICS))
    unheard = [
        f"{names.exporter}: console is not served, nothing is printed"
        for names, given in exporters.items()
        if "console" in given
    ]
    propagators = _words(variables.text("OTEL_PROPAGATORS") or "tracecontext,baggage")
    foreign = [name for name in propagators if name not in ("tracecontext", "baggage", "none")]
    if foreign and traces:
        unheard.append(f"OTEL_PROPAGATORS: {', '.join(foreign)} is not spoken, only tracecontext is")
    return Otlp(traces, metrics, "tracecontext" in propagators, tuple(unheard))


def _exporters(variables: Variables, names: _Names) -> list[str]:
    given = _words(variables.text(names.exporter) or "otlp")
    for exporter in given:
        if exporter != "otlp" and exporter not in names.elsewhere:
            allowed = ", ".join(("otlp", *names.elsewhere))
            variables.refuse(f"{names.exporter}={exporter!r} is not known; use one of {allowed}", None)
    return given


def _signal(variables: Variables, names: _Names) -> Signal | None:
    """Where the signal goes, None where no endpoint is given."""
    base, common_headers, common_protocol = (variables.text(name) for name in _BOTH)
    own = variables.text(names.endpoint)
    endpoint = own or (f"{base.rstrip('/')}/{names.path}" if base else "")
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        source = names.endpoint if own else _BOTH[0]
        variables.refuse(f"{source} must start with http:// or https://, e.g. {source}=http://localhost:4318", None)
    own_protocol = variables.text(names.protocol)
    if (protocol := own_protocol or common_protocol or SPOKEN) != SPOKEN:
        source = names.protocol if own_protocol else _BOTH[2]
        variables.refuse(f"{source}={protocol!r} is not spoken; use {SPOKEN}, which collectors take at port 4318", None)
    return Signal(endpoint, variables.text(names.headers) or common_headers)


def _words(listed: str) -> list[str]:
    return [word.strip().lower() for word in listed.split(",") if word.strip()]
