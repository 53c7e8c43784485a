import json

import tensorflow as tf

from training.fitting.state import Stage, TrainingState, read_state, state_of_note

NOTE = (
    '{"epoch": 3, "step": 7, "best_epoch": 2, "epochs_without_gain": 1, "stage": 1, "stage_began": 2, "best": 0.5, '
    '"history": [0.1, 0.5, 0.25]}'
)


def test_an_epoch_counts_as_gain_only_if_it_is_better():
    state = TrainingState(step=9)
    for cider in (0.5, 0.4, 0.6):
        state.end_epoch(cider)
    assert (state.epoch, state.step, state.best, state.best_epoch) == (3, 0, 0.6, 3)
    state.end_epoch(0.6)
    assert state.epochs_without_gain == 1 and state.history == [0.5, 0.4, 0.6, 0.6]


def test_while_nothing_scores_every_epoch_is_the_best():
    state = TrainingState()
    for _ in range(2):
        assert state.is_better(0.0)
        state.end_epoch(0.0)
    assert (state.best_epoch, state.epochs_without_gain) == (2, 0)


def test_a_stage_begins_with_patience_anew_and_epochs_count_on():
    state = TrainingState(epoch=4, epochs_without_gain=2, best=0.5)
    state.begin_stage(Stage.SELF_CRITICAL)
    assert (state.epoch, state.stage_epoch, state.epochs_without_gain, state.best) == (4, 0, 0, 0.5)


def test_json_is_that_of_every_checkpoint_so_far():
    state = state_of_note(NOTE.encode(), "ckpt-1")
    assert state.stage is Stage.SELF_CRITICAL and state.stage_epoch == 1
    assert json.dumps(state.to_json()) == NOTE


def test_progress_is_read_as_it_was_saved(tmp_path):
    state = state_of_note(NOTE.encode(), "ckpt-1")
    assert read_state(str(tmp_path)) is None
    state.save(str(tmp_path))
    assert read_state(str(tmp_path)) == state


def test_a_directory_without_progress_is_read_from_its_checkpoint(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    assert read_state(str(tmp_path)) is None
    checkpoint = tf.train.Checkpoint(note=tf.Variable(NOTE))
    tf.train.CheckpointManager(checkpoint, str(tmp_path / "checkpoint"), 1).save()
    assert read_state(str(tmp_path)) == state_of_note(NOTE.encode(), "ckpt-1")
