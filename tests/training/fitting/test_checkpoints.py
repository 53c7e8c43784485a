import shutil

import numpy as np
import pytest
import tensorflow as tf

from training.errors import UserError
from training.fitting.checkpoints import Checkpoints
from training.fitting.state import TrainingState, read_state
from training.fitting.trainer import Trainer
from training.models.caption_models import ModelConfig, build_model
from training.models.operations import Operation
from training.options import TrainOptions


@pytest.fixture
def new_trainer():
    """Function (seed) -> Trainer of a small model."""

    def make(seed):
        model = build_model(ModelConfig("merge", 8, embedding_size=4, hidden_size=8), (2048,), seed)
        return Trainer(model, (2048,), TrainOptions("features", "out", learning_rate=1e-2, max_words=3), steps=10)

    return make


def everything(trainer):
    states = [one for optimizer, _ in trainer.groups for one in optimizer.variables]
    return [one.numpy() for one in (*trainer.variables, *trainer.averages, *states)]


def test_a_tail_and_its_optimizer_go_on_too(tmp_path):
    def trainer(seed):
        tail = (Operation("convolution", (0,), channels=4),)
        model = build_model(ModelConfig("merge", 8, embedding_size=4, hidden_size=8, tail=tail), (16, 6), seed)
        model.tail.set_arrays({"kernel_1": np.ones([1, 1, 6, 4]), "bias_1": np.ones(4)})
        options = TrainOptions("features", "out", learning_rate=1e-2, max_words=3, tail_warm_up=0)
        return Trainer(model, (16, 6), options, steps=10)

    first, second = trainer(1), trainer(2)
    batch = tf.ones([2, 16, 6], tf.float16), tf.constant([[[4, 2]], [[5, 2]]])
    first.step(*batch)
    assert first.model.tail.arrays["kernel_1"].numpy().std() > 0
    Checkpoints(str(tmp_path), first).save(TrainingState(step=1))
    Checkpoints(str(tmp_path), second).restore()
    for one in (first, second):
        one.step(*batch)
    assert len(everything(first)) > 40 and all(map(np.array_equal, everything(first), everything(second)))


def test_another_process_goes_on_from_the_newest_checkpoint(tmp_path, new_trainer):
    first, second = new_trainer(1), new_trainer(2)
    checkpoints = Checkpoints(str(tmp_path), first)
    assert checkpoints.restore() == TrainingState()
    checkpoints.save(TrainingState(epoch=1))
    first.step(tf.ones([2, 2048], tf.float16), tf.constant([[[4, 2]], [[5, 2]]]))
    state = TrainingState(epoch=1, step=1, history=[0.5])
    checkpoints.save(state)
    assert Checkpoints(str(tmp_path), second).restore() == state
    assert all(map(np.array_equal, everything(first), everything(second)))
    assert read_state(str(tmp_path)) == state
    assert len(list((tmp_path / "checkpoint").glob("*.index"))) == 1


def test_progress_follows_the_checkpoint_after_a_kill_between_the_two(tmp_path, new_trainer):
    Checkpoints(str(tmp_path), new_trainer(1)).save(TrainingState(epoch=1))
    (tmp_path / "progress.json").unlink()
    state = Checkpoints(str(tmp_path), new_trainer(1)).restore()
    assert read_state(str(tmp_path)) == state


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("ckpt-1.data-*", lambda data: data[:100]),
        ("ckpt-1.data-*", lambda data: data[:-9] + bytes(9)),
        ("ckpt-1.index", lambda data: data[:100]),
        ("ckpt-1.data-*", None),
        ("ckpt-1.index", None),
        ("checkpoint", lambda data: data[:20]),
        ("checkpoint", lambda data: b""),
        ("checkpoint", lambda data: data.replace(b"ckpt-1", b"../../ckpt-1")),
        ("checkpoint", None),
    ],
    ids=["cut", "changed", "index cut", "missing", "index missing", "list cut", "empty", "path", "list missing"],
)
def test_after_a_damaged_checkpoint_training_begins_anew_as_its_message_says(tmp_path, new_trainer, name, damage):
    Checkpoints(str(tmp_path), new_trainer(1)).save(TrainingState(epoch=1))
    (path,) = (tmp_path / "checkpoint").glob(name)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    told = r"checkpoint/[\w-]+: (damaged \(.*\)|is missing); remove its folder, and"
    with pytest.raises(UserError, match=told) as raised:
        Checkpoints(str(tmp_path), new_trainer(1)).restore()
    assert len(str(raised.value).splitlines()) == 1
    shutil.rmtree(tmp_path / "checkpoint")
    assert Checkpoints(str(tmp_path), new_trainer(1)).restore() == TrainingState()
    assert read_state(str(tmp_path)) is None


def test_what_the_list_of_checkpoints_names_elsewhere_stays(tmp_path, new_trainer):
    Checkpoints(str(tmp_path), new_trainer(1)).save(TrainingState(epoch=1))
    precious = [tmp_path / "precious.index", tmp_path / "precious.data-00000-of-00001"]
    for path in precious:
        path.touch()
    names = tmp_path / "checkpoint" / "checkpoint"
    names.write_text(f'{names.read_text()}all_model_checkpoint_paths: "{tmp_path}/precious"\n')
    checkpoints = Checkpoints(str(tmp_path), new_trainer(1))
    assert checkpoints.restore() == TrainingState(epoch=1)
    checkpoints.save(TrainingState(epoch=2))
    assert all(path.exists() for path in precious)
    assert sorted(path.name for path in (tmp_path / "checkpoint").glob("ckpt-*")) == [
        "ckpt-2.data-00000-of-00001",
        "ckpt-2.index",
    ]


def test_what_a_kill_in_the_midst_of_writing_left_is_removed(tmp_path, new_trainer):
    half = tmp_path / "checkpoint" / "ckpt-9_temp"
    half.mkdir(parents=True)
    Checkpoints(str(tmp_path), new_trainer(1))
    assert not half.exists()
