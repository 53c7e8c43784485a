from training.scoring.scorecard import render

DIVERSITY = {"distinct_captions": 1234, "distinct_words": 50, "mean_words": 9.04, "copied_from_training": 0.1234}
FULL = {
    "signature": "coco|refs:5",
    "captioner": "abc",
    "captions": None,
    "beam_width": 3,
    "pictures": 2000,
    "scores": {"BLEU-1": 0.6071, "CIDEr": 1.5},
    "intervals": {"BLEU-1": [0.59, 0.62], "CIDEr": [1.4, 1.625]},
    "not_scored": {"METEOR": "no Java"},
    "rows": {
        "human_against_the_other_references": {
            "pictures": 1999,
            "scores": {"BLEU-1": 0.7, "CIDEr": 2},
            "diversity": {**DIVERSITY, "copied_from_training": None},
        },
        "against_the_other_references": {"pictures": 1999, "scores": {"BLEU-1": 0.5, "CIDEr": 1.25}},
        "most_frequent_training_caption": {
            "pictures": 2000,
            "scores": {"BLEU-1": 0.3, "CIDEr": 0.1},
            "caption": "a dog",
            "times": 6,
            "training_captions": 30000,
        },
        "nearest_training_picture": {"pictures": 2000, "scores": {"BLEU-1": 0.4, "CIDEr": 0.2}},
    },
    "rows_left_out": {},
    "captions_without_words": [],
    "references_without_words": {},
    "diversity": DIVERSITY,
    "protocols": {"COCO": {"BLEU-1": 0.6071, "CIDEr": 1.5}, "other": {"BLEU-1": 0.1}},
}


def test_the_whole_card():
    assert (
        render(FULL)
        == """\
2,000 pictures, captioner abc, beam width 3

                                     BLEU-1   CIDEr
these captions                         60.7   150.0
  95 % interval: from                  59.0   140.0
                 to                    62.0   162.5
nearest training picture's caption     40.0    20.0
most frequent training caption         30.0    10.0
one reference of each picture held out, 1,999 pictures:
  these captions                       50.0   125.0
  one human caption of each picture    70.0   200.0

Most frequent training caption: "a dog" (6 of 30,000)
Diversity: 1,234 distinct captions, 50 distinct words, 9.0 words per caption, 12.3% are training captions word for word
   people: 1,234 distinct captions, 50 distinct words, 9.0 words per caption

The same captions by other protocols:
       BLEU-1   CIDEr
COCO     60.7   150.0
other    10.0       -

coco|refs:5
METEOR is not given: no Java"""
    )


def test_a_card_of_one_picture_and_captions_from_elsewhere():
    document = {
        **FULL,
        "captioner": None,
        "captions": "their.json",
        "pictures": 1,
        "scores": {"BLEU-1": 0.5, "CIDEr": None},
        "intervals": {},
        "not_scored": {"CIDEr": "one picture"},
        "rows": {},
        "rows_left_out": {"nearest_training_picture": "no list", "human_against_the_other_references": "one caption"},
        "diversity": {**DIVERSITY, "distinct_captions": 1, "copied_from_training": None},
    }
    del document["protocols"]
    assert (
        render(document)
        == """\
1 picture, captions of their.json

                BLEU-1   CIDEr
these captions    50.0       -

Diversity: 1 distinct caption, 50 distinct words, 9.0 words per caption

coco|refs:5
CIDEr is not given: one picture
nearest training picture's caption: left out, no list
one human caption of each picture: left out, one caption"""
    )


def test_what_has_no_word_is_named_last():
    document = {**FULL, "captions_without_words": ["a.jpg"], "references_without_words": {"a.jpg": 1, "b.jpg": 2}}
    assert render(document).splitlines()[-2:] == [
        "1 caption without a word left out, the picture is not scored: a.jpg",
        "3 references without a word left out: a.jpg, b.jpg",
    ]
    document |= {"captions_without_words": list("abcd"), "references_without_words": {"a.jpg": 1}}
    assert render(document).splitlines()[-2:] == [
        "4 captions without a word left out, their pictures are not scored: a, b, c, ...",
        "1 reference without a word left out: a.jpg",
    ]
