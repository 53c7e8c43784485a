"""Writes the results of a captioning: importance tables, example pictures of words, and the summary."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import to_csv, to_parquet
from beam_pipeline.shards.balance import add_up
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId, committed_shards, parse_shard
from beam_pipeline.words.reference import (
    Reference,
    captions_reference,
    load_presence_tail,
    require_same_captioner,
    training_reference,
)
from beam_pipeline.words.statistics import WordStatistics
from beam_pipeline.words.summary import TABLES, digest_of, next_name, read_earlier
from beam_pipeline.words.table import COLUMNS, Collection, evidence_lines, importance_table
from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD, Term
from training.errors import UserError
from training.own_names import EVIDENCE, RESULTS, SUMMARY
from training.text.word_evidence import KINDS

log = logging.getLogger("captionbeam")


@dataclass(frozen=True)
class ResultWriter:
    """Writes the results of a run; picklable, since the worker that gathers them writes them.

    Attributes:
      output: captions directory.
      captioner: directory of the captioner, or of the first one of an ensemble.
      reference: captions directory to compare with, or None for the training captions.
      made_with: settings that must be the same in every run over the output.
      weights: absolute path of the encoder weights that the run was given; "" where it was given none.
    """

    output: str
    captioner: str
    reference: str | None
    made_with: dict[str, Any]
    weights: str = ""

    def load_reference(self) -> Reference | None:
        """Returns what to compare with; None where the captioner carries no word counts.

        Raises:
          UserError: the reference is the output itself, holds no finished captions, or is of another captioner.
        """
        if self.reference is None:
            return training_reference(self.captioner)
        if self.reference == self.output:
            raise UserError(f"--reference {self.reference}: is also the --output; give another captions directory")
        reference = captions_reference(self.reference, "--reference")
        require_same_captioner(self.made_with, reference.made_with or {}, f"--reference {self.reference}")
        return reference

    def check(self) -> None:
        """Checks the reference, and that the output holds no captions that were made with other settings.

        Raises:
          UserError: it does, or the reference cannot be used.
        """
        earlier = read_earlier(self.output).get("made_with", self.made_with)
        for name, value in self.made_with.items():
            if (other := earlier.get(name)) != value:
                setting = name.replace("_", " ")
                raise UserError(
                    f"--output {self.output}: holds captions made with {setting} {_or_none(other)}, and this run has "
                    f"{_or_none(value)}; choose another --output"
                )
        self.load_reference()

    def begin(self) -> None:
        """Marks an output without results as unfinished, by a `summary.json` with nothing but the settings of the run.

        Results of an earlier run stay, with the shards that they count, until this run writes its own.

        Raises:
          UserError: something else than a file has the name of a result.
        """
        for name in (*RESULTS, *map(next_name, RESULTS)):
            if storage.exists(path := storage.join(self.output, name)):
                storage.own_size(path)
        earlier = read_earlier(self.output)
        if "pictures" not in earlier:
            self._write_summary()
            return
        self._put_in_place(earlier.get("results", {}))
        if "shards" not in earlier:
            self._write_summary(**earlier, shards=self._shards())

    def damaged_shards(self) -> list[ShardId]:
        """Returns the committed shards whose captions are not those that the summary counts, to be made again."""
        damaged = []
        sizes = storage.list_directory(self.output)
        committed = set(committed_shards(sizes))
        for entry in read_earlier(self.output).get("shards", ()):
            shard = parse_shard(entry["name"], "captions")
            if shard not in committed:
                continue
            path = storage.join(self.output, entry["name"])
            ledger = storage.join(self.output, shard.ledger())
            if sizes.get(entry["name"]) != entry["size_bytes"] or digest_of(path) != entry["sha256"]:
                log.info("%s is damaged, and is made again", path)
                damaged.append(shard)
            elif entry.get("ledger_sha256") and digest_of(ledger) != entry["ledger_sha256"]:
                log.info("%s is damaged, and its shard is made again", ledger)
                damaged.append(shard)
        return damaged

    def write(
        self,
        results: Results,
        totals: Mapping[str, int] | None = None,
        without: Sequence[ShardId] = (),
        kept: Sequence[ShardId] = (),
    ) -> None:
        """Writes the tables, `word_evidence.jsonl` and `summary.json`; readers see all of the new ones or none.

        Args:
          results: statistics of terms, and counts of pictures and of inputs.
          totals: what became of the inputs, where the counts do not tell.
          without: committed shards that these results do not count.
          kept: shards that the run before had committed; their sizes and digests stay those of the summary.
        """
        reference = self.load_reference()
        counts = dict(results.counts)
        collection = Collection.from_counts(counts)
        flags = {name.removeprefix("flag_"): counts[name] for name in sorted(counts) if name.startswith("flag_")}
        terms = by_kind(results.elements)
        tails = load_presence_tail(self.captioner)
        lines: list[str] = []
        written = {}
        files = {}
        for kind, name in TABLES.items():
            rows = importance_table(kind, terms[kind], terms[LEMMA], collection, reference, tails)
            files[f"{name}.csv"] = to_csv(COLUMNS, rows)
            files[f"{name}.parquet"] = to_parquet(COLUMNS, rows)
            lines += evidence_lines(rows, kind, terms[kind])
            written[kind] = sum(not row["stop_word"] for row in rows)
        files[EVIDENCE] = "".join(lines).encode()
        for name, data in files.items():
            self._write(next_name(name), data)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        if totals is None:
            totals = add_up({name: number for name, number in counts.items() if not is_of_words(name)})
        self._write_summary(
            totals=totals,
            captions=counts.get("captions", 0),
            pictures=collection.pictures,
            files=collection.files,
            flags=flags,
            words=written[WORD],
            bigrams=written[BIGRAM],
            evidence=list(collection.evidence),
            evidence_missing=[kind for kind in KINDS if kind not in collection.evidence],
            reference=reference and {"name": reference.name, "documents": reference.documents},
            notes=results.notes,
            shards=self._shards(without, kept),
            results=digests,
        )
        self._put_in_place(digests)

    def _shards(self, without: Sequence[ShardId] = (), kept: Sequence[ShardId] = ()) -> list[dict[str, Any]]:
        """Names, sizes and digests of the captions of all committed shards; see `write`."""
        sizes = storage.list_directory(self.output)
        names = {shard.captions() for shard in kept}
        earlier = read_earlier(self.output).get("shards", ())
        known = {entry["name"]: entry for entry in earlier if entry["name"] in names}
        entries = []
        for shard in sorted(set(committed_shards(sizes)) - set(without)):
            name = shard.captions()
            entry = known.get(name)
            if entry is None or entry["size_bytes"] != sizes.get(name):
                # One that was removed has no content, so that the next run makes it again.
                digest = storage.sha256(storage.join(self.output, name)) if name in sizes else ""
                entry = {"name": name, "size_bytes": sizes.get(name, 0), "sha256": digest}
            if not entry.get("ledger_sha256"):
                entry["ledger_sha256"] = storage.sha256(storage.join(self.output, shard.ledger()))
            entries.append(entry)
        return entries

    def _put_in_place(self, digests: Mapping[str, str]) -> None:
        """Gives results that wait under another name their own; removes what a run left that never got so far."""
        for name, digest in digests.items():
            waiting = storage.join(self.output, next_name(name))
            if storage.is_file(waiting):
                if storage.sha256(waiting) == digest:
                    self._write(name, storage.read_bytes(waiting))
                storage.remove(waiting)

    def _write(self, name: str, data: bytes) -> None:
        storage.write_atomic(storage.join(self.output, name), data)

    def _write_summary(self, **content: Any) -> None:
        weights = {"weights": self.weights} if self.weights else {}
        document = {"made_with": self.made_with} | weights | content
        storage.write_document(storage.join(self.output, SUMMARY), document)


def _or_none(value: Any) -> Any:
    return "none" if value is None else value


def is_of_words(name: str) -> bool:
    """Whether a count of this name comes from `ShardStatistics.counts`; the others count files by outcome."""
    return name in ("captions", "pictures_counted", "files_counted") or name.startswith(("flag_", "evidence_"))


def by_kind(terms: Iterable[tuple[Term, WordStatistics]]) -> dict[str, dict[str, WordStatistics]]:
    """(Term, WordStatistics) of all terms -> kind of term -> text of the term -> its statistics."""
    sorted_terms: dict[str, dict[str, WordStatistics]] = {WORD: {}, LEMMA: {}, BIGRAM: {}}
    for (kind, text), statistics in terms:
        sorted_terms[kind][text] = statistics
    return sorted_terms
