"""Whether the starts of teacher and student fit each other, and their training."""

from __future__ import annotations

from stillage.errors import ConfigError
from stillage.run.config import ModelConfig, TrainConfig


def check_starts(
    teacher: ModelConfig,
    student: ModelConfig,
    teacher_train: TrainConfig | None,
    student_train: TrainConfig | None,
) -> None:
    """ConfigError where two starts clash with each other, or with their training.

    teacher_train, student_train: None where that model is used as it is.
    """
    keep = student.prune_teacher_to
    if teacher.prune_teacher_to or keep < 0:
        raise ConfigError(
            "Only a student is cut from its teacher, to a number of blocks.",
            f"teacher.prune_teacher_to: {teacher.prune_teacher_to}; student.prune_teacher_to: "
            f"{keep}",
            "Set student.prune_teacher_to to 1 or more, and leave out the teacher's.",
        )
    if keep and (student.source or student.config or student_train is None):
        raise ConfigError(
            "A student cut from its teacher has no other start, and has to be trained.",
            f"student.prune_teacher_to: {keep}; student start: "
            f"{student.source or student.config or 'none'}; trained: {student_train is not None}",
            "Leave out student.path, student.adapter and student.config, and train it.",
        )
    for name, start, train in (
        ("teacher", teacher, teacher_train),
        ("student", student, student_train),
    ):
        if train is not None and start.quantize != "none":
            raise ConfigError(
                f"Quantised weights cannot be trained, and the {name} is.",
                f"{name}.quantize: {start.quantize}; {name}_train.epochs: {train.epochs:g}",
                f"Leave out {name}.quantize, or set --{name}-train.epochs 0.",
            )
        if train is None and start.lora_rank:
            raise ConfigError(
                f"The {name} gets a new adapter, and nothing trains it.",
                f"{name}.lora_rank: {start.lora_rank}; {name}_train.epochs: 0",
                f"Train the {name}, or leave out lora_rank ({name}.adapter merges one that "
                "exists).",
            )


def check_untrained(name: str, start: ModelConfig) -> None:
    """ConfigError for a model from scratch that nothing trains: it would be noise."""
    if not start.path:
        raise ConfigError(
            f"The {name} is neither given nor trained.",
            f"{name}.path: none; {name}_train.epochs: 0",
            f"Give --{name} FOLDER, or train one with --{name}-train.epochs 3.",
        )
