"""A YAML file as sections that know their lines. Plain YAML only: no tags, no duplicate keys.

Owns the syntax; what the fields mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catalog.seed.problems import Problem, SeedRefused, suggestion

Place = tuple[str | int, ...]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it, as its wheels are: 1.5 ms instead of 26 for the shipped file."""
_CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)


@dataclass(slots=True)
class Source:
    """What all sections of one file share: its name, the line of every value, and the problems found in it so far."""

    file: str
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """One mapping of a file: its values, and where they stand."""

    source: Source
    place: Place
    values: Mapping[Any, Any]

    def line(self, key: str | int | None = None) -> int:
        """The line on which the section, or its field `key`, begins."""
        place = self.place if key is None else (*self.place, key)
        while place and place not in self.source.lines:
            place = place[:-1]
        return self.source.lines.get(place, 1)

    def complain(self, message: str, key: str | int | None = None) -> None:
        """Note a problem of the section or of its field `key`."""
        place = self.place if key is None else (*self.place, key)
        self.source.problems.append(Problem(self.source.file, self.line(key), spell(place), message))

    def only(self, known: Iterable[str]) -> None:
        """Complain about every field that is not `known`."""
        names = set(known)
        for key in self.values:
            if key not in names:
                self.complain(f"unknown field. {suggestion(key, names)}", key)

    def given(self, key: str | int) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(key) is not None

    def section(self, key: str) -> Section:
        """The mapping in field `key`; an empty one where it is missing or something else (which is complained about)."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            self.complain("must be a mapping of fields", key)
        return Section(self.source, (*self.place, key), value if isinstance(value, dict) else {})

    def sections(self, key: str) -> list[Section]:
        """The mappings in the list of field `key`; what is no mapping is complained about and left out."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.complain("must be a list", key)
            return []
        found = []
        for index, item in enumerate(value):
            place = (*self.place, key, index)
            if isinstance(item, dict):
                found.append(Section(self.source, place, item))
            else:
                Section(self.source, place, {}).complain("must be a mapping of fields")
        return found


def spell(place: Place) -> str:
    """A place as people write it: models[0].pricing.prompt."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file: its name, as messages give it, and its text."""

    name: str
    text: str

    @classmethod
    def at(cls, path: Path) -> Document:
        """The file at `path`. Raises `SeedRefused` where it cannot be read or is no text."""
        try:
            return cls.of(str(path), path.read_bytes())
        except OSError as error:
            reason = error.strerror or str(error)
            raise SeedRefused([Problem(str(path), 0, "", f"cannot be read: {reason}")]) from error

    @classmethod
    def of(cls, name: str, content: bytes) -> Document:
        """The file of that name and content. Raises `SeedRefused` where it is no text."""
        try:
            return cls(name, content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise SeedRefused([Problem(name, 0, "", "is not UTF-8 text; save it as UTF-8")]) from error


def read(document: Document) -> Section:
    """The document's top section. Raises `SeedRefused` where it is not YAML."""
    source = Source(document.name)
    try:
        loader = _Loader(document.text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        # `problem` alone: str(error) would quote the line, and with it perhaps a key.
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SeedRefused([Problem(source.file, line, "", f"is not valid YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise SeedRefused([Problem(source.file, 0, "", "is not valid YAML: it holds control characters")]) from error
    value = _Reader(loader, source).value(node, ()) if node is not None else None
    top = Section(source, (), value if isinstance(value, dict) else {})
    if not isinstance(value, dict):
        top.complain("must be a mapping of fields at its top")
    return top


class _Reader:
    """Makes plain values of YAML nodes and notes the line of each."""

    def __init__(self, loader: yaml.SafeLoader, source: Source) -> None:
        self._loader = loader
        self._source = source
        self._open: set[int] = set()

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._source.lines.setdefault(place, node.start_mark.line + 1)
        if node.tag not in _CORE_TAGS:
            return self._refuse(node, place, "YAML tags and merge keys are not supported; write the value out")
        if isinstance(node, yaml.ScalarNode):
            try:
                return self._loader.construct_object(node)
            except ValueError as error:
                return self._refuse(node, place, f"cannot be read: {error}")
        if id(node) in self._open:
            return self._refuse(node, place, "refers to itself; write the value out")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _CORE_TAGS:
                self._refuse(key_node, place, "YAML tags, merge keys and complex keys are not supported; write fields out")
                continue
            key = str(key_node.value)
            if key in values:
                first = self._source.lines[(*place, key)]
                self._refuse(key_node, (*place, key), f"is given twice (first on line {first}); keep one")
                continue
            self._source.lines[(*place, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*place, key))
        return values

    def _refuse(self, node: yaml.Node, place: Place, message: str) -> None:
        line = node.start_mark.line + 1
        self._source.problems.append(Problem(self._source.file, line, spell(place), message))
