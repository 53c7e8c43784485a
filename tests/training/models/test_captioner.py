import json
import re
import shutil

import pytest

from training.errors import UserError
from training.models.captioner import load_captioner
from training.models.captioner_files import read_config
from training.models.operations import Operation
from training.own_names import CONFIG, METRICS, VOCABULARY, WEIGHTS
from training.storage import content_hash, write_document


@pytest.fixture
def saved(tiny_captioner, tmp_path):
    """A captioner's directory, to be damaged."""
    return shutil.copytree(tiny_captioner(words=("a", "dog")).path, tmp_path / "saved")


def refusal(directory):
    with pytest.raises(UserError) as refused:
        load_captioner(str(directory))
    assert "\n" not in str(refused.value) and str(directory) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_a_captioner_loaded_again_is_the_same_and_says_the_same(tiny_captioner, random_features, decoder, kind):
    first = tiny_captioner(kind=kind, max_words=5)
    second = load_captioner(first.path)
    assert re.fullmatch("[0-9a-f]{12}", first.model_id)
    assert (second.model_id, second.vocabulary, second.encoder, second.max_words) == (
        first.model_id,
        first.vocabulary,
        first.encoder,
        5,
    )
    features = 4 * random_features(12, kind)  # far enough apart to be told apart by untrained weights
    captions, again = (decoder(one, batch_size=12).decode(features) for one in (first, second))
    assert captions == again and len({one.caption for one in captions}) > 1


def test_weights_words_and_encoder_all_decide_the_id(tiny_captioner):
    variants = ({}, {"end_bias": 1.0}, {"words": tuple("abcdefg")}, {"weights": "bb"})
    assert len({tiny_captioner(**variant).model_id for variant in variants}) == 4


def test_another_encoder_is_refused_naming_both(tiny_captioner, encoder):
    captioner = tiny_captioner()
    captioner.require_encoder(encoder())
    with pytest.raises(UserError) as refused:
        captioner.require_encoder(encoder(weights="bb"))
    assert str(refused.value) == (
        f"{captioner.path}: trained on features of {encoder()}, but these are features of "
        f"{encoder(weights='bb')}; extract with the weights, layer, kind, engine and precision of the first, "
        "or train on the second"
    )
    assert encoder().id in str(refused.value) and encoder(weights="bb").id in str(refused.value)


def test_a_directory_that_is_no_captioner_is_told(tmp_path):
    assert refusal(tmp_path).endswith("no config.json here; give the directory that `captionbeam train` made")
    assert "no config.json here" in refusal(tmp_path / "missing")


def test_a_training_that_finished_no_epoch_is_told(saved):
    (saved / WEIGHTS).unlink()
    assert f"no {WEIGHTS} yet; let its training finish an epoch" in refusal(saved)


def test_a_training_killed_before_the_vocabulary_is_told(saved):
    (saved / VOCABULARY).unlink()
    assert f"{VOCABULARY}: missing or not UTF-8" in refusal(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '"config"', "{}", '{"schema_version": 1}'])
def test_a_damaged_config_is_told(saved, text):
    (saved / CONFIG).write_text(text)
    assert CONFIG in refusal(saved)


@pytest.mark.parametrize("name", ["model", "max_words", "encoder"])
def test_a_config_without_a_part_is_told(saved, name, edit_document):
    edit_document(saved / CONFIG, **{name: None})
    assert f"{CONFIG}: {name} is missing; restore it" in refusal(saved)


def test_a_config_of_another_version_is_told(saved, edit_document):
    edit_document(saved / CONFIG, schema_version=99)
    assert "schema version 99" in refusal(saved)


@pytest.mark.parametrize("sizes", [{"hidden_size": 2**20}, {"vocabulary_size": 2**20}, {"embedding_size": 2**24}])
def test_sizes_beyond_the_weights_are_told_before_a_model_is_built(saved, edit_document, sizes):
    model = json.loads((saved / CONFIG).read_text())["model"]
    words = sizes.get("vocabulary_size", 6) - 4
    (saved / VOCABULARY).write_text("".join(f"w{number}\n" for number in range(words)))
    edit_document(saved / CONFIG, model=model | sizes)
    assert f"{WEIGHTS}: too small for the sizes in {CONFIG}" in refusal(saved)


