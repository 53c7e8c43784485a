from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.commands.verify_findings import check_ledger, check_totals, draw_sample


@given(st.sets(st.binary(min_size=4, max_size=4).map(bytes.hex), max_size=50), st.integers(0, 60), st.floats(0, 1))
def test_a_sample_depends_on_content_alone(contents, number, share):
    assert draw_sample(sorted(contents), number) == draw_sample(contents, number) <= contents
    assert len(draw_sample(contents, number)) == min(number, len(contents))
    assert draw_sample(contents, share) <= draw_sample(contents, 1.0) == contents
    assert draw_sample(contents, 0.0) == set()
    if contents and share:
        assert draw_sample(contents, share), "at least one"
        smaller = draw_sample(contents, share / 2)
        assert smaller <= draw_sample(contents, share)


def test_totals_add_up_or_are_a_problem():
    assert list(check_totals("d", {"listed": 3, "done": 2, "rejected": 1})) == []
    assert list(check_totals("d", {"listed": 1, "done": 2})) == [
        "d: the totals do not add up: 1 input listed, 2 accounted for"
    ]


def test_a_shard_stores_each_picture_once_and_as_its_ledger_says():
    assert list(check_ledger("p", ["a", "b"], {"a", "b", "c"})) == []
    assert list(check_ledger("p", ["a", "a", "b"], {"a"})) == [
        "p: stores 1 picture twice",
        "p: stores b, which its ledger does not call done",
    ]
