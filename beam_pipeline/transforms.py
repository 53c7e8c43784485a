"""Captioning and feature extraction as transforms for your own pipeline; nothing is written to disk.

    with beam.Pipeline() as pipeline:
        captions = pipeline | beam.Create(["a.jpg"]) | CaptionImages("captioner")

What both transforms keep to:

- In: a PCollection of addresses (str: a path or a URL) or of (address, content) pairs (str, bytes).
- Out: a PCollection of one record for each element, with the address as it came in. Order is not kept, and equal
  elements give equal records: nothing is deduplicated.
- An element that cannot be read or decoded gives a record too: `rejected` says why and is "" in all others.
- A record depends on its element alone, not on the elements beside it.
- Records have a Beam schema, so SQL, BigQuery and other sinks take them as rows.
- A wrong argument raises UserError where the transform is constructed. When the pipeline runs, no element makes it
  fail; weights or a captioner that a worker cannot load do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import coders
from apache_beam.pvalue import PCollection

from beam_pipeline.captions.decoder import DecoderSpec, decoder_of_captioner, encoder_of_captioner
from beam_pipeline.captions.shard import DECODER_BATCH, caption_features
from beam_pipeline.encoders.base import ENCODER_BATCH, Encoder, EncoderRequest, EncoderSpec, LoadEncoder
from beam_pipeline.encoders.int8 import is_int8_encoder
from beam_pipeline.encoders.once import encoder_once
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder
from beam_pipeline.images.decode import UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.input_file import TooLarge
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.runtime.text import reason
from beam_pipeline.shards.encoding import READING_THREADS, encode_pixels
from beam_pipeline.shards.feature_shard import PictureFeature
from training.decoding.settings import decoding_settings
from training.errors import UserError
from training.models.captioner import load_captioner
from training.options import DecodingOptions
from training.own_names import INT8_ENCODER

Element = str | tuple[str, bytes]  # address, or address and content


class Captioned(NamedTuple):
    """The caption of an element, or why it has none.

    Attributes:
      uri: address of the element, as it came in.
      sha256: hex digest of its content; "" where it could not be read.
      caption: the best caption; "" where the element was rejected.
      score: mean log-probability of its words; 0 where the element was rejected.
      flags: oddities of the caption.
      confidence: probability that a person would accept the caption, 0 to 1; None where the captioner gives none, or
        the element was rejected.
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
    """The feature of an element, or why it has none.

    Attributes:
      uri: address of the element, as it came in.
      sha256: hex digest of its content; "" where it could not be read.
      shape: of the feature, a grid [P, C] or pooled [C]; empty where the element was rejected.
      values: float16 in that shape, as `numpy.frombuffer(values, "float16").reshape(shape)` reads it.
      rejected: why there is no feature, else "".
    """

    uri: str
    sha256: str
    shape: Sequence[int]
    values: bytes
    rejected: str


coders.registry.register_coder(Captioned, coders.RowCoder)
coders.registry.register_coder(Feature, coders.RowCoder)


class ExtractFeatures(beam.PTransform):
    """PCollection of str or (str, bytes) -> PCollection of Feature, one for each element.

    Args:
      weights: "imagenet" or the path of a weight file; with precision "int8" the path of the int8 encoder that
        `captionbeam extract` made.
      feature_kind: "grid" for a grid, float16 [P, C], "pooled" for its mean, float16 [C].
      layer: block of InceptionV3 that gives the features: "mixed7" [289, 768], "mixed8" [64, 1280], "mixed9" or
        "mixed10" [64, 2048].
      precision: "auto", "bfloat16", "float32" or, with engine "openvino", "int8".
      engine: "tensorflow", or "openvino" where the extra is installed.
      decode_limits: what decoding one picture may cost.
      load: loads the encoder on a worker.

    Raises:
      UserError: the weights or the engine are not available, or the encoder would have to be fitted to a collection:
        random weights, or int8 without an int8 encoder.
    """

    def __init__(
        self,
        weights: str = "imagenet",
        feature_kind: str = "grid",
        layer: str = "mixed9",
        precision: str = "auto",
        engine: str = "tensorflow",
        decode_limits: DecodeLimits = DEFAULT_DECODE_LIMITS,
        load: LoadEncoder = load_encoder,
    ):
        super().__init__()

        def no_sample() -> np.ndarray:
            raise UserError("ExtractFeatures: random weights are fitted to a collection; use `captionbeam extract`")

        if weights == "random":
            no_sample()
        if precision == "int8" and not is_int8_encoder(weights):
            raise UserError(
                f"ExtractFeatures: weights {weights}: an int8 encoder is fitted to a collection; use `captionbeam "
                f"extract`, or give the path of its {INT8_ENCODER} as weights"
            )
        self._encoder = resolve_encoder(EncoderRequest(weights, feature_kind, layer, precision, engine), "", no_sample)
        self._limits, self._load = decode_limits, load

    def expand(self, pictures: PCollection) -> PCollection:
        encode = EncodePictures(self._encoder, self._limits, self._load)
        batches = pictures | "BatchPictures" >> beam.BatchElements(ENCODER_BATCH, ENCODER_BATCH)
        return batches | "EncodePictures" >> beam.ParDo(encode).with_output_types(Feature)


