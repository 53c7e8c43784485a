"""`export --format xmp`: description and keywords in an XMP file for each picture, and out of it again."""

from __future__ import annotations

import os
from collections.abc import Iterator

from beam_pipeline.exports.embedded_words import words_in
from beam_pipeline.exports.mark import SUBJECT, XMP_TEXTS
from beam_pipeline.exports.outcomes import TAKEN_BACK, UNCHANGED, WRITTEN
from beam_pipeline.exports.places import NoPlace, Places
from beam_pipeline.exports.xmp import Packet, UnreadableXmp
from beam_pipeline.exports.xmp_merge import Elsewhere, Words, merge_sidecar, take_back, take_back_sidecar
from beam_pipeline.exports.xmp_names import ENDING, XmpNames, describes
from beam_pipeline.results.caption_index import CaptionedFile
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.replaced_file import NotReplaceable
from beam_pipeline.runtime.text import stem


class XmpFiles:
    """The XMP files of an export.

    Args:
      places: where they are.
    """

    def __init__(self, places: Places):
        self._places, self._names = places, XmpNames()

    def write(self, file: CaptionedFile, words: Words, full_name: bool) -> str:
        """Writes the words for a picture into its XMP file, or into a new one; returns the outcome.

        Args:
          full_name: whether a new file is a.jpg.xmp instead of a.xmp; it always is where that may be another file's.

        Raises:
          OSError: an XMP file cannot be read or written, or the picture is not there as it was captioned.
          UnreadableXmp: a file that may be the picture's is no XMP.
        """
        places = self._places
        picture = places.of_picture(file.uri)
        found = dict(self._found(file, picture))
        short = stem(picture) + ENDING
        ours = [path for path, data in found.items() if Packet(data).mark()]
        if found:
            path = next(iter(ours), None) or sorted(found, key=lambda path: path.startswith(picture) != full_name)[0]
        else:
            full_name = full_name or self._has_others(file) or places.holds(short)
            path = picture + ENDING if full_name else short
        before = found.pop(path, None)
        if before is None and places.holds(path):  # of a picture whose name has no ending
            raise NotReplaceable(f"{path} may be another file's; it is left alone")
        # Who finds a sidecar may look at the picture's own words no more.
        embedded = Elsewhere() if places.output else words_in(places.read_picture(file))
        data = merge_sidecar(before, words, _elsewhere(found, embedded))
        if data is None:
            return UNCHANGED
        places.write(path, data, before)
        return WRITTEN

    def take_back(self, file: CaptionedFile) -> str:
        """Takes out of the XMP files of a picture what our marks say; returns the outcome.

        A file that an export made is removed if nothing else is in it.

        Raises:
          OSError: a file cannot be read or written.
          UnreadableXmp: a file that may be the picture's is no XMP.
        """
        try:
            picture = self._places.of_picture(file.uri)
        except NoPlace:  # nothing was ever written there
            return UNCHANGED
        outcome = UNCHANGED
        for path, before in self._candidates(file, picture):
            mark = Packet(before).mark()
            # Even where another program has made the file that of another picture since.
            data = take_back_sidecar(before) if mark and file.sha256 in mark.states else None
            if data is None:
                continue
            if data:
                self._places.write(path, data, before)
            else:
                self._places.remove(path)
            outcome = TAKEN_BACK
        return outcome

    def _found(self, file: CaptionedFile, picture: str) -> Iterator[tuple[str, bytes]]:
        """Yields path and content of the XMP files that describe a picture, under each of their names."""
        for path, data in self._candidates(file, picture):
            is_full = picture != stem(picture) and path.startswith(picture)
            if is_full or describes(Packet(data), picture, self._has_others(file)):
                yield path, data

    def _candidates(self, file: CaptionedFile, picture: str) -> Iterator[tuple[str, bytes]]:
        """Yields path and content of the XMP files that may describe a picture, by their names."""
        seen = set()
        for name in (picture, stem(picture)):
            for ending in (ENDING, ENDING.upper()):
                path = name + ending
                try:
                    data = self._places.read(path)
                    if data is None or (inode := _inode(path)) in seen:  # both endings may be one file
                        continue
                    seen.add(inode)
                    Packet(data)
                except (UnreadableXmp, NotReplaceable) as error:
                    if name != picture and self._has_others(file):
                        continue  # and so it is theirs, as nothing says otherwise
                    if isinstance(error, UnreadableXmp):
                        raise UnreadableXmp(f"{path}: {error}; it is left alone") from error
                    raise
                yield path, data

    def _has_others(self, file: CaptionedFile) -> bool:
        # Beside the picture itself, for who makes a mirror may copy its files there.
        return storage.is_local(file.uri) and self._names.others(file.uri)


def _inode(path: str) -> object:
    if not storage.is_local(path):
        return path
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _elsewhere(sidecars: dict[str, bytes], embedded: Elsewhere) -> Elsewhere:
    """What a person wrote into other XMP files of the same picture, and into the picture."""
    packets = [Packet(data) for data in sidecars.values()]
    for packet in packets:
        take_back(packet, packet.mark())
    texts = [text for packet in packets for name in XMP_TEXTS for text in packet.texts(name).values() if text.strip()]
    keywords = (*(word for packet in packets for word in packet.words(SUBJECT)), *embedded.keywords)
    return Elsewhere(next(iter(texts), embedded.description), embedded.other_text, keywords)
