from beam_pipeline.reports.wording import flag_labels, flags_in_words, settings_in_words
from training.models import flags

SUMMARY = {
    "made_with": {"model_id": "m1", "min_confidence": None, "new_setting": 3},
    "evidence": ["said"],
    "evidence_missing": ["presence"],
    "reference": {"name": "/home/somebody/city", "documents": 12345},
}


def test_settings_are_named_and_give_away_no_folder():
    assert settings_in_words(SUMMARY) == [
        ("Captioner", "m1"),
        ("Minimum confidence", "none"),
        ("New setting", "3"),
        ("Evidence for every picture", "the words of the caption"),
        ("Missing evidence", "calibrated probability of each word"),
        ("Words compared with", "12,345 captions of city"),
    ]


def test_a_captioner_without_word_counts_compares_with_nothing():
    rows = settings_in_words(SUMMARY | {"reference": None, "evidence_missing": []})
    assert rows[-2:] == [
        ("Evidence for every picture", "the words of the caption"),
        ("Words compared with", "nothing, since the captioner carries no word counts"),
    ]


def test_the_training_captions_are_called_so():
    reference = {"name": "training captions", "documents": 1200}
    assert settings_in_words(SUMMARY | {"reference": reference})[-1] == (
        "Words compared with",
        "1,200 training captions",
    )


def test_flags_are_counted_in_words():
    assert flags_in_words({"repeats": 1, "unfinished": 1200, "copied": 0, "low_confidence": 2, "odd": 1}) == [
        "1 caption repeats a phrase",
        "1,200 captions were cut at the length limit",
        "2 captions have low confidence",
        "1 caption has the flag odd",
    ]


def test_every_flag_of_a_captioner_has_a_label():
    known = {value for name, value in vars(flags).items() if name.isupper()}
    assert flag_labels().keys() == known
