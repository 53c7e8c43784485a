"""What workers caption with: specs that travel, and captioners that are loaded once."""

import gc
import pickle

import pytest

from beam_pipeline.captions.decoder import (
    Captioning,
    _loaded,
    decoder_of_captioner,
    encoder_of_captioner,
    resolve_captioning,
)
from beam_pipeline.options.caption import CaptionOptions
from training.decoding.settings import DecodingSettings
from training.errors import UserError
from training.models.captioner import load_captioner

SETTINGS = DecodingSettings(beam_width=3, min_words=2, guidance=0.5)


def test_a_worker_in_the_same_process_takes_the_captioner_that_is_there(captioner):
    loaded = load_captioner(captioner)
    spec = pickle.loads(pickle.dumps(decoder_of_captioner(loaded, captioner, SETTINGS)))
    decoder = spec.load()
    assert decoder.vocabulary is loaded.vocabulary
    again = load_captioner(captioner)  # as the next job does, perhaps after another training
    decoder_of_captioner(again, captioner, SETTINGS)
    assert spec.load().vocabulary is again.vocabulary


def test_no_captioner_is_kept_for_workers_alone(captioner):
    vocabulary = load_captioner(captioner).vocabulary
    spec = decoder_of_captioner(load_captioner(captioner), captioner, SETTINGS)
    gc.collect()
    assert captioner not in _loaded
    assert spec.load().vocabulary == vocabulary


def test_the_encoder_is_the_one_that_the_captioner_was_trained_with(captioner, weights, stand_in_weights):
    loaded = load_captioner(captioner)
    assert encoder_of_captioner(loaded, captioner, str(stand_in_weights)).identity == loaded.encoder
    with pytest.raises(UserError, match=r"made with the encoder weights .* give their path"):
        encoder_of_captioner(loaded, captioner, None)
    weights.write_bytes(weights.read_bytes() + b"others")
    with pytest.raises(UserError, match="trained on features of"):
        encoder_of_captioner(loaded, captioner, str(weights))


def test_captions_of_one_directory_share_their_settings(captioner):
    loaded = load_captioner(captioner)
    captioning = Captioning(loaded, decoder_of_captioner(loaded, captioner, SETTINGS))
    assert captioning.made_with("images") == {
        "model_id": loaded.model_id,
        "encoder_id": loaded.encoder.id,
        "beam_width": 3,
        "min_words": 2,
        "guidance": 0.5,
        "judge": None,
        "alternatives": 0,
        "confidence": None,
        "min_confidence": None,
        "source": "images",
    }


def test_a_least_confidence_needs_a_captioner_that_knows_its_own(captioner):
    options = CaptionOptions(captioner=captioner, output="captions", images="photos", min_confidence=0.5)
    with pytest.raises(UserError, match=r"--min-confidence 0.5: .* has none"):
        resolve_captioning(options)
