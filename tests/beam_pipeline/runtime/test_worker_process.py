"""A worker process asks no proxy for the way to its job."""

import os

import pytest

from beam_pipeline.runtime.worker_process import _WITHOUT_PROXY, _bypass_proxy

LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, LOOPBACK),
        ({"no_proxy": "a.org"}, f"a.org,{LOOPBACK}"),
        ({"no_proxy": "a.org", "no_grpc_proxy": "b.org"}, f"b.org,{LOOPBACK}"),
    ],
)
def test_the_loopback_is_added_to_what_is_reached_without_a_proxy(monkeypatch, given, used):
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.setenv(name, "")  # so that the fixture restores it
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    _bypass_proxy()
    assert os.environ[_WITHOUT_PROXY] == used
