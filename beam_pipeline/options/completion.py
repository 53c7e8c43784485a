"""The options of `captionbeam completion`."""

from __future__ import annotations

from dataclasses import dataclass

from training.option_fields import option


@dataclass(frozen=True)
class CompletionOptions:
    """Settings of `captionbeam completion`."""

    shell: str = option(
        'the shell that you use; for bash, add this line to ~/.bashrc: eval "$(captionbeam completion bash)"',
        choices=("bash", "zsh", "fish"),
        positional=True,
    )
