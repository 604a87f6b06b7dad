"""Requests in the words of OpenTelemetry's GenAI conventions: what spans and metrics over OTLP have in common.

Of semantic-conventions-genai, read 2026-11; in development. Standard library only at import: whoever sends nothing over OTLP need
not have the SDK.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from accounting.record import Record

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

OPERATIONS = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
PROVIDERS = {"gemini": "gcp.gemini", "vertex": "gcp.vertex_ai", "bedrock": "aws.bedrock", "azure": "azure.ai.openai",
             "mistral": "mistral_ai", "xai": "x_ai"}  # fmt: skip
"""Slugs whose provider the conventions call otherwise; openai, anthropic, deepseek, groq and others are called the same."""


def operation(record: Record) -> str:
    """`gen_ai.operation.name`."""
    return OPERATIONS.get(record.endpoint, "chat")


def provider_name(slug: str) -> str:
    """`gen_ai.provider.name`."""
    return PROVIDERS.get(slug, slug)


def exporter_options(endpoint: str, headers: str) -> dict[str, Any]:
    """How an exporter reaches its collector; everything else it reads from OTEL_EXPORTER_OTLP_*. `headers`: `name=value,…`."""
    from opentelemetry.util.re import parse_env_headers

    from catalog.discovery import guard

    return {
        "endpoint": endpoint,
        "headers": parse_env_headers(headers, liberal=True),
        "session": guard.session(),
    }


def resource() -> Resource:
    """This process. What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins over our names.

    Each process is an instance, or else the sums of several workers would be taken for one that jumps to and fro.
    """
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource

    ours = {SERVICE_NAME: "openrouter-gateway", SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}"}
    return Resource.create(ours).merge(OTELResourceDetector().detect())
