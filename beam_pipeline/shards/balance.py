"""The balance of a run: every listed input is done, a duplicate or rejected, and the user is told how many."""

from __future__ import annotations

from collections.abc import Mapping

from beam_pipeline.shards.ledger import DONE, DUPLICATE, OUTCOMES, REJECTED
from training.errors import JobFailed
from training.text.plurals import counted

# Count -> what it says to the user, of one and of several.
_NOTICES = {
    "listed_repeatedly": (
        "{} entry of the list repeats an earlier one",
        "{} entries of the list repeat earlier ones",
    ),
    "ignored_shadow": (
        "{} system file (._NAME, Thumbs.db or similar) was ignored",
        "{} system files (._NAME, Thumbs.db or similar) were ignored",
    ),
    "ignored_other": (
        "{} other file was ignored: its name is not that of an image",
        "{} other files were ignored: their names are not those of images",
    ),
    "ignored_link": (
        "{} link or device in an archive was ignored",
        "{} links or devices in archives were ignored",
    ),
    "ignored_container": (
        "{} archive in the folder was not opened; name it in --images to read what it holds",
        "{} archives in the folder were not opened; name them in --images to read what they hold",
    ),
    "ignored_member": (
        "{} member that an archive says it holds was not found in it",
        "{} members that archives say they hold were not found in them",
    ),
    "ignored_unended": (
        "{} tar archive has no mark of its end; it may have been cut",
        "{} tar archives have no mark of their end; they may have been cut",
    ),
    "ignored_caption": (
        "{} caption in an archive could not be read",
        "{} captions in archives could not be read",
    ),
    "captions_with_inputs": (
        "{} caption came with its picture from an archive or a list",
        "{} captions came with their pictures from archives or a list",
    ),
    "caption_lines_unreadable": (
        "{} line of the caption file could not be read",
        "{} lines of the caption file could not be read",
    ),
    "captions_without_picture": (
        "{} caption names a picture that was not found",
        "{} captions name pictures that were not found",
    ),
    "captions_repeated": (
        "{} row of the caption file repeats another one word for word; it is kept",
        "{} rows of the caption file repeat others word for word; they are kept",
    ),
    "pictures_without_caption": (
        "{} picture has no caption",
        "{} pictures have no caption",
    ),
}


def add_up(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of this run -> totals of the collection: earlier and new outcomes together, sorted by name."""
    remaining = dict(counts)
    totals = {"listed": remaining.pop("listed", 0)}
    for outcome in OUTCOMES:
        new = remaining.pop(outcome, 0)
        totals[outcome] = new + remaining.pop(f"earlier_{outcome}", 0)
        totals[f"new_{outcome}"] = new
    return totals | dict(sorted(remaining.items()))


def balance_line(totals: Mapping[str, int]) -> str:
    """Totals -> "3 inputs = 1 done + 1 duplicate + 1 rejected (1 done in this run)"."""
    return (
        f"{counted(totals['listed'], 'input')} = {totals[DONE]:,} done + {counted(totals[DUPLICATE], 'duplicate')} + "
        f"{totals[REJECTED]:,} rejected ({totals['new_done']:,} done in this run)"
    )


def notices(totals: Mapping[str, int]) -> list[str]:
    """Totals -> one line for each other thing that was counted and that the user should know of."""
    found = [(totals.get(name, 0), texts) for name, texts in _NOTICES.items()]
    return [texts[number != 1].format(f"{number:,}") for number, texts in found if number]


def check_balance(totals: Mapping[str, int], max_reject_rate: float, rejected_list: str) -> None:
    """Checks that every input is accounted for, and that not too many were rejected.

    Args:
      totals: as `add_up` returns them.
      max_reject_rate: share of rejected inputs above which the job fails, 0 to 1.
      rejected_list: path of the list of rejected inputs, for the message.

    Raises:
      JobFailed: the totals do not balance, or too many inputs were rejected.
    """
    listed, rejected = totals["listed"], totals[REJECTED]
    accounted = sum(totals[outcome] for outcome in OUTCOMES)
    if listed != accounted:
        raise JobFailed(
            f"the ledger does not balance: {counted(listed, 'input')} listed, {accounted:,} accounted for; "
            "run the same command again, and report a bug if the message stays"
        )
    if rejected > max_reject_rate * listed:
        raise JobFailed(
            f"{rejected:,} of {counted(listed, 'input')} {'was' if rejected == 1 else 'were'} rejected, over the limit "
            f"of {max_reject_rate:.0%} (--max-reject-rate); finished work is kept; {rejected_list} lists the rejected "
            "inputs"
        )
