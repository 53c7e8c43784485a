"""Installs captionbeam; also what Beam ships to remote workers with `--setup_file ./setup.py`."""

import re
from itertools import chain
from pathlib import Path

from setuptools import find_packages, setup

# tensorflow-io 0.37.1 is the last release and loads only with TensorFlow 2.16; it has no wheel for Windows and for
# Python 3.13. There a newer TensorFlow does without it, and only training from a remote path is missing.
TFIO = "python_version < '3.13' and sys_platform != 'win32'"
NO_TFIO = "python_version >= '3.13' or sys_platform == 'win32'"

HERE = Path(__file__).parent

INSTALL = [  # captioning and training
    f"tensorflow==2.16.2; {TFIO}",  # InceptionV3, tf.data and training; the release that tensorflow-io loads with
    f"tensorflow-io==0.37.1; {TFIO}",  # s3://, az://, hdfs:// and http(s):// for tf.data
    f"tensorflow>=2.20,<3; {NO_TFIO}",  # first release with wheels for Python 3.13
    "apache-beam>=2.70,<3",  # the two pipelines, on one machine or on a cluster
    # Words of Chinese, Japanese and Thai captions; another version may cut otherwise, as that for Python 3.10 does in
    # Japanese.
    "budoux>=0.10,<0.11; python_version >= '3.11'",
    "budoux>=0.9,<0.10; python_version < '3.11'",
    "google-crc32c>=1.7,<2",  # checksums of TFRecords, in C; 1.7 has wheels for Python 3.13
    "jinja2>=3.1,<4",  # pages, with every text escaped
    "h5py>=3.10,<4",  # tells the layouts of weight files apart; keras brings it
    "keras>=3.3,<4",  # models; TensorFlow 2.16 alone would take any Keras 3
    "lxml>=6,<7",  # XMP in sidecars and pictures, changed in place; ElementTree would rename its prefixes
    "msgspec>=0.20,<1",  # checks JSON that was written before against types with bounds, without other dependencies
    "numpy>=1.26,<3",  # features between Beam and TensorFlow; TensorFlow 2.16 narrows it to below 2
    "pathspec>=1,<2",  # patterns of --exclude, as in a .gitignore
    "pillow>=11.3,<14",  # decodes pictures; 11.3 brings AVIF; apache-beam 2.77 holds it below 13
    "pyarrow>=14.0.1",  # Parquet tables; apache-beam brings it and narrows it further
    # BLEU, ROUGE-L, CIDEr and METEOR as the COCO caption challenge counts them, CIDEr in training too. METEOR's and
    # SPICE's data are 96 of its 101 MB; pip cannot leave them out, and no maintained package has the scores without.
    "pycocoevalcap==1.2",
    "regex>=2024.4",  # Unicode's word boundaries (UAX #29) and scripts, which re does not know
    "scipy>=1.11,<2",  # binomial and beta distributions, optimizers
    "shtab>=1.13,<2",  # completion scripts for shells, from the parser itself
    "simplemma>=2,<3",  # lemmas of English words, from a dictionary
    f"tensorboard>=2.20,<3; {NO_TFIO}",  # writes the log of training; later TensorFlows do not bring it
    "tqdm>=4.66,<5",  # progress with a time to go
    # Charts: Vega, Vega-Lite and Vega-Embed as one offline script of 0.9 MB (Plotly: 4.8 MB), as SVG that screen
    # readers and printers know, run without eval so that a page can forbid it (by Vega's own maintainers).
    "vl-convert-python>=1.7,<2",
]

EXTRAS = {
    "s3": ["boto3>=1.28,<2"],  # Beam's S3 file system; the first that knows AWS_ENDPOINT_URL
    "heif": ["pillow-heif>=1,<2"],  # decodes the HEIC photos of iPhones; wheels bring libheif (LGPL)
    "openvino": ["openvino>=2026.4,<2027"],  # another engine for the encoder, faster in bfloat16
    "int8": [
        "nncf>=3.4,<4",  # quantizes the encoder for OpenVINO; captioning needs no nncf
        "openvino>=2026.4,<2027",  # runs it
    ],
    "metadata": ["pyexiv2>=2.15,<3"],  # XMP and IPTC inside pictures; under the GPL, so asked for by name only
}

DOCS = [
    "mkdocs>=1.6,<2",  # the site
    "mkdocs-material>=9.5,<10",  # its theme, offline
    "mkdocstrings[python]>=1,<2",  # API pages from docstrings
]

# Tests, lint, types and benchmarks, those of the extras among them. Exact where another version would judge the same
# code differently.
DEV = [
    *chain.from_iterable(EXTRAS.values()),
    "axe-playwright-python>=0.1.4,<0.2",  # axe-core, which judges the accessibility of pages
    "duckdb>=1.1,<3",  # opens what export writes
    "hypothesis>=6.100,<7",  # properties over generated input
    "import-linter>=2.15,<3",  # who may import whom; 2.15 knows circles among siblings and Python 3.10
    "moto[server]>=5,<6",  # an S3 server on loopback
    "mypy==2.4.1",  # types
    "pandas>=2.2,<4",  # opens what export writes
    "playwright>=1.49,<2",  # drives the Chromium of the system through the pages
    "pytest>=9,<10",  # tests
    "pytest-xdist>=3.7,<4",  # tests on both cores
    "ruff==0.17.6",  # lint and format
    "webdataset>=1,<2",  # opens what export writes
]


def version() -> str:
    """What the package states, without importing it."""
    text = (HERE / "training" / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+)"', text, re.M)[0]


def readme() -> str:
    """The README for readers elsewhere: pictures and links that only the repository can resolve become their text."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r'<img src="(?!https?:)[^>]*alt="([^"]*)"[^>]*>', r"*\1*", text)
    return re.sub(r"!?\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


setup(
    name="captionbeam",
    version=version(),
    description="Captions image collections in bulk and says which words matter in them",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="The captionbeam authors",
    license="Apache-2.0",
    keywords=["image captioning", "Apache Beam", "TensorFlow", "batch processing", "keywords", "alt text"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: End Users/Desktop",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["beam_pipeline*", "training*"]),
    package_data={
        "beam_pipeline": ["py.typed"],
        "beam_pipeline.words": ["*.txt"],
        "beam_pipeline.reports": ["templates/*"],
        "training": ["py.typed"],
    },
    entry_points={"console_scripts": ["captionbeam = beam_pipeline.cli:command"]},
    install_requires=INSTALL,
    extras_require={**EXTRAS, "docs": DOCS, "dev": DEV},
)
