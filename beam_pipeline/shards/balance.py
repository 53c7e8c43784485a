"""The balance of a run: every listed input is done, a duplicate or rejected, and the user is told how many."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from beam_pipeline.runtime.text import escaped
from beam_pipeline.shards.ledger import DONE, DUPLICATE, OUTCOMES, REJECTED, LedgerLine
from training.errors import JobFailed
from training.text.human_captions import MAX_CAPTIONS, MAX_CHARACTERS
from training.text.plurals import counted

_NAMED = 3  # examples in a notice, and reasons in a line
_LIMITS = f"an image keeps {MAX_CAPTIONS} captions at most, of {MAX_CHARACTERS:,} characters at most"
# Count -> what it says to the user, of one and of several.
_NOTICES = {
    "listed_repeatedly": (
        "{} input is named once more, in a list or by another --images, and counts once",
        "{} inputs are named once more, in a list or by another --images, and count once",
    ),
    "ignored_shadow": (
        "{} file or folder of thumbnails, trash or a system (such as @eaDir or ._NAME) was left out; to read it, give "
        "it alone as --images",
        "{} files and folders of thumbnails, trash or a system (such as @eaDir or ._NAME) were left out; to read one, "
        "give it alone as --images",
    ),
    "ignored_excluded": (
        "{} file or folder was left out by --exclude",
        "{} files and folders were left out by --exclude",
    ),
    "ignored_folder_again": (
        "{} folder was reached once more, through a link or another --images, and was read once",
        "{} folders were reached once more, through links or another --images, and were read once",
    ),
    "ignored_comment": (
        "{} line of a list begins with # and was taken for a comment",
        "{} lines of lists begin with # and were taken for comments",
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
    "ignored_nested": (
        "{} archive inside an archive was not opened; unpack it, and name it in --images to read what it holds",
        "{} archives inside archives were not opened; unpack them, and name them in --images to read what they hold",
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
    "profiles_left_out": (
        "{} colour profile was too large to be applied; its picture was read without",
        "{} colour profiles were too large to be applied; their pictures were read without",
    ),
    "captions_with_inputs": (
        "{} caption came with its picture from an archive or a list",
        "{} captions came with their pictures from archives or a list",
    ),
    "caption_lines_unreadable": (
        "{} line of the caption file could not be read",
        "{} lines of the caption file could not be read",
    ),
    "caption_headings": (
        "{} line of the caption file is a heading and was left out",
        "{} lines of the caption file are headings and were left out",
    ),
    "captions_with_marks": (
        "{} caption holds marks of a decoder, such as <start> or <end>; the marks were left out",
        "{} captions hold marks of a decoder, such as <start> or <end>; the marks were left out",
    ),
    "captions_without_words": (
        "{} caption without a word was left out",
        "{} captions without a word were left out",
    ),
    "captions_over_limit": (
        f"{{}} caption was left out: {_LIMITS}",
        f"{{}} captions were left out: {_LIMITS}",
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

HOW_TO_RETRY = "the next run tries again those that could not be read, and with --retry-rejected all of them"


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


def notices(totals: Mapping[str, int], notes: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Totals -> one line for each other thing that was counted and that the user should know of.

    Args:
      notes: examples of it, by the same name; a line ends with the first few.
    """
    notes = notes or {}
    found = [(totals.get(name, 0), texts, notes.get(name, ())) for name, texts in _NOTICES.items()]
    return [texts[number != 1].format(f"{number:,}") + _examples(of) for number, texts, of in found if number]


def _examples(notes: Sequence[str]) -> str:
    shown = ", ".join(escaped(text, kept="") for text in notes[:_NAMED])
    return f": {shown}{', ...' if len(notes) > _NAMED else ''}" if shown else ""


def reasons_in_words(reasons: Counter[tuple[str, str]], shown: int) -> list[str]:
    """(stage, reason) -> number of inputs -> "2 decode: not an image", ..., "3 for 2 other reasons"; commonest first.

    Args:
      shown: reasons to name.
    """
    ordered = reasons.most_common()
    parts = [f"{number:,} {stage}: {escaped(reason, kept='')}" for (stage, reason), number in ordered[:shown]]
    if others := ordered[shown:]:
        parts.append(f"{sum(number for _, number in others):,} for {counted(len(others), 'other reason')}")
    return parts


def reasons_line(rejected: Iterable[LedgerLine]) -> str:
    """Rejected inputs -> why, in one line: "2 decode: not an image, 3 for 2 other reasons"."""
    return ", ".join(reasons_in_words(Counter((line.stage, line.reason) for line in rejected), _NAMED))


def gone_line(totals: Mapping[str, int], pruned_by: str) -> str:
    """Totals -> what the user is told of files that are no longer listed; "" where there are none.

    Args:
      pruned_by: what lets go of them, in words.
    """
    gone, moved = totals.get("gone", 0), totals.get("gone_moved", 0)
    if not gone:
        return ""
    files = f"{counted(gone, 'file')} that it counts {'is' if gone == 1 else 'are'} no longer listed"
    if moved == gone:
        where = "its picture has moved: it is" if gone == 1 else "their pictures have moved: they are"
        files += f"; {where} listed at {'another place' if gone == 1 else 'other places'}"
    elif moved:
        lost = gone - moved
        files += f"; {moved:,} of them moved to other places, {lost:,} {'is' if lost == 1 else 'are'} gone"
    return f"{files}; {pruned_by}"


GONE = ("gone", "gone_moved", "gone_pictures", "gone_rejected")  # totals of what is no longer listed


def pruned_totals(totals: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, int]:
    """Totals of a run and, after the prune that followed it, those of what is kept -> totals of the directory."""
    others = {name: number for name, number in totals.items() if name not in GONE}
    return others | {name: kept.get(name, 0) for name in ("listed", *OUTCOMES)}


def pruned_line(totals: Mapping[str, int]) -> str:
    """Totals of the run before a prune -> what the prune let go of."""
    files = counted(totals.get("gone", 0) + totals.get("gone_rejected", 0), "file")
    return f"pruned: {files} no longer listed, {counted(totals.get('gone_pictures', 0), 'picture')} let go of"


def check_prune(gone: int, pictures: int, max_prune_rate: float, output: str) -> None:
    """Refuses a prune that would let go of too much.

    Args:
      gone: pictures that the directory holds and that are no longer listed.
      pictures: pictures that it holds.
      max_prune_rate: share of them that may go, 0 to 1.
      output: the directory, for the message.

    Raises:
      JobFailed: it is a larger share.
    """
    if gone > max_prune_rate * pictures:
        share = math.ceil(100 * gone / pictures) / 100
        raise JobFailed(
            f"{output}: nothing is pruned: {gone:,} of {counted(pictures, 'picture')} {'is' if gone == 1 else 'are'} "
            f"no longer listed, more than --max-prune-rate {max_prune_rate:g} allows; are all disks mounted? "
            f"If the pictures are really gone, add --max-prune-rate {min(share, 1):g}"
        )


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
            f"inputs; {HOW_TO_RETRY}"
        )
