"""Handlers that do what a request says; they run in isolated processes only."""

import os
import resource
import time

from beam_pipeline.runtime.isolated_process import Refused


def start(greeting):
    hoard = []

    def handle(word, *rest):
        if word == b"refuse":
            raise Refused("not this\udcff one")
        if word == b"exit":
            os._exit(3)
        if word == b"sleep":
            time.sleep(3600)
        if word == b"loop":
            while True:
                pass
        if word == b"hoard":
            while True:
                hoard.append(bytes(1 << 26))
        if word == b"print":
            os.write(1, b"chatter of a library")
        if word == b"limit":
            return [b"%d" % resource.getrlimit(resource.RLIMIT_AS)[0]]
        return [greeting.encode(), word, *rest]

    return handle
