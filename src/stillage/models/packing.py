"""Whether a model keeps several records in one row apart, found out by doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stillage.errors import CapabilityError, first_line
from stillage.models.decoder import CANNOT, evaluating, hidden_states, mismatch, plain, probe_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_packing(model: PreTrainedModel, longest: int) -> None:
    """Prove on two short documents that a row of both gives what each gives alone.

    longest: tokens of the longest document that will be packed. Raises CapabilityError where that
    fails. Costs three tiny forward passes.
    """
    settings = model.config.get_text_config()
    window = settings.to_dict().get("sliding_window")
    if isinstance(window, int) and window < longest:
        why = f"attention window: {window} tokens; longest record: {longest}"
    else:
        why = packing_fault(model)
    if why:
        raise CapabilityError(
            "This model cannot keep several records in one row apart.",
            f"model type: {settings.model_type}; {why}",
            "Leave out packing, or use an attention model that takes a block mask "
            "(GPT-2, OPT, LLaMA, Qwen, Mistral, ...).",
        )


def packing_fault(model: PreTrainedModel) -> str:
    """Say what goes wrong where two short documents share a row; empty for nothing."""
    ids_BT = probe_ids(model)
    documents_BT = torch.tensor([[0, 0, 0, 1, 1]], device=ids_BT.device)
    with evaluating(model):
        alone = torch.cat([hidden_states(model, part) for part in ids_BT.split([3, 2], 1)], 1)
        try:
            packed = hidden_states(model, ids_BT, documents_BS=documents_BT)
        except CANNOT as error:
            return f"{type(error).__name__}: {first_line(error)}"
    return mismatch(packed, alone, plain(model).dtype, "hidden states")
