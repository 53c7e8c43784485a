"""What is left to do, and how it is cut into shards."""

import hashlib
import os

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.inputs.image_content import content_digest
from beam_pipeline.inputs.input_file import InputFile, Member
from beam_pipeline.inputs.sources import resolve_collection
from beam_pipeline.inputs.written_mark import NAMESPACE
from beam_pipeline.options.collection import CollectionOptions
from beam_pipeline.runtime.grouping import Packer, unpack
from beam_pipeline.shards.caption_join import InputWithCaptions
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.ledger import OUTCOMES, LedgerLine, to_jsonl
from beam_pipeline.shards.output_directory import Standing, read_standing
from beam_pipeline.shards.planning import (
    PLACES,
    PlanShards,
    count_unplaced,
    keep_unaccounted,
    list_inputs,
    merge_files,
    place_in_shards,
    read_named_ledger,
)
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun
from training.data.caption_files import read_captions

NOTHING = Standing(committed=(), unfinished=(), next_run=1, ledgers=())


def file(uri: str) -> InputFile:
    return InputFile(uri, 1, 1.0)


def line(outcome: str, size: int = 1, mtime: float = 1.0, stage: str = "", reason: str = "") -> LedgerLine:
    return LedgerLine("/p/a.jpg", size, mtime, "aa", outcome, stage, reason)


@pytest.mark.parametrize(
    ("lines", "retry", "work", "counts"),
    [
        ([], False, True, {"listed": 1}),
        ([("l1", line("done"))], False, False, {"listed": 1, "earlier_done": 1}),
        ([("l1", line("done", size=2))], False, True, {"listed": 1}),
        ([("l1", line("done", mtime=0.5))], False, True, {"listed": 1}),
        ([("l1", line("rejected"))], False, False, {"listed": 1, "earlier_rejected": 1}),
        ([("l1", line("rejected"))], True, True, {"listed": 1}),
        ([("l1", line("rejected", stage="decode"))], False, False, {"listed": 1, "earlier_rejected": 1}),
        ([("l1", line("rejected", stage="decode"))], True, True, {"listed": 1}),
        ([("l2", line("done")), ("l1", line("rejected"))], True, False, {"listed": 1, "earlier_done": 1}),
        # Changed, and changed back: what the first run said is no longer what the output says of this file.
        ([("l1", line("done")), ("l2", line("done", size=2))], False, True, {"listed": 1}),
    ],
)
def test_work_is_the_listing_minus_the_ledger(lines, retry, work, counts, split_outputs):
    captioned = InputWithCaptions(file("/p/a.jpg"))
    main, counted, _ = split_outputs(keep_unaccounted(("/p/a.jpg", {"inputs": [captioned], "lines": lines}), retry))
    assert main == ([captioned] if work else [])
    assert counted == counts


def test_an_input_listed_twice_is_one_input(split_outputs):
    twice = [InputWithCaptions(file("/p/a.jpg"))] * 2
    main, counts, _ = split_outputs(keep_unaccounted(("/p/a.jpg", {"inputs": twice, "lines": []}), False))
    assert len(main) == 1
    assert counts == {"listed": 1, "listed_repeatedly": 1}


def test_of_members_of_one_name_the_last_counts(split_outputs):
    first, last = (
        InputWithCaptions(InputFile("/p/a.tar!/a.jpg", 1, 1.0, member=Member("/p/a.tar", "tar", (offset, 1))), captions)
        for offset, captions in ((512, ("a dog",)), (1536, ()))
    )
    for order in ([first, last], [last, first]):
        main, counts, _ = split_outputs(keep_unaccounted(("/p/a.tar!/a.jpg", {"inputs": order, "lines": []}), False))
        assert main == [last]
        assert counts == {"listed": 1, "listed_repeatedly": 1}


