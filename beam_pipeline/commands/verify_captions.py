"""Whether captions are whole, and whether their pictures still get the captions that they store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from beam_pipeline.captions.decoder import decoder_of_captioner, encoder_of_captioner
from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.captions.shard import DECODER_BATCH, captioned_picture
from beam_pipeline.commands.verify_findings import Findings, check_ledger, check_totals, done_contents, draw_sample
from beam_pipeline.commands.verify_pixels import read_pixels
from beam_pipeline.encoders.base import ENCODER_BATCH, LoadEncoder
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import reason
from beam_pipeline.runtime.threads import batched
from beam_pipeline.shards.encoding import encode_pixels
from beam_pipeline.shards.feature_shard import read_features
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import read_words
from beam_pipeline.words.summary import require_ledgers, shards_of_summary, sound_shards
from training.data.feature_set import FEATURE_DTYPE
from training.decoding.settings import DecodingSettings
from training.errors import UserError
from training.models.captioner import load_captioner
from training.text.plurals import counted


def verify_captions(options: VerifyOptions, summary: dict[str, Any], findings: Findings, load: LoadEncoder) -> str:
    """Checks the files of captions, and captions a sample of the pictures again.

    Args:
      summary: content of the directory's `summary.json`.
      findings: gets what is wrong, and what was compared.
      load: makes the encoder.

    Returns:
      What the directory contains, in words.

    Raises:
      UserError: the captioner or the encoder cannot be had, or is another one.
      JobFailed: a ledger is missing.
    """
    directory = options.directory
    shards = shards_of_summary(directory)
    require_ledgers(directory, shards)
    findings.problems += check_totals(directory, summary["totals"])
    done = set(done_contents(directory, shards))
    sample = draw_sample(done, options.sample)
    recaption = _Recaption(options, summary["made_with"], load) if sample else None
    total = 0
    for shard in shards:
        path = storage.join(directory, shard.captions())
        try:
            sound_shards(directory, {shard})
            rows = list(read_captions(shard, directory))
        except UserError as error:
            findings.problems.append(str(error))
            continue
        except OSError as error:
            findings.problems.append(
                f"{path}: cannot be read ({reason(error)}); remove {shard.ledger()} and run captionbeam caption again"
            )
            continue
        findings.problems += _check_words(shard, directory)
        total += len(rows)
        findings.problems += check_ledger(path, [row.sha256 for row in rows], set(done_contents(directory, [shard])))
        if recaption:
            recaption.compare(shard, [row for row in rows if row.sha256 in sample], findings)
    captions = counted(total, "caption")
    if total != summary["captions"]:
        findings.problems.append(f"{directory}: {captions}, but {summary['captions']:,} by its summary")
    if not findings.problems and total != len(done):
        findings.problems.append(f"{directory}: {captions}, but {counted(len(done), 'picture')} done by the ledgers")
    return f"{counted(len(shards), 'shard')} with {captions}"


def _check_words(shard: ShardId, directory: str) -> list[str]:
    """What is wrong with the word statistics of a shard, which the next run makes again."""
    words = storage.join(directory, shard.words())
    try:
        return [] if read_words(shard, directory) else [f"{words}: is missing; run captionbeam caption again"]
    except UserError as error:
        return [str(error)]


class _Recaption:
    """Captions pictures again as they were captioned, with the captioner and the settings of then.

    Raises:
      UserError: the captioner or the encoder cannot be had, or is another one.
    """

    def __init__(self, options: VerifyOptions, made_with: dict[str, Any], load: LoadEncoder):
        self._options = options
        path = options.captioner or ""
        captioner = load_captioner(path)
        if captioner.model_id != made_with["model_id"]:
            raise UserError(
                f"--captioner {path}: is {captioner.model_id}, but {made_with['model_id']} made the captions"
            )
        judge = made_with.get("judge")
        if judge is not None and (captioner.judge is None or captioner.judge.id != judge):
            raise UserError(
                f"--captioner {path}: its judge is not {judge}, which chose the captions; give the captioner as it "
                "was, or caption into another directory"
            )
        settings = DecodingSettings(made_with["beam_width"], made_with["min_words"], made_with["guidance"], judge)
        spec = decoder_of_captioner(captioner, path, settings)
        self._decoder = replace(
            spec, alternatives=made_with["alternatives"], min_confidence=made_with.get("min_confidence")
        ).load()
        self._encoder = None
        if made_with["source"] != "features":
            self._encoder = load(encoder_of_captioner(captioner, path, options.weights))

    def compare(self, shard: ShardId, rows: list[CaptionedPicture], findings: Findings) -> None:
        """Captions the pictures of stored rows again, and adds to the findings which captions differ."""
        for batch in batched(self._features(shard, rows, findings), DECODER_BATCH):
            features = np.stack([feature for _, feature in batch]).astype(FEATURE_DTYPE)
            hypotheses = self._decoder.decode(features, [row.sha256 for row, _ in batch])
            for (row, _), hypothesis in zip(batch, hypotheses, strict=True):
                now = captioned_picture(row.sha256, row.uri, hypothesis)
                findings.compared += 1
                findings.identical += now.to_json() == row.to_json()
                if now.caption != row.caption:
                    findings.problems.append(
                        f'{row.uri}: its caption is "{now.caption}" now, "{row.caption}" is stored'
                    )

    def _features(
        self, shard: ShardId, rows: list[CaptionedPicture], findings: Findings
    ) -> Iterator[tuple[CaptionedPicture, np.ndarray]]:
        """Rows of a shard -> (row, feature) of those whose picture can still be had."""
        encoder = self._encoder
        if encoder is None:
            yield from self._stored_features(shard, rows)
            return
        for batch in batched(rows, ENCODER_BATCH):
            pictures = [
                (row, pixels[0])
                for row in batch
                if (pixels := read_pixels([row.uri], row.sha256, self._options.decode_limits, findings)) is not None
            ]
            features = encode_pixels([pixels for _, pixels in pictures], lambda: encoder)
            yield from zip((row for row, _ in pictures), features, strict=True)

    def _stored_features(
        self, shard: ShardId, rows: list[CaptionedPicture]
    ) -> Iterator[tuple[CaptionedPicture, np.ndarray]]:
        wanted = {row.sha256: row for row in rows}
        path = storage.join(self._options.features or "", shard.features())
        for sha256, _, feature in read_features(path) if wanted else ():
            if sha256 in wanted:
                yield wanted[sha256], feature
