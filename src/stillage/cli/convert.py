"""`stillage convert FILE.gguf FOLDER`: GGUF to a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from stillage.errors import ConfigError

USAGE = """usage: stillage convert FILE.gguf FOLDER

Write the model and the tokenizer of a GGUF file (llama.cpp's format, Llama architecture) as a Hugging Face folder that
every other verb reads: float32 weights in safetensors, whole or not at all. Weights that were rounded to a few bits stay
so: say it beside every number of theirs. Needs the package gguf: pip install 'stillage[gguf]'."""


def main(verb: str, words: list[str]) -> int:
    """Convert, and say what was made."""
    if "--help" in words or "-h" in words:
        print(USAGE)
        return 0
    if len(words) != 2 or any(word.startswith("-") for word in words):
        raise ConfigError(
            "Which file, and into which folder?",
            f"given: {' '.join(words) or 'nothing'}",
            f"stillage {verb} FILE.gguf FOLDER",
        )
    from stillage.models.from_gguf import convert_gguf
    from stillage.run.stop import watch_signals

    file, folder = map(Path, words)
    with watch_signals():
        made = convert_gguf(file, folder)
    stored = ", ".join(f"{count} {kind}" for kind, count in made["stored_as"].items())
    name, licence = made["name"] or file.name, made["license"] or "not said"
    print(f"{folder}: {name}, tensors stored as {stored}, now float32; licence: {licence}")
    return 0