def test_a_tail_that_its_weights_do_not_hold_is_told_before_a_model_is_built(tiny_captioner, tmp_path, edit_document):
    captioner = tiny_captioner(kind="grid", tail=(Operation("convolution", (0,), channels=3, name="mixed10"),))
    saved = shutil.copytree(captioner.path, tmp_path / "saved")
    model = json.loads((saved / CONFIG).read_text())["model"]
    assert model["tail"][0]["channels"] == 3 and load_captioner(str(saved)).model_id == captioner.model_id
    many = {"kind": "convolution", "inputs": [0], "size": [8, 8], "channels": 4096}
    edit_document(saved / CONFIG, model=model | {"tail": [many]})
    assert f"{WEIGHTS}: too small for the sizes in {CONFIG}" in refusal(saved)
    edit_document(saved / CONFIG, model=model | {"tail": [many | {"inputs": [1]}]})
    assert f"{CONFIG}: model.tail: operation 1 (convolution): takes the output of" in refusal(saved)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, VOCABULARY])
def test_a_link_in_place_of_a_file_is_not_followed(saved, tmp_path, name):
    (saved / name).rename(tmp_path / name)
    (saved / name).symlink_to(tmp_path / name)
    assert f"{name}: a link, and links in a directory of captionbeam are not followed" in refusal(saved)


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_a_file_that_changed_since_training_ended_is_told(saved, name):
    sha256 = {one: content_hash(str(saved / one)) for one in (WEIGHTS, VOCABULARY)}
    write_document(str(saved / METRICS), {"dev_cider": 0.5, "best_epoch": 1, "epochs": 1, "sha256": sha256})
    load_captioner(str(saved))
    changed = bytearray((saved / name).read_bytes())
    changed[-2] ^= 1
    (saved / name).write_bytes(bytes(changed))
    assert f"{name}: changed since training ended; restore it" in refusal(saved)


@pytest.mark.parametrize("model", [{"model": "lstm", "vocabulary_size": 6}, {"model": "merge"}])
def test_a_config_of_an_unknown_model_is_told(saved, model, edit_document):
    edit_document(saved / CONFIG, model=model)
    assert CONFIG in refusal(saved)


@pytest.mark.parametrize(
    ("keep", "told"), [(0, "too small"), (100, "too small"), (-5000, "damaged, or no file of weights")]
)
def test_cut_weights_are_told(saved, keep, told):
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:keep])
    assert f"{WEIGHTS}: {told}" in refusal(saved)


def test_weights_of_another_size_are_told(saved, tiny_captioner):
    shutil.copy(f"{tiny_captioner(words=('a', 'cat', 'runs')).path}/{WEIGHTS}", saved / WEIGHTS)
    assert f"{WEIGHTS}: does not fit {CONFIG}" in refusal(saved)


def test_a_vocabulary_of_another_size_is_told(saved):
    (saved / VOCABULARY).write_text("a\n")
    assert f"{VOCABULARY}: holds 1 word where {CONFIG} says 2" in refusal(saved)


def test_config_is_readable_before_any_weights(saved):
    (saved / WEIGHTS).unlink()
    config = read_config(str(saved))
    assert config.model.vocabulary_size == 6 and config.max_words == 8


@pytest.mark.parametrize(
    ("variant", "told"), [({"words": tuple("abcdefg")}, "vocabulary"), ({"weights": "bb"}, "encoder")]
)
def test_captioners_that_do_not_fit_together_are_no_ensemble(tiny_captioner, variant, told):
    first, other = tiny_captioner(), tiny_captioner(**variant)
    with pytest.raises(UserError) as refused:
        load_captioner(f"{first.path},{other.path}")
    assert str(refused.value) == (
        f"--ensemble {first.path},{other.path}: {first.path} and {other.path} differ in their {told}; "
        "train them on the same feature set and the same training pictures"
    )


def test_a_directory_with_a_comma_in_its_name_is_one_captioner(tiny_captioner, tmp_path):
    path = shutil.copytree(tiny_captioner().path, tmp_path / "one, two")
    assert load_captioner(str(path)).model_id == tiny_captioner().model_id
