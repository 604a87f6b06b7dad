"""Values written as YAML that people can read and edit: one entry a paragraph, short lists and mappings on one line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

_WIDTH = 116
_RARE_BREAKS = "\x85\u2028\u2029"


class _Entry(dict[str, Any]):
    """A mapping that is written field by field, each on a line of its own, however short it is."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Equal values are written out each: an anchor would tie together what somebody may want to edit apart."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text as YAML. PyYAML (6.0.3) would write Unicode's own line breaks as they are, and read them as newlines."""
    style = '"' if any(rare in text for rare in _RARE_BREAKS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _Entry, lambda dumper, entry: dumper.represent_mapping("tag:yaml.org,2002:map", entry.items(), flow_style=False)
)


def write(comment: str, top: Mapping[str, Any]) -> str:
    """`top` below `comment`. Its lists of mappings are set apart entry by entry."""
    parts = ["".join(f"# {line}\n" for line in comment.splitlines())]
    for name, value in top.items():
        if isinstance(value, list) and value:
            parts.append(f"{name}:\n" + "\n".join(textwrap.indent(_dump([_Entry(entry)]), "  ") for entry in value))
        else:
            parts.append(_dump(_Entry({name: value})))
    return "\n".join(parts)


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text
