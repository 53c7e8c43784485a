from pathlib import Path

import pytest
import tensorflow as tf

from training.data.splits import make_split
from training.fitting.loop import EpochLoop, StagePlan, TrainingData, validation_cider
from training.fitting.state import Stage
from training.fitting.trainer import Trainer
from training.models.caption_models import ModelConfig, build_model
from training.options import TrainOptions
from training.text.vocabulary import Vocabulary

WORDS = Vocabulary(("a", "beach", "cat", "dog", "horse", "on", "runs", "street", "the"))


@pytest.fixture
def data(pooled_features):
    directory = Path(pooled_features.path)
    split = make_split(str(directory / "train.txt"), str(directory / "dev.txt"), pooled_features.records)
    return TrainingData(pooled_features, split, WORDS, pictures=42, batch_size=8, max_words=7, seed=0)


@pytest.fixture
def new_loop(data, tmp_path):
    """Function () -> EpochLoop that goes on in one directory, as another process would."""

    def make():
        options = TrainOptions(data.features.path, str(tmp_path), learning_rate=1e-2, max_words=7, checkpoint_steps=2)
        model = build_model(ModelConfig("merge", len(WORDS), embedding_size=4, hidden_size=8), (2048,))
        return EpochLoop(options, data, Trainer(model, (2048,), options, steps=12))

    return make


def plan(stage, steps, epochs=2, stop_after=None):
    """StagePlan that only notes its steps and, if asked, is interrupted."""

    def step(features, ids):
        if len(steps) == stop_after:
            raise KeyboardInterrupt
        steps.append(len(features))
        return tf.constant(0.5)

    return StagePlan(stage, "epoch", "loss", epochs, step)


def test_data_are_described_as_the_batches_are(data):
    assert data.steps == len(list(data.batches(0))) == 6
    assert len(list(data.references())) == 42 and len(list(data.validation_pictures())) == 6


def test_an_interrupted_epoch_goes_on_from_the_last_checkpoint(new_loop):
    steps = []
    with pytest.raises(KeyboardInterrupt):
        new_loop().run(plan(Stage.CROSS_ENTROPY, steps, stop_after=5))
    loop = new_loop()
    assert (loop.state.epoch, loop.state.step) == (0, 4)
    loop.run(plan(Stage.CROSS_ENTROPY, steps))
    assert len(steps) == 5 + 2 + 6 and (loop.state.epoch, loop.state.step) == (2, 0)


def test_a_stage_that_is_over_is_left_out(new_loop):
    loop, steps = new_loop(), []
    loop.run(plan(Stage.CROSS_ENTROPY, steps, epochs=1))
    loop.begin(Stage.SELF_CRITICAL)
    again = new_loop()
    again.run(plan(Stage.CROSS_ENTROPY, steps))
    assert len(steps) == 6
    again.run(plan(Stage.SELF_CRITICAL, steps, epochs=1))
    assert len(steps) == 12 and again.state.epoch == 2


def test_cider_of_captions_that_people_wrote_is_high_and_of_one_picture_zero(data):
    class Repeating:
        """Captions every picture as people do."""

        def decode_pictures(self, pictures):
            for row, (picture, _) in enumerate(pictures):
                yield picture, type("Hypothesis", (), {"caption": picture.captions[0]}), None, row

    pictures = list(data.validation_pictures())
    assert validation_cider(Repeating(), pictures) > 5
    assert validation_cider(Repeating(), pictures[:1]) == 0.0
