"""Errors, durations and sizes in words, and file names as Beam and UTF-8 can hold them."""

from __future__ import annotations

import os
import re

# What a terminal obeys: control characters, and marks that turn the direction of the text around them.
_OBEYED = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def reason(error: OSError) -> str:
    """Error of a file -> why it cannot be read, in words."""
    return error.strerror.lower() if error.strerror else str(error)


def escaped(text: str, kept: str = "\n\t") -> str:
    """Text -> the same with control characters, marks of direction and lone surrogates spelt \\x1b, \\u202e, \\udcXX.

    Args:
      kept: control characters that stay as they are.
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in kept else ascii(found[0])[1:-1], text)


def utf8(text: str) -> str:
    """Text -> the same, but each lone surrogate, which stands for a byte that is not UTF-8, is spelt \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def uri_key(uri: str) -> bytes:
    """Uri -> bytes that Beam can group by; its coder of strings does not take names that are not UTF-8."""
    return uri.encode(errors="surrogatepass")


def uri_of(key: bytes) -> str:
    """Bytes that `uri_key` gave -> the uri."""
    return key.decode(errors="surrogatepass")


def duration(seconds: float) -> str:
    """Seconds -> text in two units, such as "12 min 21 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{round(minutes / 60 / 24)} days"


def size_in_words(size: float) -> str:
    """Bytes -> text in powers of 1000, such as "1.9 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def why(error: Exception) -> str:
    """Error -> what went wrong, in one line."""
    if isinstance(error, OSError):
        return reason(error)
    return " ".join(str(error).split()) or type(error).__name__


def stem(uri: str) -> str:
    """Address of a file -> the address without the ending of the name: photos/a.jpg -> photos/a."""
    return os.path.splitext(uri)[0]
