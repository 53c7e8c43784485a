"""Libraries that a plain install leaves out: whether one is there, and how to get it.

The decoder process imports this module, so it imports little.
"""

from __future__ import annotations

import importlib.util

from training.errors import UserError


def how_to_install(extra: str) -> str:
    """Extra of `setup.py` -> what to do to have it, for a message."""
    return f"run pip install '.[{extra}]' in the checkout of captionbeam"


def require(package: str, extra: str, purpose: str) -> None:
    """Checks that the package of an extra is installed, without importing it.

    Args:
      purpose: what needs it, for the message.

    Raises:
      UserError: it is not; says how to install it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{purpose}: the package {package} is not installed; {how_to_install(extra)}")
