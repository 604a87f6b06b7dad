"""Errors of the gateway itself, which cannot serve what it was asked: for the moment, or because of a bug."""

from __future__ import annotations

from gateway_project.errors.base import GatewayError


class GatewayFault(GatewayError):
    pass


class LedgerUnavailable(GatewayFault):
    status = 503


class NotServing(GatewayFault):
    status = 503


class ShuttingDown(NotServing):
    """No fault: somebody has ended the process, and another one serves or will."""

    domain = "policy"


class InternalError(GatewayFault):
    pass