def test_files_of_one_content_are_one_picture():
    pictures = [
        Picture("aa", (file("/p/x2.jpg"),), ("a dog", "a brown dog")),
        Picture("aa", (file("/p/x1.jpg"),), ("a dog", "a dog", "a puppy")),
    ]
    (merged,) = merge_files(("aa", {"pictures": pictures, "done": [], "places": []}))
    assert [found.uri for found in merged.files] == ["/p/x1.jpg", "/p/x2.jpg"]
    assert merged.captions == ("a dog", "a dog", "a puppy", "a brown dog")
    assert merged.known_as == ()
    (again,) = merge_files(("aa", {"pictures": pictures, "done": [b"/p/x2.jpg"], "places": []}))
    assert again.known_as == ("/p/x2.jpg",)
    assert list(merge_files(("aa", {"pictures": [], "done": [b"/p/x2.jpg"], "places": []}))) == []


def test_a_picture_in_many_files_keeps_a_bounded_number_of_captions(split_outputs):
    pictures = [Picture("aa", (file(f"/p/{number:03}.jpg"),), (f"dog {number}",)) for number in range(150)]
    (merged,), counts, notes = split_outputs(merge_files(("aa", {"pictures": pictures, "done": [], "places": []})))
    assert merged.captions == tuple(f"dog {number}" for number in range(100)) and len(merged.files) == 150
    assert counts == {"captions_over_limit": 50} and notes == [("captions_over_limit", "/p/000.jpg")]


def plan_of(folder, shard_size=2, standing=NOTHING, captions=None):
    return PlanShards(resolve_collection(str(folder)), standing, CollectionOptions(shard_size=shard_size), captions)


def test_every_input_is_in_exactly_one_shard_and_empty_shards_are_made(tmp_path, local_pipeline):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(bytes([number]))
    (folder / "copy.jpg").write_bytes(bytes([0]))
    shards = 5  # one picture a shard on average leaves some empty

    def check(found):
        assert sorted(key for key, _ in found) == [(1, index, shards) for index in range(shards)]
        by_name = {names: key for key, pictures in found for names in pictures}
        assert sorted(by_name) == [("0.jpg", "copy.jpg"), ("1.jpg",), ("2.jpg",), ("3.jpg",), ("4.jpg",)]
        for names, (_, index, count) in by_name.items():
            digest = hashlib.sha256((folder / names[0]).read_bytes()).hexdigest()
            assert int(digest, 16) * count // 2**256 == index

    def names(element):
        key, pictures = element
        return key, sorted(tuple(f.uri.rsplit("/", 1)[1] for f in picture.files) for picture in pictures)

    with local_pipeline() as pipeline:
        plan = pipeline | plan_of(folder, shard_size=1)
        assert_that(plan.main | beam.Map(names), check)


def test_nothing_new_makes_no_shard(tmp_path, local_pipeline):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    status = (folder / "a.jpg").stat()
    ledger = tmp_path / "ledger-0001-00000-of-00001.jsonl"
    ledger.write_bytes(to_jsonl([LedgerLine(str(folder / "a.jpg"), 1, status.st_mtime, "aa", "done")]))
    with local_pipeline() as pipeline:
        plan = pipeline | plan_of(folder, standing=read_standing(str(tmp_path)))
        assert_that(plan.main, equal_to([]), label="Shards")
        counts = plan.counts | beam.Flatten() | beam.CombinePerKey(sum)
        assert_that(counts, equal_to([("listed", 1), ("earlier_done", 1)]), label="Counts")


def test_captions_are_joined_on_the_way(tmp_path, local_pipeline):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    captions = tmp_path / "captions.csv"
    captions.write_text("image,caption\na.jpg,a dog\nb.jpg,a cat\na.jpg,a puppy\n")
    with local_pipeline() as pipeline:
        plan = pipeline | plan_of(folder, captions=read_captions(str(captions)))
        texts = plan.main | beam.FlatMapTuple(lambda _, pictures: [picture.captions for picture in pictures])
        assert_that(texts, equal_to([("a dog", "a puppy")]), label="Texts")
        notes = plan.notes | "FlattenNotes" >> beam.Flatten()
        assert_that(notes, equal_to([("captions_without_picture", "b.jpg")]), label="Notes")


