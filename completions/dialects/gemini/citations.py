"""Google's grounding and citations as canonical `url_citation` annotations. Pure.

Google counts places in UTF-8 bytes of one part, clients count characters of the whole content (google-genai 3.4.0,
`Segment`). A place is trusted if the text there is the segment's; else the segment is searched; a citation that cannot be
placed cites the whole answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from completions.dialects.base import JSON

_SOURCES = ("web", "maps", "retrievedContext")


def cited(candidate: Mapping[str, Any], text: str) -> list[JSON]:
    """Every citation of `candidate`, whose content so far is `text`, in Google's order."""
    return [*_grounding(candidate.get("groundingMetadata") or {}, text), *_quotations(candidate, text)]


def searches(candidate: Mapping[str, Any]) -> int:
    """How many web searches were made for `candidate`."""
    return len((candidate.get("groundingMetadata") or {}).get("webSearchQueries") or ())


def _grounding(metadata: Mapping[str, Any], text: str) -> Iterator[JSON]:
    sources = [_source(chunk) for chunk in metadata.get("groundingChunks") or ()]
    used = set()
    for support in metadata.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        start, end = _place(segment, text)
        for index in support.get("groundingChunkIndices") or ():
            if index < len(sources) and sources[index].get("uri"):
                used.add(index)
                yield _citation(sources[index], segment.get("text") or "", start, end)
    for index, source in enumerate(sources):
        if index not in used and source.get("uri"):
            yield _citation(source, source.get("text") or "", 0, len(text))


def _quotations(candidate: Mapping[str, Any], text: str) -> Iterator[JSON]:
    """Texts that the model quoted at length, with or without search."""
    for quoted in (candidate.get("citationMetadata") or {}).get("citations") or ():
        if quoted.get("uri"):
            start, end = _place(quoted, text)
            yield _citation(quoted, text[start:end], start, end)


def _source(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((chunk[kind] for kind in _SOURCES if isinstance(chunk.get(kind), Mapping)), {})


def _citation(source: Mapping[str, Any], content: str, start: int, end: int) -> JSON:
    cited = {"url": source["uri"], "title": source.get("title") or "", "content": content}
    return {"type": "url_citation", "url_citation": {**cited, "start_index": start, "end_index": end}}


def _place(segment: Mapping[str, Any], text: str) -> tuple[int, int]:
    """Start and end of `segment` in characters of `text`."""
    whole, quoted = text.encode(), segment.get("text")
    first, last = segment.get("startIndex") or 0, segment.get("endIndex") or 0
    start, end = (len(whole[:offset].decode(errors="ignore")) for offset in (first, last))
    if last > first and last <= len(whole) and (quoted is None or text[start:end] == quoted):
        return start, end
    found = text.find(quoted) if quoted else -1
    return (found, found + len(quoted)) if quoted and found >= 0 else (0, len(text))
