from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.shards.ledger import OUTCOMES, LedgerLine, read_ledger, rejected_inputs, to_jsonl

lines = st.builds(
    LedgerLine,
    uri=st.text(st.characters(codec=None), min_size=1),  # lone surrogates too: names that are not UTF-8
    size=st.integers(-1, 2**60),
    mtime=st.floats(allow_nan=False, allow_infinity=False),
    sha256=st.text("0123456789abcdef", max_size=64),
    outcome=st.sampled_from(OUTCOMES),
    reason=st.text(),
)


@given(st.lists(lines))
def test_ledgers_survive_writing_and_reading(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    path.write_bytes(to_jsonl(written))
    assert list(read_ledger(str(path))) == written
    assert path.read_bytes().count(b"\n") == len(written) and path.read_bytes().isascii()


def test_the_last_run_has_the_last_word(tmp_path):
    def ledger(name, *written):
        (tmp_path / name).write_bytes(to_jsonl(written))
        return str(tmp_path / name)

    first = ledger(
        "1",
        LedgerLine("/a", 1, 1.0, "", "rejected", "read", "gone"),
        LedgerLine("/b", 1, 1.0, "", "rejected", "read", "gone"),
    )
    second = ledger("2", LedgerLine("/a", 1, 2.0, "aa", "done"), LedgerLine("/c", 1, 1.0, "cc", "duplicate"))
    assert list(rejected_inputs([first, second])) == ["/b"]
