"""The error of a request that nobody may be asked for at this moment: not the caller's, and no fault of the gateway's either."""

from __future__ import annotations

from gateway_project.errors.base import GatewayError


class NoCandidates(GatewayError):
    """The `domain` is `provider` where an adapter is paused, down or without a usable key, as it mostly is, and `policy` where
    nothing but what the operator has decided keeps every adapter away."""

    status = 503
    error_type = "provider_unavailable"
    domain = "provider"
