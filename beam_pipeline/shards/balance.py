"""What must add up at the end of a run, and what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_pipeline.inputs.sources import format_list_entry
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import count
from beam_pipeline.shards.ledger import OUTCOMES, LedgerLine, rejected_inputs
from beam_pipeline.shards.shard_id import ledger_paths
from training.errors import JobFailed

REJECTED_LIST = "rejected.txt"


def count_outcomes(lines: Iterable[LedgerLine]) -> Iterator[TaggedOutput]:
    """Ledger lines of a shard -> the count of each outcome, and the same as Beam metrics for who watches the job."""
    for outcome, number in Counter(line.outcome for line in lines).items():
        Metrics.counter("captionbeam", outcome).inc(number)
        yield count(outcome, number)


def write_rejected(directory: str) -> str:
    """Writes `rejected.txt`, a list that `--images` takes, of what stays rejected; returns its path."""
    path = storage.join(directory, REJECTED_LIST)
    rejected = sorted(rejected_inputs(ledger_paths(directory)))
    storage.write_atomic(path, "".join(format_list_entry(uri) + "\n" for uri in rejected).encode())
    return path


def add_up(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of this run -> totals of the collection: earlier and new outcomes together, sorted by name."""
    counted = dict(counts)
    totals = {"listed": counted.pop("listed", 0)}
    for outcome in OUTCOMES:
        new = counted.pop(outcome, 0)
        totals[outcome] = new + counted.pop(f"earlier_{outcome}", 0)
        totals[f"new_{outcome}"] = new
    return totals | dict(sorted(counted.items()))


def check_balance(totals: Mapping[str, int], max_reject_rate: float, rejected_list: str) -> None:
    """The promise that every input is accounted for, and the limit on rejected ones.

    Raises:
      JobFailed: they do not add up, or too many were rejected.
    """
    accounted = sum(totals[outcome] for outcome in OUTCOMES)
    if totals["listed"] != accounted:
        raise JobFailed(
            f"the ledger does not balance: {totals['listed']} listed, {accounted} accounted for; "
            "run again, and report it if it stays"
        )
    rejected = totals["rejected"]
    if rejected > max_reject_rate * totals["listed"]:
        raise JobFailed(
            f"{rejected} of {totals['listed']} inputs were rejected, over the limit of {max_reject_rate:.0%} "
            f"(--max-reject-rate); what worked is kept, the rejected are listed in {rejected_list}"
        )


def balance_in_words(totals: Mapping[str, int]) -> str:
    """Totals -> the lines that end a run."""
    lines = [
        f"{totals['listed']} inputs = {totals['done']} done + {totals['duplicate']} duplicate + "
        f"{totals['rejected']} rejected ({totals['new_done']} done in this run)"
    ]
    spoken = {
        "listed_repeatedly": "entries of the list name an input that was there already",
        "ignored_shadow": "shadow files (._NAME, Thumbs.db and the like) are not inputs",
        "ignored_other": "other files are not images by their name",
        "ignored_link": "links and devices in archives are not inputs",
        "ignored_container": "archives in the folder are not opened; name them to caption what is in them",
        "ignored_caption": "captions in archives could not be read",
        "captions_with_inputs": "captions came with the pictures from their archives or list",
        "caption_lines_unreadable": "lines of the caption file could not be read",
        "captions_without_picture": "captions name a picture that is not there",
        "captions_repeated": "caption rows repeat another word for word; each counts as written",
        "pictures_without_caption": "pictures have no caption",
    }
    lines += [f"{totals[name]} {words}" for name, words in spoken.items() if totals.get(name)]
    return "\n".join(lines)
