"""`routing.yaml`: how the operator wants traffic split, as weights of the seed's adapters and a default policy. No database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog import environment
from catalog.entries import Unconfigured, resolve
from catalog.seed import fields
from catalog.seed.document import Document, Section, read
from catalog.seed.problems import Problem, suggestion
from catalog.seed.wanted import Origin, Seed, WantedAdapter, WantedProvider
from routingapp.models import RoutingPolicy

TOP_FIELDS = (
    "routing_strategy", "routing_parameter", "timeout", "health_check", "local_deployment", "remote_deployment",
)  # fmt: skip
"""Every field at the top of the file."""

_POLICY = (
    "strategy", "local_fraction", "max_attempts", "deadline_s", "longest_wait_s", "health_check_interval_s",
    "health_check_timeout_s",
)  # fmt: skip
_PARAMETERS = {"local_fraction": "local_fraction", "max_attempts": "max_attempts", "longest_wait": "longest_wait_s"}
"""Fields of `routing_parameter`, and the columns of the policy that they set."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What the file asks for. `weights`: by adapter key, of the adapters that it names."""

    weights: Mapping[str, float]
    policy: Mapping[str, Any]
    origin: Origin
    problems: tuple[Problem, ...]


def parse(document: Document, seed: Seed) -> Routing:
    """The file read against the adapters of `seed`. Raises `SeedRefused` where it is not YAML."""
    top = read(document)
    top.only(TOP_FIELDS)
    policy = {name: fields.default(RoutingPolicy, name) for name in _POLICY}
    parameter = top.section("routing_parameter")
    parameter.only(_PARAMETERS)
    policy |= fields.columns(top, {"routing_strategy": "strategy", "timeout": "deadline_s"}, RoutingPolicy)
    policy |= fields.columns(parameter, _PARAMETERS, RoutingPolicy)
    policy |= _health_check(top)
    local = _named(top, "local_deployment", seed)
    remote = _named(top, "remote_deployment", seed)
    for key in local.keys() & remote.keys():
        top.complain(f"{key} is named as local and as remote; name it once", "remote_deployment")
    weights: dict[str, float] = {}
    if policy["local_fraction"] is not None and (local or remote):
        weights = _split(policy["local_fraction"], local, remote, seed.adapters)
        # The weights say it now; said twice, a weight edited in admin would have no effect.
        policy["local_fraction"] = None
    origin = Origin(top.source.file, top.line(), "")
    return Routing(weights, policy, origin, tuple(top.source.problems))


def describe(policy: RoutingPolicy) -> dict[str, Any]:
    """The file that says what the default policy says, as far as the file has words for it."""
    parameters = {name: getattr(policy, column) for name, column in _PARAMETERS.items()}
    return {
        "routing_strategy": policy.strategy,
        "routing_parameter": {name: value for name, value in parameters.items() if value is not None},
        "timeout": policy.deadline_s,
        "health_check": {"interval": policy.health_check_interval_s, "timeout": policy.health_check_timeout_s},
    }


def unsaid(policy: RoutingPolicy) -> list[str]:
    """The columns of the default policy that somebody has set and the file has no word for."""
    columns = [field.name for field in RoutingPolicy._meta.concrete_fields if field.name not in (*_POLICY, "id", "model")]
    return [name for name in columns if getattr(policy, name) != fields.default(RoutingPolicy, name)]


def _health_check(top: Section) -> dict[str, Any]:
    """`health_check: 10`, or `{interval: 10, timeout: 3}`: seconds between checks of local engines, and for each."""
    if isinstance(top.values.get("health_check"), dict):
        section = top.section("health_check")
        columns = {"interval": "health_check_interval_s", "timeout": "health_check_timeout_s"}
        section.only(columns)
        return fields.columns(section, columns, RoutingPolicy)
    return fields.columns(top, {"health_check": "health_check_interval_s"}, RoutingPolicy)


def _named(top: Section, key: str, seed: Seed) -> dict[str, WantedAdapter]:
    """The adapters that the deployments in field `key` name, by their key."""
    named: dict[str, WantedAdapter] = {}
    for deployment in top.sections(key):
        deployment.only(("endpoint", "models"))
        endpoint = deployment.values.get("endpoint")
        if not isinstance(endpoint, str):
            deployment.complain("must be a provider's name or base URL, e.g. deepseek or ${LOCAL_BASE_URL}", "endpoint")
            continue
        there = [adapter for adapter in seed.adapters if _is_at(adapter.provider, endpoint)]
        if not there:
            known = {adapter.provider.slug for adapter in seed.adapters}
            deployment.complain(
                f"{endpoint!r} is no provider or base URL in {seed.file}. {suggestion(endpoint, known)}", "endpoint"
            )
            continue
        named |= {adapter.key: adapter for adapter in _served(deployment, there)}
    return named


def _served(deployment: Section, there: list[WantedAdapter]) -> Iterable[WantedAdapter]:
    """Those of `there` that `models` names, by id, alias or upstream id; all of them where it is left out."""
    models = deployment.values.get("models")
    if models is None:
        return there
    if not isinstance(models, list) or not models or not all(isinstance(name, str) for name in models):
        deployment.complain("must be a list of model ids; leave it out for all models there", "models")
        return []
    served = []
    for name in models:
        found = [adapter for adapter in there if name in (*adapter.model.names, adapter.upstream_model)]
        if not found:
            known = {adapter.model.id for adapter in there}
            deployment.complain(f"{name} is not served there. {suggestion(name, known)}", "models")
        served += found
    return served


def _is_at(provider: WantedProvider, endpoint: str) -> bool:
    endpoint = endpoint.rstrip("/")
    return endpoint in (provider.slug, provider.base_url) or _resolved(endpoint) == _resolved(provider.base_url)


def _resolved(url: str) -> str:
    try:
        return resolve(url, environment.lookup).rstrip("/")
    except Unconfigured:
        return url


def _split(
    local_fraction: float,
    local: Mapping[str, WantedAdapter],
    remote: Mapping[str, WantedAdapter],
    adapters: Iterable[WantedAdapter],
) -> dict[str, float]:
    """`local_fraction` shared evenly over each model's local adapters, the rest over its remote ones.

    Where only one side of a model is named, its other adapters are the other side.
    """
    by_model: dict[str, list[str]] = defaultdict(list)
    for adapter in adapters:
        by_model[adapter.model.id].append(adapter.key)
    weights: dict[str, float] = {}
    for keys in by_model.values():
        near = [key for key in keys if key in local]
        far = [key for key in keys if key in remote]
        if not near and not far:
            continue
        near = near or [key for key in keys if key not in remote]
        far = far or [key for key in keys if key not in local]
        weights |= {key: round(local_fraction / len(near), 6) for key in near}
        weights |= {key: round((1 - local_fraction) / len(far), 6) for key in far}
    return weights
