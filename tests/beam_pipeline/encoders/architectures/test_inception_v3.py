import numpy as np

from beam_pipeline.encoders.architectures.inception_v3 import InceptionV3
from training.data.feature_set import GRID_SHAPES


def test_every_layer_gives_the_grid_of_the_feature_records():
    network = InceptionV3()
    model = network.build()
    grids = {layer: model.get_layer(layer).output.shape[1:] for layer in network.layers}
    assert {layer: (height * width, channels) for layer, (height, width, channels) in grids.items()} == GRID_SHAPES
    assert model.input.shape == (None, 299, 299, 3)


def test_pixels_go_from_minus_one_to_one():
    values = InceptionV3().preprocess(np.array([0, 51, 255], np.uint8)).numpy()
    np.testing.assert_allclose(values, [-1.0, -0.6, 1.0], atol=1e-7)
