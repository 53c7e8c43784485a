import subprocess
import sys

import pytest

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.extras import require
from training.errors import UserError


def test_a_package_that_is_there_is_not_imported():
    code = "import sys; from beam_pipeline.runtime.extras import require; require('wave', '', ''); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "beam_pipeline.runtime.extras" in modules
    assert "wave" not in modules


def test_a_missing_package_names_purpose_and_extra():
    with pytest.raises(UserError) as raised:
        require("no_such_package", "heif", "--option")
    assert str(raised.value) == (
        "--option: the package no_such_package is not installed; "
        "run pip install '.[heif]' in the checkout of captionbeam"
    )


def test_an_s3_address_without_boto3_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UserError, match=r"s3://bucket/x: the package boto3 is not installed; .*'\.\[s3\]'"):
        storage.exists("s3://bucket/x")
