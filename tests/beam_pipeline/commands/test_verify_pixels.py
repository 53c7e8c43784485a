import hashlib

import numpy as np

from beam_pipeline.commands.verify_findings import Findings
from beam_pipeline.commands.verify_pixels import read_pixels
from beam_pipeline.options.limits import DecodeLimits


def test_the_first_file_that_still_holds_the_picture_is_read(tmp_path, jpeg):
    changed, kept = tmp_path / "changed.jpg", tmp_path / "kept.jpg"
    changed.write_bytes(jpeg((0, 0, 255)))
    kept.write_bytes(jpeg((255, 0, 0)))
    sha256 = hashlib.sha256(kept.read_bytes()).hexdigest()
    findings = Findings()
    files = [str(tmp_path / "gone.jpg"), str(changed), str(kept)]
    pixels = read_pixels(files, sha256, DecodeLimits(views=1), findings)
    assert pixels.shape == (2, 299, 299, 3) and pixels.dtype == np.uint8
    red, _, blue = pixels[0].mean(axis=(0, 1))
    assert red > 200 > 50 > blue
    assert findings.gone == 0


def test_a_picture_that_no_file_holds_any_more_is_counted(tmp_path):
    findings = Findings()
    assert read_pixels([str(tmp_path / "gone.jpg")], "0" * 64, DecodeLimits(), findings) is None
    assert findings.gone == 1
