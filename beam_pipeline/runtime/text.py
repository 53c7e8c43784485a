"""Text for people and keys for Beam: what every room words alike."""

from __future__ import annotations

import os


def reason(error: OSError) -> str:
    """Why a file cannot be read, for a person."""
    return error.strerror.lower() if error.strerror else str(error)


def utf8(text: str) -> str:
    """The same text, but a lone surrogate, which stands for a byte of a name that is not UTF-8, is spelt \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def uri_key(uri: str) -> bytes:
    """A uri as Beam can group by it: names that are not UTF-8 have no place in its coder of strings."""
    return uri.encode(errors="surrogatepass")


def uri_of(key: bytes) -> str:
    """The inverse of `uri_key`."""
    return key.decode(errors="surrogatepass")


def duration(seconds: float) -> str:
    """Seconds -> text for a person, to two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{round(minutes / 60 / 24)} days"


def size_in_words(size: float) -> str:
    """Bytes -> text for a person, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def why(error: Exception) -> str:
    """What a page could not be written for, in a line."""
    if isinstance(error, OSError):
        return reason(error)
    return " ".join(str(error).split()) or type(error).__name__


def stem(uri: str) -> str:
    """Address of a file -> the same without the ending of its name."""
    return os.path.splitext(uri)[0]
