"""What it costs to decode pictures in processes of their own and not on threads, in one run.

    python benchmarks/isolation_overhead.py --images DIR [--pictures 200] [--rounds 5]

Both ways read and decode the same files on as many threads as `extract` uses, in turn, so that a drifting machine
hits both; no encoder runs. The start of the processes is measured apart: it is paid once a job.
"""

from __future__ import annotations

import argparse
import statistics
import time

from beam_pipeline.images.decode import DecodedImage, decode_image
from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.inputs.sources import Listing, resolve_collection
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime.storage import read_bytes
from beam_pipeline.runtime.threads import map_ahead
from beam_pipeline.shards.encoding import READING_THREADS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures that can all be decoded")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    uris = [
        file.uri for file, _ in zip(Listing(resolve_collection(options.images)), range(options.pictures), strict=False)
    ]
    pool = ImageDecoderPool(DecodeLimits(), READING_THREADS)
    began = time.monotonic()
    seconds(uris[:READING_THREADS], pool.decode)
    print(f"start of {READING_THREADS} processes: {time.monotonic() - began:.2f} s, once a job")
    seconds(uris, decode_image)  # warms the file cache
    threads, processes = [], []
    for _ in range(options.rounds):
        threads.append(seconds(uris, decode_image))
        processes.append(seconds(uris, pool.decode))
    per_picture = [1000 * statistics.median(times) / len(uris) for times in (threads, processes)]
    print(f"on threads    {per_picture[0]:.2f} ms a picture (median of {options.rounds} rounds of {len(uris)})")
    print(f"in processes  {per_picture[1]:.2f} ms a picture")
    print(f"ratio         {per_picture[1] / per_picture[0]:.3f}")
    pool.close()


def seconds(uris: list[str], decode) -> float:
    """Wall time to read and decode all files."""

    def read_and_decode(uri: str) -> DecodedImage:
        return decode(read_bytes(uri))

    began = time.monotonic()
    for _ in map_ahead(read_and_decode, uris, READING_THREADS, ahead=32):
        pass
    return time.monotonic() - began


if __name__ == "__main__":
    main()
