"""A model's traffic split as operators set it: percentages, strategy, what becomes of local engines. Read, saved, restored.

Every save is one transaction, names the split it was made from (`version`), and leaves that split and its own in Django's
history, from where it can be brought back. What a split would do to traffic is `forecast`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from catalog.models import Adapter, LanguageModel
from gateway_project.console import apportion
from routingapp.entries import OffloadMode
from routingapp.models import RoutingPolicy, RoutingWeight
from routingapp.strategies import STRATEGIES

HISTORY = 10
"""So many earlier splits are offered to go back to."""
_INHERITED = (
    "local_fraction", "local_max_in_flight", "local_max_waiting", "local_max_ttft_s", "max_attempts", "deadline_s",
    "longest_wait_s", "resumes", "hedges", "health_check_interval_s", "health_check_timeout_s",
)  # fmt: skip
"""What a model's first policy takes over from the default policy, so that only what was chosen changes."""


class SplitRefused(ValueError):
    """A split that cannot be saved. `str()` says why, and what to do."""


class SplitChanged(SplitRefused):
    """Somebody else has saved since the page was opened."""


@dataclass(frozen=True, slots=True)
class Split:
    """Weights by adapter id, the policy's strategy and offload mode (`OffloadMode`), its local fraction."""

    weights: Mapping[int, float]
    strategy: str
    offload: str
    local_fraction: float | None = None

    @property
    def version(self) -> str:
        """A name that changes with every part of the split."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def percentages(self) -> dict[int, int]:
        """The weights as whole per cents that sum to 100, by largest remainder; all 0 where all weights are."""
        return apportion.parts(self.weights, 100)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "weights": {str(pk): weight for pk, weight in self.weights.items()}}

    @classmethod
    def of_json(cls, written: Mapping[str, Any]) -> Split:
        weights = {int(pk): float(weight) for pk, weight in written["weights"].items()}
        return cls(weights, written["strategy"], written["offload"], written.get("local_fraction"))


@dataclass(frozen=True, slots=True)
class Saved:
    """A change of the split in the history, the latest first."""

    entry_id: int
    at: datetime
    by: str
    old: Split
    new: Split


def read(model: LanguageModel) -> Split:
    """The split in force. A model without a policy of its own has the default policy's strategy."""
    weights = dict.fromkeys(Adapter.objects.filter(model=model).order_by("pk").values_list("pk", flat=True), 1.0)
    weights |= dict(RoutingWeight.objects.filter(adapter__model=model).values_list("adapter_id", "weight"))
    policy = _policy(model)
    offload = policy.offload if policy.model_id else OffloadMode.ENVIRONMENT.value
    return Split(weights, policy.strategy, offload, policy.local_fraction)


def wanted(sent: Mapping[str, str], present: Split) -> Split:
    """The split in a sent form: `adapter-<id>` in per cent, `strategy`, `offload`. Raises `SplitRefused`.

    Percentages that are those of the present weights leave the weights as they are: 1 to 2 does not become 33 to 67.
    """
    percentages = {}
    for pk in present.weights:
        text = sent.get(f"adapter-{pk}", "")
        if not text.isdecimal() or int(text) > 100:
            raise SplitRefused(f"{text!r} is not a share from 0 to 100; set every adapter of the model.")
        percentages[pk] = int(text)
    if percentages and sum(percentages.values()) != 100:
        raise SplitRefused(f"The shares sum to {sum(percentages.values())}%, not to 100%; move one of the sliders.")
    strategy, offload = sent.get("strategy", ""), sent.get("offload", "")
    if strategy not in STRATEGIES:
        raise SplitRefused(f"{strategy!r} is no strategy; use one of {', '.join(STRATEGIES)}.")
    if offload not in tuple(OffloadMode):
        raise SplitRefused(f"{offload!r} is no offload mode; use one of {', '.join(OffloadMode)}.")
    is_same = percentages == present.percentages
    weights = present.weights if is_same else {pk: float(share) for pk, share in percentages.items()}
    return Split(weights, strategy, offload, present.local_fraction)


def save(model: LanguageModel, new: Split, *, version: str, user: User) -> bool:
    """Put `new` in force and into the history; False where nothing differs.

    Raises `SplitChanged` where the split in force is no longer the one that `version` names.
    """
    with transaction.atomic():
        # Holds other savers off until the commit; SQLite has one writer at a time anyway.
        LanguageModel.objects.select_for_update().get(pk=model.pk)
        present = read(model)
        if present.version != version:
            raise SplitChanged("Somebody else has changed this split meanwhile. This page shows theirs; set yours again.")
        if present == new:
            return False
        _write(model, present, new)
        _note(model, present, new, user)
    return True


def restore(model: LanguageModel, entry_id: int, *, version: str, user: User) -> bool:
    """Bring back the split that was in force before that change. Adapters added since then stand by.

    Raises `SplitRefused` for a change that is not in the model's history, `SplitChanged` as `save`.
    """
    saved = next((one for one in history(model) if one.entry_id == entry_id), None)
    if saved is None:
        raise SplitRefused("This change is no longer in the model's history; set the split by hand.")
    weights = {pk: saved.old.weights.get(pk, 0.0) for pk in read(model).weights}
    old = Split(weights, saved.old.strategy, saved.old.offload, saved.old.local_fraction)
    return save(model, old, version=version, user=user)


def history(model: LanguageModel) -> list[Saved]:
    """The latest changes of the split. One query."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(LanguageModel),
        object_id=str(model.pk),
        change_message__contains='"split": {',
    ).select_related("user")
    return [
        Saved(entry.pk, entry.action_time, str(entry.user), Split.of_json(told["old"]), Split.of_json(told["new"]))
        for entry in entries.order_by("-action_time", "-pk")[:HISTORY]
        for told in [json.loads(entry.change_message)[0]["split"]]
    ]


def _policy(model: LanguageModel) -> RoutingPolicy:
    """The model's own policy, or else the default one, or else one that was never saved."""
    found = {policy.model_id: policy for policy in RoutingPolicy.objects.filter(model=model)}
    return found.get(model.pk) or RoutingPolicy.objects.filter(model=None).first() or RoutingPolicy()


def _write(model: LanguageModel, present: Split, new: Split) -> None:
    for pk, weight in new.weights.items():
        if weight != present.weights.get(pk):
            RoutingWeight.objects.update_or_create(adapter_id=pk, defaults={"weight": weight})
    names = ("strategy", "offload", "local_fraction")
    changed = {name: getattr(new, name) for name in names if getattr(new, name) != getattr(present, name)}
    if not changed:
        return
    policy = _policy(model)
    if policy.model_id is None:
        inherited = {name: getattr(policy, name) for name in _INHERITED}
        policy = RoutingPolicy(model=model, strategy=policy.strategy, **inherited)
    for name, value in changed.items():
        setattr(policy, name, value)
    policy.full_clean()
    policy.save()


def _note(model: LanguageModel, old: Split, new: Split, user: User) -> None:
    """One line of Django's history: its own form, which the history page writes out, with both splits beside it."""
    told = {
        "changed": {"name": "traffic split", "object": model.public_id, "fields": _changed(old, new)},
        "split": {"old": old.as_json(), "new": new.as_json()},
    }
    LogEntry.objects.log_actions(user.pk, [model], CHANGE, change_message=json.dumps([told]), single_object=True)


def _changed(old: Split, new: Split) -> Sequence[str]:
    return [
        name for name in ("weights", "strategy", "offload", "local_fraction") if getattr(old, name) != getattr(new, name)
    ]
