"""What confidence adds to the time of captioning: pictures captioned with and without it, by turns.

./run_local.sh bench confidence_cost --captioner captioner --features features
"""

import argparse
import time
from dataclasses import replace
from itertools import islice

import numpy as np

from training.data.dataset import pictures_of
from training.data.feature_set import load_feature_set
from training.decoding.decoder import CaptionDecoder
from training.models.captioner import load_captioner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captioner", required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    pictures = pictures_of(load_feature_set(arguments.features), lambda sha256, uris: True)
    features = np.stack([feature for _, feature in islice(pictures, arguments.pictures)])
    captioner = load_captioner(arguments.captioner)
    decoders = {
        "without": CaptionDecoder(replace(captioner, confidence=None), evidence=True),
        "with": CaptionDecoder(captioner, evidence=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    for decoder in decoders.values():
        decoder.decode(features[:64])  # the graph is built
    for _ in range(arguments.rounds):
        for name, decoder in decoders.items():
            began = time.process_time()
            decoder.decode(features)
            seconds[name].append(time.process_time() - began)
    for name, decoder in decoders.items():
        print(f"{name:>8}: {1000 * np.median(seconds[name]) / len(features):.2f} ms of processor time a picture")
        decoder.close()
    print(f"   ratio: {np.median(np.array(seconds['with']) / np.array(seconds['without'])):.3f} (median of the rounds)")


if __name__ == "__main__":
    main()
