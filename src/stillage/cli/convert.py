"""`stillage convert FILE.gguf FOLDER`: make a Hugging Face folder of a GGUF file."""

from __future__ import annotations

from pathlib import Path

from stillage.cli.paths import NoSettings, read_paths

USAGE = """usage: stillage convert FILE.gguf FOLDER

Write the model and the tokenizer of a GGUF file (llama.cpp's format, Llama architecture) as a
Hugging Face folder that every other verb reads: float32 weights in safetensors, whole or not at
all. Weights that were rounded to a few bits stay so: say it beside every number of theirs.
Needs the package gguf: pip install 'stillage[gguf]'."""
SETTINGS = NoSettings


def main(verb: str, words: list[str]) -> int:
    """Convert, and say what was made."""
    paths, _ = read_paths(f"stillage {verb}", words, ("FILE.gguf", "FOLDER"), SETTINGS)
    from stillage.models.from_gguf import convert_gguf
    from stillage.run.stop import watch_signals

    file, folder = map(Path, paths)
    with watch_signals():
        made = convert_gguf(file, folder)
    stored = ", ".join(f"{count} {kind}" for kind, count in made["stored_as"].items())
    name, licence = made["name"] or file.name, made["license"] or "not said"
    print(f"{folder}: {name}, tensors stored as {stored}, now float32; licence: {licence}")
    return 0
