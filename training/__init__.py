"""Fit and score a captioner on feature shards; usable alone, knows nothing of Beam."""

import os

__version__ = "0.1.0"  # of captionbeam; setup.py takes it from here

# Keras and TensorFlow read these when they are imported. The models are TensorFlow's, and what a picture gives must not
# depend on somebody's settings: without oneDNN, for one, sums round differently.
os.environ["KERAS_BACKEND"] = "tensorflow"
for _name in (
    "TF_USE_LEGACY_KERAS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
):
    os.environ.pop(_name, None)
