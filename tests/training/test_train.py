import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training.data.dataset import Scan, pictures_of
from training.data.splits import make_split
from training.decoding.decoder import CaptionDecoder
from training.errors import UserError
from training.fitting import loop
from training.fitting.self_critical import SelfCritical
from training.fitting.state import TrainingState, read_state
from training.fitting.trainer import Trainer
from training.models.captioner import load_captioner, no_confidence
from training.models.captioner_files import read_metrics
from training.models.operations import Operation
from training.models.tail_file import pack_tail
from training.options import PresenceOptions, TrainOptions
from training.own_names import (
    CONFIDENCE,
    CONFIG,
    JUDGE_ARRAYS,
    METRICS,
    PRESENCE,
    PRESENCE_WORDS,
    PROGRESS,
    VOCABULARY,
    WORD_COUNTS,
)
from training.text.vocabulary import SPECIALS, Vocabulary, load_vocabulary
from training.text.word_counts import load_word_counts
from training.train import log_captions, require_same_words, train

STEPS = 42  # an epoch: a picture each


class Killed(BaseException):
    """Stands for SIGKILL: nothing in `training` may catch it."""


@pytest.fixture(scope="module")
def pooled_options(pooled_features):
    """Function (output, ...) -> options of a training of seconds on pooled features."""

    def make(output, **changed):
        directory = Path(pooled_features.path)
        chosen = TrainOptions(
            features=pooled_features.path,
            output=str(output),
            model="merge",
            train_list=str(directory / "train.txt"),
            dev_list=str(directory / "dev.txt"),
            epochs=3,
            seed=1,
            batch_size=1,
            embedding_size=16,
            hidden_size=128,
            max_words=7,
            learning_rate=1e-2,
            checkpoint_steps=16,
            presence=PresenceOptions(members=2, hidden_size=16, epochs=2),
        )
        return replace(chosen, **changed)

    return make


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pooled_options):
    """A finished training: its options and metrics."""
    options = pooled_options(tmp_path_factory.mktemp("undisturbed") / "out")
    return options, train(options)


def weights(directory):
    return [variable.numpy() for variable in load_captioner(str(directory)).model.variables]


def assert_same_weights(one, other):
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)


def last_checkpoint(directory):
    """Name -> value of everything that a training needs to go on."""
    reader = tf.train.load_checkpoint(f"{directory}/checkpoint")
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(("array", "note"))]
    return {name: reader.get_tensor(name) for name in names}


def kill_after(monkeypatch, steps, owner=Trainer):
    """The next training stops as if killed when it asks for one step more than `steps`."""
    real, done = owner.step, [0]

    def step(self, features, ids):
        if done[0] == steps:
            raise Killed
        done[0] += 1
        return real(self, features, ids)

    monkeypatch.setattr(owner, "step", step)


def test_it_learns_what_the_features_determine(undisturbed, pooled_features):
    options, metrics = undisturbed
    assert metrics["history"][-1] > metrics["history"][0] and metrics["dev_cider"] > 5
    captioner = load_captioner(options.output)
    split = make_split(options.train_list, options.dev_list, pooled_features.records)
    judging = list(pictures_of(pooled_features, lambda sha256, uris: split.of(sha256, uris) == 1))
    decoder = CaptionDecoder(captioner, batch_size=8)
    said = [one.caption for one in decoder.decode(np.stack([feature for _, feature in judging]))]
    decoder.close()
    right = [caption == picture.captions[0] for caption, (picture, _) in zip(said, judging, strict=True)]
    assert len(right) == 6 and sum(right) >= 4


def test_metrics_tell_what_was_done(undisturbed):
    options, metrics = undisturbed
    assert json.loads(Path(options.output, "metrics.json").read_text()).items() > metrics.items()
    parameters = sum(one.size for one in weights(options.output))
    assert metrics == {
        "dev_cider": max(metrics["history"]),
        "best_epoch": 1 + int(np.argmax(metrics["history"])),
        "epochs": 3,
        "history": metrics["history"],
        "train_pictures": 42,
        "train_captions": 84,
        "dev_pictures": 6,
        "vocabulary": 4 + 9,  # a, runs, on, the, three animals, two places
        "parameters": parameters,
    }
    assert len(metrics["history"]) == 3


