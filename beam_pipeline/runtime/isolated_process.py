"""Work on untrusted bytes in a process of its own, so that a crash, a hang or a hoard of memory costs one answer.

`IsolatedProcess` starts a small interpreter, which calls `main` here and loads a handler by its name. Requests go to it
and answers come back as messages over its standard input and output. This module imports neither Beam nor TensorFlow,
and no handler should: so a process starts in a fraction of a second and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from beam_pipeline.runtime.python_process import end_with_parent, python_command
from training.clock import time_limit
from training.errors import JobFailed

# Serves one request: parts of it -> parts of the answer. Raises `Refused` where it cannot.
Handler = Callable[..., Sequence[bytes]]

# To glibc, in bytes: what one request frees is kept for the next. To return it to the system and get it again takes a
# quarter of the time of a small picture.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}

# All that such a process learns of the environment: nothing that would be worth stealing.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ", "LANG", "LANGUAGE")

_START_SECONDS = 120.0  # after which a process that has not said that it is ready never will

# A message: its kind and the number of its parts, then each part after its size in bytes.
_HEADER = struct.Struct("<cB")
_SIZE = struct.Struct("<Q")
_REQUEST = b"Q"
_READY, _BROKEN = b"R", b"B"  # first message of the process: it has started, or why it cannot
_ANSWER, _REFUSED = b"A", b"X"  # a request has been served, or why it cannot be

_PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>

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

    def __init__(self, status: int, overdue: bool = False):
        super().__init__(cause_of_death(status))
        self.too_slow = overdue or status == -signal.SIGPROF


def cause_of_death(status: int) -> str:
    """Exit status of a process, negative for a signal -> what it died of, for a person."""
    if status >= 0:
        return f"exit status {status}"
    return f"signal {-status}, {signal.strsignal(-status)}".lower()


@dataclass(frozen=True)
class RequestLimits:
    """What one request may cost.

    Attributes:
      processor_seconds: processor time. A busy machine does not count against it.
      clock_seconds: time by the clock, which ends a process that sleeps or is stopped. Time in which the whole job is
        stopped does not count.
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
      JobFailed: the process cannot be started.
    """

    def __init__(self, handler: str, arguments: Sequence[Any], limits: RequestLimits):
        self._limits = limits
        try:
            self._process = subprocess.Popen(
                python_command(f"{__name__}:{main.__name__}", [handler, arguments, asdict(limits), os.getpid()]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries complain there about every odd file
                cwd="/",
                env=_environment(),
            )
        except OSError as error:  # no more processes, memory or file descriptors
            raise JobFailed(f"a process for {handler} cannot be started: {error.strerror}") from error
        assert self._process.stdin and self._process.stdout
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]
        try:
            kind, parts = self._exchange(_START_SECONDS)
            problem = parts[0].decode() if kind == _BROKEN else ""
        except ProcessDied as death:
            problem = f"{death} at its start"
        if problem:
            self.close()
            raise JobFailed(f"a process for {handler} cannot be started: {problem}")

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
            kind, answer = self._exchange(self._limits.clock_seconds, parts)
        except BaseException:  # interrupted while an answer was on its way: nobody else may read it
            self.close()
            raise
        if kind == _REFUSED:
            raise Refused(answer[0].decode())
        return answer

    def _exchange(self, seconds: float, request: Sequence[bytes] | None = None) -> tuple[bytes, list[bytes]]:
        """Sends a request, if there is one, and waits for the next message -> its kind and its parts."""
        with time_limit(seconds, self._process.kill) as limit:
            message = None
            with contextlib.suppress(BrokenPipeError):
                if request is not None:
                    _send(self._requests, _REQUEST, request)
                message = _receive(self._answers)
            status = self._reap() if message is None else 0
        if message is None:
            raise ProcessDied(status, limit.is_over)
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


def _environment() -> dict[str, str]:
    passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("LC_")}
    # No handler multiplies matrices, but numpy would start as many threads for it as there are processors.
    return {**_KEEP_FREED_MEMORY, **passed_on, "OPENBLAS_NUM_THREADS": "1"}


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


def main(handler: str, arguments: list[Any], limits: dict[str, Any], parent: int) -> None:
    """Serves requests until the input ends; the arguments are those of `IsolatedProcess`, and the id of its process."""
    _renounce_privileges()
    end_with_parent(parent)
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
        _limit_processor_time(limits.processor_seconds)
        try:
            kind, answer = _ANSWER, handle(*parts)
        except Refused as refusal:
            kind, answer = _REFUSED, [_text(str(refusal))]
        except MemoryError:
            kind, answer = _REFUSED, [b"does not fit in memory"]
        _limit_processor_time(0)
        del message, parts
        _send(answers, kind, answer)


def _limit_processor_time(seconds: float) -> None:
    # The signal's default action ends the process even inside a C loop, and also when nobody waits for it any more.
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _text(reason: str) -> bytes:
    return reason.encode(errors="replace")


def _take_standard_output() -> BinaryIO:
    """The pipe to the parent; what a library prints must not get into it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _renounce_privileges() -> None:
    """Has the system give this process, and what it may start, no right that it has not yet: no set-user-ID program."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        zero = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)


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
