"""`export --format txt`: the caption of each picture as a line of a text file of its own, and out of it again."""

from __future__ import annotations

import base64

from beam_pipeline.exports.outcomes import TAKEN_BACK, UNCHANGED, WRITTEN
from beam_pipeline.exports.places import Places, naming
from beam_pipeline.exports.sidecars import sidecar
from beam_pipeline.exports.text_journal import MADE, UNDONE, TextChange, TextJournal, text_change
from beam_pipeline.exports.texts import UnknownText, added_line, new_text, without_line
from beam_pipeline.options.results import APPEND, SKIP
from beam_pipeline.results.caption_index import CaptionedFile

ENDING = ".txt"


class TextFiles:
    """The text files of an export.

    Args:
      places: where they are.
      journal: notes what is written beside pictures.
    """

    def __init__(self, places: Places, journal: TextJournal):
        self._places, self._journal = places, journal

    def write(self, file: CaptionedFile, mode: str, full_name: bool) -> str:
        """Writes the caption of a picture; returns the outcome.

        Args:
          mode: what happens to a text that is there: it stays (skip), gets a line (append), or is replaced (overwrite).
          full_name: whether the text is a.jpg.txt instead of a.txt; it is where that one is there.

        Raises:
          OSError: the text cannot be read or written, or the picture is not there as it was captioned.
          UnknownText: the text is in an encoding that cannot take the caption.
        """
        places = self._places
        picture = places.of_picture(file.uri)
        path = sidecar(picture, ENDING, full_name or places.holds(picture + ENDING))
        if mode == SKIP and places.holds(path):
            return UNCHANGED
        before = places.read(path)
        if before is not None and mode == APPEND:
            with naming(path, UnknownText):
                added = added_line(before, file.caption)
            if added is None:
                return UNCHANGED
            data = before + added
        else:
            added = data = new_text(file.caption)
            if data == before:
                return UNCHANGED
        if places.output is None:
            places.read_picture(file)
        if places.output is None and not places.dry_run:
            self._journal.note(text_change(path, file.caption, added, before, is_replaced=data == added))
        places.write(path, data, before)
        return WRITTEN

    def take_back(self, file: CaptionedFile) -> str:
        """Takes out of the texts of a picture what the journal says; returns the outcome.

        A text that an export made is removed if nothing else is in it.

        Raises:
          OSError: a text cannot be read or written, or the picture is not there as it was captioned.
          UnknownText: a text is in an unknown encoding.
          UserError: the journal is damaged.
        """
        outcomes = [self._take_back(file, sidecar(file.uri, ENDING, full_name)) for full_name in (False, True)]
        return TAKEN_BACK if TAKEN_BACK in outcomes else UNCHANGED

    def _take_back(self, file: CaptionedFile, path: str) -> str:
        changes = self._journal.changes(path)
        before = self._places.read(path) if changes else None
        if before is None:
            return UNCHANGED
        self._places.read_picture(file)
        data, is_ours = before, False
        for change in changes:
            added, replaced = base64.b64decode(change.added), base64.b64decode(change.replaced)
            with naming(path, UnknownText):
                data = without_line(data, change.caption, added, replaced)
            if is_ours := change.change == MADE:
                break  # what is older was written into another file
        if data == before:
            return UNCHANGED
        if is_ours and not data:
            self._places.remove(path)
        else:
            self._places.write(path, data, before)
        if not self._places.dry_run:
            self._journal.note(TextChange(path, UNDONE))
        return TAKEN_BACK
