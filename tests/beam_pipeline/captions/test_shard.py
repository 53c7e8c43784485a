"""A shard from scripted hypotheses to its captions, and the word statistics that are made of them."""

import json

import numpy as np

from beam_pipeline.captions.picture import read_captions
from beam_pipeline.captions.shard import DECODER_BATCH, write_captions
from beam_pipeline.shards.feature_shard import PictureFeature
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import read_words, statistics_of_shard, write_words
from beam_pipeline.words.statistics import WordSums
from beam_pipeline.words.terms import WORD
from training.decoding.decoder import Hypothesis
from training.text.word_evidence import PictureEvidence

SHARD = ShardId(1, 0, 1)


class Scripted:
    """A caption decoder that returns these hypotheses one after the other, whatever the picture."""

    def __init__(self, *hypotheses):
        self.hypotheses = list(hypotheses)

    def decode(self, features, contents):
        return [self.hypotheses.pop(0) for _ in features]


def caption_all(output, *hypotheses):
    features = [PictureFeature(f"a{number}", f"/p/{number}.jpg", np.zeros(2)) for number in range(len(hypotheses))]
    decoder = Scripted(*hypotheses)
    pictures = write_captions(SHARD, features, lambda: decoder, str(output))
    lines = [LedgerLine(f"/p/{number}.jpg", 1, 1.0, f"a{number}", "done") for number in range(len(hypotheses))]
    stored = write_words(SHARD, pictures, lines, str(output))
    commit_shard(str(output), SHARD, lines)
    return pictures, stored


def test_evidence_goes_into_the_row_and_into_the_sums(tmp_path):
    evidence = PictureEvidence(("presence", "grounding"), ("beach", "dog"), np.array([[0.4, 0.5], [0.9, 1.25]]))
    pictures, stored = caption_all(tmp_path, Hypothesis("a dog runs", -0.5, evidence=evidence))
    (row,) = [json.loads(line) for line in (tmp_path / SHARD.captions()).read_text().splitlines()]
    assert row["evidence"] == {
        "kinds": ["presence", "grounding"],
        "words": {"beach": {"presence": 0.4, "grounding": 0.5}, "dog": {"presence": 0.9, "grounding": 1.25}},
    }
    assert list(read_captions(SHARD, str(tmp_path))) == pictures
    dog = stored.terms[WORD, "dog"].pictures
    assert (dog.mentions, dog.presence, dog.grounding) == (1, 900_000, 1_250_000), "counted once, from the caption"
    assert stored.terms[WORD, "beach"].pictures == WordSums(
        with_presence=1, presence=400_000, presence_squared=160_000_000_000
    )
    assert (stored.counts["evidence_presence"], stored.counts["evidence_grounding"]) == (1, 1)


def test_alternatives_stand_in_the_row_and_count_nowhere(tmp_path):
    others = (Hypothesis("a cat runs", -0.75), Hypothesis("a cow", -1.0))
    pictures, stored = caption_all(
        tmp_path, Hypothesis("a dog runs", -0.5, alternatives=others), Hypothesis("a dog", -2)
    )
    rows = [json.loads(line) for line in (tmp_path / SHARD.captions()).read_text().splitlines()]
    assert rows[0]["alternatives"] == [{"caption": "a cat runs", "score": -0.75}, {"caption": "a cow", "score": -1.0}]
    assert (rows[0]["caption"], rows[0]["score"]) == ("a dog runs", -0.5) and "alternatives" not in rows[1]
    assert list(read_captions(SHARD, str(tmp_path))) == pictures
    assert (WORD, "dog") in stored.terms and (WORD, "cat") not in stored.terms


