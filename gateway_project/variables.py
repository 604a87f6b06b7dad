"""Environment variables read by rule. What breaks its rule is noted, and all of it is told at once: see `Variables.check`.

Knows neither which variables there are nor what they are for; that is in `gateway_project.settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class VariablesRefused(ImproperlyConfigured):
    """Some variables break their rules. The message says which, why, and the cure."""


class Variables:
    """Reads `env`. Whatever cannot be read counts as its default until `check` raises."""

    def __init__(self, env: environ.Env) -> None:
        self._env = env
        self._problems: list[str] = []
        self._unreadable: set[str] = set()

    def raw(self, name: str) -> str:
        """The variable, or what is in the file that `name`_FILE names; empty where it is not set."""
        try:
            return str(self._env.str(name, default=""))
        except (OSError, UnicodeDecodeError) as error:
            path, cause = self._env.ENVIRON[f"{name}_FILE"], getattr(error, "strerror", None) or error
            problem = f"{name}_FILE={path!r} cannot be read: {cause}; correct the path, or set {name} instead"
            self._unreadable.add(name)
            return self.refuse(problem, "")

    def secret(self, name: str) -> str:
        """The variable as it is written, space included. One that is set must say something."""
        value = self.raw(name)
        if value.strip() or name in self._unreadable or not self.is_given(name):
            return value
        return self.refuse(f"{name} holds nothing but white space; set it to a long random text, or unset it", "")

    def is_given(self, name: str) -> bool:
        """Whether the variable is set to anything, in whichever way."""
        return any(self._env.ENVIRON.get(each) for each in (f"{name}_FILE", name))

    def text(self, name: str) -> str:
        """The variable without the space around it; empty where it is not set."""
        return self.raw(name).strip()

    def address(self, name: str, rule: Callable[[str], str], *, is_secret: bool = False) -> str:
        """The address in variable `name`, of which `rule` has nothing to complain. One that may hold a password is not shown."""
        value = self.text(name)
        if value and (problem := rule(value)):
            told = f"{name} (not shown here: it may hold a password)" if is_secret or "@" in value else f"{name}={value!r}"
            return self.refuse(f"{told} {problem}", "")
        return value

    def words(self, name: str, rule: Callable[[str], str], default: Sequence[str] = ()) -> list[str]:
        """What variable `name` lists, separated by commas; `rule` has nothing to complain of any."""
        words = [word for word in map(str.strip, self.text(name).split(",")) if word]
        for word in words:
            if problem := rule(word):
                self.refuse(f"{name}={word!r} {problem}", None)
        return words or list(default)

    def folder(self, name: str, default: Path) -> Path:
        """The folder in variable `name`, made where it is missing; this process may write there."""
        path = Path(self.text(name) or default).expanduser().resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                self.refuse(
                    f"{name}={str(path)!r} cannot be written to by this user; change its owner, or set another", None
                )
        except OSError as error:
            self.refuse(f"{name}={str(path)!r} cannot be made: {error.strerror}; set {name} to another folder", None)
        return path

    def positive(self, name: str, default: float, kind: type = int, most: int = 10**9) -> Any:
        """The number in variable `name`, of `kind`, above zero and at most `most`."""
        raw = self.text(name)
        try:
            value = kind(raw) if raw else default
        except ValueError:
            return self.refuse(f"{name}={raw!r} is not a number; give one above 0, e.g. {name}={default}", default)
        if not 0 < value <= most:  # which "nan" is not either
            return self.refuse(f"{name}={raw!r} must be above 0 and at most {most}, e.g. {name}={default}", default)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """The boolean in variable `name`: true/false, 1/0, yes/no, on/off. Anything else is refused, not guessed."""
        raw = self.text(name).lower()
        if raw and raw not in _BOOLEANS:
            return self.refuse(f"{name}={raw!r} is not a boolean; use true or false", default)
        return _BOOLEANS[raw] if raw else default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """The word in variable `name`, one of `allowed`."""
        value = self.text(name) or default
        if value not in allowed:
            return self.refuse(f"{name}={value!r} is not known; use one of {', '.join(allowed)}", default)
        return value

    def file(self, name: str, default: Path) -> Path:
        """The file that variable `name` names, which must exist, or `default`, which need not."""
        given = self.text(name)
        path = Path(given).expanduser() if given else default
        if given and not path.is_file():
            return self.refuse(f"{name}={given!r} is no file; correct the path or unset it for {default}", default)
        return path

    def limit(self, name: str, amount: Callable[[str], int]) -> int | None:
        """The limit in variable `name`, as `amount` reads it; None where it is not set."""
        raw = self.text(name)
        try:
            return amount(raw) if raw else None
        except ValueError as error:
            return self.refuse(f"{name}={raw!r} {error}; unset it for no limit", None)

    def refuse(self, problem: str, default: T) -> T:
        """Note a problem: a sentence that names the variable, the rule and the cure. Gives `default`."""
        if problem not in self._problems:
            self._problems.append(problem)
        return default

    def check(self) -> None:
        """Raise `VariablesRefused` with every problem that has been noted, one a line."""
        if len(self._problems) == 1:
            raise VariablesRefused(self._problems[0])
        if self._problems:
            listed = "".join(f"\n- {problem}" for problem in self._problems)
            raise VariablesRefused(f"{len(self._problems)} variables cannot be used:{listed}")
