"""Keras' own settings, whatever a keras.json in the user's home says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from training.errors import UserError


@contextlib.contextmanager
def usual_keras(policy: str = "float32") -> Iterator[None]:
    """While entered, Keras builds models by its defaults and a dtype policy; the defaults stay for the whole process.

    Raises:
      UserError: the process has imported Keras with another backend than TensorFlow.
    """
    import keras

    if keras.config.backend() != "tensorflow":
        raise UserError(
            f"Keras was imported with {keras.config.backend()}, and captionbeam needs it with tensorflow; "
            "import captionbeam first, or set KERAS_BACKEND=tensorflow"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
