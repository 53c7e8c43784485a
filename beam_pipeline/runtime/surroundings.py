"""What a command finds around it, and what must not change its answers: folders of code, encodings, limits."""

from __future__ import annotations

import os
import resource
import sys

from beam_pipeline.runtime.python_process import import_path
from training.errors import UserError

_SEARCHED_FOR_CODE = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_OPEN_FILES = 8192
_KERAS_HOME, _OUR_KERAS_HOME = "KERAS_HOME", "/dev/null/keras"
_USERS_KERAS_HOME = "CAPTIONBEAM_KERAS_HOME"  # what KERAS_HOME was


def settle_surroundings() -> None:
    """Makes them those that a command expects; called before anything large is imported.

    May start the command anew, in the place of this process.

    Raises:
      UserError: the working folder has been deleted, or Python has been told to leave out what TensorFlow needs.
    """
    _start_anew_if_needed()
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working folder has been deleted; change to another folder and call again") from error
    forget_working_folder()
    _hide_keras_settings()
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


def _start_anew_if_needed() -> None:
    """Starts the command anew where Python reads names of files in another encoding than UTF-8, since they would differ
    from run to run; or where it leaves out docstrings, which TensorFlow reads."""
    without_docstrings = sys.flags.optimize >= 2
    if without_docstrings and os.environ.pop("PYTHONOPTIMIZE", None) is None:
        raise UserError("TensorFlow does not run with Python's option -OO; call without it")
    if without_docstrings or sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def keras_home() -> str:
    """The folder where Keras keeps weights for this user, absolute: `$KERAS_HOME`, by default `~/.keras`.

    Raises:
      UserError: the user has no home folder.
    """
    home = os.environ.get(_USERS_KERAS_HOME) or os.environ.get(_KERAS_HOME)
    if home:
        return os.path.abspath(os.path.expanduser(home))
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise UserError("--weights imagenet: there is no home folder to keep them in; name one in KERAS_HOME")
    return os.path.join(home, ".keras")


def _hide_keras_settings() -> None:
    """Has Keras find no keras.json, and write none: Keras refuses to be imported with a damaged one, and takes one in
    /tmp where the home folder cannot be written."""
    if os.environ.get(_KERAS_HOME) != _OUR_KERAS_HOME:
        os.environ[_USERS_KERAS_HOME] = os.environ.get(_KERAS_HOME, "")
        os.environ[_KERAS_HOME] = _OUR_KERAS_HOME


def _allow_open_files() -> None:
    """Raises the number of files that may be open, as far as the user may: 256 on macOS are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
