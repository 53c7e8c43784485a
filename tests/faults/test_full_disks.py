"""Full disks and failing writes: one line and exit status 1, and the next run ends as if nothing had been."""

import os
import random
import subprocess

import pytest

pytestmark = pytest.mark.faults

JOBS = ["extract", "train", "caption"]


def finish(server, undisturbed, files_of, name, options) -> None:
    status, job = server.run(name, options)
    assert status == 0, job.said()
    assert files_of(options["output"]) == undisturbed.files[name]


def assert_told(status: int, job, output: str) -> None:
    """One line at the end, which says what cannot be written and what to do, and no stack trace."""
    said = job.said()
    assert status == 1, said
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert "cannot be written" in last and (output in last or "TMPDIR" in last), said
    assert "run again" in last or "choose another directory" in last, said


@pytest.mark.parametrize("name", JOBS)
def test_files_may_not_grow(server, undisturbed, files_of, tmp_path, name):
    """A limit on the size of files, as a quota sets one: some writes are cut short in their middle."""
    options = {**undisturbed.options[name], "output": str(tmp_path / "out")}
    sizes = sorted(map(len, undisturbed.files[name].values()))
    status, job = server.run(name, options, {"file_bytes": sizes[-1] // 2})
    assert_told(status, job, options["output"])
    finish(server, undisturbed, files_of, name, options)


@pytest.mark.parametrize("name", ["extract", "caption"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.97])
def test_the_disk_is_full_from_some_moment_on(server, undisturbed, files_of, tmp_path, name, part):
    options = {**undisturbed.options[name], "output": str(tmp_path / "out")}
    fault = {"fail_at": int(part * undisturbed.points[name]), "times": 10**6}
    status, job = server.run(name, options, fault)
    assert_told(status, job, options["output"])
    finish(server, undisturbed, files_of, name, options)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["extract", "caption"])
def test_a_single_write_fails(server, undisturbed, files_of, tmp_path, name, seed):
    """Beam may try the bundle again: then the job ends well at once."""
    options = {**undisturbed.options[name], "output": str(tmp_path / "out")}
    point = random.Random(f"{name} {seed}").randrange(undisturbed.points[name])
    status, job = server.run(name, options, {"fail_at": point, "times": 1})
    if status:
        assert_told(status, job, options["output"])
    finish(server, undisturbed, files_of, name, options)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory, start_server):
    """(server, disk): jobs that see a file system of 16 MiB, and the folder through which the test sees it."""
    folder = tmp_path_factory.mktemp("small") / "disk"
    folder.mkdir()
    mount = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=16m none "$0" && exec "$@"')
    if subprocess.run([*mount, str(folder), "true"], capture_output=True).returncode:
        pytest.skip("needs `unshare --map-root-user --mount` to mount a small disk")
    server = start_server(tmp_path_factory.mktemp("small jobs"), (*mount, str(folder)))
    yield server, folder
    server.close()


@pytest.mark.parametrize("name", JOBS)
def test_a_small_disk_is_full(small_disk, undisturbed, files_of, name):
    """A real file system with room for half of the output; then room is made."""
    server, folder = small_disk
    seen = server.folder_inside(folder)
    options = {**undisturbed.options[name], "output": str(folder / name)}
    ballast = seen / f"ballast of {name}"
    free = os.statvfs(seen).f_bavail * os.statvfs(seen).f_frsize
    ballast.write_bytes(bytes(free - sum(map(len, undisturbed.files[name].values())) // 2))
    status, job = server.run(name, options)
    assert_told(status, job, options["output"])
    ballast.unlink()
    status, job = server.run(name, options)
    assert status == 0, job.said()
    assert files_of(str(seen / name)) == undisturbed.files[name]
