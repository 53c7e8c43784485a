"""Work on untrusted bytes in a process of its own, so that a crash, a hang or a hoard of memory costs one answer.

`IsolatedProcess` starts a small interpreter, which calls `main` here and loads a handler by its name. Requests go to it
and answers come back as messages over its standard input and output. This module imports neither Beam nor TensorFlow,
and no handler should: so a process starts in a fraction of a second and stays small.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

# Serves one request: parts of it -> parts of the answer. Raises `Refused` where it cannot.
Handler = Callable[..., Sequence[bytes]]

_START = """
import json, sys
path, module, *arguments = json.loads(sys.argv[1])
sys.path[:] = path
import importlib
importlib.import_module(module).main(*arguments)
"""

# To glibc, in bytes: what one request frees is kept for the next. To return it to the system and get it again takes a
# quarter of the time of a small picture.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}

# A message: its kind and the number of its parts, then each part after its size in bytes.
_HEADER = struct.Struct("<cB")
_SIZE = struct.Struct("<Q")
_REQUEST = b"Q"
_READY, _BROKEN = b"R", b"B"  # first message of the process: it has started, or why it cannot
_ANSWER, _REFUSED = b"A", b"X"  # a request has been served, or why it cannot be

# By these signals a process ends whose request took too long, by processor time or by the clock.
_TIMERS = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}

# Isolated work takes what the encoder leaves of the processors: at equal rights its threads would wait for one another
# while one of them is off. When it waits for pictures instead, isolated work has everything.
_NICENESS = 10


class Refused(Exception):
    """A handler cannot serve a request; the message is the reason, for a person."""


class ProcessDied(Exception):
    """The process ended in the middle of a request; the message is the cause, for a person.

    Attributes:
      too_slow: whether it ended because the request took too long.
    """

    def __init__(self, status: int):
        if status >= 0:
            super().__init__(f"exit status {status}")
        else:
            super().__init__(f"signal {-status}, {signal.strsignal(-status)}".lower())
        self.too_slow = -status in _TIMERS.values()


@dataclass(frozen=True)
class RequestLimits:
    """What one request may cost.

    Attributes:
      processor_seconds: processor time. A busy machine does not count against it.
      clock_seconds: time by the clock, which ends a process that sleeps.
      memory_bytes: memory beyond what the process has when it has started.
      memory_per_byte: bytes of memory for each byte of the request, in addition.
    """

    processor_seconds: float
    clock_seconds: float
    memory_bytes: int
    memory_per_byte: int = 0


class IsolatedProcess:
    """One process that serves one request at a time.

    Args:
      handler: `module:function`; the function takes the arguments and returns a `Handler`. It is called in the process.
      arguments: of the function; what JSON can hold.
      limits: of each request.

    Raises:
      RuntimeError: the process cannot be started.
    """

    def __init__(self, handler: str, arguments: Sequence[Any], limits: RequestLimits):
        command = [sys.executable, "-c", _START, json.dumps([sys.path, __name__, handler, arguments, asdict(limits)])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries complain there about every odd file
            env={**_KEEP_FREED_MEMORY, **os.environ},
        )
        assert self._process.stdin and self._process.stdout
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]
        try:
            kind, parts = self._receive()
            problem = parts[0].decode() if kind == _BROKEN else ""
        except ProcessDied as death:
            problem = f"{death} at its start"
        if problem:
            self.close()
            raise RuntimeError(f"a process for {handler} cannot be started: {problem}")

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def request(self, *parts: bytes) -> list[bytes]:
        """Parts of a request -> parts of the answer.

        Raises:
          Refused: the handler refused the request, or had not enough memory; the process goes on.
          ProcessDied: it has ended.
        """
        try:
            try:
                _send(self._requests, _REQUEST, parts)
            except BrokenPipeError:
                raise ProcessDied(self._reap()) from None
            kind, answer = self._receive()
        except BaseException:  # interrupted while an answer was on its way: nobody else may read it
            self.close()
            raise
        if kind == _REFUSED:
            raise Refused(answer[0].decode())
        return answer

    def _receive(self) -> tuple[bytes, list[bytes]]:
        message = _receive(self._answers)
        if message is None:
            raise ProcessDied(self._reap())
        return message

    def _reap(self) -> int:
        """Closes the pipes of a process that is ending -> its exit status."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        return self._process.wait()

    def close(self) -> None:
        """Ends the process, which holds nothing that could be lost; may be called again."""
        self._process.kill()
        self._reap()


def _send(stream: BinaryIO, kind: bytes, parts: Sequence[bytes]) -> None:
    stream.write(_HEADER.pack(kind, len(parts)))
    for part in parts:
        stream.write(_SIZE.pack(len(part)))
        stream.write(part)
    stream.flush()


def _receive(stream: BinaryIO) -> tuple[bytes, list[bytes]] | None:
    """Next message of a stream -> its kind and its parts; None where the other side is gone."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, count = _HEADER.unpack(header)
    parts = []
    for _ in range(count):
        packed = stream.read(_SIZE.size)
        if len(packed) < _SIZE.size:
            return None
        (size,) = _SIZE.unpack(packed)
        part = stream.read(size)
        if len(part) < size:
            return None
        parts.append(part)
    return kind, parts


# What follows runs in the process.


def main(handler: str, arguments: list[Any], limits: dict[str, Any]) -> None:
    """Serves requests until the input ends; the arguments are those of `IsolatedProcess`."""
    requests, answers = sys.stdin.buffer, _take_standard_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here and leaves nothing behind
    _offer_to_the_oom_killer()
    os.nice(_NICENESS)
    try:
        module, _, function = handler.partition(":")
        handle: Handler = getattr(importlib.import_module(module), function)(*arguments)
    except Exception as error:
        _send(answers, _BROKEN, [_text(repr(error))])
        return
    _send(answers, _READY, [])
    _serve(requests, answers, handle, RequestLimits(**limits))


def _serve(requests: BinaryIO, answers: BinaryIO, handle: Handler, limits: RequestLimits) -> None:
    own_memory = _address_space()
    while message := _receive(requests):
        _, parts = message
        size = sum(map(len, parts))
        _limit_memory(own_memory + limits.memory_bytes + limits.memory_per_byte * size)
        _set_timers(limits.processor_seconds, limits.clock_seconds)
        try:
            kind, answer = _ANSWER, handle(*parts)
        except Refused as refusal:
            kind, answer = _REFUSED, [_text(str(refusal))]
        except MemoryError:
            kind, answer = _REFUSED, [b"does not fit in memory"]
        _set_timers(0, 0)
        del message, parts
        _send(answers, kind, answer)


def _set_timers(processor_seconds: float, clock_seconds: float) -> None:
    # Their default action ends the process even inside a C loop, and also when nobody waits for it any more.
    signal.setitimer(signal.ITIMER_PROF, processor_seconds)
    signal.setitimer(signal.ITIMER_REAL, clock_seconds)


def _text(reason: str) -> bytes:
    return reason.encode(errors="replace")


def _take_standard_output() -> BinaryIO:
    """The pipe to the parent; what a library prints must not get into it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _offer_to_the_oom_killer() -> None:
    # When memory runs out, this process is to die and not the job.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _address_space() -> int:
    """Bytes of address space that the process has now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit_memory(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS has the limit and does not take it
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))
