"""`captionbeam evaluate`: scores captions of a captioner, or captions made elsewhere, and writes their scorecard."""

from __future__ import annotations

import contextlib
import logging
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import chain
from typing import Any

from training import __version__
from training.data.caption_files import normalized_name, read_image_list
from training.data.feature_set import FeatureSet, load_feature_set
from training.data.strangers import mention_strangers
from training.decoding.decoder import CaptionDecoder
from training.decoding.settings import DecodingSettings, decoding_settings
from training.errors import UserError
from training.models.captioner import load_captioner
from training.models.captioner_files import member_paths, read_config
from training.options import EvaluateOptions
from training.own_directories import require_output
from training.own_names import GENERATED, SCORE_DOCUMENT, SCORES
from training.scoring.baselines import (
    ScoredPictures,
    TrainingCaptions,
    diversity,
    leave_one_out,
    read_training,
    training_split,
)
from training.scoring.coco_results import match_results, read_results, refuse_marks, write_results
from training.scoring.confidence_curve import Confidences
from training.scoring.confidence_curve import measure as measure_confidence
from training.scoring.confidence_curve import render as render_confidence
from training.scoring.confidence_curve import write as write_confidence
from training.scoring.java_metrics import java_statistics
from training.scoring.protocols import protocol_scores
from training.scoring.scorecard import COMMONEST, HUMAN, LESS_ONE, NEAREST, render
from training.scoring.scores import (
    LEVEL,
    ONE_PICTURE_HAS_NO_CIDER,
    RESAMPLES,
    SEED,
    CaptionSet,
    References,
    caption_set,
    intervals_of,
    scores_of,
    statistics_of,
    tokenized,
)
from training.scoring.word_estimates import WordEstimates, measure
from training.scoring.word_estimates import render as render_words
from training.storage import make_directory, write_json
from training.text.plurals import counted
from training.text.tokenizer import count_tokens, detokenize, has_words
from training.text.word_counts import load_word_counts

log = logging.getLogger("captionbeam")

_MODEL = "model"
_SETTINGS = tuple(field.name for field in fields(DecodingSettings))


