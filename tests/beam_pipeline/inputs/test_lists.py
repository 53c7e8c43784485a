import os
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.lists import ByContainer, Entry, format_list_entry, parse_list_entry, read_list


@pytest.fixture
def read(tmp_path):
    """Function: name and content of a list -> its entries as (path from the list on, captions), or reasons."""

    def read_them(name: str, content: str | bytes, ignored: Counter | None = None) -> list:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        entries = read_list(str(path), Counter() if ignored is None else ignored)
        return [
            f"{os.path.relpath(one.uri, tmp_path)} {one.problem}"
            if isinstance(one, InputFile)
            else (os.path.relpath(one.uri, tmp_path), *one.captions)
            for one in entries
        ]

    return read_them


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LIST.TXT", "grün.jpg\r\n\r\nb.jpg\r\n", [("grün.jpg",), ("b.jpg",)]),
        ("T.CSV", "URL,Caption\r\ngrün.jpg,a dog\r\nb.jpg,\r\n", [("grün.jpg", "a dog"), ("b.jpg",)]),
        ("t.Tsv", "path\ttext\ngrün.jpg\ta, dog\n", [("grün.jpg", "a, dog")]),
        ("excel.csv", "nr;image;caption\n1;grün.jpg;a dog, a cat\n", [("grün.jpg", "a dog, a cat")]),
        ("unicode.csv", "image\tcaption\ngrün.jpg\ta dog\n", [("grün.jpg", "a dog")]),
    ],
)
def test_lists_are_read_whatever_the_case_of_their_ending_and_their_encoding(read, encoding, name, text, expected):
    assert read(name, text.encode(encoding)) == expected


def test_a_row_that_is_none_is_named_with_its_line_and_the_rest_is_read(read):
    rows = 'uri,caption\na.jpg,"a dog\nb.jpg,a cat\nc.jpg,a, b\n,no address\nd.jpg\n,\nf\0.jpg,x\ng.jpg,\n'
    assert read("list.csv", rows) == [
        "list.csv:2 a quote is opened and never closed",
        ("b.jpg", "a cat"),
        "list.csv:4 3 fields where the header has 2; quote what holds ','",
        "list.csv:5 no address in the column uri",
        ("d.jpg",),
        "list.csv:8 a NUL byte in the row; save the list as UTF-8",
        ("g.jpg",),
    ]


def test_a_line_with_a_nul_is_named(read):
    content = "a.jpg\nb.jpg\n".encode("utf-16-le")  # without its mark
    assert read("list.txt", content)[0] == "list.txt:1 a NUL byte in the line; save the list as UTF-8"
    assert read("list.txt", "a\0.jpg\nb.jpg\n")[1] == ("b.jpg",)


def test_blanks_around_a_line_are_no_part_of_a_name_unless_a_file_has_it(read, tmp_path):
    (tmp_path / "a.jpg ").write_bytes(b"x")
    assert read("list.txt", 'a.jpg \n b.jpg\t\n  \n"c.jpg "  \n') == [("a.jpg ",), ("b.jpg",), ("c.jpg ",)]


def test_lists_in_a_list_are_refused_itself_included(read):
    assert read("list.txt", "list.txt\nother.CSV\na.jpg\n") == [
        "list.txt a list within a list; give it to --images too",
        "other.CSV a list within a list; give it to --images too",
        ("a.jpg",),
    ]


def test_comments_are_counted_and_a_file_that_begins_with_the_sign_is_itself(read, tmp_path):
    (tmp_path / "#1.jpg").write_bytes(b"x")
    ignored = Counter()
    assert read("list.txt", "# a comment\n#1.jpg\n#2.jpg\na.jpg\n", ignored) == [("#1.jpg",), ("a.jpg",)]
    assert ignored == {"comment": 2}


def test_paths_are_relative_to_the_list_and_need_not_be_utf8(read, tmp_path):
    assert read("list.txt", b"./a.jpg\n../b.jpg\n/c.jpg\nd\xff.jpg\n") == [
        ("a.jpg",),
        ("../b.jpg",),
        (os.path.relpath("/c.jpg", tmp_path),),
        ("d\udcff.jpg",),
    ]


@given(st.text(min_size=1).filter(lambda name: "\0" not in name))
def test_list_entries_survive_any_name(name):
    line = format_list_entry(name)
    assert line.splitlines() == [line] and not line.startswith("#")
    assert parse_list_entry(line) == name


def test_a_name_that_is_not_utf8_survives_a_list():
    name = os.fsdecode(b"/a/\xff\xfe.jpg")
    line = format_list_entry(name)
    assert parse_list_entry(line.encode().decode()) == name


def test_members_are_sorted_by_container_in_the_order_of_the_list():
    with ByContainer() as members:
        for number in range(6):
            members.add(f"/{number % 2}.tar", Entry(f"/{number % 2}.tar!/{5 - number}\udcff.jpg", ("a dog",)))
        assert list(members) == [
            (
                f"/{container}.tar",
                [Entry(f"/{container}.tar!/{name}\udcff.jpg", ("a dog",)) for name in names],
            )
            for container, names in ((0, (5, 3, 1)), (1, (4, 2, 0)))
        ]


def test_a_long_list_takes_no_memory_that_grows_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("training.text.lines._CHUNK_BYTES", 1 << 14)

    def peak(lines: int) -> int:
        path = tmp_path / "list.txt"
        with path.open("w") as file:
            for number in range(lines):
                file.write(f"shards/{number % 2}.tar!/{number:09}.jpg\n")
        tracemalloc.start()
        with ByContainer() as members:
            for entry in read_list(str(path), Counter()):
                members.add(entry.uri.partition("!")[0], entry)
            used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(20_000) < peak(5_000) + (1 << 18)
