"""Where an export writes a file for each picture: beside the pictures, or in a mirror of their folders.

Addresses and links may come from strangers: in place no folder is made, nothing leads out of a mirror, and no link is
written through.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from beam_pipeline.exports.sidecars import relative_name
from beam_pipeline.exports.texts import UnknownText
from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.inputs.reader import PictureReader, require_unchanged
from beam_pipeline.results.caption_index import CaptionedFile
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.replaced_file import (
    NotReplaceable,
    replaced_file,
    require_replaceable,
    require_writable,
)
from beam_pipeline.runtime.text import utf8
from training.files import remove_temporary_files
from training.text.plurals import counted

MAX_BYTES = 32 << 20  # of a sidecar; those with the masks of a raw developer take a few MB


class NoPlace(OSError):
    """There is nowhere to write for a picture; the message is the reason, for a person."""


@dataclass(frozen=True)
class Places:
    """The files of an export.

    Attributes:
      output: folder of the mirror; None for files beside the pictures.
      root: folder that is mirrored, with its slash.
      keep_times: whether a file that gets new content keeps its times.
      dry_run: whether files are only named instead of written.
      reader: of the pictures.
    """

    output: str | None
    root: str
    keep_times: bool = True
    dry_run: bool = False
    reader: PictureReader = field(default_factory=PictureReader)
    _tidied: list[str] = field(default_factory=list)  # the folder that was written to last

    def of_picture(self, uri: str) -> str:
        """Address of a picture -> where its own file, or the copy of it, is; raises NoPlace if there is none."""
        if self.output is not None:
            return storage.join(self.output, relative_name(uri, self.root))
        if split_member_uri(uri):
            raise NoPlace("is in an archive, and archives are not changed; give --output")
        if not storage.is_local(uri):  # replaced there, it would lose its headers and rights
            raise NoPlace("is at a remote address, and only local files are changed in place; give --output")
        if not os.path.isabs(uri) or "\0" in uri:
            raise NoPlace("is no absolute path, so nobody knows where it is; caption again, or give --output")
        return uri

    def read_picture(self, file: CaptionedFile) -> bytes:
        """A picture -> its content; raises OSError if it is not there, or not as it was captioned."""
        return require_unchanged(self.reader.read(file.uri), file.sha256)

    def holds(self, path: str) -> bool:
        """Whether anything is at a path."""
        return os.path.lexists(path) if storage.is_local(path) else storage.exists(path)

    def read(self, path: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Path -> content of the file there; None if there is none.

        Raises:
          NotReplaceable: it is a link or no regular file, lies behind a link in the mirror, or is too large.
          OSError: it cannot be read.
        """
        if not storage.is_local(path):
            return storage.read_bytes(path) if storage.exists(path) else None
        self._require_no_link(path)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"
            raise NotReplaceable(f"{path} is {kind}; it is left alone")
        if status.st_size > max_bytes:
            raise NotReplaceable(
                f"{path} has {counted(status.st_size, 'byte')}, which no file of captions has; it is left alone"
            )
        return storage.read_bytes(path)

    def write(self, path: str, data: bytes, before: bytes | None) -> None:
        """Writes a file, whole or not at all; what else belongs to a file that is there stays.

        Args:
          before: content that `read` gave; None for a new file.

        Raises:
          OSError: it cannot be written, or was changed meanwhile.
          JobFailed: there is no room for it.
        """
        self._require_no_link(path)
        replaces = before is not None and storage.is_local(path)
        if self.dry_run:
            if replaces:
                with naming(path):
                    require_replaceable(path)
            print(f"would {'make' if before is None else 'change'} {utf8(path)}")
            return
        self._tidy(os.path.dirname(path))
        if replaces:
            with naming(path), storage.writing(path), replaced_file(path, self.keep_times, before) as local:
                Path(local).write_bytes(data)
        else:
            if self.output is not None and storage.is_local(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            storage.write_atomic(path, data)

    def _tidy(self, folder: str) -> None:
        """Removes what a killed run of an export left half-written in a folder."""
        if self._tidied != [folder] and storage.is_local(folder) and os.path.isdir(folder):
            remove_temporary_files(folder)
            self._tidied[:] = [folder]

    def remove(self, path: str) -> None:
        """Removes a file that an export made; raises NotReplaceable where it is read-only."""
        if storage.is_local(path):
            with naming(path):
                require_writable(path)
        if self.dry_run:
            print(f"would remove {utf8(path)}")
        else:
            storage.remove(path)

    def _require_no_link(self, path: str) -> None:
        """Raises NotReplaceable where a folder between the output and a file of it is a link."""
        if self.output is None or not storage.is_local(path):
            return
        folder = os.path.dirname(path)
        while len(folder) > len(self.output):
            if os.path.islink(folder):
                raise NotReplaceable(f"{folder} is a link, which may lead out of the output; remove it")
            folder = os.path.dirname(folder)


@contextlib.contextmanager
def naming(path: str, kind: type[NotReplaceable | UnknownText] = NotReplaceable) -> Iterator[None]:
    """Names a file, which may be another one than the picture, in an error of this kind: why it is left alone."""
    try:
        yield
    except kind as error:
        raise kind(f"{path}: {error}") from error
