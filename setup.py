"""captionbeam as a package: installed by run_local.sh, and shipped to workers by Beam's --setup_file."""

from pathlib import Path

from setuptools import setup

REQUIREMENTS = [
    # Pipelines that run on a laptop and on a cluster alike; maintained by the Apache Foundation.
    "apache-beam>=2.70,<3",
    # Encoder, captioner, tf.data. tensorflow-io's last release loads only with 2.16, hence the exact version.
    "tensorflow==2.16.2; python_version < '3.13'",
    "tensorflow>=2.20; python_version >= '3.13'",
    # s3://, az:// and hdfs:// for tf.data. It has wheels for these platforms alone; elsewhere everything local works.
    "tensorflow-io==0.37.1; python_version < '3.13' and sys_platform == 'linux' and platform_machine == 'x86_64'",
    "tensorflow-io==0.37.1; python_version < '3.13' and sys_platform == 'darwin'",
    # Arrays; TensorFlow's pin decides the version.
    "numpy",
    # Decodes every image format that we read; releases the interpreter lock and reads JPEG at reduced scale.
    "pillow>=11.3",
    # The reference code of the COCO caption scores, so that ours can be compared with published ones.
    "pycocoevalcap==1.2",
    # Progress bars with an ETA on terminals and in logs.
    "tqdm>=4.66",
]
DEVELOPMENT = [
    "pytest>=8",
    "pytest-xdist>=3.6",  # the suite on both cores
    "hypothesis>=6.100",  # properties of merges, ledgers and codecs
    "ruff==0.17.6",  # lint and format; pinned, since a new release may find new faults
    "mypy==2.4.1",
]

setup(
    name="captionbeam",
    version="0.1.0",
    description="Captions image collections in bulk and says which words matter in them.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=["beam_pipeline", "training"],
    package_data={"beam_pipeline": ["*.txt"]},
    install_requires=REQUIREMENTS,
    extras_require={"dev": DEVELOPMENT},
    entry_points={"console_scripts": ["captionbeam=beam_pipeline.cli:main"]},
)
