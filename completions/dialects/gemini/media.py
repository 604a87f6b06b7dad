"""One content part of a message as Google's part: text, image, audio, file, video. Pure; fetches nothing.

A `data:` URL becomes `inlineData`. Any other URL becomes `fileData`, which Google fetches itself: public and signed https
URLs, `gs://`, its own Files API and YouTube (blog.google on Gemini API file limits, January 2026). Google wants the media
type of what it fetches. It is guessed from the file's extension; where that says nothing, the request is refused, except for
YouTube and the Files API, which know the type themselves. Ignored: `detail` of images, `filename` beyond its extension,
`cache_control` (Google caches prefixes by itself).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from completions.dialects import links
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

MEDIA_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "heic": "image/heic",
    "heif": "image/heif", "gif": "image/gif", "bmp": "image/bmp", "avif": "image/avif",
    "wav": "audio/wav", "mp3": "audio/mp3", "aiff": "audio/aiff", "aac": "audio/aac", "ogg": "audio/ogg",
    "flac": "audio/flac", "m4a": "audio/m4a",
    "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg", "mov": "video/mov", "avi": "video/avi",
    "flv": "video/x-flv", "webm": "video/webm", "wmv": "video/wmv", "3gp": "video/3gpp", "3gpp": "video/3gpp",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/md", "html": "text/html", "htm": "text/html",
    "css": "text/css", "csv": "text/csv", "xml": "text/xml", "rtf": "text/rtf", "json": "application/json",
    "js": "text/javascript", "py": "text/x-python",
}  # fmt: skip
"""By extension; a table of ours, so that the guess is the same on every machine."""

_AUDIO_FORMATS = ("wav", "mp3", "aiff", "aac", "ogg", "flac", "m4a")
_PROCESSING = {"agentic": "AGENTIC", "static": "STATIC"}
_KNOWS_ITS_TYPE = ("youtube.com", "youtu.be", "generativelanguage.googleapis.com")


def part(said: Mapping[str, Any], field: str) -> JSON | None:
    """The canonical part `said` in Google's words, None for an empty text. Raises `InvalidRequest` naming `field`."""
    kind = said.get("type")
    if kind == "text":
        return {"text": said["text"]} if said.get("text") else None
    if kind == "image_url":
        return image(said, field)
    if kind == "input_audio":
        return _audio(said.get("input_audio") or {}, f"{field}.input_audio")
    if kind == "file":
        return _file(said.get("file") or {}, f"{field}.file")
    if kind in ("video_url", "input_video"):
        return _video(said, field)
    raise InvalidRequest(f"{field}.type {kind!r} is unknown; use text, image_url, input_audio, file or video_url")


def image(said: Mapping[str, Any], field: str) -> JSON:
    """The image that `said` links to in its `image_url`. Raises `InvalidRequest` naming `field`."""
    return linked(_url(said, "image_url", field), f"{field}.image_url.url")


def linked(url: str, field: str, filename: str = "") -> JSON:
    """The thing at `url` as `inlineData` or `fileData`. `filename` helps to guess its type."""
    if url.startswith("data:"):
        return {"inlineData": _inline(url, field)}
    target = links.split(url, field)
    host = target.hostname or ""
    media_type = _guess(target.path) or _guess(filename)
    if media_type:
        return {"fileData": {"fileUri": url, "mimeType": media_type}}
    if any(host == known or host.endswith("." + known) for known in _KNOWS_ITS_TYPE):
        return {"fileData": {"fileUri": url}}
    raise InvalidRequest(
        f"{field}: the type of {url[:100]!r} cannot be told from its extension, which Google needs;"
        " send a URL with an extension such as .png or .pdf, or a data: URL"
    )


def _inline(url: str, field: str) -> JSON:
    head, comma, data = url.removeprefix("data:").partition(",")
    media_type = head.removesuffix(";base64")
    if not comma or not media_type or media_type.startswith(";"):
        raise InvalidRequest(f"{field} is no data: URL with a media type; write data:image/png;base64,...")
    if not head.endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return {"mimeType": media_type, "data": data}


def _audio(audio: Mapping[str, Any], field: str) -> JSON:
    """Google documents these formats and no headerless PCM (ai.google.dev/gemini-api/docs/audio, 2026)."""
    kind = audio.get("format")
    if kind not in _AUDIO_FORMATS:
        raise InvalidRequest(f"{field}.format {kind!r} is not one that Gemini takes; use {', '.join(_AUDIO_FORMATS)}")
    return {"inlineData": {"mimeType": MEDIA_TYPES[kind], "data": audio.get("data") or ""}}


def _file(file: Mapping[str, Any], field: str) -> JSON:
    data = file.get("file_data")
    if not data:
        raise InvalidRequest(f"{field}.file_data is missing, and Gemini cannot see other ids; send a data: URL or a URL")
    if ":" not in data[:20]:
        raise InvalidRequest(f"{field}.file_data is neither a URL nor a data: URL; write data:application/pdf;base64,...")
    return linked(data, f"{field}.file_data", str(file.get("filename") or ""))


def _video(said: Mapping[str, Any], field: str) -> JSON:
    result = linked(_url(said, "video_url", field), f"{field}.video_url.url")
    asked = said["video_url"]
    processing = asked.get("processing") if isinstance(asked, Mapping) else None
    if processing in _PROCESSING:
        result["mediaProcessing"] = _PROCESSING[processing]
    return result


def _url(said: Mapping[str, Any], key: str, field: str) -> str:
    value = said.get(key)
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{field}.{key}.url is missing; give a URL or a data: URL")
    return url


def _guess(path: str) -> str | None:
    name = path.rsplit("/", 1)[-1]
    return MEDIA_TYPES.get(name.rsplit(".", 1)[-1].lower()) if "." in name else None
