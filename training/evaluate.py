"""Captions a split and scores it by the COCO protocol (Chen et al. 2015), with a tokenizer that needs no Java."""

from __future__ import annotations

import contextlib
import io
import logging
import posixpath
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from training.caption_files import normalized_name, read_image_list
from training.captioner import load_captioner
from training.dataset import pictures_of
from training.decoding import CaptionDecoder
from training.errors import UserError
from training.feature_set import load_feature_set
from training.files import write_json
from training.splits import image_names
from training.tokenizer import count_tokens, tokenize

log = logging.getLogger("captionbeam")

Captions = Mapping[str, str]  # picture -> generated caption
References = Mapping[str, Sequence[str]]  # picture -> what people wrote

METEOR_SECONDS = 600  # its Java program loads a paraphrase table of 60 MB, then scores some hundred captions a second


@dataclass(frozen=True)
class EvaluateOptions:
    """Settings of `captionbeam evaluate`.

    Attributes:
      captioner: directory that train made.
      features: feature set that holds the split and its captions.
      list: file of the split's image names, one a line.
      output: directory for `scores.json` and `captions.json`.
      beam_width: hypotheses kept while decoding.
    """

    captioner: str
    features: str
    list: str
    output: str
    beam_width: int = 3


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Captions the listed pictures, writes both files and returns the content of `scores.json`.

    Raises:
      UserError: no listed picture has features and captions, or the captioner is for another encoder.
    """
    captioner = load_captioner(options.captioner)
    features = load_feature_set(options.features)
    captioner.require_encoder(features.encoder)
    listed = {normalized_name(name): name for name in read_image_list(options.list)}

    decoder = CaptionDecoder(captioner, beam_width=options.beam_width)
    generated: dict[str, str] = {}
    references: dict[str, Sequence[str]] = {}
    flags = 0
    wanted = pictures_of(features, lambda sha256, uris: not image_names(uris).isdisjoint(listed))
    for picture, hypothesis in caption_pictures(decoder, (pair for pair in wanted if pair[0].captions)):
        flags += bool(hypothesis.flags)
        for name in sorted(image_names(picture.uris) & listed.keys()):
            generated[listed[name]] = hypothesis.caption
            references[listed[name]] = picture.captions
    if not generated:
        raise UserError(
            f"--list {options.list}: none of its {len(listed)} pictures is in {options.features} with captions"
        )
    if len(generated) < len(listed):
        log.info(
            "%d of the %d listed pictures have no features or no captions", len(listed) - len(generated), len(listed)
        )

    scores = score(generated, references)
    document = {
        "signature": signature(references),
        "captioner": captioner.model_id,
        "encoder": captioner.encoder.id,
        "beam_width": options.beam_width,
        "pictures": len(generated),
        "pictures_without_features": len(listed) - len(generated),
        "flagged": flags,
        **scores,
        "distinct_captions": len(set(generated.values())),
        "mean_words": round(float(np.mean([len(tokenize(caption)) for caption in generated.values()])), 3),
        "unknown_share_of_references": round(
            captioner.vocabulary.unknown_share(count_tokens(chain(*references.values()))), 5
        ),
    }
    tf.io.gfile.makedirs(options.output)
    results = [{"image_id": name, "caption": caption} for name, caption in sorted(generated.items())]
    write_json(posixpath.join(options.output, "captions.json"), results)
    write_json(posixpath.join(options.output, "scores.json"), document)
    print(
        f"{len(generated)} pictures: "
        + ", ".join(f"{name} {_shown(value)}" for name, value in scores["scores"].items())
    )
    print(document["signature"])
    for name, why in scores["not_scored"].items():
        print(f"{name} is not given: {why}")
    return document


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def caption_pictures(decoder: CaptionDecoder, pictures):
    """(picture, feature) pairs -> (picture, Hypothesis) pairs, decoded batch by batch."""
    batch: list[Any] = []

    def flush():
        yield from zip(
            (picture for picture, _ in batch), decoder.decode(np.stack([feature for _, feature in batch])), strict=True
        )
        batch.clear()

    for pair in pictures:
        batch.append(pair)
        if len(batch) == decoder.batch_size:
            yield from flush()
    if batch:
        yield from flush()


def score(generated: Captions, references: References) -> dict[str, Any]:
    """Scores by pycocoevalcap's own classes.

    Returns:
      "scores": name -> value (BLEU, ROUGE-L and METEOR 0 to 1, CIDEr 0 to 10), None where undefined;
      "not_scored": name -> why it is None or left out.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.rouge.rouge import Rouge

    hypotheses, truths = _tokenized(generated, references)
    with contextlib.redirect_stdout(io.StringIO()):  # Bleu prints its lengths
        bleu, _ = Bleu(4).compute_score(truths, hypotheses, verbose=0)
        rouge, _ = Rouge().compute_score(truths, hypotheses)
    scores: dict[str, float | None] = {f"BLEU-{n + 1}": float(value) for n, value in enumerate(bleu)}
    scores["ROUGE-L"] = float(rouge)
    scores["CIDEr"] = cider(generated, references)
    not_scored = {}
    if scores["CIDEr"] is None:
        not_scored["CIDEr"] = "it weighs words by how few of the scored pictures use them, so one picture has no CIDEr"
    meteor, why = _meteor(truths, hypotheses)
    if meteor is None:
        not_scored["METEOR"] = why
    else:
        scores["METEOR"] = meteor
    return {"scores": scores, "not_scored": not_scored}


