from dataclasses import replace

import numpy as np

from beam_pipeline.demo.scene import Scene
from beam_pipeline.demo.scene_captions import describe

RED_STAR = Scene("a.jpg", "red", "star", 1, "large", "middle", "white", "plain")
BLUE_RINGS = Scene("b.jpg", "blue", "ring", 3, "small", "middle", "grey", "dotted")


def test_captions_differ_in_words_and_length_and_do_not_contradict_the_truth():
    captions = describe(BLUE_RINGS, 30, np.random.default_rng(0))
    assert len({len(caption.split()) for caption in captions}) >= 5
    assert len({word for caption in captions for word in caption.split()}) >= 25
    contradictions = {"large", "big", "one", "two", "pair", "white", "black", "striped", "left", "ring", "is"}
    for caption in captions:
        assert not contradictions & set(caption.lower().split()), caption


def test_the_article_fits_the_next_word():
    orange = replace(RED_STAR, colour="orange", size="medium")
    captions = " ".join(describe(orange, 40, np.random.default_rng(0))).lower()
    assert "an orange star" in captions
    assert "a orange" not in captions
