"""An OTLP receiver in this process, over HTTP, that decodes the protobuf it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.live import until


class Collector:
    """Keeps every span, and of every metric the latest points of each process, with the resource they came from.

    `authorizations`: of all that was sent.
    """

    def __init__(self) -> None:
        self.authorizations: set[str | None] = set()
        self.spans: list[tuple[dict[str, Any], Span]] = []
        self._points: dict[tuple[str, str], tuple[Metric, dict[str, Any]]] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.authorizations.add(self.headers.get("authorization"))
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/metrics":
                    collector.take_metrics(ExportMetricsServiceRequest.FromString(body))
                else:
                    collector.take_spans(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take_spans(self, request: ExportTraceServiceRequest) -> None:
        for resource_spans in request.resource_spans:
            resource = attributes_of(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [(resource, span) for span in scope_spans.spans]

    def take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for resource_metrics in request.resource_metrics:
            resource = attributes_of(resource_metrics.resource)
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    self._points[metric.name, resource["service.instance.id"]] = (metric, resource)

    def resources(self) -> list[dict[str, Any]]:
        """Those that metrics have come from."""
        return [resource for _, resource in list(self._points.values())]

    def units(self) -> dict[str, str]:
        return {metric.name: metric.unit for metric, _ in list(self._points.values())}

    def histogram(self, name: str, **labels: Any) -> tuple[int, float]:
        """Count and sum over all points of `name` with these attributes; `a__b` stands for `a.b`."""
        wanted = {key.replace("__", "."): value for key, value in labels.items()}
        points = [
            point
            for metric, _ in list(self._points.values())
            if metric.name == name
            for point in metric.histogram.data_points
            if wanted.items() <= attributes_of(point).items()
        ]
        return sum(point.count for point in points), sum(point.sum for point in points)

    def of(self, request_id: str, attempts: int) -> tuple[Span, list[Span]]:
        """The span of a request and those of its attempts, in order."""

        def find() -> tuple[Span, list[Span]] | None:
            spans = [span for _, span in list(self.spans)]
            for request in spans:
                if request.kind == Span.SPAN_KIND_SERVER and attributes_of(request)["gen_ai.response.id"] == request_id:
                    children = [span for span in spans if span.parent_span_id == request.span_id]
                    if len(children) == attempts:
                        return request, sorted(children, key=lambda span: span.start_time_unix_nano)
            return None

        found = until(find, f"the spans of {request_id}", 10)
        assert found is not None
        return found


def attributes_of(holder: Any) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in holder.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [plain(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)