def test_the_words_of_the_training_captions_go_with_the_captioner(undisturbed):
    counts = load_word_counts(undisturbed[0].output)
    assert (counts.pictures, counts.captions) == (42, 84)
    assert (counts.times["runs"], counts.in_captions["dog"], counts.in_pictures["dog"]) == (84, 28, 14)


def test_loss_and_cider_are_written_for_tensorboard(undisturbed):
    options, metrics = undisturbed
    found = {}
    for path in Path(options.output, "log").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    assert found["dev_cider"] == pytest.approx({STEPS * (n + 1): v for n, v in enumerate(metrics["history"])})
    assert set(found) == {"dev_cider", "loss"}


def test_a_finished_training_run_again_does_nothing(undisturbed, monkeypatch, capsys):
    options, metrics = undisturbed
    before = {path: path.stat().st_mtime_ns for path in Path(options.output).rglob("*")}
    kill_after(monkeypatch, 0)
    assert train(options) == metrics
    assert {path: path.stat().st_mtime_ns for path in Path(options.output).rglob("*")} == before
    assert "training is finished already" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["outdated", "cut short", "missing"])
def test_a_finished_training_run_again_renews_a_head_that_is_of_no_use(
    undisturbed, tmp_path, monkeypatch, edit_document, damage
):
    options, metrics = undisturbed
    output = str(tmp_path / "out")
    shutil.copytree(options.output, output)
    trained = load_captioner(output)
    words = Path(output, PRESENCE_WORDS)
    if damage == "outdated":
        edit_document(words, schema_version=1)
    elif damage == "cut short":
        Path(output, PRESENCE).write_bytes(b"PK")
    else:
        words.unlink()
    kill_after(monkeypatch, 0)
    assert train(replace(options, output=output)) == metrics
    assert load_captioner(output).model_id == trained.model_id


def test_what_to_remove_from_a_damaged_captioner_is_written_again_by_the_next_run(undisturbed, tmp_path, files_of):
    options, metrics = undisturbed
    output = tmp_path / "out"
    shutil.copytree(options.output, output)
    for name, read in ((METRICS, read_metrics), (PROGRESS, read_state), (WORD_COUNTS, load_word_counts)):
        (output / name).write_bytes((output / name).read_bytes()[:-9])
        with pytest.raises(UserError, match=rf"{name}: .*; (restore it as training wrote it, or )?remove it"):
            read(str(output))
        (output / name).unlink()
        read(str(output))
    assert train(replace(options, output=str(output))) == metrics
    assert files_of(output) == files_of(options.output)


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"seed": 2}, "--seed 1"), ({"epochs": 4}, "--epochs 3"), ({"glove": "glove.txt"}, "--glove None")],
)
def test_an_output_of_other_settings_is_refused(undisturbed, changed, told):
    options, _ = undisturbed
    with pytest.raises(UserError) as refused:
        train(replace(options, **changed))
    assert str(refused.value) == (
        f"--output {options.output}: holds a captioner trained with {told}; choose another --output"
    )


def test_lists_count_by_their_content_wherever_they_lie(undisturbed, tmp_path):
    options, metrics = undisturbed
    moved = shutil.copy(options.train_list, tmp_path / "moved.txt")
    assert train(replace(options, train_list=str(moved))) == metrics
    Path(moved).write_text("dog-beach-1.jpg\n")
    with pytest.raises(UserError, match=f"trained with --train-list {options.train_list}; choose"):
        train(replace(options, train_list=str(moved)))


def test_a_list_that_was_changed_in_its_place_is_refused(undisturbed, tmp_path, monkeypatch):
    options, _ = undisturbed
    changed = replace(options, output=str(tmp_path / "out"), train_list=str(tmp_path / "list.txt"))
    shutil.copy(options.train_list, changed.train_list)
    with monkeypatch.context() as patched:
        kill_after(patched, 0)
        with pytest.raises(Killed):
            train(changed)
    Path(changed.train_list).write_text("dog-beach-1.jpg\n")
    with pytest.raises(UserError, match=f"trained with --train-list {changed.train_list} of another content; choose"):
        train(changed)


