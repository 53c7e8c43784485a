"""Captioning and feature extraction as transforms for somebody's own pipeline; nothing is written to disk.

    with beam.Pipeline() as pipeline:
        captions = pipeline | beam.Create(["a.jpg"]) | CaptionImages("captioner")

In come addresses, or (address, content) from any source; out comes one record for every element, with the reason where
it could not be read. Records have a Beam schema, so SQL, BigQuery and other sinks take them as rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import coders

from beam_pipeline.captions.decoder import DecoderSpec, decoder_of_captioner, encoder_of_captioner
from beam_pipeline.captions.shard import DECODER_BATCH, captioned
from beam_pipeline.encoders.base import ENCODER_BATCH, Encoder, EncoderRequest, EncoderSpec
from beam_pipeline.encoders.int8 import is_int8_encoder
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder
from beam_pipeline.images.decode import UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.input_file import TooLarge
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.runtime.text import reason
from beam_pipeline.shards.encoding import READING_THREADS, encode_pixels
from training.data.feature_set import INT8_ENCODER
from training.errors import UserError
from training.models.captioner import load_captioner

Element = str | tuple[str, bytes]  # address, or address and content


class Captioned(NamedTuple):
    """What came of an element.

    Attributes:
      uri: its address, as it came.
      sha256: hex digest of its content; "" where it could not be read.
      caption: the best caption; "" where there is none.
      score: mean log-probability of its words; 0 where there is none.
      flags: oddities of the caption.
      confidence: probability that a person would accept it; None where the captioner cannot tell, or there is none.
      rejected: why there is no caption, else "".
    """

    uri: str
    sha256: str
    caption: str
    score: float
    flags: Sequence[str]
    confidence: float | None
    rejected: str


class Feature(NamedTuple):
    """What came of an element.

    Attributes:
      uri, sha256, rejected: as in `Captioned`.
      shape: of the feature, [64, 2048] or [2048]; empty where there is none.
      values: float16 in that shape, as `numpy.frombuffer(values, "float16").reshape(shape)` reads it.
    """

    uri: str
    sha256: str
    shape: Sequence[int]
    values: bytes
    rejected: str


coders.registry.register_coder(Captioned, coders.RowCoder)
coders.registry.register_coder(Feature, coders.RowCoder)


class ExtractFeatures(beam.PTransform):
    """PCollection of str or (str, bytes) -> PCollection of `Feature`, one for every element.

    Args:
      weights: "imagenet" or the path of a weight file, as for `captionbeam extract`; with "int8" the path of the
        quantized graph that it made.
      feature_kind: "grid" or "pooled".
      layer: block of InceptionV3.
      precision: "auto", "bfloat16", "float32" or, with OpenVINO, "int8".
      engine: "tensorflow", or "openvino" of the extra.
      decode_limits: limits on what one picture may cost.
      load: makes the encoder on a worker.

    Raises:
      UserError: weights or engine cannot be had, or an encoder is to be fitted to a collection: random weights, int8.
    """

    def __init__(
        self,
        weights: str = "imagenet",
        feature_kind: str = "grid",
        layer: str = "mixed9",
        precision: str = "auto",
        engine: str = "tensorflow",
        decode_limits: DecodeLimits = DEFAULT_DECODE_LIMITS,
        load: Callable[[EncoderSpec], Encoder] = load_encoder,
    ):
        super().__init__()

        def no_sample() -> np.ndarray:
            raise UserError("ExtractFeatures: random weights are fitted to a collection; use `captionbeam extract`")

        if weights == "random":
            no_sample()
        if precision == "int8" and not is_int8_encoder(weights):
            raise UserError(
                f"ExtractFeatures: weights {weights}: int8 is fitted to a collection; use `captionbeam extract`, and "
                f"give the path of its {INT8_ENCODER} as weights"
            )
        self._encoder = resolve_encoder(EncoderRequest(weights, feature_kind, layer, precision, engine), "", no_sample)
        self._limits, self._load = decode_limits, load

    def expand(self, pictures):
        make = _MakeFeatures(self._encoder, self._limits, self._load)
        batches = pictures | "BatchPictures" >> beam.BatchElements(ENCODER_BATCH, ENCODER_BATCH)
        return batches | "EncodePictures" >> beam.ParDo(make).with_output_types(Feature)


class CaptionImages(beam.PTransform):
    """PCollection of str or (str, bytes) -> PCollection of `Captioned`, one for every element.

    Args:
      captioner: directory that `captionbeam train` made, or several separated by commas.
      weights: of the encoder, where they lie elsewhere than when the captioner was trained.
      beam_width: hypotheses kept while decoding.
      min_words: words of a caption at least; None for the captioner's own.
      guidance: weight of the word-presence head; None for the default.
      decode_limits: limits on what one picture may cost.
      load: makes the encoder on a worker.

    Raises:
      UserError: the captioner or its encoder cannot be had.
    """

    def __init__(
        self,
        captioner: str,
        weights: str | None = None,
        beam_width: int = 3,
        min_words: int | None = None,
        guidance: float | None = None,
        decode_limits: DecodeLimits = DEFAULT_DECODE_LIMITS,
        load: Callable[[EncoderSpec], Encoder] = load_encoder,
    ):
        super().__init__()
        loaded = load_captioner(captioner)
        self._encoder = encoder_of_captioner(loaded, captioner, weights)
        self._decoder = decoder_of_captioner(loaded, captioner, beam_width, min_words, guidance)
        self._limits, self._load = decode_limits, load

    def expand(self, pictures):
        make = _MakeCaptions(self._encoder, self._decoder, self._limits, self._load)
        batches = pictures | "BatchPictures" >> beam.BatchElements(DECODER_BATCH, DECODER_BATCH)
        return batches | "CaptionPictures" >> beam.ParDo(make).with_output_types(Captioned)


class _Encodes(beam.DoFn):
    """Reads and encodes a batch; the encoder is loaded once per process."""

    def __init__(self, encoder: EncoderSpec, limits: DecodeLimits, load: Callable[[EncoderSpec], Encoder]):
        self.encoder = OncePerProcess(partial(load, encoder), encoder.identity.id)
        self.limits = limits

    def encoded(self, batch: Iterable[Element]) -> tuple[list[tuple[str, str, str]], list[np.ndarray]]:
        """Elements -> (uri, sha256, why it was rejected or "") of each, and features of those that were not."""
        reader, read, pixels = PictureReader(), [], []
        for element in batch:
            uri, content = (element, None) if isinstance(element, str) else element
            sha256 = ""
            try:
                data = reader.read(uri, self.limits.max_bytes) if content is None else content
                if len(data) > self.limits.max_bytes:
                    raise TooLarge(len(data), self.limits.max_bytes)
                sha256 = hashlib.sha256(data).hexdigest()
                pixels.append(decoder_pool(self.limits, READING_THREADS).decode(data).pixels)
                read.append((uri, sha256, ""))
            except OSError as error:
                read.append((uri, sha256, reason(error)))
            except UnreadableImage as error:
                read.append((uri, sha256, str(error)))
        return read, list(encode_pixels(pixels, self.encoder))


class _MakeFeatures(_Encodes):
    def process(self, batch: Sequence[Element]) -> Iterator[Feature]:
        read, features = self.encoded(batch)
        remaining = iter(features)
        for uri, sha256, rejected in read:
            if rejected:
                yield Feature(uri, sha256, [], b"", rejected)
            else:
                feature = next(remaining)
                yield Feature(uri, sha256, list(feature.shape), feature.tobytes(), "")


class _MakeCaptions(_Encodes):
    def __init__(self, encoder: EncoderSpec, decoder: DecoderSpec, limits: DecodeLimits, load):
        super().__init__(encoder, limits, load)
        self.decoder = OncePerProcess(decoder.load, decoder)

    def process(self, batch: Sequence[Element]) -> Iterator[Captioned]:
        read, features = self.encoded(batch)
        hypotheses = iter(self.decoder().decode(np.stack(features)) if features else ())
        for uri, sha256, rejected in read:
            if rejected:
                yield Captioned(uri, sha256, "", 0.0, [], None, rejected)
            else:
                said = captioned(sha256, uri, next(hypotheses))
                yield Captioned(uri, sha256, said.caption, said.score, list(said.flags), said.confidence, "")
