"""Looks at the inputs that a command names before TensorFlow and Beam are loaded: a mistyped path fails at once.

The command looks again, and closer. Remote addresses are left to it, since TensorFlow and Beam hold their file systems.
"""

from __future__ import annotations

import os
from typing import Any, TypeGuard

from beam_pipeline.commands.directories import kind_of, require_kind
from beam_pipeline.inputs.own_files import OwnFiles
from beam_pipeline.inputs.sources import resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.demo import DemoOptions
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.results import ONE_FILE, CompareOptions, ExportOptions, ReportOptions
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from beam_pipeline.words.summary import read_summary
from training.data.caption_files import read_captions, read_image_list
from training.data.feature_set import load_feature_set
from training.errors import UserError
from training.files import is_local
from training.models.captioner_files import member_paths, read_config
from training.options import EvaluateOptions, TrainOptions
from training.own_directories import require_folder, require_output
from training.own_names import CAPTIONER, CAPTIONS, DEMO, FEATURES, REPORT, SCORES


def check_inputs(options: Any) -> None:
    """Options of a command -> nothing, if the local inputs that they name can be read.

    Raises:
      UserError: one of them is missing, or is something else.
    """
    if isinstance(options, ExtractOptions):
        _check_images(options)
        if _is_given(options.captions):
            read_captions(options.captions)
        _check_weights(options.weights)
    elif isinstance(options, TrainOptions):
        _check_features(options.features)
        _check_lists(options.train_list, options.dev_list)
        if _is_given(options.glove):
            _check_file("--glove", options.glove)
    elif isinstance(options, EvaluateOptions):
        _check_features(options.features)
        _check_captioner(options.captioner)
        if _is_given(options.captions):
            _check_file("--captions", options.captions)
        _check_lists(options.list, options.train_list)
    elif isinstance(options, CaptionOptions):
        _check_captioner(options.captioner)
        _check_images(options)
        _check_features(options.features)
        if _is_given(options.reference):
            require_kind(options.reference, CAPTIONS, "--reference")
            read_summary(options.reference, "--reference")
        _check_weights(options.weights)
    elif isinstance(options, ExportOptions | ReportOptions):
        _check_captions(options.captions)
    elif isinstance(options, CompareOptions):
        for directory in (options.first, options.second):
            _check_captions(directory)
    elif isinstance(options, VerifyOptions):
        if is_local(options.directory):
            kind_of(options.directory)
        _check_captioner(options.captioner)
        _check_features(options.features)
        _check_weights(options.weights)


def check_output(options: Any) -> None:
    """Options of a command -> nothing, unless its local output holds something else than the command makes.

    Raises:
      UserError: names what was found.
    """
    kinds = {
        ExtractOptions: FEATURES,
        TrainOptions: CAPTIONER,
        CaptionOptions: CAPTIONS,
        EvaluateOptions: SCORES,
        DemoOptions: DEMO,
    }
    output = getattr(options, "output", None)
    if not _is_given(output):
        return
    if kind := kinds.get(type(options)):
        require_output(output, kind)
    elif isinstance(options, ExportOptions) and options.format not in (*ONE_FILE, None):
        path = output
        while path and not os.path.lexists(path):
            path = os.path.dirname(path)
        require_folder(path)
        if OwnFiles().lie_in(os.path.realpath(output)):
            raise UserError(f"--output {output}: holds captionbeam's own files; choose a folder without them")
    elif isinstance(options, CompareOptions | ExportOptions | ReportOptions):
        path = os.path.realpath(output)
        is_page = isinstance(options, ReportOptions) and os.path.basename(path) == REPORT
        if path in OwnFiles() and not is_page:
            raise UserError(f"--output {output}: is one of captionbeam's own files; choose another --output")
        if path.lower().endswith(tuple(IMAGE_SUFFIXES)) and os.path.isfile(path):
            raise UserError(f"--output {output}: is a picture; choose another --output")


def _is_given(path: str | None) -> TypeGuard[str]:
    """Whether a path is given, and local."""
    return path is not None and is_local(path)


def _check_images(options: ExtractOptions | CaptionOptions) -> None:
    names = (options.images,) if isinstance(options.images, str) else options.images or ()
    if local := tuple(filter(is_local, names)):
        resolve_collection(local, options.remote_lists, options.exclude)


def _check_captions(directory: str) -> None:
    if is_local(directory):
        require_kind(directory, CAPTIONS, "DIR")


def _check_features(features: str | None) -> None:
    if _is_given(features):
        require_kind(features, FEATURES, "--features")
        load_feature_set(features)


def _check_captioner(captioner: str | None) -> None:
    for member in member_paths(captioner) if captioner else ():
        if _is_given(member):
            require_kind(member, CAPTIONER, "--captioner")
            read_config(member)


def _check_lists(*paths: str | None) -> None:
    for path in filter(_is_given, paths):
        read_image_list(path)


def _check_weights(weights: str | None) -> None:
    if weights not in ("imagenet", "random") and _is_given(weights):
        _check_file("--weights", weights)


def _check_file(option: str, path: str) -> None:
    if not os.path.isfile(path):
        raise UserError(f"{option} {path}: no such file; check the path")
