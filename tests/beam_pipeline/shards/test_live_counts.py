import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.live_counts import LiveCounts


def count(live_counts: LiveCounts) -> None:
    for _ in range(100):
        live_counts.add("done")
    live_counts.add_lines([LedgerLine("a", 1, 1, "", "rejected"), LedgerLine("b", 1, 1, "", "duplicate")])


def test_processes_count_together(tmp_path):
    live_counts = pickle.loads(pickle.dumps(LiveCounts(str(tmp_path))))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(count, [live_counts] * 3))
    count(live_counts)
    assert live_counts.read() == {"listed": 0, "new": 0, "hashed": 0, "shards": 0} | {
        "done": 400,
        "rejected": 4,
        "duplicate": 4,
    }


def test_counting_never_fails(tmp_path):
    """Workers on other machines find no such directory."""
    for live_counts in (LiveCounts(), LiveCounts(str(tmp_path / "none"))):
        count(live_counts)
        assert live_counts.read() == {}


def test_an_element_is_counted_and_passed_on(tmp_path):
    live_counts = LiveCounts(str(tmp_path))
    assert live_counts.count_element("a.jpg", "listed") == "a.jpg"
    assert live_counts.read()["listed"] == 1
