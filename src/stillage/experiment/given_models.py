"""Check the given models by their files alone, before a run and in dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillage.audit.partners import check_pair
from stillage.models.outside import weights_named
from stillage.models.source import adapter_of, check_folder_ahead

if TYPE_CHECKING:
    from stillage.experiment.context import Context


def check_given(context: Context) -> None:
    """Refuse non-models, adapters without a base, one model as teacher and student.

    Loads and fetches nothing: a hub id is checked when it is loaded. ModelError, ConfigError.
    """
    for start in dict.fromkeys(spec.start for spec in context.specs):
        if start.path:
            check_folder_ahead(start.path, start.revision)
        if start.adapter:
            adapter_of(start.adapter, needs_base=not start.path)
    given = [spec for spec in context.asked if not spec.is_trained and spec.start.source]
    keys = {spec.name: weights_named(spec.start) for spec in given}
    check_pair(keys, {spec.name: spec.start.source for spec in given})
