"""The rows written as `models.yaml` and `routing.yaml`: what `loadmodels` would make the same rows of.

That it would is not hoped for but tried: the text is loaded over the rows before it is handed out, and taken back. What the
files cannot say is told, what they must not say (a secret) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from catalog.seed import export, yaml_writer
from catalog.seed.document import Document
from catalog.seed.problems import Problem, SeedRefused
from gateway_project.errors import redact
from routingapp import routing_file, seed
from routingapp.models import RoutingPolicy, RoutingWeight

MODELS_FILE, ROUTING_FILE = "models.yaml", "routing.yaml"

_PLACE = re.compile(r"(?P<list>providers|models)\[(?P<index>\d+)\]\.?(?P<rest>.*)", re.DOTALL)


class ExportRefused(Exception):
    """The rows cannot be written. `problems`: each with the row, the field and the cure."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Exported:
    """The files. `routing` is None without a default policy; `left_out` says what neither file can hold."""

    models: str
    routing: str | None
    left_out: tuple[str, ...]
    summary: str


def write() -> Exported:
    """All rows as they are now. Raises `ExportRefused` where one of them could not be loaded back, or holds a secret."""
    weights = dict(RoutingWeight.objects.values_list("adapter_id", "weight"))
    top: dict[str, Any] = export.document(weights)
    secrets = [
        f"{_row(top, place)}: looks like a key or a password; name an environment variable instead"
        for place, text in _texts(top, "")
        if redact(text) != text
    ]
    if secrets:
        raise ExportRefused(secrets)
    adapters = sum(len(model["route"]) for model in top["models"])
    summary = f"{len(top['models'])} models, {len(top['providers'])} providers and {adapters} adapters"
    said = f"{summary}, written by the gateway on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    models = yaml_writer.write(f"{said}\nmanage.py loadmodels makes the same rows of it.", top)
    policy = RoutingPolicy.objects.filter(model=None).first()
    routing = yaml_writer.write(f"The default policy. {said}", routing_file.describe(policy)) if policy else None
    _try(models, routing, top)
    return Exported(models, routing, tuple(_left_out(policy)), summary)


def _try(models: str, routing: str | None, top: Mapping[str, Any]) -> None:
    """Load it over the rows and take it back. Raises `ExportRefused` where that is refused or would change something."""
    try:
        report = seed.load_documents(
            Document(MODELS_FILE, models), Document(ROUTING_FILE, routing) if routing else None, dry_run=True
        )
    except SeedRefused as refusal:
        raise ExportRefused([_told(problem, top) for problem in refusal.problems]) from refusal
    if report.changes:
        said = "the file cannot say it as it is; correct the row in admin"
        raise ExportRefused(
            [
                f"{change.kind} {change.key}: {', '.join(name for name, _, _ in change.fields) or change.remark}: {said}"
                for change in report.changes
            ]
        )


def _told(problem: Problem, top: Mapping[str, Any]) -> str:
    """`problem` by the row it is about, as lines of a text that nobody has seen say nothing."""
    return f"{_row(top, problem.field)}: {problem.message}"


def _row(top: Mapping[str, Any], place: str) -> str:
    """providers[2].base_url as people know it: provider acme: base_url."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return place
    entry = top[found["list"]][int(found["index"])]
    name = f"provider {entry['kind']}" if found["list"] == "providers" else f"model {entry['id']}"
    return f"{name}: {found['rest']}" if found["rest"] else name


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text in `value`, keys of mappings included, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield place, key
            yield from _texts(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}[{index}]")


def _left_out(default: RoutingPolicy | None) -> Iterator[str]:
    if default and (unsaid := routing_file.unsaid(default)):
        yield f"Of the default policy: {', '.join(unsaid)}. {ROUTING_FILE} has no word for that."
    owners = [str(policy.model) for policy in RoutingPolicy.objects.exclude(model=None).select_related("model")]
    if owners:
        yield f"The policies of {', '.join(owners)}. {ROUTING_FILE} holds the default policy alone."
