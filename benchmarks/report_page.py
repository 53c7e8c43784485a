"""The report page of some thousands of pictures: how long it takes to build, to open and to search.

    python benchmarks/report_page.py [--pictures 5000] [--work DIR]

Draws pictures of 320x240 with seeded captions of common English words, writes results as `caption` does, builds the
page, and opens it in headless Chromium (from $CAPTIONBEAM_CHROMIUM or the path). Times of the browser are medians of
five fresh profiles. "Open" is from the navigation until the load event has passed and the first row of the table can be
seen; a search is answered when its rows are on the screen.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.reports.chart_library import chart_library
from beam_pipeline.reports.report import write_report
from beam_pipeline.runtime.named_output import NamedOutput
from beam_pipeline.shards.ledger import DONE, LedgerLine
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import write_words
from beam_pipeline.words.writer import ResultWriter
from training.own_names import REPORT, THUMBNAILS

_WORDS = 1500  # of which captions are made; the commonest a thousand times as frequent as the rarest
_REPEATS = 5
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

# Runs in the page. A frame that has been drawn is over when a task after its animation callbacks begins.
_SEARCH = """async ([selector, text]) => {
  const field = document.querySelector(selector);
  const began = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  const answered = performance.now() - began;
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return [answered, performance.now() - began];
}"""
_OPENED = """() => new Promise((resolve) => {
  const done = () => document.querySelector("#word-table tbody tr")
    ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now())))
    : requestAnimationFrame(done);
  document.readyState === "complete" ? done() : addEventListener("load", done);
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--work", help="directory for what is drawn and made (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-", dir=options.work) as work:
        directory = write_results(Path(work), options.pictures)
        build(directory, options.pictures)
        browse(directory / REPORT)


def write_results(work: Path, number: int) -> Path:
    """Draws the pictures and writes a captions directory of them; returns it."""
    directory, captioner, photos = work / "captions", work / "captioner", work / "photos"
    for folder in (directory, captioner, photos):
        folder.mkdir()
    pictures = sorted(draw(photos, number), key=lambda picture: picture.sha256)
    lines = [LedgerLine(picture.uri, 1, 1.0, picture.sha256, DONE) for picture in pictures]
    shard = ShardId(1, 0, 1)
    rows = (json.dumps(picture.to_json()) + "\n" for picture in pictures)
    (directory / shard.captions()).write_text("".join(rows))
    counted = write_words(shard, pictures, lines, str(directory))
    commit_shard(str(directory), shard, lines)
    writer = ResultWriter(str(directory), str(captioner), None, {"model_id": "drawn", "encoder_id": "none"})
    writer.write(Results(list(counted.terms.items()), counted.counts | {"listed": number, "done": number}, {}))
    return directory


def draw(folder: Path, number: int) -> Iterator[CaptionedPicture]:
    generator = random.Random(0)
    words = ["".join(generator.choices("bdfgklmnprst", k=3) + generator.choices("aeiou", k=2)) for _ in range(_WORDS)]
    weights = [1 / (rank + 1) for rank in range(_WORDS)]
    for at in range(number):
        path = folder / f"picture-{at:06d}.jpg"
        data = drawn_jpeg(generator)
        path.write_bytes(data)
        said = generator.choices(words, weights, k=9)
        known = {word: {"presence": round(generator.random(), 3)} for word in said}
        evidence = {"kinds": ["presence"], "words": known}
        score = round(-generator.random() * 2, 4)
        yield CaptionedPicture(hashlib.sha256(data).hexdigest(), str(path), " ".join(said), score, (), evidence)


def drawn_jpeg(generator: random.Random) -> bytes:
    """A gradient with shapes on it: a JPEG about as large as a photo's of its size."""
    noise = Image.effect_noise((320, 240), 40).convert("RGB")
    image = Image.blend(noise, Image.new("RGB", (320, 240), tuple(generator.choices(range(256), k=3))), 0.7)
    pencil = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = generator.randrange(280), generator.randrange(200), generator.randrange(10, 90)
        pencil.ellipse((x, y, x + size, y + size), fill=tuple(generator.choices(range(256), k=3)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def build(directory: Path, number: int) -> None:
    began = time.monotonic()
    chart_library()
    print(f"chart library taken from its package: {time.monotonic() - began:.2f} s, once a process")
    output = NamedOutput(str(directory / REPORT))
    for what in ("with thumbnails made from the pictures", "again, from the stored ones"):
        began = time.monotonic()
        summary = json.loads((directory / "summary.json").read_text())
        write_report(str(directory), summary, output, DEFAULT_DECODE_LIMITS, remote=False)
        seconds = time.monotonic() - began
        print(f"page of {number:,} pictures built {what}: {seconds:.1f} s, {1000 * seconds / number:.2f} ms a picture")
    page, stored = (directory / REPORT).stat().st_size, (directory / THUMBNAILS).stat().st_size
    beside = [path.stat().st_size for path in directory.glob("report_files/*")]
    print(
        f"page {page / 1e6:.1f} MB, {len(beside):,} thumbnails beside it {sum(beside) / 1e6:.1f} MB, "
        f"stored ones {stored / 1e6:.1f} MB ({stored / number / 1e3:.1f} kB each)"
    )


def browse(page: Path) -> None:
    executable = os.environ.get("CAPTIONBEAM_CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if not executable:
        print("no Chromium here; CAPTIONBEAM_CHROMIUM names one")
        return
    from playwright.sync_api import sync_playwright

    opened, answered, shown = [], {}, {}
    with sync_playwright() as playwright:
        for _ in range(_REPEATS):
            browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
            tab = browser.new_page()
            tab.goto(page.as_uri(), wait_until="commit")
            opened.append(tab.evaluate(_OPENED))
            tab.wait_for_selector("html[data-drawn=yes]")
            for name, selector in (("table", "#word-table input"), ("captions", "#gallery input")):
                for text in ("a", "ba", "zzz", ""):
                    first, second = tab.evaluate(_SEARCH, [selector, text])
                    answered.setdefault(name, []).append(first)
                    shown.setdefault(name, []).append(second)
            version = browser.version
            browser.close()
    print(f"Chromium {version}: open in {statistics.median(opened):,.0f} ms (at most {max(opened):,.0f})")
    for name, times in answered.items():
        print(
            f"search of the {name}: answered in {statistics.median(times):.1f} ms (at most {max(times):.1f}), "
            f"on the screen in {statistics.median(shown[name]):.1f} ms (at most {max(shown[name]):.1f})"
        )


if __name__ == "__main__":
    main()