def test_an_output_of_other_features_is_refused(undisturbed, tmp_path, record, write_features):
    options, _ = undisturbed
    write_features(tmp_path, [[record("one")]])
    with pytest.raises(UserError, match="holds a captioner trained with other feature shards; choose another --output"):
        train(replace(options, features=str(tmp_path)))


def test_a_training_killed_again_and_again_goes_on_as_if_nothing_had_happened(undisturbed, tmp_path, monkeypatch):
    """Before the first checkpoint, between two epochs, inside one, and around its judging; one seed, one training."""
    options, metrics = undisturbed
    again = replace(options, output=str(tmp_path / "out"))
    for steps in (5, STEPS, 20):
        with monkeypatch.context() as patched:
            kill_after(patched, steps)
            with pytest.raises(Killed):
                train(again)
    for owner, name in ((loop, "validation_cider"), (TrainingState, "end_epoch")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, _killed)
            with pytest.raises(Killed):
                train(again)
    assert not Path(again.output, "metrics.json").exists()
    half = Path(again.output, "checkpoint", "ckpt-9_temp")  # what a kill in the midst of writing one leaves
    half.mkdir(parents=True)
    assert train(again) == metrics
    assert not half.exists()
    assert_same_weights(again.output, options.output)
    assert_same_state(again.output, options.output)


