"""Time by the clock passes for a limit, but not while the whole process is stopped."""

import os
import signal
import subprocess
import sys
import threading
import time

from training.clock import time_limit

SCRIPT = """
import os, signal, time
from training.clock import time_limit

with time_limit(0.8, lambda: None) as limit:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.3)
    print(limit.is_over)
"""


def test_what_takes_too_long_is_told_once():
    over = threading.Event()
    with time_limit(0.01, over.set) as limit:
        assert over.wait(10)
        assert limit.is_over


def test_a_limit_that_is_left_in_time_does_nothing():
    over = threading.Event()
    with time_limit(0.4, over.set) as limit:
        pass
    time.sleep(1)
    assert not over.is_set() and not limit.is_over


def test_time_in_which_the_job_is_stopped_does_not_count():
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        assert process.communicate()[0] == "False\n"