@dataclass(frozen=True)
class _Captioned:
    """Captions to score.

    Attributes:
      pictures: which they belong to.
      generated: listed name -> caption.
      source: option and value that they come from, for messages.
      origin: entries of `scores.json` about their origin; None for those that only a captioner, or only a file, has.
      estimates: of the words in the pictures, if they were asked for.
      confidences: of the captions, if the captioner has confidence.
    """

    pictures: ScoredPictures
    generated: dict[str, str]
    source: str
    origin: dict[str, Any]
    estimates: WordEstimates | None = None
    confidences: Confidences | None = None


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Scores captions of the listed pictures, writes and prints the scorecard, returns the content of `scores.json`.

    Raises:
      UserError: options contradict each other, no listed picture has features and captions, the captioner is for
        another encoder, or captions do not fit the list, contain a decoder's mark, or have no word, all of them.
      JobFailed: a shard is damaged.
    """
    require_output(options.output, SCORES)
    features = load_feature_set(options.features)
    mention_strangers(features)
    listed = {normalized_name(name): name for name in read_image_list(options.list)}
    trained_with = read_config(member_paths(options.captioner)[0]).trained_with if options.captioner else None
    split, why_not = training_split(options.train_list, trained_with, features)
    captioned = _read_captions(options, features, listed) if options.captions else _caption(options, features, listed)
    references, origin = captioned.pictures.references, captioned.origin
    refuse_marks(captioned.generated, captioned.source)
    generated = {name: caption for name, caption in captioned.generated.items() if has_words(caption)}
    if not generated:
        raise UserError(f"{captioned.source}: none of its {counted(len(captioned.generated), 'caption')} has a word")

    model = caption_set(generated, references)
    training = None
    if split is not None:
        training = read_training(features, split, captioned.pictures, {texts[0] for texts in model.hypotheses.values()})
        why_not = f"no training picture with captions is in {features.path}"
    scored_references = {name: references[name] for name in generated}
    rows, notes, left_out = _baselines(generated, scored_references, model, training, why_not)
    scored, not_scored = score_rows({_MODEL: model, **rows})
    if len(generated) == 1:
        not_scored = {"CIDEr": ONE_PICTURE_HAS_NO_CIDER, **not_scored}
    document = {
        "signature": signature(scored_references, *(origin[name] for name in _SETTINGS)),
        **origin,
        "encoder": features.encoder.id,
        "pictures": len(generated),
        "pictures_without_features": len(listed) - len(captioned.generated),
        "captions_without_words": sorted(captioned.generated.keys() - generated.keys()),
        "references_without_words": dict(sorted(captioned.pictures.wordless.items())),
        **scored.pop(_MODEL),
        "not_scored": not_scored,
        "bootstrap": {"of": "pictures", "resamples": RESAMPLES, "seed": SEED, "level": LEVEL},
        "rows": {name: {"pictures": len(rows[name].hypotheses), **scored[name], **notes[name]} for name in rows},
        "rows_left_out": left_out,
        "diversity": diversity(generated, training.copied.__contains__ if training else None),
    }
    if options.all_protocols:
        document["protocols"] = protocol_scores(model)
    make_directory(options.output)
    if options.captioner:
        write_results(posixpath.join(options.output, GENERATED), generated)
    write_json(posixpath.join(options.output, SCORE_DOCUMENT), document)
    print(render(document))
    confidences = captioned.confidences
    if confidences is not None and (measured := measure_confidence(confidences, captioned.generated, references)):
        write_confidence(measured, options.output)
        print(f"\n{render_confidence(measured)}")
    if captioned.estimates is not None:
        print(render_words(measure(references, captioned.estimates, features, split, why_not, options.output)))
    return document


def _caption(options: EvaluateOptions, features: FeatureSet, listed: Mapping[str, str]) -> _Captioned:
    """Captions the listed pictures with --captioner."""
    captioner = load_captioner(str(options.captioner))
    captioner.require_encoder(features.encoder)
    settings = decoding_settings(captioner, options)
    decoder = CaptionDecoder(captioner, settings, evidence=options.words)
    estimates = None
    if decoder.knowledge:
        counts = load_word_counts(member_paths(str(options.captioner))[0])
        estimates = WordEstimates(captioner, counts, decoder.knowledge.words, options.output)
    pictures = ScoredPictures()
    generated: dict[str, str] = {}
    flagged = 0
    confidences = Confidences(captioner.confidence) if captioner.confidence else None
    with estimates or contextlib.nullcontext():
        for picture, hypothesis, arrays, row in decoder.decode_pictures(pictures.read(features, listed)):
            flagged += bool(hypothesis.flags)
            names = pictures.names(picture, listed)
            generated |= dict.fromkeys(names, hypothesis.caption)
            if confidences:
                confidences.add(names, picture.sha256, hypothesis)
            if estimates and arrays is not None:
                estimates.add(names, hypothesis.caption, arrays, row)
    _require_pictures(pictures, options, len(listed))
    words = count_tokens(chain(*pictures.references.values()))
    origin = {
        "captioner": captioner.model_id,
        "captions": None,
        **asdict(settings),
        "flagged": flagged,
        "captions_left_over": None,
        "unknown_share_of_references": round(captioner.vocabulary.unknown_share(words), 5),
    }
    return _Captioned(pictures, generated, f"--captioner {options.captioner}", origin, estimates, confidences)


def _read_captions(options: EvaluateOptions, features: FeatureSet, listed: Mapping[str, str]) -> _Captioned:
    """Reads the captions of the listed pictures from --captions."""
    path = str(options.captions)
    results = read_results(path)
    pictures = ScoredPictures()
    for _ in pictures.read(features, listed):
        pass
    _require_pictures(pictures, options, len(listed))
    generated, left_over = match_results(results, pictures.references, path, options.list)
    if left_over:
        log.info(
            "%d of %s ignored: their pictures are not in the list or cannot be scored, such as %s",
            len(left_over),
            counted(len(results), "caption"),
            left_over[0],
        )
    origin = {
        "captioner": None,
        "captions": path,
        **dict.fromkeys(_SETTINGS),
        "flagged": None,
        "captions_left_over": len(left_over),
        "unknown_share_of_references": None,
    }
    return _Captioned(pictures, generated, f"--captions {path}", origin)


def _require_pictures(pictures: ScoredPictures, options: EvaluateOptions, listed: int) -> None:
    described = len(pictures.references)
    if not described:
        names = counted(listed, "picture")
        raise UserError(
            f"--list {options.list}: none of its {names} is in {options.features} with captions; list the file names "
            "of pictures that were extracted with --captions"
        )
    if described < listed:
        log.info("%d of %s without features or captions", listed - described, counted(listed, "listed picture"))


def _baselines(
    generated: Mapping[str, str],
    references: References,
    model: CaptionSet,
    training: TrainingCaptions | None,
    why_no_training: str,
) -> tuple[dict[str, CaptionSet], dict[str, dict[str, Any]], dict[str, str]]:
    """Baselines to score beside the captions: sets, notes on each for `scores.json`, and why others are left out."""
    rows: dict[str, CaptionSet] = {}
    notes: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    if training is None:
        left_out |= dict.fromkeys((NEAREST, COMMONEST), why_no_training)
    else:
        if len(training.nearest) == len(generated):
            rows[NEAREST] = CaptionSet(
                tokenized({name: [text] for name, text in training.nearest.items()}), model.references
            )
            notes[NEAREST] = {"training_pictures": training.pictures}
        else:
            left_out[NEAREST] = "for one picture, the only training picture is the picture itself"
        text, times = training.commonest
        rows[COMMONEST] = CaptionSet({name: [text] for name in model.hypotheses}, model.references)
        notes[COMMONEST] = {
            "caption": detokenize(text.split()),
            "times": times,
            "training_captions": training.captions,
        }
    held_out, others = leave_one_out(references)
    if held_out:
        rows[LESS_ONE] = caption_set({name: generated[name] for name in held_out}, others)
        rows[HUMAN] = caption_set(held_out, others)
        notes[LESS_ONE] = {"references": reference_counts(others)}
        notes[HUMAN] = {"references": reference_counts(others), "diversity": diversity(held_out)}
    else:
        left_out[HUMAN] = "no picture has two captions, one to score and one to compare it with"
    return rows, notes, left_out


def score_rows(rows: Mapping[str, CaptionSet]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Scores sets of captions by all metrics.

    Args:
      rows: name -> set.

    Returns:
      {name: {"scores": ..., "intervals": ...}}, where the CIDEr of a single picture is None, and {metric: why it is
      left out} for METEOR and SPICE.
    """
    java, not_scored = java_statistics(rows)
    scored: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        statistics = [*statistics_of(row), *java[name]]
        scores: dict[str, float | None] = {**scores_of(statistics)}
        scores.setdefault("CIDEr", None)
        intervals = {metric: list(bounds) for metric, bounds in intervals_of(statistics).items()}
        scored[name] = {"scores": scores, "intervals": intervals}
    return scored, not_scored


def signature(
    references: References,
    beam_width: int | None = None,
    min_words: int | None = None,
    guidance: float | None = None,
    judge: str | None = None,
) -> str:
    """One line with everything that scores depend on beside the captions: protocol, tokenizer, references, versions.

    Args:
      references: captions by people.
      beam_width, min_words, guidance, judge: of decoding; None if captions are made elsewhere.
    """
    parts = ["coco", "tok:captionbeam-ptb", f"refs:{reference_counts(references)}", f"pictures:{len(references)}"]
    if beam_width is not None:
        parts.append(f"beam:{beam_width}")
    if min_words is not None and min_words > 1:
        parts.append(f"min:{min_words}")
    if guidance:
        parts.append(f"guidance:{guidance:g}")
    if judge is not None:
        parts.append(f"judge:{judge}")
    parts += [f"pycocoevalcap:{version('pycocoevalcap')}", f"captionbeam:{__version__}"]
    return "|".join(parts)


def reference_counts(references: Mapping[str, Sequence[str]]) -> str:
    """References -> how many captions pictures have: "5", or "1-5"."""
    sizes = {len(texts) for texts in references.values()}
    return f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)}-{max(sizes)}"
