"""What a command finds around it, and what must not change its answers: folders of code, encodings, limits."""

from __future__ import annotations

import os
import resource
import sys

from beam_pipeline.runtime.python_process import import_path
from training.errors import UserError

_SEARCHED_FOR_CODE = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_OPEN_FILES = 8192


def settle_surroundings() -> None:
    """Makes them those that a command expects; called before anything large is imported.

    May start the command anew, in the place of this process.

    Raises:
      UserError: the working folder has been deleted.
    """
    _use_utf8()
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working folder has been deleted; change to another folder and call again") from error
    forget_working_folder()
    _allow_open_files()


def forget_working_folder() -> None:
    """Takes the working folder from where this process, and every other that it starts, looks for code.

    An empty entry of PATH or PYTHONPATH means the working folder, and comes about by `PATH=$UNSET:...`.
    """
    sys.path[:] = import_path()
    os.environ["PYTHONSAFEPATH"] = "1"  # for Python processes that libraries start
    for name in _SEARCHED_FOR_CODE:
        places = [place for place in os.environ.get(name, "").split(os.pathsep) if os.path.isabs(place)]
        if places:
            os.environ[name] = os.pathsep.join(places)
        else:
            os.environ.pop(name, None)


def _use_utf8() -> None:
    """Starts the command anew with UTF-8 where names of files would be read in another encoding, and differ from run to
    run."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _allow_open_files() -> None:
    """Raises the number of files that may be open, as far as the user may: 256 on macOS are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
