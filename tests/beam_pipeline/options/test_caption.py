import pytest

from beam_pipeline.options.caption import CaptionOptions
from training.errors import UserError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "caption: give either --images or --features"),
        ({"images": "photos", "features": "features"}, "caption: give either --images or --features"),
        ({"features": "features", "exclude": ("*.gif",)}, "--exclude: goes with --images"),
        ({"images": "photos", "alternatives": 3, "beam_width": 3}, "--alternatives 3: --beam-width 3 gives at most 2"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        CaptionOptions(captioner="captioner", output="captions", **options)


def test_as_many_alternatives_as_the_beam_holds_beside_the_best_are_taken():
    options = CaptionOptions(captioner="captioner", output="captions", images="photos", alternatives=2, beam_width=3)
    assert (options.alternatives, options.beam_width) == (2, 3)
