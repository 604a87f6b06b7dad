"""What a load did, or would do, in words for a terminal."""

from __future__ import annotations

import enum
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 70


class Action(enum.StrEnum):
    """What happened to a row; the value is its mark in the diff."""

    ADDED = "+"
    CHANGED = "~"
    DISABLED = "-"
    KEPT = "="
    GONE = "?"


_REMARKS = {
    Action.DISABLED: "disabled: no longer in the file",
    Action.KEPT: "kept as edited in admin; --force overwrites it",
    Action.GONE: "no longer in the file, still enabled; --prune disables it",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One row. `fields`: name, old value, new value; of a kept row, its own value and the file's."""

    action: Action
    kind: str
    key: str
    fields: tuple[tuple[str, Any, Any], ...] = ()
    remark: str = ""

    def lines(self) -> list[str]:
        remark = self.remark or _REMARKS.get(self.action, "")
        head = f"{self.action.value} {self.kind} {self.key}" + (f"  ({remark})" if remark else "")
        arrow = "; the file says" if self.action is Action.KEPT else " ->"
        return [head, *(f"    {name}: {_short(old)}{arrow} {_short(new)}" for name, old, new in self.fields)]


@dataclass(slots=True)
class Report:
    """Everything a load did. `is_dry_run`: it was all taken back."""

    file: str
    is_dry_run: bool = False
    models: int = 0
    providers: int = 0
    adapters: int = 0
    changes: list[Change] = field(default_factory=list)
    repriced: list[str] = field(default_factory=list)
    """The adapters that got, or will get, a price of their own."""

    def lines(self, *, lists_gone: bool = True) -> list[str]:
        """The diff: + added, ~ changed, - disabled, = kept, ? no longer in the file. Without `lists_gone` these are only counted.

        They are what a file that holds a part of the catalogue leaves alone, and would bury what it changes.
        """
        shown = [change for change in self.changes if lists_gone or change.action is not Action.GONE]
        lines = [line for change in shown for line in change.lines()]
        if gone := len(self.changes) - len(shown):
            rows, them = ("1 row is", "it") if gone == 1 else (f"{gone} rows are", "them")
            lines.append(
                f"{Action.GONE} {rows} not in this file, still enabled; --prune disables {them}, -v 2 lists {them}"
            )
        return lines

    def summary(self) -> str:
        """One sentence."""
        counts = Counter(change.action for change in self.changes)
        what = f"{self.models} models, {self.providers} providers and {self.adapters} adapters from {self.file}"
        did = (
            f"{counts[Action.ADDED]} rows added, {counts[Action.CHANGED]} changed, {counts[Action.DISABLED]} disabled, "
            f"{counts[Action.KEPT]} kept as edited in admin."
        )
        return f"Dry run of {what}, nothing written: {did}" if self.is_dry_run else f"Loaded {what}: {did}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
