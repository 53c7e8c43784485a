import io

import numpy as np

from beam_pipeline.encoders.random_weights import fit_random_statistics, set_random_weights


def test_statistics_are_those_of_the_pictures(tiny, pixels, tmp_path):
    path = tmp_path / "random_encoder.npz"
    path.write_bytes(fit_random_statistics(tiny, pixels, seed=3))
    assert path.read_bytes() == fit_random_statistics(tiny, pixels, seed=3)
    model = tiny.build()
    set_random_weights(model, str(path))
    features = model(tiny.preprocess(pixels)).numpy().reshape(-1, 4)
    # Normalized by the statistics of these very pictures, and 1 added.
    np.testing.assert_allclose(features.mean(axis=0), np.ones(4), atol=1e-3)
    np.testing.assert_allclose(features.std(axis=0), np.ones(4), atol=2e-2)


def test_the_file_holds_seed_mean_and_variance(tiny, pixels):
    with np.load(io.BytesIO(fit_random_statistics(tiny, pixels, seed=7))) as arrays:
        assert {name: array.shape for name, array in arrays.items()} == {"seed": (), "mean_0": (4,), "variance_0": (4,)}
        assert int(arrays["seed"]) == 7
