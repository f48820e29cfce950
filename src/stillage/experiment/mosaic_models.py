"""Where the models of a mosaic run start, and which of them are trained first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stillage.mosaic.condition import Arm
from stillage.mosaic.names import model_words
from stillage.run.config import Config, ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicModels:
    """Starts of the models of a run, by arm. Pure: nothing is loaded."""

    config: Config

    def untrained(self, arm: Arm) -> ModelConfig:
        """Say where the model of an arm starts, before its first pass over anything."""
        teacher = self.config.teacher
        if arm.path:
            return replace(teacher, path=arm.path)
        if arm.layers:
            return replace(teacher, layers=arm.layers, width=arm.width, heads=arm.heads)
        return teacher

    def base(self, arm: Arm) -> str:
        """Name the stage that pre-trains the model of an arm; empty: none does."""
        if self.untrained(arm).source or not self.config.mosaic.pretrain_epochs:
            return ""
        return "_".join(["base", *model_words(arm)])

    def untrained_student(self) -> ModelConfig:
        """Say where students start, before their first pass over anything."""
        is_base = self.config.mosaic.student_start == "base"
        return self.config.teacher if is_base else self.config.student

    def student_base(self) -> str:
        """Name the stage that pre-trains the students' start; empty: none does."""
        if self.config.mosaic.student_start == "base":
            return self.base(Arm())
        given = self.config.student.source or not self.config.mosaic.pretrain_epochs
        return "" if given else "base_student"

    def writer(self) -> ModelConfig:
        """Say which model samples the canaries.

        Without a source: the base, where there is one.
        """
        options = self.config.mosaic.canaries
        if options.generator:
            return ModelConfig(path=options.generator, revision=options.revision)
        return self.config.teacher

    def canaries_base(self, arm: Arm) -> str:
        """Name the stage whose model samples the canaries of an arm; empty: none does."""
        return "" if self.writer().source or arm.scan else self.base(Arm())

    def reference(self) -> ModelConfig:
        """Say which model attacks compare with.

        Without a path: the model before its canaries.
        """
        audit = self.config.audit
        return ModelConfig(path=audit.reference, revision=audit.reference_revision)


def names_of(config: Config) -> MosaicModels:
    """Return the starts and stage names of a config's models."""
    return MosaicModels(config=config)
