"""Pictures unlike photos, drawn into folders by kind, and what a captioner says of them.

    ./run_local.sh bench foreign_pictures --draw foreign
    captionbeam caption --images foreign --captioner captioner --output foreign_captions
    ./run_local.sh bench foreign_pictures --captions foreign_captions

prints for each folder how many captions are flagged unlike_training, and their confidence.
"""

import argparse
import glob
import json
import os
import shutil
import tempfile
from collections import defaultdict

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from beam_pipeline.demo.scenes import draw_collection
from training.models.flags import UNLIKE

SIDE, EACH = 224, 30


def draw(folder: str) -> None:
    generator = np.random.default_rng(0)

    def save(kind: str, number: int, picture: Image.Image) -> None:
        os.makedirs(os.path.join(folder, kind), exist_ok=True)
        picture.save(os.path.join(folder, kind, f"{number:02d}.png"))

    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    font = ImageFont.load_default(14)
    for number in range(EACH):
        colours = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        save("noise", number, Image.fromarray(colours))
        save("blurs", number, Image.fromarray(colours[:5, :5]).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        save("one_colour", number, Image.fromarray(colours[:1, :1]).resize((SIDE, SIDE)))
        paper, ink = ((255, 255, 255), (0, 0, 0)) if number % 2 else ((30, 30, 40), (220, 220, 220))
        page = Image.new("RGB", (640, 480), paper)
        for row in range(26):
            text = lines[(7 * number + row) % len(lines)]
            ImageDraw.Draw(page).text((8, 8 + 18 * row), text, fill=ink, font=font)
        save("text", number, page)
    with tempfile.TemporaryDirectory() as drawn:
        draw_collection(drawn, EACH, 0)
        shutil.copytree(os.path.join(drawn, "images"), os.path.join(folder, "scenes"), dirs_exist_ok=True)


def tell(captions: str) -> None:
    kinds = defaultdict(list)
    for path in glob.glob(os.path.join(captions, "captions-*.jsonl")):
        with open(path, encoding="utf-8") as file:
            for row in map(json.loads, file):
                kinds[os.path.basename(os.path.dirname(row["uri"]))].append(row)
    for kind, rows in sorted(kinds.items()):
        confidence = [row["confidence"] for row in rows]
        unlike = sum(UNLIKE in row["flags"] for row in rows)
        print(f"{kind:<12} {unlike} of {len(rows)} {UNLIKE}; confidence {np.mean(confidence):.3f}, at most", end=" ")
        print(f"{max(confidence):.3f}; such as: {rows[0]['caption']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--draw", metavar="DIR")
    what.add_argument("--captions", metavar="DIR")
    arguments = parser.parse_args()
    if arguments.draw:
        draw(arguments.draw)
    else:
        tell(arguments.captions)


if __name__ == "__main__":
    main()
