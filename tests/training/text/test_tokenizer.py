import csv
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.text import tokenizer
from training.text.tokenizer import count_tokens, detokenize, has_words, is_word, tokenize

REPOSITORY = Path(__file__).resolve().parents[3]

# Text -> what Stanford's PTBTokenizer gives, lower-cased and without COCO's punctuation.
AS_STANFORD_CUTS_IT = {
    "A child in a pink dress is climbing up stairs .": "a child in a pink dress is climbing up stairs",
    "a black-and-white dog, running": "a black-and-white dog running",
    "the dog's ball": "the dog 's ball",
    "'dog' dogs' bowls": "dog dogs bowls",
    "don't can't won't cannot gonna": "do n't ca n't wo n't can not gon na",
    "he'd we're I've they'll I'm": "he 'd we 're i 've they 'll i 'm",
    "o'clock O'Brien 'n' rock": "o'clock o'brien 'n' rock",
    'he said "hello there" (yes) [no]': "he said hello there -lrb- yes -rrb- -lsb- no -rsb-",
    "Mr. Smith in the U.S. at 5 p.m.": "mr. smith in the u.s. at 5 p.m.",
    'the letter "P."': "the letter p.",
    "plan A. cats": "plan a. cats",
    "plan A. The dog runs": "plan a the dog runs",
    "no. 7 and no. No": "no. 7 and no no",
    "at&t &amp; R. B.": "at & t & r. b.",
    "#1 # 28 #hashtag @user": "# 1 # 28 #hashtag @user",
    "50% of $5.00 , 1,000 at 10:30": "50 % of $ 5.00 1,000 at 10:30",
    "a t-shirt , a 4-wheel and his/her x-ray": "a t-shirt a 4-wheel and his/her x-ray",
    "a dog... and a cat . . . and so… on ....": "a dog and a cat and so on",
    "what?!? wow!! hello!world": "what ?!? wow !! hello!world",
    "ice - cone -- stand --- end": "ice cone stand end",
    "me@x.com http://a.com/b www.foo.com": "me@x.com http://a.com/b www.foo.com",
    "null NA None nan true 007": "null na none nan true 007",
    "café naïve 中文": "café naïve 中文",
    "½ cup, £5, m²": "1/2 cup # 5 m ²",
    "80's '80s 1980s": "80 's '80s 1980s",
    "<unk> <start> </s>": "<unk> <start> </s>",
    "   spaced   out\ttab  ": "spaced out tab",
    "?? .. , . ; : ' `` -": "??",
    "": "",
}


@pytest.mark.parametrize("text", AS_STANFORD_CUTS_IT)
def test_tokens_are_those_of_stanfords_lexer(text):
    assert tokenize(text) == AS_STANFORD_CUTS_IT[text].split()


def test_curly_and_straight_apostrophes_are_one():
    assert tokenize("the dog\u2019s ball, don\u2019t") == tokenize("the dog's ball, don't")
    assert tokenize("\u2018dog\u2019 and \u201cdog\u201d") == ["dog", "and", "dog"]


# Text -> tokens that stay as they are, where the lexer would cut its own tokens further.
STABLE = {
    "AT&T, R&B and US$5": "at & t r & b and us $ 5",
    "a dog., a cat": "a dog a cat",
    "he is Ill.": "he is ill",
    "(yes) [no] {x} :)": "-lrb- yes -rrb- -lsb- no -rsb- -lcb- x -rcb- :-rrb-",
    "'tis y'all": "'t is y' all",
    "\u0130stanbul": "i\u0307stanbul",
    "e\u00ad\u0301t\u00e9": "\u00e9t\u00e9",
    "stra\u00dfe STRASSE \u1e9e": "stra\u00dfe strasse \u00df",
    "\u03a3\u0391\u03a3 \ufb01sh": "\u03c3\u03b1\u03c2 \ufb01sh",
    "I\u0131 i\u0307": "i\u0131 i\u0307",
    "&amp;amp; 7\u00b2": "& amp 7 \u00b2",
}


@pytest.mark.parametrize("text", STABLE)
def test_tokens_that_the_lexer_would_cut_again_stay_as_they_are(text):
    assert tokenize(text) == STABLE[text].split() == tokenize(STABLE[text])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("एक भूरा कुत्ता दौड़ता है।", "एक भूरा कुत्ता दौड़ता है"),
        ("مُعَلِّمٌ يجري", "مُعَلِّمٌ يجري"),
        ("ஒரு நாய் ஓடுகிறது", "ஒரு நாய் ஓடுகிறது"),
        ("כֶּלֶב חוּם רָץ", "כֶּלֶב חוּם רָץ"),
        ("একটি বাদামী কুকুর", "একটি বাদামী কুকুর"),
        ("می\u200cدود\u200c سگ", "می\u200cدود \u200c سگ"),
        ("क्\u200dष र\u200d्य", "क्\u200dष र\u200d्य"),
        ("Một con chó", "một con chó"),
        ("x\u0302 \u0307 9\u20e3", "x\u0302 \u0307 9\u20e3"),
    ],
)
def test_combining_marks_stay_with_their_letters(text, tokens):
    words = [unicodedata.normalize("NFC", word) for word in tokens.split()]
    assert [word for word in tokenize(text) if is_word(word) or word in words] == words


