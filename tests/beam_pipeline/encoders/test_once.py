import pickle

from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.once import encoder_once
from training.data.feature_set import EncoderIdentity

calls = []


class LoadedEncoder:
    pass


def load(spec):
    calls.append(spec)
    return LoadedEncoder()


def test_an_encoder_is_loaded_once_however_often_it_travels():
    identity = EncoderIdentity(
        "InceptionV3", "tensorflow", "aa" * 32, "imagenet", 299, "box", "float32", "grid", "mixed9"
    )
    spec = EncoderSpec("weights.h5", identity)
    calls.clear()
    first = encoder_once(spec, load)
    loaded = first()
    assert pickle.loads(pickle.dumps(first))() is loaded is first()
    assert calls == [spec]
