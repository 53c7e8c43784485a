"""How two captioners differ on the same pictures, and what another choice of pictures would have made of it.

    ./run_local.sh bench paired_scores --references captions.txt SCORES OTHER_SCORES

Both are directories that `evaluate` wrote, of the same list. CIDEr is compared picture by picture, so what makes
pictures easy or hard for both falls out; the interval knows nothing of training seeds, which move CIDEr too.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from training.data.caption_files import read_captions
from training.scoring.coco_results import read_results
from training.scoring.scores import caption_set, cider_of_pictures, intervals_of, mean_statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", required=True, help="what people wrote about the pictures")
    parser.add_argument("scores", nargs=2, help="directories that evaluate wrote")
    options = parser.parse_args()
    references = defaultdict(list)
    for row in read_captions(options.references):
        references[row.image].append(row.text)
    one, other = (read_results(str(Path(directory) / "captions.json")) for directory in options.scores)
    if set(one) != set(other):
        raise SystemExit(f"{' and '.join(options.scores)}: captions of other pictures; evaluate both on one list")
    first, second = (100 * cider_of_pictures(caption_set(found, references)) for found in (one, other))
    low, high = intervals_of([mean_statistics("CIDEr", second - first)])["CIDEr"]
    changed = np.mean([one[name] != other[name] for name in one])
    print(f"{len(one)} pictures, {changed:.1%} with another caption")
    print(
        f"CIDEr {first.mean():.2f} and {second.mean():.2f}: {(second - first).mean():+.2f}, {low:+.2f} to {high:+.2f}"
    )


if __name__ == "__main__":
    main()
