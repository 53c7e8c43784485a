import pytest

from beam_pipeline.commands.foreign_options import _ANSWERS, answer_to
from beam_pipeline.commands.parser import STAGES, stage_parser


@pytest.mark.parametrize(
    ("stage", "option", "said"),
    [
        ("caption", "--overwrite", "to start afresh, give another --output"),
        ("export", "--overwrite", "give --mode overwrite"),
        ("extract", "--resume", "the same command continues"),
        ("caption", "--recursive", "folders are always read with all the folders in them"),
        ("caption", "--batch-size=8", "batches have a fixed size"),
        ("extract", "--num-workers", "--direct_num_workers N"),
        ("train", "--num-workers", "one process uses all cores"),
    ],
)
def test_an_option_of_another_tool_is_answered_with_what_to_do_here(stage, option, said):
    answer = answer_to(stage, option)
    assert answer.startswith(option.partition("=")[0] + ": ")
    assert said in answer


def test_an_option_that_no_tool_has_gets_no_answer():
    assert answer_to("caption", "--colour-of-the-sky") == ""


@pytest.mark.parametrize("stage", STAGES)
def test_no_answer_hides_an_option_of_ours(stage):
    assert [flag for flag in stage_parser(stage)._option_string_actions if answer_to(stage, flag)] == []


def test_an_answer_names_options_that_exist():
    for answer, _, stages in _ANSWERS:
        named = {word.rstrip(",;.:`") for word in answer.split() if word.startswith("--")} - {
            "--direct_running_mode",
            "--direct_num_workers",
        }
        known = {flag for stage in (*stages, "export") for flag in stage_parser(stage)._option_string_actions}
        assert named <= known, answer


def test_every_stage_that_is_named_exists():
    assert {stage for _, _, stages in _ANSWERS for stage in stages} <= set(STAGES)
