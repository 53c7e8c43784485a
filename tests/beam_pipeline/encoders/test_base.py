import keras
import pytest

from beam_pipeline.encoders.engines.tensorflow import TensorFlow


@pytest.mark.parametrize(("precision", "computes_in"), [("bfloat16", "bfloat16"), ("float32", "float32")])
def test_a_network_computes_in_the_precision_and_keras_is_left_as_it_was(tiny, precision, computes_in):
    before = keras.config.dtype_policy()
    model = tiny.build_with_precision(precision)
    assert {layer.compute_dtype for layer in model.layers[1:]} == {computes_in}
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert keras.config.dtype_policy() == before


def test_an_engine_without_int8_cannot_quantize(tiny, no_sample):
    with pytest.raises(NotImplementedError, match="engine tensorflow has no int8"):
        TensorFlow().quantize(None, tiny, no_sample)
