"""Models are the same whatever keras.json, KERAS_BACKEND and TensorFlow's variables say."""

import json
import os
import subprocess
import sys

THEIRS = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "torch"}

# In a program of the user's own: Keras reads the file.
LIBRARY = """
import os
from training.models.caption_models import ModelConfig, build_model
import keras

model = build_model(ModelConfig("merge", 4, embedding_size=8, hidden_size=8), (16,))
settings = keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), keras.config.backend()
print(*{variable.dtype for variable in model.trainable_variables}, *settings, os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
"""

# As the command is started: Keras does not find it.
COMMAND = """
from beam_pipeline.runtime.surroundings import keras_home, settle_surroundings
settle_surroundings()
import training
import keras
print(keras.config.floatx(), keras.config.backend(), keras_home())
"""


def run(script: str, home, content: str) -> str:
    (home / "keras.json").write_text(content)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(place for place in sys.path if place),
        "KERAS_HOME": str(home),
        "KERAS_BACKEND": "jax",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (home / "keras.json").read_text() == content
    return done.stdout


def test_a_program_of_the_users_builds_the_usual_models(tmp_path):
    assert run(LIBRARY, tmp_path, json.dumps(THEIRS)) == "float32 float32 1e-07 channels_last tensorflow None\n"


def test_the_command_takes_no_settings_of_the_users(tmp_path):
    assert run(COMMAND, tmp_path, '{"floatx": "float8"}') == f"float32 tensorflow {tmp_path}\n"
    assert os.listdir(tmp_path) == ["keras.json"]
