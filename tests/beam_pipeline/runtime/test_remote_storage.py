"""A store that does not answer is an error with its reason, within seconds, and a request costs no new description."""

import socket
import time

import pytest
from apache_beam.io.aws.s3io import S3IO
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.runtime import remote_storage


def test_a_store_that_accepts_and_says_nothing_is_not_waited_for(monkeypatch):
    config = pytest.importorskip("botocore.config", reason="needs boto3, the extra s3")
    assert config.Config.OPTION_DEFAULTS["read_timeout"] == remote_storage._ANSWER_SECONDS
    monkeypatch.setitem(config.Config.OPTION_DEFAULTS, "read_timeout", 0.2)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        remote_storage.use_options(PipelineOptions([f"--s3_endpoint_url={address}"]))
        began = time.monotonic()
        with pytest.raises(OSError, match="Read timeout on endpoint URL"):
            remote_storage.find_files("s3://bucket/*")
        assert time.monotonic() - began < 10


def test_clients_share_the_descriptions_of_s3(monkeypatch):
    loaders = pytest.importorskip("botocore.loaders", reason="needs boto3, the extra s3")
    options = {"s3_region_name": "us-east-1", "s3_access_key_id": "x", "s3_secret_access_key": "x"}
    S3IO(options=options)
    monkeypatch.setattr(loaders.JSONFileLoader, "load_file", None)
    S3IO(options=options)
