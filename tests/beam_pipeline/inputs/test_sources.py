import os
import zipfile

import pytest

from beam_pipeline.inputs.containers import list_container
from beam_pipeline.inputs.lists import format_list_entry
from beam_pipeline.inputs.sources import (
    FOLDER,
    LIST,
    PATTERN,
    Listing,
    resolve_collection,
)
from training.errors import UserError


def names(images) -> list[str]:
    return [os.path.basename(file.uri) for file in Listing(resolve_collection(str(images)))]


def test_folders_are_walked_in_sorted_order(tmp_path):
    for name in ("b.jpg", "a.png", "deep/er/c.webp", "hash_without_suffix", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    listing = Listing(resolve_collection(str(tmp_path)))
    found = list(listing)
    assert [os.path.relpath(file.uri, tmp_path) for file in found] == [
        "a.png",
        "b.jpg",
        "deep/er/c.webp",
        "hash_without_suffix",
    ]
    assert all(file.size == 1 and file.mtime > 0 for file in found)
    assert listing.ignored == {"other": 1}


def test_a_name_with_brackets_is_a_folder_before_it_is_a_pattern(tmp_path):
    folder = tmp_path / "set [2024] (final)"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"x")
    assert resolve_collection(str(folder)).sources[0].kind == FOLDER
    assert names(folder) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_file_with_brackets_is_itself(tmp_path):
    (tmp_path / "a[1].jpg").write_bytes(b"x")
    (tmp_path / "a1.jpg").write_bytes(b"x")
    assert names(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_shadow_files_are_not_inputs(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
        (tmp_path / f"._{number}.jpg").write_bytes(bytes.fromhex("0005160700020000").ljust(4096, b"\0"))
    (tmp_path / "__MACOSX").mkdir()
    for name in (".DS_Store", "Thumbs.db", "__MACOSX/._x.jpg"):
        (tmp_path / name).write_bytes(b"x")
    listing = Listing(resolve_collection(str(tmp_path)))
    assert len(list(listing)) == 5
    assert listing.ignored == {"shadow": 8}
    list(listing)
    assert listing.ignored == {"shadow": 8}, "a second pass counts anew"


def test_a_pattern_takes_whatever_matches(tmp_path):
    for name in ("a.jpg", "b.JPG", "c.txt", "sub/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert resolve_collection(f"{tmp_path}/*.jpg").sources[0].kind == PATTERN
    assert names(f"{tmp_path}/*.jpg") == ["a.jpg"]
    assert sorted(names(f"{tmp_path}/**/*.jpg")) == ["a.jpg", "d.jpg"]


@pytest.mark.parametrize("images", ["photos/*.jpgg", "no_such_folder", "no_such_list.txt"])
def test_what_names_nothing_is_one_line(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        resolve_collection(images)
    assert images in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_status == 2


def test_a_list_names_files_relative_to_itself(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(b"xy")
    entries = tmp_path / "list.txt"
    entries.write_bytes(b"\xef\xbb\xbfa b.jpg\r\n\r\n/nowhere/c.jpg\r\n")
    assert resolve_collection(str(entries)).sources[0].kind == LIST
    found, missing = Listing(resolve_collection(str(entries)))
    assert (found.uri, found.size, found.problem) == (str(tmp_path / "a b.jpg"), 2, "")
    assert (missing.uri, missing.size, missing.problem) == ("/nowhere/c.jpg", -1, "no such file or directory")


def test_a_dangling_link_is_listed_with_its_problem(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    (file,) = Listing(resolve_collection(str(tmp_path)))
    assert file.problem == "a link to nothing"


def test_links_that_lead_in_a_circle_are_listed_with_their_problem(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "c.jpg").write_bytes(b"x")
    problems = [file.problem for file in Listing(resolve_collection(str(tmp_path)))]
    assert problems == ["too many levels of symbolic links"] * 2 + [""]


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    problems = {file.problem for file in Listing(resolve_collection(str(tmp_path)))}
    assert problems == {"a pipe, socket or device, not a file"}


ODD_NAMES = [
    "with space.jpg",
    " leading and trailing .jpg",
    "new\nline.jpg",
    "dog 🐕.jpg",
    "100%25 #1?.jpg",
    "star*.jpg",
    "[a-z].jpg",
    '"quoted".jpg',
    "{brace}$HOME.jpg",
    "-dash.jpg",
    os.fsdecode(b"not utf-8 \xff.jpg"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_themselves_in_folders_lists_and_alone(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(b"x")
    (folder / "another.jpg").write_bytes(b"x")
    assert name in names(folder)
    assert names(folder / name) == [name]
    listed = tmp_path / "rejected.txt"
    listed.write_text(format_list_entry(str(folder / name)) + "\n")
    (file,) = Listing(resolve_collection(str(listed)))
    assert (file.uri, file.problem) == (str(folder / name), "")


def write_archives(tmp_path, number: int = 2) -> None:
    for shard in range(number):
        with zipfile.ZipFile(tmp_path / f"{shard}.zip", "w") as archive:
            for name in ("a.jpg", "b.jpg"):
                archive.writestr(name, f"{shard}{name}")


def test_archives_and_patterns_of_archives_are_opened(tmp_path):
    write_archives(tmp_path)
    (tmp_path / "c.jpg").write_bytes(b"x")

    def uris(images):
        return sorted(os.path.relpath(file.uri, tmp_path) for file in Listing(resolve_collection(str(images))))

    assert uris(tmp_path / "0.zip") == ["0.zip!/a.jpg", "0.zip!/b.jpg"]
    assert uris(tmp_path / "*.zip") == ["0.zip!/a.jpg", "0.zip!/b.jpg", "1.zip!/a.jpg", "1.zip!/b.jpg"]
    assert len(uris(tmp_path / "*")) == 5


def test_archives_in_a_folder_are_counted_and_the_way_to_them_is_told(tmp_path):
    write_archives(tmp_path)
    with pytest.raises(UserError, match=r"no image in there, only 2 archives; .* --images '.*/\*\.tar'"):
        resolve_collection(str(tmp_path))
    (tmp_path / "c.jpg").write_bytes(b"x")
    listing = Listing(resolve_collection(str(tmp_path)))
    assert len(list(listing)) == 1
    assert listing.ignored == {"container": 2}


def test_a_list_names_members_and_whole_archives(tmp_path):
    write_archives(tmp_path, 3)
    lines = ["0.zip!/b.jpg", "0.zip!/gone.jpg", "1.zip", "2.zip!/a.jpg", "3.zip!/a.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    found = {
        os.path.relpath(file.uri, tmp_path): file for file in Listing(resolve_collection(str(tmp_path / "list.txt")))
    }
    assert {uri: file.problem for uri, file in found.items()} == {
        "0.zip!/b.jpg": "",
        "0.zip!/gone.jpg": "no such member in the archive",
        "1.zip!/a.jpg": "",
        "1.zip!/b.jpg": "",
        "2.zip!/a.jpg": "",
        "3.zip!/a.jpg": "no such file or directory",
    }
    assert found["0.zip!/b.jpg"].member == next(
        file.member for file in Listing(resolve_collection(str(tmp_path / "0.zip"))) if file.uri.endswith("b.jpg")
    )


def test_a_folder_that_is_called_like_a_member_is_taken_literally(tmp_path):
    folder = tmp_path / "a.zip!"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("a.zip!/x.jpg\n")
    (file,) = Listing(resolve_collection(str(tmp_path / "list.txt")))
    assert (file.member, file.problem) == (None, "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", '\ufeffurl,caption\n"a,b.jpg","a dog, running"\nc.jpg,\n,\n'),
        ("LIST.CSV", 'number;Path;caption\r\n1;"a,b.jpg";a dog, running\r\n2;c.jpg\r\n'),
        ("list.tsv", "file_name\ttext\na,b.jpg\ta dog, running\nc.jpg\t\n"),
    ],
)
def test_a_table_names_files_and_their_captions(tmp_path, name, text):
    for picture in ("a,b.jpg", "c.jpg"):
        (tmp_path / picture).write_bytes(b"x")
    (tmp_path / name).write_text(text)
    source = resolve_collection(str(tmp_path / name))
    assert [(file.uri, file.problem, file.captions) for file in Listing(source)] == [
        (str(tmp_path / "a,b.jpg"), "", ("a dog, running",)),
        (str(tmp_path / "c.jpg"), "", ()),
    ]
    assert source.may_hold_captions


def test_a_table_without_addresses_is_one_line(tmp_path):
    (tmp_path / "list.csv").write_text("name,caption\na.jpg,x\n")
    with pytest.raises(UserError, match="no column uri, url, path, file_name, image in its first line"):
        resolve_collection(str(tmp_path / "list.csv"))


def test_only_containers_and_tables_may_hold_captions(tmp_path):
    write_archives(tmp_path, 1)
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert resolve_collection(f"{tmp_path}/*.zip").may_hold_captions
    assert not resolve_collection(f"{tmp_path}/*.jpg").may_hold_captions
    assert not resolve_collection(str(tmp_path)).may_hold_captions


@pytest.mark.parametrize("address", ["nowhere://host/a.jpg", "nowhere://host/a.tar!/b.jpg"])
def test_remote_addresses_in_a_list_are_opened_only_when_asked_for(tmp_path, address):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{address}\n")
    (refused,) = Listing(resolve_collection(str(listed)))
    assert (refused.uri, refused.problem) == (address, "a remote address in a list; --remote-lists allows them")
    (asked,) = Listing(resolve_collection(str(listed), remote_lists=True))
    assert "there is no file system for nowhere:// here" in asked.problem  # it was asked for


def test_a_file_address_is_answered_with_the_plain_path(tmp_path):
    (tmp_path / "list.txt").write_text(f"file://{tmp_path}/a%20b.jpg\nFILE:///a.tar!/b.jpg\n")
    for remote_lists in (False, True):
        for file in Listing(resolve_collection(str(tmp_path / "list.txt"), remote_lists)):
            assert file.problem == "a file:// address; give the plain path, with a space for %20"
    with pytest.raises(UserError, match=f"^--images file://{tmp_path}: a file:// address; give the plain path"):
        resolve_collection(f"file://{tmp_path}")


def test_an_address_that_cannot_be_listed_is_told_one_thing_to_do():
    with pytest.raises(UserError) as refused:
        resolve_collection("nowhere://host/photos")
    assert str(refused.value).count(";") == 1 and "there is no file system for nowhere:// here" in str(refused.value)


def relative(folder, *images, **options) -> tuple[list[str], dict[str, int]]:
    listing = Listing(resolve_collection([str(one) for one in images], **options))
    found = [os.path.relpath(file.uri, folder) for file in listing]
    return sorted(found), dict(+listing.ignored)


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_a_disk_of_thumbnails_and_trash_holds_its_pictures_alone(tmp_path):
    put(tmp_path, *(f"{number}.jpg" for number in range(5)))
    put(tmp_path, *(f"@eaDir/{number}.jpg/SYNOPHOTO_THUMB_M.jpg" for number in range(5)))
    put(tmp_path, ".Trash-1000/files/a.jpg", "$RECYCLE.BIN/a.jpg", "in/.dtrash/files/a.jpg")
    assert relative(tmp_path, tmp_path) == ([f"{number}.jpg" for number in range(5)], {"shadow": 4})
    put(tmp_path, "@eaDir/mine/b.jpg")
    for images in ("@eaDir/mine", "@eaDir/*/b.jpg", "@eaDir/mine/*"):
        assert relative(tmp_path, tmp_path / images) == (["@eaDir/mine/b.jpg"], {})
    put(tmp_path, "in/@eaDir/c.jpg", "in/@eaDir/._c.jpg")
    assert relative(tmp_path, tmp_path / "*/@eaDir/*.jpg")[0] == ["in/@eaDir/c.jpg"]


def test_what_is_excluded_is_counted_in_folders_patterns_archives_and_lists(tmp_path):
    put(tmp_path, "in/a.jpg", "in/b.gif", "in/raw/c.jpg", "in/d/raw/e.jpg")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("a.jpg", "b.gif", "raw/c.jpg"):
            archive.writestr(name, name)
    (tmp_path / "list.txt").write_text("in/a.jpg\nin/b.gif\nin/raw/c.jpg\nz.zip!/a.jpg\nz.zip!/b.gif\n")
    exclude = ("*.gif", "raw/")
    assert relative(tmp_path, tmp_path / "in", exclude=exclude) == (["in/a.jpg"], {"excluded": 3})
    assert relative(tmp_path, tmp_path / "in/**/*", exclude=exclude) == (["in/a.jpg"], {"excluded": 3})
    assert relative(tmp_path, tmp_path / "z.zip", exclude=exclude) == (["z.zip!/a.jpg"], {"excluded": 2})
    assert relative(tmp_path, tmp_path / "list.txt", exclude=exclude) == (
        ["in/a.jpg", "z.zip!/a.jpg"],
        {"excluded": 3},
    )
    with pytest.raises(UserError, match="no image is left in there without what --exclude leaves out"):
        resolve_collection(str(tmp_path / "in"), exclude=["*"])


def test_files_that_captionbeam_made_are_left_out_everywhere(tmp_path):
    own = ["summary.json", "ledger-0001-00000-of-00001.jsonl", "features-0001-00000-of-00001.tfrecord", ".lock"]
    thumbnail = f"report_files/{'0' * 64}.jpg"
    put(tmp_path, "a.jpg", *(f"out/{name}" for name in (*own, thumbnail, "rejected.txt", "export.jpg")))
    with zipfile.ZipFile(tmp_path / "out" / "thumbnails.zip", "w") as archive:
        archive.writestr(f"{'0' * 64}.jpg", "x")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "out" / "rejected.txt").write_text(str(tmp_path / "a.jpg"))
    (tmp_path / "list.txt").write_text("out/thumbnails.zip\na.jpg\nout/" + thumbnail)
    assert relative(tmp_path, tmp_path)[0] == ["a.jpg", "out/export.jpg"]
    assert relative(tmp_path, tmp_path)[1]["own"] == 7
    assert relative(tmp_path, tmp_path / "**/*.[zj]*p*")[0] == ["a.jpg", "out/export.jpg"]
    problems = {file.problem for file in Listing(resolve_collection(str(tmp_path / "list.txt")))}
    assert problems == {"", "a file that captionbeam made, and no picture"}
    assert relative(tmp_path, tmp_path / "out/rejected.txt")[0] == ["a.jpg"]
    for images in ("out/thumbnails.zip", "out/report_files", "out/*.tfrecord", "link/thumbnails.zip"):
        with pytest.raises(UserError, match="files that captionbeam made, and no picture; give the "):
            resolve_collection(str(tmp_path / images))


def test_several_images_are_one_collection(tmp_path):
    put(tmp_path, "in/a.jpg", "in/deep/b.jpg", "c.jpg")
    write_archives(tmp_path, 1)
    (tmp_path / "list.txt").write_text("in/a.jpg\nc.jpg\n")
    collection = [tmp_path / "in", tmp_path / "in/deep", tmp_path / "0.zip", tmp_path / "list.txt", tmp_path / "c.jpg"]
    found, ignored = relative(tmp_path, *collection)
    assert found == ["0.zip!/a.jpg", "0.zip!/b.jpg", "c.jpg", "c.jpg", "in/a.jpg", "in/a.jpg", "in/deep/b.jpg"]
    assert ignored == {"folder_again": 1}
    assert resolve_collection(tuple(map(str, collection))).may_hold_captions
    with pytest.raises(UserError, match="none: no such file or folder"):
        resolve_collection([str(tmp_path / "in"), str(tmp_path / "none")])


def test_what_a_shell_names_of_a_disk_of_thumbnails_is_left_out_and_one_alone_is_meant(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg", "@eaDir/a.jpg", "Thumbs.db", "$RECYCLE.BIN/desktop.ini")
    assert relative(tmp_path, *sorted(tmp_path.iterdir())) == (["a.jpg", "b.jpg"], {"shadow": 3})
    assert relative(tmp_path, tmp_path / "@eaDir") == (["@eaDir/a.jpg"], {})
    assert relative(tmp_path, tmp_path, tmp_path / "@eaDir")[0] == ["@eaDir/a.jpg", "a.jpg", "b.jpg"]


def test_a_list_that_goes_to_and_fro_between_archives_lists_each_once(tmp_path, monkeypatch):
    write_archives(tmp_path, 2)
    listed = []
    monkeypatch.setattr(
        "beam_pipeline.inputs.sources.list_container",
        lambda file, ignored: listed.append(file.uri) or list_container(file, ignored),
    )
    (tmp_path / "list.txt").write_text("0.zip!/a.jpg\n1.zip!/a.jpg\n0.zip!/b.jpg\n1.zip!/b.jpg\n1.zip!/b.jpg\n")
    found, _ = relative(tmp_path, tmp_path / "list.txt")
    assert found == ["0.zip!/a.jpg", "0.zip!/b.jpg", "1.zip!/a.jpg", "1.zip!/b.jpg", "1.zip!/b.jpg"]
    assert len(listed) == 2


def test_what_cannot_be_listed_at_all_is_one_line(tmp_path):
    (tmp_path / "list.txt").write_text("# nothing\n\n")
    with pytest.raises(UserError, match="the list names no image"):
        resolve_collection(str(tmp_path / "list.txt"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    for images, said in (("pipe", "a pipe, socket or device is not read"), ("link.jpg", "a link to nothing")):
        with pytest.raises(UserError, match=said):
            resolve_collection(str(tmp_path / images))


def test_links_to_files_are_known_as_such(tmp_path):
    put(tmp_path, "b.jpg")
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    assert [(os.path.basename(file.uri), file.is_link) for file in Listing(resolve_collection(str(tmp_path)))] == [
        ("a.jpg", True),
        ("b.jpg", False),
    ]
