"""The ledger: the outcome of every input, one JSON line each, in one file for each shard.

The ledger is the commit: a shard without its ledger does not exist, whatever else is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from beam_pipeline.runtime import storage
from training.documents import Hex, Number, parse_lines

DONE = "done"
DUPLICATE = "duplicate"
REJECTED = "rejected"
_MEND = "remove it and run the command that made it again, which makes its shard again"
OUTCOMES = (DONE, DUPLICATE, REJECTED)
LIST, READ, DECODE = "list", "read", "decode"  # where an input is rejected


@dataclass(frozen=True)
class LedgerLine:
    """The outcome of one input.

    Attributes:
      uri: absolute path or URL of the file.
      size: bytes; -1 where it is unknown.
      mtime: last modification, seconds since 1970; -1 where it is unknown.
      sha256: hex digest of the content; "" where it could not be read.
      outcome: one of OUTCOMES; a duplicate has the bytes of another input that is done.
      stage: where a rejected input failed, LIST, READ or DECODE; else "".
      reason: why it was rejected, for the user; of one that is done what was left out of it; else "".
    """

    uri: Annotated[str, Meta(min_length=1)]
    size: Annotated[int, Meta(ge=-1, le=1 << 62)]
    mtime: Number
    sha256: Hex
    outcome: Annotated[str, Meta(pattern="^(done|duplicate|rejected)$")]
    stage: str = ""
    reason: str = ""

    @property
    def was_unreadable(self) -> bool:
        """Whether it was rejected without a look at its content, which another try may well read."""
        return self.outcome == REJECTED and self.stage in (LIST, READ)


def to_jsonl(lines: Iterable[LedgerLine]) -> bytes:
    """Ledger lines -> content of a ledger. Names that are not UTF-8 are kept as escaped surrogates."""
    return "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode()


def read_ledger(path: str) -> Iterator[LedgerLine]:
    """Path of a ledger -> its lines.

    Raises:
      UserError: a line of it is damaged.
      OSError: it cannot be read.
    """
    with storage.open_own(path) as file:
        yield from parse_lines(file, LedgerLine, path, _MEND)


def rejected_inputs(ledger_paths: Iterable[str]) -> dict[str, LedgerLine]:
    """Paths of all ledgers, oldest first -> {uri: line} of the inputs that the newest line rejects."""
    rejected: dict[str, LedgerLine] = {}
    for path in ledger_paths:
        for line in read_ledger(path):
            if line.outcome == REJECTED:
                rejected[line.uri] = line
            else:
                rejected.pop(line.uri, None)
    return rejected
