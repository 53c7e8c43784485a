import hashlib

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.inputs.input_file import InputFile, Member
from beam_pipeline.inputs.sources import resolve_source
from beam_pipeline.runtime.counts import COUNTS
from beam_pipeline.shards.caption_join import InputWithCaptions, match_captions
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.planning import Picture, PlanShards, keep_unaccounted, merge_files
from training.data.caption_files import CaptionRow, read_captions


def file(uri: str) -> InputFile:
    return InputFile(uri, 1, 1.0)


def split(outputs):
    """(main elements, counts, notes) of a function that yields TaggedOutputs."""
    main, counts, notes = [], {}, []
    for output in outputs:
        if not isinstance(output, TaggedOutput):
            main.append(output)
        elif output.tag == COUNTS:
            name, number = output.value
            counts[name] = counts.get(name, 0) + number
        else:
            notes.append(output.value)
    return main, counts, notes


def match(files, rows):
    return split(match_captions((b"x", {"files": [file(uri) for uri in files], "rows": rows})))


COMPOSED, DECOMPOSED = "M\u00fcnchen.jpg", "Mu\u0308nchen.jpg"


def test_captions_find_a_name_in_the_other_unicode_form():
    captioned, counts, _ = match([f"/p/{DECOMPOSED}"], [CaptionRow(COMPOSED, "a city", 2)])
    assert captioned == [InputWithCaptions(file(f"/p/{DECOMPOSED}"), ("a city",))]
    assert counts == {}


def test_the_exact_spelling_wins_and_each_keeps_its_own():
    captioned, counts, _ = match(
        [f"/p/{COMPOSED}", f"/p/{DECOMPOSED}"],
        [CaptionRow(DECOMPOSED, "decomposed", 2), CaptionRow(COMPOSED, "composed", 3)],
    )
    assert {captions.file.uri: captions.captions for captions in captioned} == {
        f"/p/{COMPOSED}": ("composed",),
        f"/p/{DECOMPOSED}": ("decomposed",),
    }
    assert counts == {}


def test_unmatched_names_are_counted_and_listed():
    captioned, counts, notes = match(["/p/a.jpg"], [CaptionRow("b/a.jpg", "elsewhere", 2)])
    assert captioned == [InputWithCaptions(file("/p/a.jpg"))]
    assert counts == {"captions_without_picture": 1, "pictures_without_caption": 1}
    assert notes == [("captions_without_picture", "b/a.jpg"), ("pictures_without_caption", "/p/a.jpg")]


def test_a_path_in_the_caption_file_tells_files_of_one_name_apart():
    captioned, _, _ = match(["/p/x/a.jpg", "/p/y/a.jpg"], [CaptionRow("y/a.jpg", "second", 2)])
    assert [captions.captions for captions in captioned] == [(), ("second",)]


def test_what_a_container_says_comes_first_and_is_not_said_twice():
    own = InputFile("/p/a.tar!/a.jpg", 1, 1.0, captions=("a dog",))
    rows = [CaptionRow("a.jpg", "a dog", 2), CaptionRow("a.jpg", "a puppy", 3)]
    captioned, counts, _ = split(match_captions((b"a.jpg", {"files": [own], "rows": rows})))
    assert captioned == [InputWithCaptions(own, ("a dog", "a puppy"))]
    assert counts == {}


def test_a_file_that_is_listed_twice_has_its_captions_once():
    captioned, _, _ = match(["/p/a.jpg", "/p/a.jpg"], [CaptionRow("a.jpg", "a dog", 2)])
    assert [captions.captions for captions in captioned] == [("a dog",), ("a dog",)]


def test_repeated_rows_are_kept_and_counted():
    captioned, counts, _ = match(["/p/a.jpg"], [CaptionRow("a.jpg", "a dog", 2), CaptionRow("a.jpg", "a dog", 3)])
    assert captioned[0].captions == ("a dog", "a dog")
    assert counts == {"captions_repeated": 1}


def line(outcome: str, size: int = 1, mtime: float = 1.0) -> LedgerLine:
    return LedgerLine("/p/a.jpg", size, mtime, "aa", outcome)


