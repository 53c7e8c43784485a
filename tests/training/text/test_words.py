import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.text.tokenizer import tokenize
from training.text.words import caption_words, script_without_spaces


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("The dog runs on the beach .", ["the", "dog", "runs", "on", "the", "beach"]),
        ("the dog's ball", ["the", "dog", "ball"]),
        ("the dog\u2019s ball", ["the", "dog", "ball"]),
        ("'dog' in \u201cquotes\u201d (red)", ["dog", "in", "quotes", "red"]),
        ("dogs' bowls", ["dogs", "bowls"]),
        ("it doesn't run", ["it", "does", "run"]),
        ("a black-and-white dog", ["a", "black-and-white", "dog"]),
        (". , ! - \u2019 \u2026", []),
        ("", []),
        ("собака бежит", ["собака", "бежит"]),
    ],
)
def test_words_of_spaced_alphabets(caption, words):
    assert caption_words(caption) == words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("茶色の犬が草原を走る。", ["茶色", "の", "犬", "が", "草原", "を", "走", "る"]),
        ("赤いボール", ["赤", "い", "ボール"]),
        ("สุนัขสีน้ำตาลวิ่งอยู่", ["สุนัข", "สี", "น้ำตาล", "วิ่ง", "อยู่"]),
        ("एक भूरा कुत्ता", ["एक", "भूरा", "कुत्ता"]),
        ("مُعَلِّم يجري", ["مُعَلِّم", "يجري"]),
        ("a dog犬 runs", ["a", "dog", "犬", "runs"]),
        ("cafe\u0301 rouge", ["café", "rouge"]),
    ],
)
def test_words_of_other_scripts_keep_their_marks(caption, words):
    assert caption_words(caption) == [unicodedata.normalize("NFC", word) for word in words]


def test_no_sentence_without_spaces_is_one_word():
    for sentence in ("一只棕色的狗在沙滩上奔跑", "สุนัขสีน้ำตาลวิ่งอยู่บนชายหาด", "ພາສາລາວ", "子犬がボールをくわえている"):
        assert max(map(len, caption_words(sentence))) < len(sentence) / 2
        assert "".join(caption_words(sentence)) == sentence


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_ascii_words_are_the_tokenizer_s(text):
    tokens = tokenize(text)
    words = iter(tokens)
    assert all(word in words for word in caption_words(text)), "in the same order, some left out"


@given(st.text("aé\u0301ก\u0e34犬のボ दौ'\u2019 .", max_size=20))
def test_every_word_has_a_letter_and_canonical_spellings_count_alike(text):
    words = caption_words(text)
    assert all(any(map(str.isalnum, word)) for word in words)
    assert words == caption_words(unicodedata.normalize("NFD", text))


@pytest.mark.parametrize(
    ("caption", "script"),
    [
        ("a café", ""),
        ("एक कुत्ता", ""),
        ("개가 달린다", ""),
        ("一只狗", "Chinese or Japanese"),
        ("a dog いぬ", "Chinese or Japanese"),
        ("สุนัข", "Thai"),
        ("ໝາ", "Lao"),
        ("ឆ្កែ", "Khmer"),
        ("ခွေး", "Burmese"),
    ],
)
def test_scripts_without_spaces_are_known_by_name(caption, script):
    assert script_without_spaces(caption) == script
