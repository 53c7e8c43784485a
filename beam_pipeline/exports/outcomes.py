"""What can become of a file of an export, or of a picture for webdataset."""

from __future__ import annotations

WRITTEN, UNCHANGED, FAILED = "written", "unchanged", "failed"
TAKEN_BACK = "taken back"
WITHHELD = "without caption (low confidence)"
