import pytest

from beam_pipeline.commands.argument_parser import Parser, closest


@pytest.fixture
def error_of(capsys):
    """Parses arguments that are wrong; gives the line that says so."""
    parser = Parser(prog="prog", allow_abbrev=False)
    parser.add_argument("--images", required=True)
    parser.add_argument("--layer", choices=("mixed9", "mixed10"))

    def error_of(*arguments: str) -> str:
        with pytest.raises(SystemExit, match="2"):
            parser.parse_known_args(arguments)
        return capsys.readouterr().err

    return error_of


def test_an_error_is_one_line(error_of):
    assert error_of() == "prog: the following argument is required: --images (see prog --help)\n"


@pytest.mark.parametrize("option", ["--image", "--imags=x", "--imaegs"])
def test_a_required_option_that_is_misspelt_is_suggested(error_of, option):
    assert error_of(option, "x") == f"prog: unknown option {option}, did you mean --images? (see prog --help)\n"


def test_a_wrong_choice_is_named_with_the_right_ones(error_of):
    assert error_of("--images", "x", "--layer", "mixed8") == (
        "prog: argument --layer: mixed8 is not mixed9 or mixed10, did you mean mixed9? (see prog --help)\n"
    )


@pytest.mark.parametrize(
    ("word", "suggestion"), [("captoin", ", did you mean caption?"), ("caption", ", did you mean caption?"), ("q", "")]
)
def test_the_closest_word_is_suggested(word, suggestion):
    assert closest(word, ["extract", "caption"]) == suggestion
