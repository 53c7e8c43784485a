"""A Flink cluster on loopback: a JobManager and two TaskManagers, each of which starts Python workers of its own.

Flink and Beam's job server come from Maven Central (`pom.xml`), once for a machine. Flink's own scripts, which only
work out memory sizes and Java options, are not in Maven's parts of it; both stand here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POM = Path(__file__).with_name("pom.xml")
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# What Flink reaches into by reflection, as its own configuration lists it for Java 17.
OPENED = (
    "lang",
    "net",
    "io",
    "nio",
    "lang.reflect",
    "text",
    "time",
    "util",
    "util.concurrent",
    "util.concurrent.atomic",
)
JAVA_OPTIONS = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED]
JAVA_OPTIONS += ["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-exports=java.base/sun.net.util=ALL-UNNAMED"]
# These processes live for a minute, in which compiling at length does not pay.
SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]

# What a worker image's boot program does, without fetching what is installed here.
WORKER = f"""#!{sys.executable}
import os, sys
log = os.open(f"{{sys.argv[0]}}-{{os.getpid()}}.log", os.O_CREAT | os.O_WRONLY)
os.dup2(log, 1), os.dup2(log, 2)
given = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
sys.path.insert(0, {str(ROOT)!r})
import grpc
from apache_beam.portability.api import beam_provision_api_pb2 as messages, beam_provision_api_pb2_grpc as services
from apache_beam.runners.worker.sdk_worker import SdkHarness
with grpc.insecure_channel(given["provision_endpoint"]) as channel:
    ask = services.ProvisionServiceStub(channel).GetProvisionInfo
    info = ask(messages.GetProvisionInfoRequest(), metadata=[("worker_id", given["id"])]).info
control = info.control_endpoint.url
SdkHarness(control, worker_id=given["id"], state_cache_size=0, data_buffer_time_limit_ms=-1).run()
"""


def missing_parts() -> str:
    """What this machine lacks to run a cluster; empty where it has all."""
    return ", ".join(program for program in ("java", "mvn") if not shutil.which(program))


def class_path(folder: Path) -> str:
    """Has Maven resolve Flink and the job server -> Java's class path."""
    found = folder / "class_path"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath"
    command = ["mvn", "-q", "-B", "-f", str(POM), goal, f"-Dmdep.outputFile={found}", "-Dmdep.includeScope=runtime"]
    environment = {"MAVEN_OPTS": " ".join(SHORT_LIVED), **os.environ}
    for attempt in range(3):  # a registry may refuse now and then
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        if done.returncode == 0:
            return found.read_text().strip()
        time.sleep(10 * attempt)
    raise AssertionError(f"Maven could not resolve {POM}: {done.stdout[-2000:]}")


def job_server_jar(folder: Path, classes: str) -> Path:
    """Class path -> a jar that holds nothing but it, for `--flink_job_server_jar`."""
    jar = folder / "job-server.jar"
    entry = "Class-Path: " + " ".join(Path(name).as_uri() for name in classes.split(os.pathsep))
    # A line of a manifest has 72 bytes at most; a longer one goes on after a space.
    lines = [entry[:70], *(" " + entry[at : at + 69] for at in range(70, len(entry), 69))]
    with zipfile.ZipFile(jar, "w") as file:
        manifest = ["Manifest-Version: 1.0", f"Main-Class: {JOB_SERVER}", *lines]
        file.writestr("META-INF/MANIFEST.MF", "".join(line + "\r\n" for line in manifest))
    return jar


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class FlinkCluster:
    """Starts on construction; `close` ends all its processes.

    Args:
      folder: for configuration and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.classes = class_path(folder)
        self.jar = job_server_jar(folder, self.classes)
        self.rest = free_port()
        (folder / "worker").write_text(WORKER)
        (folder / "worker").chmod(0o755)
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest,
            "io.tmp.dirs": folder,
            "classloader.resolve-order": "parent-first",
            "taskmanager.numberOfTaskSlots": 2,
            "cluster.evenly-spread-out-slots": "true",  # else one TaskManager could have all the work
            "taskmanager.cpu.cores": 1,
            "taskmanager.memory.task.heap.size": "256m",
            "taskmanager.memory.task.off-heap.size": "64m",
            "taskmanager.memory.managed.size": "128m",
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "64m",
            "taskmanager.memory.jvm-metaspace.size": "128m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
            "taskmanager.memory.network.min": "256m",
            "taskmanager.memory.network.max": "256m",
            # Each of a pipeline's shuffles that run at a time takes so many buffers of 32 KiB; the default is 512.
            "taskmanager.network.sort-shuffle.min-buffers": 64,
            # A killed TaskManager is missed after seconds, not after the default minute.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 8000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 5,
            "restart-strategy.fixed-delay.delay": "1 s",
        }
        (folder / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        self.processes: list[subprocess.Popen] = []
        self.started = 0
        try:
            self._start_java("job-manager", JOB_MANAGER)
            self.task_managers: list[subprocess.Popen] = []
            self.complete()
        except BaseException:
            self.close()
            raise

    def options(self) -> list[str]:
        """Beam's options to run there, with two workers."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master=127.0.0.1:{self.rest}",
            f"--flink_job_server_jar={self.jar}",
            "--parallelism=2",
            "--environment_cache_millis=60000",  # else each stage of a pipeline starts workers anew
            "--environment_type=PROCESS",
            f"--environment_config={json.dumps({'command': str(self.folder / 'worker')})}",
        ]

    def kill_task_manager(self) -> None:
        """SIGKILL, as a machine that loses its power."""
        killed = self.task_managers.pop(0)
        killed.kill()
        self.processes.remove(killed)

    def complete(self) -> None:
        """Starts a TaskManager in the place of one that was killed."""
        while len(self.task_managers) < 2:
            self.task_managers.append(self._start_task_manager())
        self._wait_for_task_managers()

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{path}", timeout=10) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict]:
        """Jobs of the cluster, the newest last."""
        return sorted(self.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start_java(self, name: str, main: str) -> subprocess.Popen:
        memory = ["-Xmx512m", "-XX:MaxDirectMemorySize=512m"]
        command = ["java", *memory, *SHORT_LIVED, *JAVA_OPTIONS, main, "--configDir", str(self.folder)]
        # The class path is a variable, since as an argument it could be too long.
        environment = {**os.environ, "CLASSPATH": self.classes, "TF_CPP_MIN_LOG_LEVEL": "3"}
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        self.processes.append(process)
        return process

    def _start_task_manager(self) -> subprocess.Popen:
        self.started += 1
        return self._start_java(f"task-manager-{self.started}", TASK_MANAGER)

    def _wait_for_task_managers(self) -> None:
        """Until the JobManager knows all of them."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if dead := [process for process in self.processes if process.poll() is not None]:
                raise AssertionError(f"{dead[0].args[-3:]} ended with {dead[0].returncode}; logs in {self.folder}")
            with contextlib.suppress(OSError):
                if self.ask("overview")["taskmanagers"] == len(self.task_managers):
                    return
            time.sleep(0.5)
        raise AssertionError(f"the cluster is not complete after 120 s; logs in {self.folder}")


@pytest.fixture(scope="session")
def flink_cluster(tmp_path_factory):
    if missing := missing_parts():
        pytest.skip(f"a Flink cluster needs {missing}")
    cluster = FlinkCluster(tmp_path_factory.mktemp("flink"))
    yield cluster
    cluster.close()


@pytest.fixture
def flink(flink_cluster):
    """The cluster with both TaskManagers, whatever a test before did to them."""
    flink_cluster.complete()
    return flink_cluster
