import pytest

from training.decoding.settings import DecodingSettings, decoding_settings
from training.errors import UserError
from training.options import BEAM_WIDTH, GUIDANCE, DecodingOptions


def test_what_is_left_open_is_the_captioners(tiny_captioner, give_head):
    bare = tiny_captioner(min_words=2)
    headed = give_head(tiny_captioner())
    assert decoding_settings(bare, DecodingOptions()) == DecodingSettings(BEAM_WIDTH, 2, 0.0, None)
    assert decoding_settings(headed, DecodingOptions()) == DecodingSettings(BEAM_WIDTH, 1, GUIDANCE, None)
    asked = DecodingOptions(beam_width=5, min_words=4, guidance=0.0, judge="none")
    assert decoding_settings(headed, asked) == DecodingSettings(5, 4, 0.0, None)


def test_guidance_that_cannot_be_had_is_refused_only_where_it_was_asked_for(tiny_captioner):
    bare = tiny_captioner()
    assert decoding_settings(bare, DecodingOptions(guidance=0.0)).guidance == 0.0
    with pytest.raises(UserError, match=r"--guidance 0.5: .* has no word-presence head"):
        decoding_settings(bare, DecodingOptions(guidance=0.5))
