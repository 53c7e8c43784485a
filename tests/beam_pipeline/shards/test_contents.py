"""The content of new inputs."""

import hashlib

import pytest

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.shards.caption_join import InputWithCaptions
from beam_pipeline.shards.contents import Picture, choose_state, fingerprint_file, fingerprint_files


def file(uri: str) -> InputFile:
    return InputFile(uri, 1, 1.0)


def test_what_still_cannot_be_read_for_the_same_reason_is_not_rejected_anew(tmp_path, split_outputs):
    missing = file(str(tmp_path / "gone.jpg"))
    (tmp_path / "back.jpg").write_bytes(b"x")
    back = InputFile(str(tmp_path / "back.jpg"), 1, 1.0)
    why = ("read", "no such file or directory")
    inputs = [InputWithCaptions(missing, (), why), InputWithCaptions(missing, (), ("read", "permission denied"))]
    inputs += [InputWithCaptions(missing), InputWithCaptions(back, (), why)]
    main, counts, _ = split_outputs(fingerprint_files(inputs, 10))
    assert counts == {"earlier_rejected": 1}
    assert main == [fingerprint_file(one, 10) for one in inputs[1:]]


def test_a_fingerprint_is_the_hash_of_the_content(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    readable = InputWithCaptions(InputFile(str(tmp_path / "a.jpg"), 1, 1.0), ("a dog",))
    digest = hashlib.sha256(b"x").hexdigest()
    assert fingerprint_file(readable, 10) == (digest, Picture(digest, (readable.file,), ("a dog",)))


def test_a_file_that_cannot_be_read_is_known_by_its_uri(tmp_path):
    missing = file(str(tmp_path / "gone.jpg"))
    digest = hashlib.sha256(missing.uri.encode()).hexdigest()
    problem = "no such file or directory"
    assert fingerprint_file(InputWithCaptions(missing), 10) == (digest, Picture(digest, (missing,), problem=problem))


@pytest.mark.parametrize(
    ("states", "counts_as"), [([], "own"), ([(1, "later")], "later"), ([(1, "later"), (0, "first")], "first")]
)
def test_of_several_known_states_the_first_counts(states, counts_as):
    one = Picture("own", (file("/p/a.jpg"),), states=("first", "later"))
    assert choose_state((b"/p/a.jpg", {"pictures": [one], "states": states}))[0] == counts_as
