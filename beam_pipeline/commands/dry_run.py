"""`--dry-run` of extract and caption: what would be done, in what time, and how large it would be. Writes nothing.

What is new comes from the same steps as in a run, on Beam's local runner. Time and size are those of a few pictures,
drawn by the hash of their addresses and really read, encoded and captioned.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_features import pictures_left
from beam_pipeline.caption_images import resolve_options
from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.captions.shard import DECODER_BATCH, caption_features, caption_line
from beam_pipeline.encoders.base import Encoder, LoadEncoder
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.sources import Source, resolve_source
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import Outputs
from beam_pipeline.runtime.runner import run_pipeline
from beam_pipeline.runtime.text import duration, size_in_words, uri_key
from beam_pipeline.shards.caption_join import InputWithCaptions, JoinCaptions
from beam_pipeline.shards.encode_shard import feature_record
from beam_pipeline.shards.encoding import EncodedPicture, encode_pictures
from beam_pipeline.shards.feature_encoder import earlier_features, encoder_of_options
from beam_pipeline.shards.feature_shard import PictureFeature, read_features
from beam_pipeline.shards.ledger import DONE, OUTCOMES, LedgerLine, read_ledger, to_jsonl
from beam_pipeline.shards.output_directory import Standing, read_standing
from beam_pipeline.shards.planning import ListSource, Picture, ReadLedgers, SubtractLedger, fingerprint_file
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.run import GatherResults
from beam_pipeline.shards.shard_id import parse_shard, shard_count
from beam_pipeline.words.shard_statistics import files_of_pictures, shard_statistics, to_words
from training.data.feature_records import serialize
from training.data.feature_set import INT8_ENCODER, RANDOM_STATISTICS, load_feature_set
from training.decoding.decoder import CaptionDecoder

MEASURED = 32  # new pictures that extract tries; caption tries as many as its decoder takes at once

Row = tuple[str, str]
Load = LoadEncoder


@dataclass(frozen=True)
class Work:
    """What a run would find.

    Attributes:
      counts: listed, earlier_OUTCOME and the like, as a run counts them.
      new: inputs that no ledger accounts for.
      drawn: some of them.
    """

    counts: dict[str, int]
    new: int
    drawn: list[InputFile]


@dataclass(frozen=True)
class Trial:
    """What became of some pictures that were tried.

    Attributes:
      pictures: how many there were.
      rejected: how many of them cannot be used.
      loading: seconds before the first.
      seconds: for all of them.
      size_bytes: of what they would have written.
    """

    pictures: int
    rejected: int
    loading: float
    seconds: float
    size_bytes: int


def dry_run_extract(options: ExtractOptions, beam_options: PipelineOptions, load: Load = load_encoder) -> list[Row]:
    """Prints and returns what `extract` would do.

    Raises:
      UserError: a wrong option, as in a run.
    """
    storage.use_options(beam_options)
    source = resolve_source(options.images, options.remote_lists)
    output = storage.absolute(options.output)
    earlier = earlier_features(options, output)
    state = read_standing(output)
    work = find_work(source, state.ledgers, options.retry_rejected, MEASURED)
    trial = None
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as scratch:
        there = any(storage.exists(storage.join(output, name)) for name in (RANDOM_STATISTICS, INT8_ENCODER))
        spec = encoder_of_options(options, source, earlier, output if there else scratch)
        if work.drawn:
            limits = replace(options.decode_limits, views=options.augment)
            trial = try_pictures(work.drawn, lambda: load(spec), limits, _size_of_features)
    return _tell("extract", output, _of_listing(work, state, options.shard_size) + _of_trial(trial, work.new))


def dry_run_caption(options: CaptionOptions, beam_options: PipelineOptions, load: Load = load_encoder) -> list[Row]:
    """Prints and returns what `caption` would do.

    Raises:
      UserError: a wrong option, as in a run.
    """
    storage.use_options(beam_options)
    captioning, writer = resolve_options(options)
    state = read_standing(writer.output)
    if options.features:
        captioning.captioner.require_encoder(load_feature_set(options.features).encoder)
        rows = _of_features(options.features, state, captioning.decoder.load)
        return _tell("caption", writer.output, rows)
    assert options.images
    source = resolve_source(options.images, options.remote_lists)
    spec = encoder_of_captioner(captioning.captioner, options.captioner, options.weights)
    work = find_work(source, state.ledgers, options.retry_rejected, DECODER_BATCH)
    trial = None
    if work.drawn:
        decoder = captioning.decoder.load()

        def size_of(encoded: list[EncodedPicture]) -> int:
            return _size_of_captions(decoder, list(_to_caption(encoded)))

        trial = try_pictures(work.drawn, lambda: load(spec), options.decode_limits, size_of)
    return _tell("caption", writer.output, _of_listing(work, state, options.shard_size) + _of_trial(trial, work.new))


def find_work(source: Source, ledgers: Iterable[str], retry_rejected: bool, drawn: int) -> Work:
    """Lists a source and takes away what the ledgers account for.

    Args:
      drawn: how many of the new inputs to give.
    """
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        path = os.path.join(directory, "work")

        with run_pipeline(PipelineOptions([]), directory) as pipeline:
            listed = pipeline | "ListSource" >> ListSource(source)
            inputs = listed.main | "JoinCaptions" >> JoinCaptions(None)
            lines = pipeline | "ReadLedgers" >> ReadLedgers(ledgers)
            work = inputs.main | "SubtractLedger" >> SubtractLedger(lines, retry_rejected)
            new = (
                work.main | "CountNew" >> beam.combiners.Count.Globally() | "NameNew" >> beam.Map(lambda n: ("new", n))
            )
            some = work.main | "Draw" >> beam.combiners.Top.Of(drawn, key=_place, reverse=True)
            results = some | "GatherResults" >> GatherResults(listed, work, Outputs(some, (new,)))
            _ = results | "Keep" >> beam.Map(_keep, path)
        with open(path, "rb") as file:
            counts, some = pickle.load(file)
    return Work(counts, counts.pop("new"), some)


def _place(captioned: InputWithCaptions) -> bytes:
    return hashlib.sha256(uri_key(captioned.file.uri)).digest()


def _keep(results: Results, path: str) -> None:
    with open(path, "wb") as file:
        pickle.dump((results.counts, [captioned.file for some in results.elements for captioned in some]), file)


def try_pictures(
    files: list[InputFile],
    load: Callable[[], Encoder],
    limits: DecodeLimits,
    size_of: Callable[[list[EncodedPicture]], int],
) -> Trial:
    """Reads and encodes pictures as a run does, and measures it.

    Args:
      load: makes the encoder.
      size_of: does the rest with what was encoded, and tells how many bytes would be written of it.
    """

    def pictures(some: list[InputFile]) -> Iterator[Picture]:
        for file in some:
            yield fingerprint_file(InputWithCaptions(file, ()), limits.max_bytes)[1]

    began = time.monotonic()
    encoder = load()
    # Starts the decoder processes, and builds the graphs of what comes after.
    size_of(list(encode_pictures(pictures(files[:1]), lambda: encoder, limits)))
    loaded = time.monotonic()
    encoded = list(encode_pictures(pictures(files), lambda: encoder, limits))
    size = size_of(encoded) + len(to_jsonl(line for one in encoded for line in one.read.lines))
    rejected = sum(one.feature is None for one in encoded)
    return Trial(len(files), rejected, loaded - began, time.monotonic() - loaded, size)


def _size_of_features(encoded: list[EncodedPicture]) -> int:
    framing = 16  # bytes of a TFRecord around what it holds
    return sum(len(serialize(feature_record(one))) + framing for one in encoded if one.feature is not None)


def _to_caption(encoded: list[EncodedPicture]) -> Iterator[PictureFeature]:
    for one in encoded:
        if one.feature is not None:
            yield PictureFeature(one.read.picture.sha256, one.read.picture.files[0].uri, one.feature)


def _size_of_captions(decoder: CaptionDecoder, pictures: list[PictureFeature]) -> int:
    """Pictures to caption -> bytes of captions and word statistics."""
    if not pictures:
        return 0
    rows = caption_features(pictures, decoder)
    lines = [LedgerLine(uri, 0, 0, sha256, DONE) for sha256, uri, _ in pictures]
    return sum(len(caption_line(row)) for row in rows) + len(to_words(shard_statistics(rows, files_of_pictures(lines))))


def _of_features(path: str, state: Standing, load: Callable[[], CaptionDecoder]) -> list[Row]:
    features = load_feature_set(path)
    left = pictures_left(features, state)
    rows = [("pictures", f"{features.records:,} in {len(features.shards):,} shards")]
    rows += [("done already", f"{features.records - left:,}"), ("new", f"{left:,}")]
    done = set(state.committed)
    missing = [
        entry.name for entry in features.shards if entry.records and parse_shard(entry.name, "features") not in done
    ]
    if not missing:
        return rows + _of_trial(None, 0)
    began = time.monotonic()
    decoder = load()
    some = list(islice(read_features(storage.join(features.path, missing[0])), DECODER_BATCH))
    _size_of_captions(decoder, some[:1])
    loaded = time.monotonic()
    size = _size_of_captions(decoder, some)
    return rows + _of_trial(Trial(len(some), 0, loaded - began, time.monotonic() - loaded, size), left)


def _of_listing(work: Work, state: Standing, shard_size: int) -> list[Row]:
    earlier = {outcome: work.counts.get(f"earlier_{outcome}", 0) for outcome in OUTCOMES}
    done = ", ".join(f"{number:,} {outcome}" for outcome, number in earlier.items())
    rows = [
        ("listed", f"{work.counts.get('listed', 0):,} inputs"),
        ("done already", f"{sum(earlier.values()):,}: {done}"),
    ]
    lines: Counter[int] = Counter()
    for shard, path in zip(state.committed, state.ledgers, strict=True):
        lines[shard.run] += sum(1 for _ in read_ledger(path))
    rows += [(f"  run {run}", f"{number:,} inputs in its ledgers") for run, number in sorted(lines.items())]
    rows.append(("new", f"{work.new:,}; duplicates among them show only when they are read"))
    for run in state.unfinished:
        rows.append(
            (f"  run {run.run}", f"is finished first: {len(run.missing):,} of {run.count:,} shards are missing")
        )
    if work.new:
        shards = shard_count(work.new, shard_size)
        rows.append((f"  run {state.next_run}", f"takes what is left, in {shards:,} shard{'s' * (shards > 1)} at most"))
    return rows


def _of_trial(trial: Trial | None, new: int) -> list[Row]:
    """Estimates for `new` pictures from a few."""
    if trial is None:
        return [("time", "nothing new to do"), ("size", "nothing new to write")]
    speed = trial.pictures / trial.seconds
    needed = duration(trial.loading + new / speed)
    each = trial.size_bytes / trial.pictures
    rows = [
        (
            "time",
            f"about {needed}: {speed:.1f} img/s, measured on {trial.pictures} of them in this process, and "
            f"{duration(trial.loading)} to begin",
        ),
        ("size", f"about {size_in_words(each * new)}: {size_in_words(each)} a picture, by the same {trial.pictures}"),
    ]
    if trial.rejected:
        rows.append(("rejected", f"{trial.rejected} of those {trial.pictures} give nothing new or cannot be read"))
    return rows


def _tell(stage: str, output: str, rows: list[Row]) -> list[Row]:
    rows = [("dry run", f"{stage} into {output}; nothing is written"), *rows]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return rows
