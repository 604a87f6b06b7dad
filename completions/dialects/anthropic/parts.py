"""Content parts (openrouter.md 1.2) as Anthropic's content blocks. Pure.

Differs from OpenAI in: images and documents have a `source`, which is data or a URL; there is no audio and no video
(platform.claude.com/docs/en/build-with-claude/vision and /pdf-support, read November 2026). `image_url.detail` is ignored:
Anthropic scales by itself. Text parts without a visible character are left out, for Anthropic refuses them (400 "text
content blocks must contain non-whitespace text").
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from typing import Any
from urllib.parse import unquote_to_bytes

from completions.dialects import links
from completions.dialects.anthropic import caching
from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_TEXTUAL = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml")
_UNSAYABLE = {
    "input_audio": "Anthropic's models take no audio; send a transcript as text",
    "video_url": "Anthropic's models take no video; send frames as images",
    "input_video": "Anthropic's models take no video; send frames as images",
}


def blocks(content: Any, field: str) -> list[JSON]:
    """The blocks of a message's `content`: a string, a list of parts or null. Raises `InvalidRequest` naming the part."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    found = (_block(part, f"{field}[{position}]") for position, part in enumerate(content))
    return [block for block in found if block is not None]


def texts(content: Any, field: str) -> list[JSON]:
    """Like `blocks`, where only text may stand: in system messages."""
    found = blocks(content, field)
    for block in found:
        if block["type"] != "text":
            raise InvalidRequest(
                f"{field} holds a part of type {block['type']}; Anthropic takes only text in system messages."
            )
    return found


def _block(part: Any, field: str) -> JSON | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        text = _string(part.get("text"), f"{field}.text")
        return {"type": "text", "text": text, **caching.of_part(part, field)} if text.strip() else None
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        block: JSON = {"type": "image", "source": _image_source(url, f"{field}.image_url.url")}
    elif kind == "file":
        block = _file(part.get("file"), f"{field}.file")
    elif kind == "refusal":
        refusal = _string(part.get("refusal"), f"{field}.refusal")
        return {"type": "text", "text": refusal} if refusal.strip() else None
    else:
        reason = _UNSAYABLE.get(str(kind), "send text, image_url or file")
        raise InvalidRequest(f"{field} is of type {kind!r}, which this provider cannot be sent: {reason}.")
    return {**block, **caching.of_part(part, field)}


def _string(value: Any, field: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise InvalidRequest(f"{field} is of type {type(value).__name__}; give a string.")


def _image_source(url: Any, field: str) -> JSON:
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{field} is missing; give a URL or data:image/png;base64,…")
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    media_type, data = _data_url(url, field)
    return _image_data(media_type, data, field)


def _image_data(media_type: str, data: bytes | str, field: str) -> JSON:
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if media_type not in IMAGE_TYPES:
        raise InvalidRequest(f"{field} holds {media_type or 'no media type'}; Anthropic takes {', '.join(IMAGE_TYPES)}.")
    return {"type": "base64", "media_type": media_type, "data": _base64(data)}


def _file(file: Any, field: str) -> JSON:
    if not isinstance(file, dict):
        raise InvalidRequest(f"{field} is not an object; give filename and file_data.")
    title = {"title": file["filename"]} if file.get("filename") else {}
    data = file.get("file_data")
    if not data and file.get("file_id"):
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}, **title}
    if not isinstance(data, str) or not data.startswith(("data:", "http://", "https://")):
        raise InvalidRequest(f"{field}.file_data is neither a URL nor data:<media type>;base64,… Give one of them.")
    if not data.startswith("data:"):
        guessed = mimetypes.guess_type(links.split(data, f"{field}.file_data").path)[0] or ""
        if guessed in IMAGE_TYPES:
            return {"type": "image", "source": {"type": "url", "url": data}}
        return {"type": "document", "source": {"type": "url", "url": data}, **title}
    media_type, content = _data_url(data, f"{field}.file_data")
    if media_type.startswith("image/"):
        return {"type": "image", "source": _image_data(media_type, content, f"{field}.file_data")}
    if media_type == "application/pdf":
        source = {"type": "base64", "media_type": media_type, "data": _base64(content)}
    elif media_type.startswith("text/") or media_type in _TEXTUAL:
        source = {"type": "text", "media_type": "text/plain", "data": _text(content, f"{field}.file_data")}
    else:
        raise InvalidRequest(f"{field}.file_data holds {media_type}; Anthropic takes application/pdf, text and images.")
    return {"type": "document", "source": source, **title}


def _data_url(url: str, field: str) -> tuple[str, bytes | str]:
    """Media type and content of a data URL; the content stays base64 (`str`) where it is so already."""
    head, comma, content = url.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidRequest(f"{field} is a data URL without a comma; write data:<media type>;base64,<data>.")
    media_type, *parameters = head.split(";")
    if "base64" in (parameter.strip().lower() for parameter in parameters):
        return media_type.strip().lower(), content.strip()
    return media_type.strip().lower() or "text/plain", unquote_to_bytes(content)


def _base64(data: bytes | str) -> str:
    return data if isinstance(data, str) else base64.b64encode(data).decode()


def _text(data: bytes | str, field: str) -> str:
    try:
        return (base64.b64decode(data, validate=True) if isinstance(data, str) else data).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{field} cannot be read as text: {error}. Send it as UTF-8 in base64.") from error
