"""The content of new inputs: hashed where they lie, and known by our mark where we wrote into them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from beam_pipeline.inputs.containers import fingerprint_and_states
from beam_pipeline.inputs.input_file import InputFile, locality_key
from beam_pipeline.runtime.counts import FlatMapAndCount, Outputs, count
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import reason, uri_key
from beam_pipeline.shards.caption_join import InputWithCaptions
from beam_pipeline.shards.ledger import DONE, LIST, READ, REJECTED

_READERS = 8  # threads that hash files: enough to hide the latency of a network disk
_BEGINNING = 4  # hex digits


@dataclass(frozen=True)
class Picture:
    """One distinct content, however many files hold it.

    Attributes:
      sha256: hex digest of the bytes; where they cannot be read, that of the file's uri.
      files: the new files that hold it, sorted by uri, but links last.
      captions: human captions of it.
      known_as: uris of the files that an earlier run made it from; other files that hold it are duplicates. Empty for
        a new picture.
      problem: why the bytes cannot be read, else "".
      states: of one file that carries our mark, the sha256s that it had before we wrote metadata into it.
    """

    sha256: str
    files: tuple[InputFile, ...]
    captions: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    problem: str = ""
    states: tuple[str, ...] = ()


class FingerprintFiles(beam.PTransform):
    """InputWithCaptions -> Outputs of (sha256 of its bytes, Picture of that one file).

    One that could not be read and still cannot, for the same reason, is counted as `earlier_rejected`.

    Args:
      max_bytes: size of one input; a larger one is a Picture with a problem.
    """

    def __init__(self, max_bytes: int):
        super().__init__()
        self.max_bytes = max_bytes

    def expand(self, inputs: PCollection) -> Outputs:
        by_locality = inputs | "LocalityOfFile" >> beam.Map(lambda captioned: (locality_key(captioned.file), captioned))
        return (
            {"inputs": by_locality}
            | "GroupByLocality" >> CoGroupInBuckets()
            | "InputsOfLocality" >> beam.FlatMapTuple(lambda _, grouped: grouped["inputs"])
            | "BatchFiles" >> beam.BatchElements(min_batch_size=_READERS * 4, max_batch_size=_READERS * 4)
            | "HashFiles" >> FlatMapAndCount(fingerprint_files, self.max_bytes)
        )


def fingerprint_files(inputs: list[InputWithCaptions], max_bytes: int) -> Iterator[Any]:
    """Inputs -> what `fingerprint_file` returns for each, in order, and counts; read on threads."""
    with ThreadPoolExecutor(_READERS) as pool:
        hashed = pool.map(fingerprint_file, inputs, itertools.repeat(max_bytes))
        for captioned, (sha256, picture) in zip(inputs, hashed, strict=True):
            if picture.problem and captioned.rejected == (unreadable_stage(captioned.file), picture.problem):
                yield count(f"earlier_{REJECTED}")  # nothing has changed, and the ledger says so already
            else:
                yield sha256, picture


def unreadable_stage(file: InputFile) -> str:
    """Input that cannot be read -> the stage that rejects it."""
    return LIST if file.problem else READ


def fingerprint_file(captioned: InputWithCaptions, max_bytes: int) -> tuple[str, Picture]:
    """Input -> (sha256, Picture of that one file); one that cannot be read gets the sha256 of its uri and a problem."""
    file, problem, digest = captioned.file, captioned.file.problem, ""
    states: tuple[str, ...] = ()
    if not problem:
        try:
            digest, states = fingerprint_and_states(file, max_bytes)
        except OSError as error:
            problem = reason(error)
    if problem:
        digest = hashlib.sha256(uri_key(file.uri)).hexdigest()
    return digest, Picture(digest, (file,), captioned.captions, problem=problem, states=states)


class RecogniseWritten(beam.PTransform):
    """(sha256, Picture of one file) -> the same; a file into which we wrote metadata counts as what it was before.

    It does where what it was before is done already, or is another file of this listing. Else it counts as what it is.

    Args:
      ledger: (ledger name, LedgerLine) of all runs.
    """

    def __init__(self, ledger: PCollection):
        super().__init__()
        self.ledger = ledger

    def expand(self, pictures: PCollection) -> PCollection:
        marked = pictures | "KeepMarked" >> beam.Filter(lambda keyed: bool(keyed[1].states))
        plain = pictures | "KeepPlain" >> beam.Filter(lambda keyed: not keyed[1].states)
        states = marked | "StatesOfFile" >> beam.FlatMapTuple(states_of_file)
        # Few files carry a mark: of what is known only that is looked at which may be such a state.
        wanted = (
            states
            | "BeginningOfState" >> beam.Map(lambda keyed: keyed[0][:_BEGINNING])
            | "EachOnce" >> beam.Distinct()
            | "KeyBeginning" >> beam.Map(lambda beginning: (beginning, True))
        )
        done = self.ledger | "KeepDone" >> beam.Filter(lambda named: named[1].outcome == DONE)
        known = (
            (done | "ShaOfLine" >> beam.Map(lambda named: named[1].sha256), plain | "ShaOfPicture" >> beam.Keys())
            | "AllKnown" >> beam.Flatten()
            | "KeepWanted" >> beam.Filter(lambda sha256, wanted: sha256[:_BEGINNING] in wanted, AsDict(wanted))
            | "KeyKnown" >> beam.Map(lambda sha256: (sha256, True))
        )
        found = {"states": states, "known": known} | "GroupByState" >> CoGroupInBuckets()
        by_file = {
            "pictures": marked | "FileOfPicture" >> beam.Map(lambda keyed: (uri_key(keyed[1].files[0].uri), keyed[1])),
            "states": found | "KeepKnown" >> beam.FlatMap(known_states),
        } | "GroupByFile" >> CoGroupInBuckets()
        return (plain, by_file | "ChooseState" >> beam.Map(choose_state)) | "AllPictures" >> beam.Flatten()


def states_of_file(_: str, picture: Picture) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Picture of a marked file -> (state, (key of its uri, place of the state)) of each state."""
    for place, state in enumerate(picture.states):
        yield state, (uri_key(picture.files[0].uri), place)


def known_states(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[tuple[bytes, tuple[int, str]]]:
    """Files that had one state, and whether it is known -> (key of the uri, (place, state)) of each, if it is."""
    state, grouped = group
    if list(grouped["known"]):
        for uri, place in grouped["states"]:
            yield uri, (place, state)


def choose_state(group: tuple[bytes, dict[str, Iterable[Any]]]) -> tuple[str, Picture]:
    """Picture of a marked file and its known states -> (content that it counts as, the Picture)."""
    _, grouped = group
    (picture,) = grouped["pictures"]
    _, sha256 = min(grouped["states"], default=(0, picture.sha256))
    return sha256, replace(picture, sha256=sha256, states=() if sha256 == picture.sha256 else picture.states)
