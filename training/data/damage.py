"""A damaged shard of features: the error that says so, and the note by which the next `extract` knows of it.

A second run opens no features. So whoever reads a shard and finds it damaged leaves a note beside it.
"""

from __future__ import annotations

import contextlib

from training.data.feature_set import REPAIR
from training.errors import JobFailed
from training.own_names import NOTE_SUFFIX
from training.storage import write_text


def damaged(path: str, fault: str = "damaged shard") -> JobFailed:
    """Path of a shard that is not as it was written -> the error to raise; leaves a note, if it can.

    Args:
      fault: what is wrong, for the message.
    """
    noted = False
    with contextlib.suppress(OSError):
        write_text(path + NOTE_SUFFIX, f"{fault}; {REPAIR}\n")
        noted = True
    return JobFailed(f"{path}: {fault}; {REPAIR if noted else f'remove it, and {REPAIR}'}")
