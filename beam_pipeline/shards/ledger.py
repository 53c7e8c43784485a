"""What became of every input: one JSON line each, in one ledger file per shard.

The ledger is the commit: a shard whose ledger is not there does not exist, whatever else lies on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from beam_pipeline.runtime import storage

DONE = "done"
DUPLICATE = "duplicate"
REJECTED = "rejected"
OUTCOMES = (DONE, DUPLICATE, REJECTED)


@dataclass(frozen=True)
class LedgerLine:
    """What became of one input.

    Attributes:
      uri: where the file is: an absolute path or a URL.
      size: bytes, or -1 where it could not be found out.
      mtime: last modification, seconds since 1970, or -1.
      sha256: hex digest of the content; "" where it could not be read.
      outcome: one of OUTCOMES; a duplicate has the bytes of another input that is done.
      stage: where a rejected input failed: "list", "read" or "decode"; else "".
      reason: why, for a person; else "".
    """

    uri: str
    size: int
    mtime: float
    sha256: str
    outcome: str
    stage: str = ""
    reason: str = ""


def to_jsonl(lines: Iterable[LedgerLine]) -> bytes:
    """Ledger lines -> file content. Names that are not UTF-8 survive as escaped surrogates."""
    return "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode()


def read_ledger(path: str) -> Iterator[LedgerLine]:
    """Ledger file -> its lines."""
    with storage.open_file(path) as file:
        for line in file:
            yield LedgerLine(**json.loads(line))


def rejected_inputs(ledger_paths: Iterable[str]) -> dict[str, LedgerLine]:
    """Ledgers of all runs, oldest first -> {uri: line} of the inputs that stay rejected; the last run counts."""
    rejected: dict[str, LedgerLine] = {}
    for path in ledger_paths:
        for line in read_ledger(path):
            if line.outcome == REJECTED:
                rejected[line.uri] = line
            else:
                rejected.pop(line.uri, None)
    return rejected
