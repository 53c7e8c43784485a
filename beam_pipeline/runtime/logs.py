"""Logging to standard error."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from beam_pipeline.runtime.text import escaped


class _Escaped(logging.Formatter):
    """A message as one line that no terminal obeys; a stack trace stays below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record), kept="")


def set_up_logging(verbose: bool) -> None:
    """Shows messages of captionbeam; has to be called before Beam and TensorFlow are imported.

    Args:
      verbose: whether to show debug messages, and those of Beam and TensorFlow too.
    """
    # Whatever PYTHONWARNINGS says: turned into errors, warnings of Beam and TensorFlow would end the job.
    warnings.simplefilter("default" if verbose else "ignore")
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    others = logging.StreamHandler(sys.stderr)
    # On the handler too: Beam's workers set the level of the root logger anew.
    others.setLevel(logging.INFO if verbose else logging.CRITICAL)
    logging.basicConfig(level=others.level, format="%(name)s: %(message)s", handlers=[others])
    own = logging.getLogger("captionbeam")
    own.setLevel(logging.DEBUG if verbose else logging.INFO)
    own.propagate = False
    if not own.handlers:
        shown = logging.StreamHandler()
        shown.setFormatter(_Escaped())
        own.addHandler(shown)


def is_verbose() -> bool:
    """Whether `set_up_logging` was called with `verbose`."""
    return logging.getLogger("captionbeam").isEnabledFor(logging.DEBUG)
