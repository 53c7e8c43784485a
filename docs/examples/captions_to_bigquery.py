"""Captions of the pictures that a pattern matches into a BigQuery table. Not run: it needs a Google Cloud project.

python docs/examples/captions_to_bigquery.py 'gs://bucket/photos/*.jpg' captioner project:dataset.captions
"""

import sys

import apache_beam as beam
from apache_beam.io import fileio

from beam_pipeline import CaptionImages

SCHEMA = {
    "fields": [
        {"name": "uri", "type": "STRING", "mode": "REQUIRED"},
        {"name": "sha256", "type": "STRING", "mode": "REQUIRED"},
        {"name": "caption", "type": "STRING", "mode": "REQUIRED"},
        {"name": "score", "type": "FLOAT64", "mode": "REQUIRED"},
        {"name": "confidence", "type": "FLOAT64", "mode": "NULLABLE"},
        {"name": "flags", "type": "STRING", "mode": "REPEATED"},
        {"name": "rejected", "type": "STRING", "mode": "REQUIRED"},
    ]
}


def main(pattern: str, captioner: str, table: str) -> None:
    with beam.Pipeline() as pipeline:
        (
            pipeline
            | fileio.MatchFiles(pattern)
            | fileio.ReadMatches()
            | beam.Map(lambda file: (file.metadata.path, file.read()))
            | CaptionImages(captioner)
            | beam.Map(lambda record: record._asdict() | {"flags": list(record.flags)})
            | beam.io.WriteToBigQuery(table, schema=SCHEMA)
        )


if __name__ == "__main__":
    main(*sys.argv[1:4])