def test_a_picture_is_known_by_its_own_path_before_links_to_it():
    files = [InputFile("/p/a.jpg", 1, 1.0, is_link=True), file("/p/z.jpg"), InputFile("/p/0.jpg", 1, 1.0, is_link=True)]
    pictures = [Picture("aa", (one,)) for one in files]
    (merged,) = merge_files(("aa", {"pictures": pictures, "done": [], "places": []}))
    assert [one.uri for one in merged.files] == ["/p/z.jpg", "/p/0.jpg", "/p/a.jpg"]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(OUTCOMES), st.booleans()), unique_by=lambda drawn: drawn[0]),
    st.booleans(),
    st.randoms(),
)
def test_the_newest_ledger_line_alone_decides(history, retry, random):
    """history: (run, outcome, whether the file had the size that it has now) of one input."""
    captioned = InputWithCaptions(file("/p/a.jpg"))
    lines = [(f"ledger-{run:04d}", line(outcome, size=1 if same else 2)) for run, outcome, same in history]
    random.shuffle(lines)
    listed, *others = keep_unaccounted((b"/p/a.jpg", {"inputs": [captioned], "lines": lines}), retry)
    _, outcome, same = max(history, default=(0, "", False))
    assert listed.value == ("listed", 1)
    if not same or (outcome == "rejected" and retry):
        assert others == [captioned]
    else:
        counted, *places = (output.value for output in others)
        assert counted == (f"earlier_{outcome}", 1) and places == [("aa", True)] * (outcome != "rejected")


@pytest.mark.parametrize("stage", ["list", "read"])
def test_an_input_that_could_not_be_read_is_tried_again(stage, split_outputs):
    lines = [("l1", line("rejected", stage=stage, reason="permission denied"))]
    captioned = InputWithCaptions(file("/p/a.jpg"))
    main, counts, _ = split_outputs(keep_unaccounted((b"/p/a.jpg", {"inputs": [captioned], "lines": lines}), False))
    assert main == [InputWithCaptions(file("/p/a.jpg"), rejected=(stage, "permission denied"))]
    assert counts == {"listed": 1}


def places_of(uri: str, lines, inputs=(), unreadable=()):
    outputs = keep_unaccounted((uri.encode(), {"inputs": list(inputs), "lines": lines}), True, unreadable)
    return [output.value for output in outputs if isinstance(output, TaggedOutput) and output.tag == PLACES]


def test_where_the_pictures_of_the_ledgers_are(tmp_path):
    """A file that is not listed is gone, unless nobody can know: below a folder or in an archive that is not read."""
    gone = f"{tmp_path}/gone/a.jpg"
    assert places_of(gone, [("l1", line("done"))]) == [("aa", False)]
    assert places_of(gone, [("l1", line("rejected"))]) == places_of(gone, []) == []
    assert places_of(gone, [("l1", line("duplicate"))], unreadable={f"{tmp_path}/go".encode()}) == [("aa", False)]
    for above in (tmp_path, tmp_path / "gone"):
        assert places_of(gone, [("l1", line("done"))], unreadable={str(above).encode()}) == [("aa", True)]
    member = f"{tmp_path}/p.tar!/x/a.jpg"
    assert places_of(member, [("l1", line("done"))]) == [("aa", False)]
    assert places_of(member, [("l1", line("done"))], unreadable={f"{tmp_path}/p.tar".encode()}) == [("aa", True)]
    listed = InputWithCaptions(InputFile("/p/a.jpg", 1, 1.0))
    assert places_of("/p/a.jpg", [("l1", line("done"))], [listed]) == [("aa", True)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_lies_in_a_folder_without_the_right_to_look_is_not_gone(tmp_path):
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "a.jpg").write_bytes(b"x")
    (tmp_path / "shut").chmod(0)
    try:
        assert places_of(f"{tmp_path}/shut/a.jpg", [("l1", line("done"))]) == [("aa", True)]
    finally:
        (tmp_path / "shut").chmod(0o755)


