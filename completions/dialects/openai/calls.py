"""Tool calls of an answer: one number, one id and one name each, however a provider writes them down. Pure.

OpenAI numbers the calls of an answer and sends id and name with the first fragment only. In the wild (read November 2026):

- Gemini's compatible endpoint, SGLang and older Ollama send no `index` (github.com/ollama/ollama/issues/7881,
  github.com/vercel/ai/pull/15879): the id tells calls apart.
- Others give every call the index 0 (github.com/BerriAI/litellm/issues/33678): a new id is a new call.
- Some send no id (github.com/continuedev/continue/issues/13225): one is made from the place in the answer, so that it is the
  same in every fragment, and another one in the next answer.
- Some repeat id and name in every fragment: only the first is passed on (openrouter.md 9.1).
- Ollama before 0.5 sends the arguments as an object instead of text.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from completions.dialects.base import JSON

_READ = frozenset({"index", "id", "type", "function"})


class Calls:
    """The calls of one choice, numbered from 0 in the order of their first fragments."""

    __slots__ = ("_by_id", "_by_index", "_is_named", "_place")

    def __init__(self, place: str) -> None:
        """`place`: what tells this choice from those of other answers, for ids that have to be made."""
        self._place = place
        self._by_id: dict[str, int] = {}
        self._by_index: dict[Any, int] = {}
        self._is_named: list[bool] = []

    def __bool__(self) -> bool:
        return bool(self._is_named)

    def read(self, fragment: JSON) -> JSON:
        """`fragment` in canonical form: without nulls, id and type only in the first one of its call."""
        said = fragment.get("function") or _mirrored(fragment.get("custom"))
        function = {key: value for key, value in said.items() if value is not None}
        identifier, index = fragment.get("id") or None, fragment.get("index")
        number = self._known(identifier, index, is_named=bool(function.get("name")))
        is_first = number is None
        if number is None:
            number = len(self._is_named)
            self._is_named.append(False)
            identifier = str(identifier) if identifier else self._made_id(number)
        if identifier:
            self._by_id[identifier] = number
        if index is not None:
            self._by_index[index] = number
        result: JSON = {"index": number}
        if is_first:
            result["id"] = identifier
            result["type"] = fragment.get("type") or "function"
        result["function"] = self._function(function, number, is_first=is_first)
        for key, value in fragment.items():
            if key not in _READ and value is not None:
                result[key] = value
        return result

    def _known(self, identifier: Any, index: Any, *, is_named: bool) -> int | None:
        """The number of the call that a fragment goes on with, None if it begins a new one."""
        if identifier in self._by_id:
            return self._by_id[identifier]
        if identifier:
            return None
        if index is not None:
            return self._by_index.get(index)
        return None if is_named or not self._is_named else len(self._is_named) - 1

    def _function(self, function: JSON, number: int, *, is_first: bool) -> JSON:
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            function["arguments"] = orjson.dumps(arguments).decode()
        elif is_first:
            function.setdefault("arguments", "")
        if function.get("name") and not self._is_named[number]:
            self._is_named[number] = True
        else:
            function.pop("name", None)
        return function

    def _made_id(self, number: int) -> str:
        return "call_" + hashlib.blake2b(f"{self._place}\0{number}".encode(), digest_size=12).hexdigest()


def _mirrored(custom: Any) -> JSON:
    """A call of one of OpenAI's custom tools as a function's, for readers who know no other; `custom` itself stays beside."""
    return {"name": custom.get("name"), "arguments": custom.get("input")} if isinstance(custom, dict) else {}
