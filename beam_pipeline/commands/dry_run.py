"""`--dry-run` of extract and caption: what would be done, how long it would take and how much it would write.

What is new is found by the same steps as in a run, on Beam's local runner. Time and size are estimated from a few
pictures, chosen by a hash of their addresses, which are really read, encoded and captioned. The output is not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_features import pictures_left
from beam_pipeline.caption_images import resolve_options
from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.captions.shard import DECODER_BATCH, caption_features, caption_line
from beam_pipeline.commands.directories import missing_shards
from beam_pipeline.commands.entries import Entry, print_entries
from beam_pipeline.encoders.base import Encoder, LoadEncoder
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.inputs.input_file import InputFile, Member
from beam_pipeline.inputs.sources import Collection, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import Outputs
from beam_pipeline.runtime.runner import run_pipeline
from beam_pipeline.runtime.text import duration, size_in_words, uri_key
from beam_pipeline.shards.caption_join import InputWithCaptions, JoinCaptions
from beam_pipeline.shards.contents import Picture, fingerprint_file
from beam_pipeline.shards.encode_shard import feature_record
from beam_pipeline.shards.encoding import EncodedPicture, encode_pictures
from beam_pipeline.shards.feature_encoder import earlier_features, encoder_of_options
from beam_pipeline.shards.feature_shard import PictureFeature, read_features
from beam_pipeline.shards.gone import UnreadableInputs
from beam_pipeline.shards.ledger import DONE, OUTCOMES, LedgerLine, read_ledger, to_jsonl
from beam_pipeline.shards.output_directory import Standing, read_standing
from beam_pipeline.shards.planning import ListCollection, ReadLedgers, SubtractLedger
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.run import GatherResults
from beam_pipeline.shards.shard_id import parse_shard, shard_count
from beam_pipeline.words.shard_statistics import files_of_pictures, shard_statistics, to_words
from training.data.feature_records import serialize
from training.data.feature_set import load_feature_set
from training.decoding.decoder import CaptionDecoder
from training.own_directories import require_output
from training.own_names import FEATURES, INT8_ENCODER, RANDOM_STATISTICS
from training.scratch import scratch_directory
from training.text.plurals import counted

MEASURED = 32  # new pictures that extract tries; caption tries a batch of its decoder


@dataclass(frozen=True)
class Work:
    """What a run would find to do.

    Attributes:
      counts: what a run counts: "listed", "earlier_OUTCOME" for each outcome, and files that are "gone".
      new: number of inputs that are in no ledger.
      sample: some of them.
    """

    counts: dict[str, int]
    new: int
    sample: list[InputFile]


@dataclass(frozen=True)
class Trial:
    """What it took to process a few pictures.

    Attributes:
      pictures: number of pictures.
      rejected: number of those that gave no result: they cannot be read, or are duplicates.
      loading_seconds: until the models were loaded.
      seconds: for all the pictures.
      size_bytes: of what a run would have written of them.
    """

    pictures: int
    rejected: int
    loading_seconds: float
    seconds: float
    size_bytes: int


def dry_run_extract(
    options: ExtractOptions, beam_options: PipelineOptions, load: LoadEncoder = load_encoder
) -> list[Entry]:
    """Prints and returns what `extract` would do.

    Args:
      load: makes the encoder.

    Raises:
      UserError: an option is wrong, as in a run.
    """
    storage.use_options(beam_options)
    require_output(options.output, FEATURES)
    collection = resolve_collection(options.images, options.remote_lists, options.exclude)
    output = storage.absolute(options.output)
    earlier = earlier_features(options, output)
    standing = read_standing(output)
    work = find_work(collection, standing.ledgers, options.retry_rejected, MEASURED)
    trial = None
    with scratch_directory() as scratch:
        has_encoder = any(storage.exists(storage.join(output, name)) for name in (RANDOM_STATISTICS, INT8_ENCODER))
        spec = encoder_of_options(options, collection, earlier, output if has_encoder else scratch)
        if work.sample:
            limits = replace(options.decode_limits, views=options.augment)
            trial = try_pictures(work.sample, lambda: load(spec), limits, _size_of_features)
    return _print("extract", output, _of_work(work, standing, options.shard_size) + _of_trial(trial, work.new))


def dry_run_caption(
    options: CaptionOptions, beam_options: PipelineOptions, load: LoadEncoder = load_encoder
) -> list[Entry]:
    """Prints and returns what `caption` would do.

    Args:
      load: makes the encoder.

    Raises:
      UserError: an option is wrong, as in a run.
    """
    storage.use_options(beam_options)
    captioning, writer = resolve_options(options)
    standing = read_standing(writer.output)
    if options.features:
        captioning.captioner.require_encoder(load_feature_set(options.features).encoder)
        entries = _of_features(options.features, standing, captioning.decoder.load)
        return _print("caption", writer.output, entries)
    assert options.images
    collection = resolve_collection(options.images, options.remote_lists, options.exclude)
    spec = encoder_of_captioner(captioning.captioner, options.captioner, options.weights)
    work = find_work(collection, standing.ledgers, options.retry_rejected, DECODER_BATCH)
    trial = None
    if work.sample:
        decoder = captioning.decoder.load()

        def size_of(encoded: list[EncodedPicture]) -> int:
            return _size_of_captions(decoder, list(_to_caption(encoded)))

        trial = try_pictures(work.sample, lambda: load(spec), options.decode_limits, size_of)
    entries = _of_work(work, standing, options.shard_size) + _of_trial(trial, work.new)
    return _print("caption", writer.output, entries)


def find_work(collection: Collection, ledgers: Iterable[str], retry_rejected: bool, sample_size: int) -> Work:
    """Collection and paths of ledgers -> what is in the collection and not in the ledgers.

    Args:
      retry_rejected: whether inputs that were rejected count as new.
      sample_size: how many of the new inputs to choose for a trial.
    """
    with scratch_directory() as directory:
        path = os.path.join(directory, "work")

        with run_pipeline(PipelineOptions([]), directory) as pipeline:
            listed = pipeline | "ListCollection" >> ListCollection(collection)
            inputs = listed.main | "JoinCaptions" >> JoinCaptions(None)
            lines = pipeline | "ReadLedgers" >> ReadLedgers(ledgers)
            unreadable = listed.main | "Unreadable" >> UnreadableInputs()
            work, places = inputs.main | "SubtractLedger" >> SubtractLedger(lines, retry_rejected, unreadable)
            gone = (
                places
                | "KeepGone" >> beam.Filter(lambda place: not place[1])
                | "CountGone" >> beam.combiners.Count.Globally()
                | "NameGone" >> beam.FlatMap(lambda n: [("gone", n)] if n else [])
            )
            new = (
                work.main | "CountNew" >> beam.combiners.Count.Globally() | "NameNew" >> beam.Map(lambda n: ("new", n))
            )
            sample = work.main | "Draw" >> beam.combiners.Top.Of(sample_size, key=_place, reverse=True)
            results = sample | "GatherResults" >> GatherResults(listed, work, Outputs(sample, (new, gone)))
            _ = results | "Keep" >> beam.Map(_keep, path)
        with open(path, encoding="utf-8") as file:
            counts, files = json.load(file)
    return Work(counts, counts.pop("new"), [_to_input(file) for file in files])


def _place(element: InputWithCaptions) -> bytes:
    return hashlib.sha256(uri_key(element.file.uri)).digest()


def _keep(results: Results, path: str) -> None:
    files = [asdict(element.file) for sample in results.elements for element in sample]
    with open(path, "w", encoding="utf-8") as file:
        json.dump((results.counts, files), file)


def _to_input(fields: dict[str, Any]) -> InputFile:
    """What `_keep` wrote of an input -> the input."""
    member = fields["member"] and Member(**{**fields["member"], "place": tuple(fields["member"]["place"])})
    return InputFile(**{**fields, "member": member, "captions": tuple(fields["captions"])})


def try_pictures(
    files: list[InputFile],
    load: Callable[[], Encoder],
    limits: DecodeLimits,
    size_of: Callable[[list[EncodedPicture]], int],
) -> Trial:
    """Reads and encodes pictures as a run does, and measures what it takes.

    Args:
      files: the pictures, at least one.
      load: makes the encoder.
      size_of: processes encoded pictures further -> bytes that a run would write of them.
    """

    def pictures(inputs: list[InputFile]) -> Iterator[Picture]:
        for file in inputs:
            yield fingerprint_file(InputWithCaptions(file, ()), limits.max_bytes)[1]

    began = time.monotonic()
    encoder = load()
    # Starts the decoder processes, and builds the graphs of what comes after.
    size_of(list(encode_pictures(pictures(files[:1]), lambda: encoder, limits)))
    loaded = time.monotonic()
    encoded = list(encode_pictures(pictures(files), lambda: encoder, limits))
    size = size_of(encoded) + len(to_jsonl(line for picture in encoded for line in picture.read.lines))
    rejected = sum(picture.feature is None for picture in encoded)
    return Trial(len(files), rejected, loaded - began, time.monotonic() - loaded, size)


def _size_of_features(encoded: list[EncodedPicture]) -> int:
    framing = 16  # bytes of a TFRecord around what it holds
    records = (feature_record(picture) for picture in encoded if picture.feature is not None)
    return sum(len(serialize(record)) + framing for record in records)


def _to_caption(encoded: list[EncodedPicture]) -> Iterator[PictureFeature]:
    for picture in encoded:
        if picture.feature is not None:
            yield PictureFeature(picture.read.picture.sha256, picture.read.picture.files[0].uri, picture.feature)


def _size_of_captions(decoder: CaptionDecoder, pictures: list[PictureFeature]) -> int:
    """Pictures to caption -> bytes of captions and word statistics."""
    if not pictures:
        return 0
    rows = caption_features(pictures, decoder)
    lines = [LedgerLine(uri, 0, 0, sha256, DONE) for sha256, uri, _ in pictures]
    return sum(len(caption_line(row)) for row in rows) + len(to_words(shard_statistics(rows, files_of_pictures(lines))))


def _of_features(path: str, standing: Standing, load: Callable[[], CaptionDecoder]) -> list[Entry]:
    """Feature set -> what captioning it would take."""
    features = load_feature_set(path)
    left = pictures_left(features, standing)
    entries = [
        ("pictures", f"{features.records:,} in {counted(len(features.shards), 'shard')}"),
        ("done already", f"{features.records - left:,}"),
        ("new", f"{left:,}"),
    ]
    committed = set(standing.committed)
    missing = [
        entry.name
        for entry in features.shards
        if entry.records and parse_shard(entry.name, "features") not in committed
    ]
    if not missing:
        return entries + _of_trial(None, 0)
    began = time.monotonic()
    decoder = load()
    sample = list(islice(read_features(storage.join(features.path, missing[0])), DECODER_BATCH))
    _size_of_captions(decoder, sample[:1])
    loaded = time.monotonic()
    size = _size_of_captions(decoder, sample)
    return entries + _of_trial(Trial(len(sample), 0, loaded - began, time.monotonic() - loaded, size), left)


def _of_work(work: Work, standing: Standing, shard_size: int) -> list[Entry]:
    earlier = {outcome: work.counts.get(f"earlier_{outcome}", 0) for outcome in OUTCOMES}
    outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in earlier.items())
    entries = [
        ("listed", counted(work.counts.get("listed", 0), "input")),
        ("done already", f"{sum(earlier.values()):,}: {outcomes}"),
    ]
    lines: Counter[int] = Counter()
    for shard, path in zip(standing.committed, standing.ledgers, strict=True):
        lines[shard.run] += sum(1 for _ in read_ledger(path))
    entries += [(f"  run {run}", f"{counted(number, 'input')} in its ledgers") for run, number in sorted(lines.items())]
    if gone := work.counts.get("gone", 0):
        entries.append(("gone", f"{counted(gone, 'file')} no longer listed; --prune lets go of what did not move"))
    entries.append(("new", f"{work.new:,}; duplicates among them show only when they are read"))
    for run in standing.unfinished:
        entries.append((f"  run {run.run}", f"is finished first: {missing_shards(run)}"))
    if work.new:
        shards = counted(shard_count(work.new, shard_size), "shard")
        entries.append((f"  run {standing.next_run}", f"takes what is left, in at most {shards}"))
    return entries


def _of_trial(trial: Trial | None, new: int) -> list[Entry]:
    """What a trial of a few pictures took -> estimates for all `new` ones."""
    if trial is None:
        return [("time", "nothing new to do"), ("size", "nothing new to write")]
    speed = trial.pictures / trial.seconds
    needed = duration(trial.loading_seconds + new / speed)
    each = trial.size_bytes / trial.pictures
    pictures = counted(trial.pictures, "picture")
    entries = [
        (
            "time",
            f"about {needed}: {speed:.1f} img/s, measured on {pictures}, and {duration(trial.loading_seconds)} "
            "to load the models",
        ),
        ("size", f"about {size_in_words(each * new)}: {size_in_words(each)} per picture, measured on the same"),
    ]
    if trial.rejected:
        entries.append(("rejected", f"{trial.rejected:,} of the {pictures}, as duplicates or because of their content"))
    return entries


def _print(stage: str, output: str, entries: list[Entry]) -> list[Entry]:
    entries = [("dry run", f"{stage} into {output}; nothing is written"), *entries]
    print_entries(entries)
    return entries
