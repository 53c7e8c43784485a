"""Statistics of captioned shards, brought up to date and added up, over directories written by hand."""

import hashlib
import json

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.planning import shard_key
from beam_pipeline.shards.shard_id import ShardId, committed_shards
from beam_pipeline.words.count_words import CountWords, MergeStatistics
from beam_pipeline.words.shard_statistics import shard_statistics, write_words
from beam_pipeline.words.statistics import WordSums
from beam_pipeline.words.terms import WORD

LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def sha(content):
    return hashlib.sha256(content.encode()).hexdigest()


def line(uri, content, outcome="done"):
    return LedgerLine(uri, 1, 1.0, sha(content), outcome)


@pytest.fixture
def write_shard(tmp_path):
    """Writes shard `run` of one shard a run: captions {content: caption} and ledger lines."""

    def write(run, captions, lines, contents=None):
        shard = ShardId(run, 0, 1)
        pictures = [
            CaptionedPicture(sha((contents or {}).get(one, one)), f"/p/{one}", text, -1.0)
            for one, text in captions.items()
        ]
        rows = "".join(json.dumps(picture.to_json()) + "\n" for picture in pictures)
        storage.write_atomic(str(tmp_path / shard.captions()), rows.encode())
        write_words(shard, pictures, lines, str(tmp_path))
        commit_shard(str(tmp_path), shard, lines)

    return write


def check(directory, words, counts=None):
    """Runs CountWords over every committed shard; words are {word: (images, files, mentions)}."""
    keys = [shard_key(shard) for shard in committed_shards(storage.list_directory(str(directory)))]
    with TestPipeline(runner=LOCAL) as pipeline:
        found = pipeline | beam.Create(keys) | CountWords(str(directory))
        flat = (
            found.main
            | beam.Filter(lambda pair: pair[0][0] == WORD)
            | beam.MapTuple(
                lambda term, known: (term[1], (known.pictures.captions, known.files.captions, known.pictures.mentions))
            )
        )
        assert_that(flat, equal_to(list(words.items())))
        if counts is not None:
            sums = found.counts | beam.Flatten() | beam.CombinePerKey(sum)
            assert_that(sums, equal_to(list(counts.items())), label="counts")


def test_shards_add_up_by_picture_file_and_mention(write_shard, tmp_path):
    write_shard(
        1,
        {"x": "red dog", "y": "red red cat"},
        [line("/x", "x"), line("/x2", "x", "duplicate"), line("/y", "y"), line("/bad", "", "rejected")],
    )
    write_shard(2, {"z": "dog"}, [line("/z", "z")])
    check(
        tmp_path,
        {"red": (2, 3, 3), "dog": (2, 3, 2), "cat": (1, 1, 1)},
        {"captions": 3, "pictures_counted": 3, "files_counted": 4},
    )


def test_a_file_that_a_later_run_finds_counts_for_its_picture(write_shard, tmp_path):
    write_shard(1, {"x": "dog", "y": "cat"}, [line("/x", "x"), line("/y", "y")])
    write_shard(2, {}, [line("/copy", "x", "duplicate")])
    check(tmp_path, {"dog": (1, 2, 1), "cat": (1, 1, 1)})


def test_a_file_that_now_shows_another_picture_no_longer_counts_for_the_old_one(write_shard, tmp_path):
    write_shard(1, {"x": "dog", "y": "cat"}, [line("/x", "x"), line("/y", "y"), line("/y2", "y", "duplicate")])
    write_shard(2, {"new": "bird"}, [line("/x", "new"), line("/y2", "new", "duplicate")])
    check(
        tmp_path,
        {"cat": (1, 1, 1), "bird": (1, 2, 1)},
        {"captions": 3, "pictures_counted": 2, "files_counted": 3},
    )


def test_a_known_picture_seen_again_does_not_count_twice(write_shard, tmp_path):
    write_shard(1, {"x": "dog"}, [line("/x", "x")])
    write_shard(2, {}, [line("/x", "x"), line("/x3", "x", "duplicate")])
    check(tmp_path, {"dog": (1, 2, 1)})


def test_a_shard_that_nothing_has_changed_is_not_counted_again(write_shard, tmp_path):
    write_shard(1, {"x": "dog"}, [line("/x", "x")])
    (tmp_path / ShardId(1, 0, 1).captions()).unlink()
    write_shard(2, {"y": "cat"}, [line("/y", "y")])
    check(tmp_path, {"dog": (1, 1, 1), "cat": (1, 1, 1)})


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_text('{"schema_version": 0}\n')]
)
def test_statistics_that_are_missing_or_of_another_version_are_made_anew(write_shard, tmp_path, damage):
    write_shard(1, {"x": "dog"}, [line("/x", "x")])
    damage(tmp_path / ShardId(1, 0, 1).words())
    check(tmp_path, {"dog": (1, 1, 1)})


def test_a_shard_that_is_removed_is_gone_from_the_sums(write_shard, tmp_path):
    write_shard(1, {"x": "red dog"}, [line("/x", "x")])
    write_shard(2, {"y": "dog"}, [line("/y", "y")])
    (tmp_path / ShardId(1, 0, 1).ledger()).unlink()
    check(tmp_path, {"dog": (1, 1, 1)})


def test_names_that_are_not_utf_8_pass_through_beam(write_shard, tmp_path):
    write_shard(1, {"caf\udce9": "dog"}, [line("/caf\udce9", "x")], contents={"caf\udce9": "x"})
    write_shard(2, {}, [line("/copy\udce9", "x", "duplicate")])
    check(tmp_path, {"dog": (1, 2, 1)})


def test_no_shards_have_no_words(tmp_path):
    check(tmp_path, {}, {})


def test_halves_add_up_in_a_pipeline():
    captions = [("a dog", "aa"), ("two dogs and a dog", "bb"), ("a cat", "cc")]

    def run(parts):
        with TestPipeline(runner=LOCAL) as pipeline:
            found = (
                pipeline
                | beam.Create(parts)
                | beam.FlatMap(
                    lambda part: [
                        pair
                        for text, key in part
                        for pair in shard_statistics([CaptionedPicture(key, key, text, -1.0)], {key: 1}).terms.items()
                        if pair[0][1] in ("dog", "dogs") and pair[0][0] == WORD
                    ]
                )
                | beam.CombinePerKey(MergeStatistics())
                | beam.MapTuple(lambda term, known: (term[1], known.pictures))
            )
            dog, dogs = WordSums(2, 2, score=-2_000_000), WordSums(1, 1, score=-1_000_000)
            assert_that(found, equal_to([("dog", dog), ("dogs", dogs)]))

    for parts in ([captions], [captions[:1], captions[1:]], [captions[2:], captions[:2]]):
        run(parts)
