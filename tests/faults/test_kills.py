"""`extract`, `train`, `caption` killed by SIGKILL at seeded moments: the same command then ends as if undisturbed."""

import random
import signal

import pytest

pytestmark = pytest.mark.faults


def kill_and_finish(server, undisturbed, files_of, tmp_path, name: str, kills: int, seed: int) -> None:
    """Kills `kills` runs, one to three of an output, most at a fault point and the rest some moment after one."""
    draw = random.Random(f"{name} {seed}")
    stage, killed, output_number = name.split()[0], 0, 0
    while killed < kills:
        output_number += 1
        options = {**undisturbed.options[name], "output": str(tmp_path / str(output_number))}
        for _ in range(draw.randint(1, min(3, kills - killed))):
            if draw.random() < 0.6:
                status, job = server.run(stage, options, {"kill_at": draw.randrange(undisturbed.points[name])})
                assert status in (0, -signal.SIGKILL), job.said()
            else:
                status = server.kill_after(stage, options, draw.randrange(undisturbed.points[name]))
                assert status in (0, -signal.SIGKILL)
            killed += status != 0
        status, job = server.run(stage, options)
        assert status == 0, job.said()
        assert_same(files_of(options["output"]), undisturbed.files[name])


def assert_same(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert files.keys() == expected.keys()
    assert [name for name in files if files[name] != expected[name]] == []


STAGES = [("extract", 3), ("train", 2), ("caption", 2), ("caption of features", 1)]
MANY = [("extract", 20), ("train", 14), ("caption", 14), ("caption of features", 8)]


@pytest.mark.parametrize(("name", "kills"), STAGES)
def test_a_killed_job_ends_as_if_undisturbed(server, undisturbed, files_of, tmp_path, name, kills):
    kill_and_finish(server, undisturbed, files_of, tmp_path, name, kills, seed=0)


@pytest.mark.parametrize(("name", "kills"), MANY)
def test_a_job_killed_many_times_ends_as_if_undisturbed(server, undisturbed, files_of, tmp_path, name, kills):
    kill_and_finish(server, undisturbed, files_of, tmp_path, name, kills, seed=1)


@pytest.mark.parametrize("name", ["extract", "caption"])
def test_a_kill_between_data_and_ledger_leaves_data_that_does_not_count(server, undisturbed, files_of, tmp_path, name):
    """The first point that finds a shard's data whole and its ledger not there."""
    data = {"extract": "features-", "caption": "words-"}[name]
    for point in range(undisturbed.points[name]):
        output = tmp_path / str(point)
        options = {**undisturbed.options[name], "output": str(output)}
        status, _ = server.run(name, options, {"kill_at": point})
        assert status == -signal.SIGKILL
        if list(output.glob(f"{data}*")) and not list(output.glob("ledger-*")):
            break
    status, job = server.run(name, options)
    assert status == 0, job.said()
    assert_same(files_of(options["output"]), undisturbed.files[name])


def test_after_a_run_without_work_even_the_totals_are_the_same(server, undisturbed, files_of, tmp_path):
    """Only the counts of what the last run did can differ; here both did nothing last."""
    ends = []
    for number, fault in enumerate(({}, {"kill_at": undisturbed.points["extract"] // 2})):
        options = {**undisturbed.options["extract"], "output": str(tmp_path / str(number))}
        statuses = [server.run("extract", options, given)[0] for given in (fault, {}, {})]
        assert statuses == [-signal.SIGKILL if fault else 0, 0, 0]
        ends.append(files_of(options["output"], whole=True))
    assert_same(ends[1], ends[0])
