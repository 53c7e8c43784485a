import pytest

from beam_pipeline.inputs.left_out import Excluded, left_out_kind
from training.errors import UserError


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("a/b.jpg", ("", "")),
        ("a/B.HEIC", ("", "")),
        ("a/0123abcd", ("", "")),
        ("a/notes.md", ("other", "")),
        ("a/b.tar", ("container", "")),
        ("a/.lock", ("other", "")),
        ("a/", ("other", "")),
        ("a/.hidden.jpg", ("", "")),
        ("a/.jpg", ("", "")),
    ],
)
def test_names_rule_files_out_in_a_folder_and_hardly_where_the_user_named_them(path, kinds):
    assert (left_out_kind(path, by_suffix=True), left_out_kind(path, by_suffix=False)) == kinds


@pytest.mark.parametrize(
    "path",
    [
        *("@eaDir/b.jpg/SYNOPHOTO_THUMB_XL.jpg", "a/@eadir/b.jpg", "SYNOPHOTO_THUMB_M.jpg", ".@__thumb/defaultb.jpg"),
        *("a/.Trash-1000/files/b.jpg", ".Trashes/501/b.jpg", ".trash/b.jpg", "$RECYCLE.BIN/S-1-5-21/$R1.jpg"),
        *("$Recycle.Bin/b.jpg", "RECYCLER/S-1-5-21/Dc1.jpg", "#recycle/b.jpg", "@Recycle/b.jpg", ".recycle/b.jpg"),
        *(".dtrash/files/b.jpg", ".stversions/b~20250101-000000.jpg", "#snapshot/GMT-1/b.jpg", ".sync/Archive/b.jpg"),
        *(".Spotlight-V100/b", ".thumbnails/normal/b.png", ".picasaoriginals/b.jpg", "lost+found/#1234"),
        *("__MACOSX/b.jpg", "a/__MACOSX/._b.jpg", "a/._b.jpg", "a/.DS_Store", "a/Thumbs.db", "desktop.ini", "Icon\r"),
        *(
            ".trashed-1700000000-b.jpg",
            ".pending-1-b.jpg",
            ".git/objects/00/1",
        ),
        *("Our.photoslibrary/resources/derivatives/b.jpeg", "Old.photolibrary/Thumbnails/b.jpg"),
    ],
)
def test_thumbnails_trash_and_what_systems_keep_are_never_inputs(path):
    assert (left_out_kind(path, by_suffix=True), left_out_kind(path, by_suffix=False)) == ("shadow", "shadow")


@pytest.mark.parametrize("path", ["a/.tmp-b.jpg", ".tmp-spill/b", ".captionbeam-0/b", "a/.captionbeam-0.tmp"])
def test_temporary_files_are_our_own(path):
    assert left_out_kind(path, by_suffix=False) == "own"


@pytest.mark.parametrize(
    "path",
    [
        *("Trash/b.jpg", "trash-art/b.jpg", "recycler/b.jpg", "Recycle/b.jpg", "eaDir/b.jpg", "thumbnails/b.jpg"),
        *("resources/b.jpg", "Our.photoslibrary/originals/0/b.jpeg", "snapshot/b.jpg", "Thumbs.db.jpg", "_b.jpg"),
    ],
)
def test_folders_that_people_name_alike_are_read(path):
    assert left_out_kind(path, by_suffix=True) == ""


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("*.gif", ["a.gif", "b/c.gif", "b.tar!/c.gif"], ["a.gif.jpg", "a.GIF"]),
        ("raw/", ["raw/", "raw/a.jpg", "b/raw/a.jpg"], ["raw", "raw.jpg", "draw/a.jpg"]),
        ("/raw", ["raw/", "raw/a.jpg", "raw"], ["b/raw/a.jpg"]),
        ("b/*.jpg", ["b/a.jpg"], ["a.jpg", "c/b/a.jpg", "b/c/a.jpg"]),
        ("b/**/a.jpg", ["b/a.jpg", "b/c/d/a.jpg"], ["a.jpg"]),
        ("#recycle", ["#recycle/a.jpg", "b/#recycle/"], ["recycle/a.jpg"]),
        ("a b?.jpg", ["a b1.jpg", "c/a b2.jpg"], ["a b.jpg"]),
        ("[[]a].jpg", ["[a].jpg"], ["a.jpg"]),
        ("*.jpg", ["\udcff.jpg", "new\nline.jpg"], []),
    ],
)
def test_patterns_exclude_as_gitignore_does(pattern, matched, others):
    excluded = Excluded([pattern])
    assert [path for path in matched if not excluded(path)] == []
    assert [path for path in others if excluded(path)] == []


def test_later_patterns_take_back_earlier_ones():
    excluded = Excluded(["*.jpg", "!keep.jpg"])
    assert [path for path in ("a.jpg", "b/keep.jpg") if excluded(path)] == ["a.jpg"]


def test_without_patterns_nothing_is_excluded():
    assert not Excluded([])("a.jpg")


@pytest.mark.parametrize("pattern", ["", " ", "/", "!", "[a", "\\"])
def test_a_pattern_that_matches_nothing_is_refused(pattern):
    with pytest.raises(UserError, match=r"--exclude .*: matches nothing; a pattern is like those of \.gitignore"):
        Excluded(["*.gif", pattern])