@pytest.mark.parametrize(
    ("lines", "retry", "work", "counts"),
    [
        ([], False, True, {"listed": 1}),
        ([("l1", line("done"))], False, False, {"listed": 1, "earlier_done": 1}),
        ([("l1", line("done", size=2))], False, True, {"listed": 1}),
        ([("l1", line("done", mtime=0.5))], False, True, {"listed": 1}),
        ([("l1", line("rejected"))], False, False, {"listed": 1, "earlier_rejected": 1}),
        ([("l1", line("rejected"))], True, True, {"listed": 1}),
        ([("l2", line("done")), ("l1", line("rejected"))], True, False, {"listed": 1, "earlier_done": 1}),
        # Changed, and changed back: what the first run said is no longer what the output says of this file.
        ([("l1", line("done")), ("l2", line("done", size=2))], False, True, {"listed": 1}),
    ],
)
def test_work_is_the_listing_minus_the_ledger(lines, retry, work, counts):
    captioned = InputWithCaptions(file("/p/a.jpg"))
    main, counted, _ = split(keep_unaccounted(("/p/a.jpg", {"files": [captioned], "lines": lines}), retry))
    assert main == ([captioned] if work else [])
    assert counted == counts


def test_an_input_listed_twice_is_one_input():
    twice = [InputWithCaptions(file("/p/a.jpg"))] * 2
    main, counts, _ = split(keep_unaccounted(("/p/a.jpg", {"files": twice, "lines": []}), False))
    assert len(main) == 1
    assert counts == {"listed": 1, "listed_repeatedly": 1}


def test_of_members_of_one_name_the_last_counts():
    first, last = (
        InputWithCaptions(InputFile("/p/a.tar!/a.jpg", 1, 1.0, member=Member("/p/a.tar", "tar", (offset, 1))), captions)
        for offset, captions in ((512, ("a dog",)), (1536, ()))
    )
    for order in ([first, last], [last, first]):
        main, counts, _ = split(keep_unaccounted(("/p/a.tar!/a.jpg", {"files": order, "lines": []}), False))
        assert main == [last]
        assert counts == {"listed": 1, "listed_repeatedly": 1}


def test_files_of_one_content_are_one_picture():
    pictures = [
        Picture("aa", (file("/p/x2.jpg"),), ("a dog", "a brown dog")),
        Picture("aa", (file("/p/x1.jpg"),), ("a dog", "a dog", "a puppy")),
    ]
    (merged,) = merge_files(("aa", {"pictures": pictures, "done": []}))
    assert [found.uri for found in merged.files] == ["/p/x1.jpg", "/p/x2.jpg"]
    assert merged.captions == ("a dog", "a dog", "a puppy", "a brown dog")
    assert merged.known_as == ()
    (again,) = merge_files(("aa", {"pictures": pictures, "done": [b"/p/x2.jpg"]}))
    assert again.known_as == ("/p/x2.jpg",)
    assert list(merge_files(("aa", {"pictures": [], "done": [b"/p/x2.jpg"]}))) == []


def planned(folder, output, shard_size=2, ledgers=(), captions=None):
    """Runs PlanShards alone; returns what assert_that needs."""
    return PlanShards(resolve_source(str(folder)), list(ledgers), [], 1, shard_size, 1 << 20, captions)


def test_every_input_is_in_exactly_one_shard_and_empty_shards_are_made(tmp_path):
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

    with TestPipeline(runner=LOCAL) as pipeline:
        plan = pipeline | planned(folder, tmp_path, shard_size=1)
        assert_that(plan.shards | beam.Map(names), check)


def test_nothing_new_makes_no_shard(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    status = (folder / "a.jpg").stat()
    ledger = tmp_path / "ledger-0001-00000-of-00001.jsonl"
    ledger.write_bytes(to_jsonl([LedgerLine(str(folder / "a.jpg"), 1, status.st_mtime, "aa", "done")]))
    with TestPipeline(runner=LOCAL) as pipeline:
        plan = pipeline | planned(folder, tmp_path, ledgers=[str(ledger)])
        assert_that(plan.shards, equal_to([]), label="Shards")
        counts = plan.counts | beam.Flatten() | beam.CombinePerKey(sum)
        assert_that(counts, equal_to([("listed", 1), ("earlier_done", 1)]), label="Counts")


def test_captions_are_joined_on_the_way(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    captions = tmp_path / "captions.csv"
    captions.write_text("image,caption\na.jpg,a dog\nb.jpg,a cat\na.jpg,a puppy\n")
    with TestPipeline(runner=LOCAL) as pipeline:
        plan = pipeline | planned(folder, tmp_path, captions=read_captions(str(captions)))
        texts = plan.shards | beam.FlatMapTuple(lambda _, pictures: [picture.captions for picture in pictures])
        assert_that(texts, equal_to([("a dog", "a puppy")]), label="Texts")
        notes = plan.notes | beam.Flatten()
        assert_that(notes, equal_to([("captions_without_picture", "b.jpg")]), label="Notes")


LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
