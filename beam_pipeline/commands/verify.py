"""`captionbeam verify DIR`: whether features or captions are whole, and whether their pictures still give them.

All files are checked against checksums and ledgers. A sample of the pictures, chosen by their content, is computed
again and compared with what is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beam_pipeline.commands.directories import kind_of
from beam_pipeline.commands.verify_findings import Findings
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.runtime.memory import first_import
from beam_pipeline.words.summary import read_summary
from training.errors import JobFailed, UserError
from training.own_names import CAPTIONER, FEATURES
from training.text.plurals import counted

if TYPE_CHECKING:
    from beam_pipeline.encoders.base import LoadEncoder

PROBLEMS_SHOWN = 20


def verify(options: VerifyOptions, load: LoadEncoder | None = None) -> Findings:
    """Checks a directory; prints a line for each problem and one for the result; writes nothing.

    Args:
      load: makes the encoder; None for `encoders.registry.load_encoder`.

    Raises:
      UserError: the directory is not finished, or what is needed to compute pictures again is not given.
      JobFailed: something is wrong.
    """
    kind = kind_of(options.directory)
    if kind == CAPTIONER:
        raise UserError(f"{options.directory}: a captioner cannot be verified; give a feature set or captions")
    summary = None
    if kind != FEATURES:
        summary = read_summary(options.directory, "verify")
        _require_captioner(options, summary)
    findings = Findings()
    content = _verify(options, summary, findings, load)
    for problem in findings.problems[:PROBLEMS_SHOWN]:
        print(problem)
    if len(findings.problems) > PROBLEMS_SHOWN:
        print(f"... and {len(findings.problems) - PROBLEMS_SHOWN:,} more")
    computed = (
        f"{counted(findings.compared, 'picture')} computed again, {findings.identical:,} identical to the last bit"
    )
    if findings.gone:
        computed += f"; {findings.gone:,} more could not be, since their files are gone or have changed"
    result = f"{options.directory}: {content}; {computed}"
    if findings.problems:
        raise JobFailed(f"{result}; {counted(len(findings.problems), 'problem')}")
    print(f"{result}; nothing is wrong")
    return findings


def _require_captioner(options: VerifyOptions, summary: dict[str, Any]) -> None:
    """Raises UserError if pictures are to be captioned again and it is not said by what."""
    if not (options.sample and summary["captions"]):
        return
    from_features = summary["made_with"]["source"] == "features"
    if options.captioner is None or (from_features and options.features is None):
        raise UserError(
            f"{options.directory}: give --captioner{' and --features' if from_features else ''} to caption a sample "
            "again, or --sample 0 to check only the files"
        )


def _verify(
    options: VerifyOptions,
    summary: dict[str, Any] | None,
    findings: Findings,
    load: LoadEncoder | None,
) -> str:
    """Verifies features, or captions if there is a summary of them -> what the directory contains, in words."""
    with first_import("tensorflow"):  # only now, when the call is known to be right
        from beam_pipeline.commands.verify_captions import verify_captions
        from beam_pipeline.commands.verify_features import verify_features
        from beam_pipeline.encoders.registry import load_encoder

    if summary is None:
        return verify_features(options, findings, load or load_encoder)
    return verify_captions(options, summary, findings, load or load_encoder)
