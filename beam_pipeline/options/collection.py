"""The options that `extract` and `caption` share: how a collection is read, and in what portions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from training.option_fields import EMBEDDED, option, positive, share


def images_option(**settings: Any) -> Any:
    """The field of an options class that names the pictures: one value of `--images`, or a tuple of several."""
    return option(
        "the pictures: a folder, searched with all its subfolders; a quoted pattern of pictures or archives (.tar, "
        ".zip, .parquet, .tfrecord); or a list, .txt with one path or URL per line or .csv with a column named uri, "
        "url, path, file_name or image; may be given several times, and what stands without an option is taken for "
        "pictures too",
        "DIR|GLOB|FILE",
        several=True,
        bare=True,
        **settings,
    )


@dataclass(frozen=True, kw_only=True)
class CollectionOptions:
    """How a collection is read, and in what portions."""

    decode_limits: DecodeLimits = field(default=DEFAULT_DECODE_LIMITS, metadata=EMBEDDED)
    max_reject_rate: float = option(
        "fail if a larger share of the inputs is rejected, 0 to 1", "SHARE", share, group="limits", default=0.1
    )
    shard_size: int = option("pictures in a shard, at most on average", "N", positive, group="run", default=512)
    retry_rejected: bool = option("try again the inputs that an earlier run rejected", group="run", default=False)
    prune: bool = option(
        "let go of what the output holds of files that are no longer listed: it then counts what a run over a new "
        "output would count",
        group="run",
        default=False,
    )
    max_prune_rate: float = option(
        "with --prune: fail, and keep everything, if it would let go of a larger share of the pictures, 0 to 1; a disk "
        "may just not be mounted",
        "SHARE",
        share,
        group="run",
        default=0.25,
    )
    exclude: tuple[str, ...] = option(
        "leave out the files and folders that match, as a line of a .gitignore does: '*.gif', or 'raw/' for a folder "
        "anywhere, or '/raw' for one right below the folder of --images; may be given several times",
        "PATTERN",
        several=True,
        group="run",
        default=(),
    )
    remote_lists: bool = option(
        "also open the remote addresses in a local list; only for lists that you trust", group="run", default=False
    )