def test_what_a_link_among_the_checkpoints_leads_to_stays(pooled_options, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    (tmp_path / "out" / "checkpoint").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint" / "ckpt-1_temp").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="checkpoint/ckpt-1_temp: a link"):
        train(pooled_options(tmp_path / "out"))
    assert (tmp_path / "mine" / "letter.txt").exists()


def _killed(*_):
    raise Killed


def assert_same_state(one, other):
    first, second = last_checkpoint(one), last_checkpoint(other)
    assert first.keys() == second.keys() and len(first) > 10
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_another_seed_gives_another_training(undisturbed, tmp_path):
    options, _ = undisturbed
    train(replace(options, output=str(tmp_path / "out"), seed=6))
    one, other = weights(options.output), weights(tmp_path / "out")
    assert any(not np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_attention_learns_from_grids(tmp_path, grid_features, pooled_options):
    directory = Path(grid_features.path)
    options = pooled_options(
        tmp_path / "out",
        features=grid_features.path,
        model="attention",
        batch_size=2,
        hidden_size=64,
        train_list=str(directory / "train.txt"),
        dev_list=str(directory / "dev.txt"),
    )
    metrics = train(options)
    assert metrics["history"][-1] > metrics["history"][0] and metrics["dev_cider"] > 5


def grid_options(pooled_options, features, output, **changed):
    """Options of a training of seconds on the grids in a directory."""
    lists = {name: f"{features}/{name.removesuffix('_list')}.txt" for name in ("train_list", "dev_list")}
    small = {"model": "attention", "batch_size": 6, "hidden_size": 16, "epochs": 1, "self_critical_epochs": 1}
    return pooled_options(output, features=str(features), **small, **lists, **changed)


@pytest.fixture(scope="module")
def grids_with_tail(tmp_path_factory, grid_features):
    """A feature set of grids with what a little encoder computes behind them."""
    directory = tmp_path_factory.mktemp("tail") / "features"
    shutil.copytree(grid_features.path, directory)
    kernel = np.eye(2048, 20)[None, None]
    tail = pack_tail(
        (Operation("convolution", (0,), channels=20, name="mixed10"),), {"kernel_1": kernel, "bias_1": np.zeros(20)}
    )
    (directory / "encoder_tail.npz").write_bytes(tail)
    return directory, kernel


def test_a_tail_learns_with_the_captioner(tmp_path, grids_with_tail, pooled_options, recwarn, caplog, monkeypatch):
    features, kernel = grids_with_tail
    options = grid_options(pooled_options, features, tmp_path / "out", tail="mixed10", tail_rate=1e-2)
    with caplog.at_level("INFO", logger="captionbeam"):
        metrics = train(options)
    assert "1 block of the encoder in the captioner, trained too: mixed10" in caplog.messages
    captioner = load_captioner(options.output)
    assert captioner.model.seen_shape == (64, 20) and captioner.presence.mean_inputs.shape == (16, 20)
    assert 0 < np.abs(captioner.model.tail.arrays["kernel_1"].numpy() - kernel).max() < 0.5
    assert not [one for one in recwarn if "radient" in str(one.message)]
    with pytest.raises(UserError, match="trained with --tail mixed10; choose another --output"):
        train(replace(options, tail="none"))
    kill_after(monkeypatch, 0)
    assert train(replace(options, tail=None)) == metrics  # what is left out is as it was


def test_a_captioner_that_an_earlier_version_trained_is_finished_and_goes_on(
    undisturbed, tmp_path, pooled_options, monkeypatch, edit_document
):
    """Its settings say nothing of a tail."""
    options, metrics = undisturbed
    output = tmp_path / "out"
    shutil.copytree(options.output, output)
    config = json.loads((output / CONFIG).read_text())
    new = ("tail", "tail_rate", "tail_warm_up", "word_loss")
    model = {name: value for name, value in config["model"].items() if not name.startswith("tail")}
    trained_with = {name: value for name, value in config["trained_with"].items() if name not in new}
    assert len(config["trained_with"]) - len(trained_with) == 4 and len(config["model"]) - len(model) == 2
    edit_document(output / CONFIG, model=model, trained_with=trained_with)
    kill_after(monkeypatch, 0)
    assert train(replace(options, output=str(output))) == metrics
    (output / METRICS).unlink()  # as if it had been interrupted after its last epoch
    assert train(replace(options, output=str(output))) == metrics
    edit_document(output / CONFIG, trained_with={**trained_with, "tail": "mixed10"})
    with pytest.raises(UserError, match="trained with --tail mixed10; choose another --output"):
        train(replace(options, output=str(output), tail="none"))


def test_word_vectors_start_from_glove(tmp_path, pooled_options, monkeypatch, caplog):
    path = tmp_path / "glove.txt"
    numbers = {word: np.random.default_rng(len(word)).normal(size=16).round(3) for word in ("a", "dog", "horse")}
    path.write_text("".join(f"{word} {' '.join(map(str, vector))}\n" for word, vector in numbers.items()))
    tables = []

    def look(self, features, ids):
        tables.append(self.model.words.embeddings.numpy())
        raise Killed

    monkeypatch.setattr(Trainer, "step", look)
    with caplog.at_level("INFO", logger="captionbeam"), pytest.raises(Killed):
        train(pooled_options(tmp_path / "out", glove=str(path)))
    words = load_vocabulary(str(tmp_path / "out")).words
    table = dict(zip(words, tables[0][SPECIALS:], strict=True))
    shrunk = table["dog"] / numbers["dog"]  # GloVe's direction, at another length
    np.testing.assert_allclose(shrunk, np.full(16, shrunk[0]), rtol=1e-3)
    np.testing.assert_allclose(table["horse"], shrunk[0] * numbers["horse"], atol=1e-4)
    assert tables[0].std() == pytest.approx(0.1, abs=1e-3)
    assert any("3 of 9 words" in message for message in caplog.messages)


def no_step(monkeypatch):
    """Training goes through its epochs without learning, which takes no time."""
    monkeypatch.setattr(Trainer, "step", lambda *_: tf.constant(0.0))


def test_one_picture_that_judges_tells_no_epochs_apart_so_the_last_one_is_kept(
    tmp_path, pooled_options, monkeypatch, caplog
):
    no_step(monkeypatch)
    (tmp_path / "dev.txt").write_text("dog-beach-0.jpg\n")
    options = pooled_options(tmp_path / "out", dev_list=str(tmp_path / "dev.txt"), epochs=3, patience=1)
    with caplog.at_level("INFO", logger="captionbeam"):
        metrics = train(options)
    assert (metrics["epochs"], metrics["best_epoch"], metrics["history"]) == (3, 3, [0.0, 0.0, 0.0])
    assert any(
        "42 pictures with 84 captions for training, 1 picture for validation" in message for message in caplog.messages
    )


def test_training_stops_when_nothing_is_gained(tmp_path, pooled_options, monkeypatch):
    no_step(monkeypatch)
    values = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    monkeypatch.setattr(loop, "validation_cider", lambda *_: next(values))
    metrics = train(pooled_options(tmp_path / "out", epochs=5, patience=2))
    assert (metrics["best_epoch"], metrics["epochs"], metrics["dev_cider"]) == (2, 4, 0.7)
    assert metrics["history"] == [0.5, 0.7, 0.6, 0.7]


def test_pictures_in_both_lists_are_told_and_do_not_train(tmp_path, pooled_options, monkeypatch, caplog):
    kill_after(monkeypatch, 0)
    names = Path(pooled_options(tmp_path).train_list).read_text() + "dog-beach-0.jpg\ncat-street-0.jpg\n"
    (tmp_path / "train.txt").write_text(names)
    with caplog.at_level("INFO", logger="captionbeam"), pytest.raises(Killed):
        train(pooled_options(tmp_path / "out", train_list=str(tmp_path / "train.txt")))
    assert [message for message in caplog.messages if "no part of it" not in message][:2] == [
        "42 pictures with 84 captions for training, 6 pictures for validation",
        "2 pictures in both lists, by name or by content: used for validation, not for training",
    ]


def test_what_was_wrong_with_captions_is_told(caplog):
    faults = {"captions_with_marks": 1, "captions_without_words": 2000, "captions_over_limit": 3}
    with caplog.at_level("INFO", logger="captionbeam"):
        log_captions(Scan(faults=Counter(faults), unspaced=Counter({"Thai": 7})))
    assert caplog.messages == [
        "1 caption with marks of a decoder, such as <start> or <end>: trained without the marks",
        "2,000 captions without a word: left out",
        "3 captions left out: a picture keeps 100 at most, of 65,536 characters at most",
        "7 training captions in Thai, which puts no spaces between words: training takes all that stands between two "
        "spaces for one word; put spaces between the words of your captions, and extract into another directory",
    ]


def test_an_unfinished_training_with_other_words_is_refused(tmp_path):
    vocabulary = Vocabulary(("a", "dog"))
    require_same_words(str(tmp_path), vocabulary)
    vocabulary.save(str(tmp_path / VOCABULARY))
    require_same_words(str(tmp_path), vocabulary)
    with pytest.raises(UserError, match="holds an unfinished training by another captionbeam, which cut captions into"):
        require_same_words(str(tmp_path), Vocabulary(("a", "cat")))


@pytest.mark.parametrize("name", ["random_encoder.npz", "int8_encoder.npz"])
def test_what_an_encoder_is_made_from_goes_with_the_captioner(
    tmp_path, pooled_features, pooled_options, monkeypatch, name
):
    kill_after(monkeypatch, 0)
    features = shutil.copytree(pooled_features.path, tmp_path / "features")
    (features / name).write_bytes(b"statistics")
    with pytest.raises(Killed):
        train(pooled_options(tmp_path / "out", features=str(features)))
    assert (tmp_path / "out" / name).read_bytes() == b"statistics"


@pytest.fixture(scope="module")
def self_critical(tmp_path_factory, pooled_options):
    """A finished training of both stages: its options and metrics."""
    options = pooled_options(
        tmp_path_factory.mktemp("self_critical") / "out",
        epochs=2,
        batch_size=2,
        self_critical_epochs=2,
        self_critical_rate=1e-3,
    )
    return options, train(options)


def test_the_second_stage_goes_on_from_the_first_and_earns_more(self_critical):
    options, metrics = self_critical
    assert metrics["epochs"] == 4 and len(metrics["history"]) == 4
    rewards = [
        float(tf.make_ndarray(value.tensor))
        for path in Path(options.output, "log").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "reward"
    ]
    assert len(rewards) == 2 and rewards[-1] > 0
    assert max(metrics["history"][2:]) > metrics["history"][0]


def test_a_second_stage_killed_in_each_epoch_goes_on_as_if_nothing_had_happened(self_critical, tmp_path, monkeypatch):
    options, metrics = self_critical
    again = replace(options, output=str(tmp_path / "out"), checkpoint_steps=4)
    for steps in (5, 21 + 3):
        with monkeypatch.context() as patched:
            kill_after(patched, steps, SelfCritical)
            with pytest.raises(Killed):
                train(again)
    assert train(again) == metrics
    assert_same_weights(again.output, options.output)
    assert_same_state(again.output, options.output)


def test_the_word_presence_head_is_trained_with_the_captioner(undisturbed):
    options, _ = undisturbed
    head = load_captioner(options.output).presence
    assert {"dog", "cat", "horse", "beach", "street"} <= {*head.words}
    # Seldom enough to be learnt nowhere is nothing here: every word is of a dozen captions and more.
    assert head.rare == {} and len(head.output_kernel) == 2


def test_a_captioner_from_before_there_were_heads_gets_one_by_the_same_call(undisturbed, tmp_path):
    options, metrics = undisturbed
    shutil.copytree(options.output, tmp_path / "old")
    (tmp_path / "old" / "presence.json").unlink()
    (tmp_path / "old" / "confidence.json").unlink()
    assert train(replace(options, output=str(tmp_path / "old"))) == metrics
    again, first = load_captioner(str(tmp_path / "old")), load_captioner(options.output)
    assert again.presence.fingerprint() == first.presence.fingerprint() and again.model_id == first.model_id


def test_confidence_goes_with_the_captioner_or_why_there_is_none(undisturbed):
    told = json.loads(Path(undisturbed[0].output, CONFIDENCE).read_text())
    assert told["why_not"] == "6 validation pictures with two captions or more, 30 needed"
    captioner = load_captioner(undisturbed[0].output)
    assert no_confidence(captioner) == f"{captioner.path}: {told['why_not']}"


def test_a_captioner_from_before_there_was_confidence_gets_it_by_the_same_call(undisturbed, tmp_path, monkeypatch):
    options, metrics = undisturbed
    output = str(tmp_path / "old")
    shutil.copytree(options.output, output)
    presence = Path(output, PRESENCE).stat().st_mtime_ns
    kill_after(monkeypatch, 0)
    for damage in (Path.unlink, lambda path: path.write_text("{")):
        damage(Path(output, CONFIDENCE))
        assert train(replace(options, output=output)) == metrics
        assert load_captioner(output).confidence.id == load_captioner(options.output).confidence.id
    assert Path(output, PRESENCE).stat().st_mtime_ns == presence  # the head is left alone


def test_a_captioner_gets_a_judge_by_the_same_call_and_a_damaged_one_is_renewed(undisturbed, tmp_path, monkeypatch):
    options, metrics = undisturbed
    output = tmp_path / "out"
    shutil.copytree(options.output, output)
    options = replace(options, output=str(output))
    assert load_captioner(options.output).judge is None
    for module in ("training.train", "training.fitting.judge"):
        monkeypatch.setattr(f"{module}.LEAST_PICTURES", 6)
    assert train(options) == metrics
    captioner = load_captioner(options.output)
    assert {"dog", "a dog runs", "."} <= set(captioner.judge.phrases.phrases)
    assert captioner.judge.report["pictures"] == 6 and captioner.confidence is not None
    (output / JUDGE_ARRAYS).unlink()
    with pytest.raises(UserError, match=f"{JUDGE_ARRAYS}: damaged .*; run the same train command again"):
        load_captioner(options.output)
    assert train(options) == metrics
    assert load_captioner(options.output).judge.id == captioner.judge.id
    before = files_in(output)
    assert train(options) == metrics and files_in(output) == before


def files_in(directory):
    return {path: path.stat().st_mtime_ns for path in directory.iterdir() if path.is_file()}