def test_confidence_stands_in_the_row_and_beside_each_alternative_and_counts_nothing(tmp_path):
    other = Hypothesis("a cat runs", -0.75, confidence=0.25, signals=(1.0,))
    sure = Hypothesis("a dog runs", -0.5, ("low_confidence",), (other,), confidence=0.5, signals=(2.0,))
    pictures, stored = caption_all(tmp_path, sure)
    (row,) = [json.loads(line) for line in (tmp_path / SHARD.captions()).read_text().splitlines()]
    assert row == {
        "uri": "/p/0.jpg",
        "sha256": "a0",
        "caption": "a dog runs",
        "score": -0.5,
        "flags": ["low_confidence"],
        "confidence": 0.5,
        "alternatives": [{"caption": "a cat runs", "score": -0.75, "confidence": 0.25}],
    }
    assert list(read_captions(SHARD, str(tmp_path))) == pictures
    (tmp_path / "without").mkdir()
    _, without = caption_all(tmp_path / "without", Hypothesis("a dog runs", -0.5))
    assert stored.terms == without.terms  # the words of a doubtful caption are counted like any other's
    assert stored.counts == without.counts | {"flag_low_confidence": 1}


def test_without_evidence_a_row_has_none(tmp_path):
    pictures, stored = caption_all(tmp_path, Hypothesis("a dog runs", -0.5))
    assert "evidence" not in json.loads((tmp_path / SHARD.captions()).read_text())
    assert not any(name.startswith("evidence") for name in stored.counts)
    assert pictures[0].evidence is None


def test_a_count_anew_equals_what_was_stored(tmp_path):
    evidence = PictureEvidence(("presence",), ("dog", "sea"), np.array([[1 / 3], [0.05]]))
    _, stored = caption_all(
        tmp_path, Hypothesis("a dog runs", -0.51234, ("repeats",), evidence=evidence), Hypothesis("a cat", -1.0)
    )
    assert read_words(SHARD, str(tmp_path)) == stored
    (tmp_path / SHARD.words()).unlink()
    assert statistics_of_shard(SHARD, str(tmp_path), {}) == stored


def test_other_numbers_of_files_change_files_and_nothing_else(tmp_path):
    _, stored = caption_all(tmp_path, Hypothesis("a dog", -0.5), Hypothesis("a cat", -1.0))
    found = statistics_of_shard(SHARD, str(tmp_path), {"a0": 5})
    dog, cat = (WORD, "dog"), (WORD, "cat")
    assert found.terms[dog].files == stored.terms[dog].pictures.times(5)
    assert found.terms[dog].pictures == stored.terms[dog].pictures
    assert found.terms[cat] == stored.terms[cat]


def test_names_that_are_not_utf_8_and_captions_of_any_script_are_read_back(tmp_path):
    decoder = Scripted(Hypothesis("茶色の犬", -0.5))
    pictures = write_captions(
        SHARD, [PictureFeature("aa", "/p/caf\udce9\n.jpg", np.zeros(2))], lambda: decoder, str(tmp_path)
    )
    assert [one.uri for one in read_captions(SHARD, str(tmp_path))] == ["/p/caf\udce9\n.jpg"]
    line = LedgerLine("/p/caf\udce9\n.jpg", 1, 1.0, "aa", "done")
    stored = write_words(SHARD, pictures, [line], str(tmp_path))
    assert read_words(SHARD, str(tmp_path)) == stored
    assert stored.terms[WORD, "犬"].top[0].uri == "/p/caf\udce9\n.jpg"


def test_captions_are_reported_batch_by_batch_once_they_are_made(tmp_path):
    number = DECODER_BATCH + 1
    features = [PictureFeature(f"a{at:03d}", f"/p/{at}.jpg", np.zeros(2)) for at in range(number)]
    decoder = Scripted(*[Hypothesis("a dog", -0.5)] * number)
    reported = []

    def on_captioned(captions):
        decoded = number - len(decoder.hypotheses)
        reported.append(captions)
        assert sum(reported) <= decoded

    pictures = write_captions(SHARD, features, lambda: decoder, str(tmp_path), on_captioned)
    assert reported == [DECODER_BATCH, 1]
    assert [picture.sha256 for picture in pictures] == [sha256 for sha256, _, _ in features]


def test_a_shard_without_pictures_has_an_empty_file_and_loads_no_decoder(tmp_path):
    def decoder():
        raise AssertionError("not needed")

    assert write_captions(SHARD, [], decoder, str(tmp_path)) == []
    assert (tmp_path / SHARD.captions()).read_bytes() == b""