def cider(generated: Captions, references: References) -> float | None:
    """CIDEr-D of the whole set, 0 to 10 (Vedantam et al. 2015); None for a single picture, where it is undefined."""
    from pycocoevalcap.cider.cider import Cider

    if len(generated) < 2:
        return None
    hypotheses, truths = _tokenized(generated, references)
    value, _ = Cider().compute_score(truths, hypotheses)
    return float(value)


def _tokenized(generated: Captions, references: References):
    names = sorted(generated)
    hypotheses = {name: [" ".join(tokenize(generated[name]))] for name in names}
    truths = {name: [" ".join(tokenize(text)) for text in references[name]] for name in names}
    return hypotheses, truths


def _meteor(truths, hypotheses, limit_s: float = METEOR_SECONDS) -> tuple[float | None, str]:
    """METEOR, or None and why; its Java program is ended after `limit_s` seconds."""
    if shutil.which("java") is None:
        return None, "it needs Java, and none was found"
    from pycocoevalcap.meteor.meteor import Meteor

    try:
        meteor = Meteor()
    except OSError as error:
        return None, f"its Java program cannot be started ({error})"
    too_slow = threading.Event()

    def stop() -> None:
        too_slow.set()
        meteor.meteor_p.kill()

    timer = threading.Timer(limit_s, stop)
    timer.start()
    try:
        value, _ = meteor.compute_score(truths, hypotheses)
    except (OSError, ValueError) as error:
        why = f"did not answer within {limit_s:g} s" if too_slow.is_set() else f"failed ({error})"
        return None, f"its Java program {why}"
    finally:
        timer.cancel()
        # After a failure Meteor still holds its lock, and waits for it for ever when it is deleted.
        if meteor.lock.locked():
            meteor.lock.release()
        with contextlib.suppress(OSError):
            meteor.meteor_p.stdin.close()
    return float(value), ""


def signature(references: References) -> str:
    """What a score can be compared by: protocol, tokenizer, references and versions, in one line."""
    sizes = sorted({len(texts) for texts in references.values()})
    counts = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}-{sizes[-1]}"
    return f"COCO|tok:captionbeam-ptb|refs:{counts}|pictures:{len(references)}|pycocoevalcap:{version('pycocoevalcap')}"