def test_invisible_characters_do_not_reach_a_word():
    assert tokenize("\ufeffA dog\r\n") == ["a", "dog"]
    assert tokenize("zero\u200bwidth soft\u00adhyphen") == ["zero", "width", "softhyphen"]


def test_composed_and_decomposed_letters_are_one_word():
    assert tokenize("Mu\u0308nchen") == tokenize("M\u00fcnchen") == ["m\u00fcnchen"]


def test_detokenize_gives_a_caption_to_read():
    assert detokenize(["the", "dog", "'s", "ball", "does", "n't", "roll"]) == "the dog's ball doesn't roll"
    assert detokenize(["'s"]) == "'s"


def test_what_a_caption_may_say():
    assert is_word("dog") and is_word("t-shirt") and is_word("007") and is_word("'s")
    assert not any(map(is_word, ["-lrb-", "-rsb-", "&", "#", "?!", ":-rrb-"]))


@pytest.mark.parametrize(
    "text", ["", ".", "!", '""', " , ; ", "\U0001f415", "\u2600\ufe0f", "(:", "&nbsp;", "\u2014", "\u0301"]
)
def test_a_caption_without_a_letter_or_digit_has_no_word(text):
    assert not has_words(text)
    assert has_words(f"{text} dog") and has_words(f"{text} 7")


def test_tokens_are_counted_over_all_captions():
    assert count_tokens(["A dog.", "a cat"]) == {"a": 2, "dog": 1, "cat": 1}


@given(st.text())
def test_any_text_gives_lower_case_words_without_spaces(text):
    for token in tokenize(text):
        assert token and not any(character in token for character in " \t\r\n\ufeff")


pieces = st.text(
    st.sampled_from("aAtSİıßΣſe1.,:;!?'`\"-_/&#@$<>()[]\u0301\u0307\u200d\u00ad½²…—क्त犬ก\u0e34م\u064f☀ ")
) | st.sampled_from(
    [
        "n't",
        "'tis",
        "can",
        "not",
        "U.S.",
        "Ill.",
        "No.",
        "&amp;",
        "&lt;",
        "-lrb-",
        ":-)",
        "'80s",
        "The",
        "www.a.com",
        "1-1",
        " ",
    ]
)


@given(st.text() | st.lists(pieces).map("".join))
def test_tokens_joined_by_spaces_have_these_tokens(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@pytest.mark.parametrize("piece", ["1-", "a'", "-1", "a/", "A&", "&", "a.\u0301", "\u200d", "<!-", "."])
def test_long_text_without_a_space_takes_linear_time(piece, monkeypatch):
    """Each call of the quadratic part gets a bounded text; one way to match keeps that part from being exponential."""
    lengths = []
    cut = tokenizer._split_chunk
    monkeypatch.setattr(
        tokenizer, "_split_chunk", lambda chunk, **flags: lengths.append(len(chunk)) or cut(chunk, **flags)
    )
    tokenize(piece * 5000)
    assert max(lengths) <= 1000


@given(st.lists(st.sampled_from(["a", "dog", "t-shirt", "'s", "n't", "'ll", "can", "u.s.", "'s", "red"])))
def test_detokenize_is_undone_by_tokenize_or_joins_nothing(tokens):
    text = detokenize(tokens)
    assert tokenize(text) == tokens or text == " ".join(tokens)


def test_every_flickr8k_caption_is_cut_as_the_java_tokenizer_cuts_it():
    data = Path(os.environ.get("CAPTIONBEAM_DATA") or REPOSITORY.parent / "shared" / "data")
    path = data / "flickr8k" / "captions.txt"
    if not path.exists():
        pytest.skip(f"no {path}; set CAPTIONBEAM_DATA to a folder that holds flickr8k/captions.txt")
    if shutil.which("java") is None:
        pytest.skip("no java on the PATH to compare with")
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with path.open(encoding="utf-8", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    theirs = PTBTokenizer().tokenize({number: [{"caption": text}] for number, text in enumerate(captions)})
    different = [text for number, text in enumerate(captions) if tokenize(text) != theirs[number][0].split()]
    assert different == []