@pytest.mark.parametrize(
    ("places", "has_new", "counts"),
    [
        ([], True, {}),
        ([True, True], False, {}),
        ([False], False, {"gone": 1, "gone_pictures": 1}),
        ([False, False], True, {"gone": 2, "gone_moved": 2}),
        ([False, True], False, {"gone": 1, "gone_moved": 1}),
    ],
)
def test_what_is_no_longer_listed_is_counted(places, has_new, counts, split_outputs):
    pictures = [Picture("aa", (file("/p/new.jpg"),))] if has_new else []
    main, counted, _ = split_outputs(merge_files(("aa", {"pictures": pictures, "done": [b"/p/x"], "places": places})))
    assert counted == counts and len(main) == has_new


def test_a_listing_counts_what_is_no_input(tmp_path, split_outputs):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "notes.md").write_bytes(b"x")
    files, counts, notes = split_outputs(list_inputs(resolve_collection(str(tmp_path))))
    assert [found.uri for found in files] == [str(tmp_path / "a.jpg")]
    assert (counts, notes) == ({"ignored_other": 1}, [])


def test_ledger_lines_come_with_the_name_of_their_ledger(tmp_path):
    path = tmp_path / ShardId(2, 0, 1).ledger()
    path.write_bytes(to_jsonl([line("done"), line("rejected")]))
    assert list(read_named_ledger(str(path))) == [(path.name, line("done")), (path.name, line("rejected"))]


def picture(first_digits: str) -> Picture:
    return Picture(first_digits.ljust(64, "0"), (file(f"/p/{first_digits}.jpg"),))


def test_pictures_go_to_missing_shards_of_unfinished_runs_first():
    unfinished = [UnfinishedRun(1, 4, frozenset({0}))]  # the shard of all that begins with 0, 1, 2 or 3
    packer = Packer(beam.Pipeline())
    (block,) = packer.pack([[picture("1f"), picture("40"), picture("ff"), picture("00")]])
    assert count_unplaced(block, unfinished) == 2
    placed = {key: unpack(part) for key, part in place_in_shards(block, packer, unfinished, 2, 2)}
    assert placed == {
        (1, 0, 4): [picture("1f"), picture("00")],
        (2, 0, 2): [picture("40")],
        (2, 1, 2): [picture("ff")],
    }


def marked(jpeg: bytes, *states: str) -> bytes:
    """A JPEG as `export --format metadata` leaves it, with the mark of what it was before."""
    mark = f'<x xmlns:captionbeam="{NAMESPACE}" captionbeam:Sha256="{" ".join(states)}" '
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + f'{mark}captionbeam:Image="{content_digest(jpeg)}"/>'.encode()
    return jpeg[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + jpeg[2:]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_that_we_wrote_into_counts_as_what_it_was_if_that_is_known(tmp_path, local_pipeline, jpeg):
    """As done by an earlier run, however often it was written into, or as another file of this listing; else as itself.

    Its own bytes never stand for the content that it claims to be.
    """
    folder = tmp_path / "in"
    folder.mkdir()
    done, other, unknown, listed = (jpeg((40 * number, 9, 99)) for number in range(4))
    files = {
        "a.jpg": marked(done, sha(done)),
        "b.jpg": marked(other, sha(other), sha(done)),  # a state in between was captioned
        "c.jpg": marked(unknown, sha(unknown)),
        "d.jpg": marked(listed, sha(listed)),  # sorts before the file that it was
        "e.jpg": listed,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    line = LedgerLine(str(folder / "a.jpg"), 1, 1.0, sha(done), "done")
    (tmp_path / ShardId(1, 0, 1).ledger()).write_bytes(to_jsonl([line]))

    def names(element):
        _, pictures = element
        for one in pictures:
            yield one.sha256, [os.path.basename(f.uri) for f in one.files], [os.path.basename(u) for u in one.known_as]

    expected = [
        (sha(done), ["a.jpg", "b.jpg"], ["a.jpg"]),
        (sha(files["c.jpg"]), ["c.jpg"], []),
        (sha(listed), ["e.jpg", "d.jpg"], []),
    ]
    with local_pipeline() as pipeline:
        plan = pipeline | plan_of(folder, standing=read_standing(str(tmp_path)))
        assert_that(plan.main | beam.FlatMap(names), equal_to(expected))
