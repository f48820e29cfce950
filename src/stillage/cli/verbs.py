"""The verbs of the command line."""

VERBS = {
    "quickstart": (
        "runs",
        "the embedded experiment: made-up people, six models, a report; offline",
    ),
    "run": ("runs", "a whole experiment: data, teacher, student, quality, leakage, report"),
    "data": ("runs", "read and split the records; `data plain-text`: make and pack a corpus"),
    "distill": ("runs", "train the student and what it needs; controls are trained by `audit`"),
    "evaluate": ("evaluate", "how well a MODEL answers, or all models of a config"),
    "audit": ("runs", "what models give away: two models and two files of records are enough"),
    "corpus": (
        "corpus",
        "what is in a corpus: exact repeats and near-duplicates, none missed",
    ),
    "mosaic": (
        "mosaic",
        "run, books, canaries: what near-copies in training data are worth to a model",
    ),
    "report": ("runs", "write the report of a finished RUN or SWEEP again; trains nothing"),
    "compare": (
        "compare_runs",
        "which of several finished runs leaks more, and which answers better",
    ),
    "export": ("export_run", "copy a finished run, or a point of a sweep, with all that it needs"),
    "generate": ("generate_text", "let a model answer a prompt"),
    "convert": ("convert", "make a Hugging Face folder of a GGUF file (llama.cpp's format)"),
    "ls": ("ls", "list methods, attacks, divergences, experiments or presets"),
    "doctor": ("doctor", "show versions, hardware and disk; for bug reports"),
}
"""Verb -> (module in this folder, what it does).

A module has main(verb, words); and help_text(verb, words), or USAGE and the class SETTINGS."""

ONE_PROCESS = ("corpus", "mosaic", "compare", "export", "generate", "convert", "ls", "doctor")
"""What the first process does alone, where several are started."""
SAME_AS = {"distil": "distill"}