class CaptionImages(beam.PTransform):
    """PCollection of str or (str, bytes) -> PCollection of Captioned, one for each element.

    Args:
      captioner: directory that `captionbeam train` made, or several separated by commas: an ensemble.
      weights: path of the encoder weights, where they are not where they were when the captioner was trained.
      beam_width: hypotheses kept while decoding; None for 7 if a judge chooses among them, else 3.
      min_words: least number of words in a caption; None for the captioner's own.
      guidance: weight of the word-presence head, 0 to 10; None for the default.
      judge: "none" to take the likeliest hypothesis as the caption; None for the captioner's judge, if it has one.
      decode_limits: what decoding one picture may cost.
      load: loads the encoder on a worker.

    Raises:
      UserError: the captioner is missing or incomplete, or its encoder is not available.
    """

    def __init__(
        self,
        captioner: str,
        weights: str | None = None,
        beam_width: int | None = None,
        min_words: int | None = None,
        guidance: float | None = None,
        judge: str | None = None,
        decode_limits: DecodeLimits = DEFAULT_DECODE_LIMITS,
        load: LoadEncoder = load_encoder,
    ):
        super().__init__()
        loaded = load_captioner(captioner)
        self._encoder = encoder_of_captioner(loaded, captioner, weights)
        asked = DecodingOptions(beam_width=beam_width, judge=judge, min_words=min_words, guidance=guidance)
        self._decoder = decoder_of_captioner(loaded, captioner, decoding_settings(loaded, asked))
        self._limits, self._load = decode_limits, load

    def expand(self, pictures: PCollection) -> PCollection:
        caption = CaptionPictures(self._encoder, self._decoder, self._limits, self._load)
        batches = pictures | "BatchPictures" >> beam.BatchElements(DECODER_BATCH, DECODER_BATCH)
        return batches | "CaptionPictures" >> beam.ParDo(caption).with_output_types(Captioned)


class EncodePictures(beam.DoFn):
    """Batch of Elements -> Feature each; the encoder is loaded once per process."""

    def __init__(self, encoder: EncoderSpec, limits: DecodeLimits, load: LoadEncoder):
        self.encoder = encoder_once(encoder, load)
        self.limits = limits

    def process(self, batch: Sequence[Element]) -> Iterator[Feature]:
        for uri, sha256, rejected, feature in encode_elements(batch, self.encoder, self.limits):
            if feature is None:
                yield Feature(uri, sha256, [], b"", rejected)
            else:
                yield Feature(uri, sha256, list(feature.shape), feature.tobytes(), "")


class CaptionPictures(beam.DoFn):
    """Batch of Elements -> Captioned each; encoder and captioner are loaded once per process."""

    def __init__(
        self,
        encoder: EncoderSpec,
        decoder: DecoderSpec,
        limits: DecodeLimits,
        load: LoadEncoder,
    ):
        self.encoder = encoder_once(encoder, load)
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.limits = limits

    def process(self, batch: Sequence[Element]) -> Iterator[Captioned]:
        encoded = encode_elements(batch, self.encoder, self.limits)
        features = [PictureFeature(one.sha256, one.uri, one.feature) for one in encoded if one.feature is not None]
        captions = iter(caption_features(features, self.decoder()) if features else ())
        for uri, sha256, rejected, feature in encoded:
            if feature is None:
                yield Captioned(uri, sha256, "", 0.0, [], None, rejected)
            else:
                best = next(captions)
                yield Captioned(uri, sha256, best.caption, best.score, list(best.flags), best.confidence, "")


class EncodedElement(NamedTuple):
    """An element after encoding; without a feature it says why it was rejected.

    Attributes:
      uri: address of the element.
      sha256: hex digest of its content; "" where it could not be read.
      rejected: why there is no feature, else "".
      feature: float16, a grid [P, C] or pooled [C], or None.
    """

    uri: str
    sha256: str
    rejected: str
    feature: np.ndarray | None


def encode_elements(
    batch: Iterable[Element], encoder: Callable[[], Encoder], limits: DecodeLimits
) -> list[EncodedElement]:
    """Elements -> EncodedElement each, in order.

    Args:
      encoder: gives the encoder; not called where no element can be decoded.
    """
    reader = PictureReader()
    decoded = [decode_element(element, reader, limits) for element in batch]
    features = encode_pixels([pixels for _, pixels in decoded if pixels is not None], encoder)
    return [one if pixels is None else one._replace(feature=next(features)) for one, pixels in decoded]


def decode_element(
    element: Element, reader: PictureReader, limits: DecodeLimits
) -> tuple[EncodedElement, np.ndarray | None]:
    """Element -> (the same without a feature yet, RGB uint8 [299, 299, 3]); None where it is rejected."""
    uri, content = (element, None) if isinstance(element, str) else element
    sha256 = ""
    try:
        data = reader.read(uri, limits.max_bytes) if content is None else content
        if len(data) > limits.max_bytes:
            raise TooLarge(len(data), limits.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        pixels = decoder_pool(limits, READING_THREADS).decode(data).pixels
    except OSError as error:
        return EncodedElement(uri, sha256, reason(error), None), None
    except UnreadableImage as error:
        return EncodedElement(uri, sha256, str(error), None), None
    return EncodedElement(uri, sha256, "", None), pixels
