"""Captions of the pictures that a pattern matches, on any Beam file system, as one Parquet file.

python docs/examples/captions_to_parquet.py 'photos/*.jpg' captioner captions
"""

import sys

import apache_beam as beam
import pyarrow
from apache_beam.io import fileio

from beam_pipeline import CaptionImages

SCHEMA = pyarrow.schema({"uri": pyarrow.string(), "caption": pyarrow.string(), "score": pyarrow.float64()})


def main(pattern: str, captioner: str, output: str, **options) -> None:
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        (
            pipeline
            | fileio.MatchFiles(pattern)
            | fileio.ReadMatches()
            | beam.Map(lambda file: (file.metadata.path, file.read()))
            | CaptionImages(captioner, **options)
            | beam.Filter(lambda record: not record.rejected)
            | beam.Map(lambda record: {"uri": record.uri, "caption": record.caption, "score": record.score})
            | beam.io.WriteToParquet(output, SCHEMA, file_name_suffix=".parquet", shard_name_template="")
        )


if __name__ == "__main__":
    weights = {"weights": sys.argv[4]} if len(sys.argv) > 4 else {}
    main(*sys.argv[1:4], **weights)
