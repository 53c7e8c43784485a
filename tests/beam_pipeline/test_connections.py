"""Where a job connects to: nowhere, if all that it is given lies on this machine."""

import socket
import sys

CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
asked: list[tuple[str, str]] = []
watching = False


def watch(event, arguments):
    if watching and event in CONNECTIONS:
        asked.append((event, repr(arguments)))


def test_extract_connects_to_nothing(run_extract, monkeypatch):
    sys.addaudithook(watch)  # stays for the process
    monkeypatch.setattr(sys.modules[__name__], "watching", True)
    assert run_extract().totals["done"] == 20
    assert [one for one in asked if "127.0.0.1" not in one[1]] == []
    socket.getaddrinfo("192.0.2.1", 80)  # a number, so nobody is asked for it
    assert "192.0.2.1" in asked[-1][1], "the test sees connections"
