"""What judges captions, fitted to pictures of which people say what a stand-in captioner can say, or something else."""

import numpy as np
import pytest

from training.data.dataset import scan
from training.data.splits import DEV, Split
from training.fitting.confidence import fit_confidence, word_weights
from training.models.captioner import load_captioner, no_confidence
from training.models.confidence import SIGNALS, content_number, half_of
from training.scoring.acceptance import acceptance
from training.text.word_counts import WordCounts

DEV_PICTURES, TRAIN_PICTURES = 60, 40
WORDS = ("a", "dog", "cat", "hat", "on", "top", "of")


@pytest.fixture(scope="module")
def collection(tmp_path_factory, record, write_features):
    """Feature set and split; people speak of what the captioner can say, and of every second picture of ships."""
    generator = np.random.default_rng(5)

    def picture(name, number):
        subject = generator.choice(["dog", "cat", "hat"])
        captions = (f"a {subject} on top of a hat", f"a {subject} on a {subject}", f"the {subject} of a hat")
        if number % 2:
            captions = tuple(
                f"{text} {number}" for text in ("ships sail far", "many ships at sea", "the sea in a storm")
            )
        return record(f"{name}-{number}", generator.normal(size=2048).astype(np.float16), captions)

    judging = [picture("dev", number) for number in range(DEV_PICTURES)]
    training = [picture("train", number) for number in range(TRAIN_PICTURES)]
    features = write_features(tmp_path_factory.mktemp("collection"), [judging[:20] + training, judging[20:]])
    names = [frozenset(uri for one in part for uri in one.uris) for part in (training, judging)]
    return features, Split(*names, 0.0)


@pytest.fixture
def captioner(tiny_captioner, give_head):
    return give_head(tiny_captioner(words=WORDS, end_bias=1.0), words=("dog", "cat", "sea", "a"))


@pytest.fixture
def fitted(captioner, collection):
    features, split = collection
    return fit_confidence(captioner, features, split, scan(features, split).words)


def dev_captions(captioner, collection, decoder):
    """sha256 of each dev picture -> its Hypothesis, and its references."""
    from training.data.dataset import pictures_of

    features, split = collection
    judging = list(pictures_of(features, lambda *content: split.of(*content) == DEV))
    said = decoder(captioner).decode(np.stack([feature for _, feature in judging]))
    pictures = [picture for picture, _ in judging]
    return dict(zip([one.sha256 for one in pictures], said, strict=True)), {
        one.sha256: one.captions for one in pictures
    }


def test_it_is_fitted_to_what_people_accept_and_measured_by_halves(captioner, collection, fitted, decoder):
    fitted.save(captioner.path, captioner.model_id)
    judged = load_captioner(captioner.path)
    said, references = dev_captions(judged, collection, decoder)
    found = acceptance({sha256: one.caption for sha256, one in said.items()}, references)
    confidence = np.array([said[sha256].confidence for sha256 in found.pictures])
    assert confidence.mean() == pytest.approx(found.accepted.mean(), abs=0.03)
    told = fitted.report
    assert (told["pictures"], told["event"]["people_quantile"]) == (DEV_PICTURES, 0.25)
    assert told["event"]["threshold"] == pytest.approx(found.threshold, abs=1e-6)
    held_out = np.array([judged.confidence.probability(said[s].signals, half_of(s)) for s in found.pictures])
    assert told["cross_validated"]["confidence"] == pytest.approx(held_out.mean(), abs=1e-3)
    assert told["cross_validated"]["accepted"] == pytest.approx(found.accepted.mean(), abs=1e-4)
    assert judged.model_id == captioner.model_id and no_confidence(judged) is None
    assert judged.confidence.fitted.tolist() == sorted(map(content_number, said))


def test_one_picture_in_a_hundred_of_those_held_out_is_unlike_the_training(captioner, collection, fitted, decoder):
    fitted.save(captioner.path, captioner.model_id)
    said, _ = dev_captions(load_captioner(captioner.path), collection, decoder)
    flagged = [sha256 for sha256, one in said.items() if "unlike_training" in one.flags]
    distances = {sha256: -one.signals[SIGNALS.index("familiarity")] for sha256, one in said.items()}
    assert flagged == [max(distances, key=distances.__getitem__)]


def test_the_same_call_gives_the_same_confidence(captioner, collection, fitted):
    features, split = collection
    fitted.save(captioner.path, captioner.model_id)
    first = load_captioner(captioner.path).confidence
    again = fit_confidence(captioner, features, split, scan(features, split).words)
    again.save(captioner.path, captioner.model_id)
    assert load_captioner(captioner.path).confidence.id == first.id


def test_captions_of_training_pictures_are_known_as_copies_and_others_are_not(fitted):
    (seen,) = fitted.picture_signals(np.full([1, 4], 0.5, np.float32), fitted.familiarity.mean[None])
    assert "copied" in fitted.flags(seen, "A sea ... many ships at sea 1".replace("A sea ... ", ""))
    assert "copied" not in fitted.flags(seen, "a ship at sea")


def test_too_few_pictures_that_judge_are_told(captioner, collection, caplog):
    features, split = collection
    few = Split(split.train, frozenset(sorted(split.dev)[:9]), 0.0)
    with caplog.at_level("INFO", logger="captionbeam"):
        found = fit_confidence(captioner, features, few, scan(features, few).words)
    assert found.calibrations == () and np.isfinite(found.familiarity.limit)
    why = "9 validation pictures with two captions or more, 30 needed"
    assert found.report == {"why_not": why} and caplog.messages[-1] == f"confidence: not calibrated, {why}"


def test_rare_words_weigh_more():
    counts = WordCounts()
    for captions in (["a dog"], ["a cat"], ["a dog runs"], ["a horse"]):
        counts.add_picture(captions)
    found = word_weights(("a", "dog", "horse", "never"), counts)
    np.testing.assert_allclose(found, np.log([1, 2, 4, 4]), rtol=1e-6)
