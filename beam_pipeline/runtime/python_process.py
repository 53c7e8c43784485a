"""Python processes of ours: they import what this process imports, and nothing of the working folder.

Whoever puts a `json.py` or a folder `beam_pipeline` where a command is called must not have it run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PAUSE_SECONDS = 0.25

# -I has Python start without the working folder and the environment's PYTHON*. It also leaves out what is installed for
# one user or named by PYTHONPATH, so the path of this process is handed over. (-P alone would do from Python 3.11 on.)
_START = """
import sys, json
sys.path[:], module, function, arguments = json.loads(sys.argv[1])
import importlib
getattr(importlib.import_module(module), function)(*arguments)
"""


def python_command(function: str, arguments: Sequence[Any]) -> list[str]:
    """Function and its arguments -> command of a Python process that calls it.

    Args:
      function: `module:function`.
      arguments: of the function; what JSON can hold.
    """
    module, _, name = function.partition(":")
    # Last on the path: where captionbeam lies, for an installation that is found in another way.
    handed_over = json.dumps([[*import_path(), _PACKAGES], module, name, arguments])
    return [sys.executable, "-I", "-X", "utf8", "-c", _START, handed_over]


def import_path() -> list[str]:
    """Folders that this process imports from, as absolute paths; the working folder only if captionbeam lies there."""
    return [place for place in sys.path if os.path.isabs(place) and os.path.exists(place) and not _is_foreign(place)]


def _is_foreign(place: str) -> bool:
    """Whether a folder is the working folder, and not that of captionbeam."""
    try:
        return os.path.samefile(place, os.curdir) and not os.path.samefile(place, _PACKAGES)
    except OSError:  # the working folder has been deleted
        return False


def end_with_parent(parent: int) -> None:
    """Has this process end soon after the one that started it, whose id is given: nobody waits for its answer then."""
    threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()


def _wait_for_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PAUSE_SECONDS)
    os._exit(0)
