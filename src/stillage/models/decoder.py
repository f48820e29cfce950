"""A decoder's readout: its last hidden states and its head.

So that logits of [T, V] need never exist. For every supported model: logits = cap * tanh((hidden W'
+ b) / cap), without the cap where there is none; a constant factor on the logits (Cohere, Granite,
...) is folded into the hidden state. Every model is asked for a proof before it is first read. One
that fails it gives whole logits.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import torch

from stillage.errors import CapabilityError, ModelError
from stillage.functional.readout import project
from stillage.models.padding import packed_inputs
from stillage.types import Head, Readout
from stillage.versions import lora_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

    from stillage.types import Batch

log = logging.getLogger("stillage")
# model_type -> the field of its config. What is missing here is caught by check_head.
LOGITS_TIMES: Mapping[str, str] = {
    **dict.fromkeys(("cohere", "cohere2", "cohere2_moe"), "logit_scale"),
    "falcon_h1": "lm_head_multiplier",
    "hyperclovax": "logits_scaling",
}
GRANITES = ("", "moe", "moeshared", "moehybrid", "_swa", "moe_swa")
LOGITS_OVER: Mapping[str, str] = {f"granite{kind}": "logits_scaling" for kind in GRANITES}
GEMMAS = ("gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "vaultgemma")
SOFTCAP: Mapping[str, str] = {
    **dict.fromkeys((*GEMMAS, "nanochat"), "final_logit_softcapping"),
    "recurrent_gemma": "logits_soft_cap",
    "xlstm": "output_logit_soft_cap",
}
CANNOT = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError, AssertionError)
"""What an architecture raises for a request that it cannot serve."""
Fact = TypeVar("Fact")


def found_once(
    model: torch.nn.Module, name: str, find_out: Callable[[], Fact], *, anew: bool = False
) -> Fact:
    """Return a fact about a model, kept on it and copied with it; find it out once."""
    known = vars(model)
    if anew or f"_stillage_{name}" not in known:
        known[f"_stillage_{name}"] = find_out()
    return known[f"_stillage_{name}"]


def read(model: PreTrainedModel, batch: Batch) -> Readout:
    """Run the model on a batch, and return its readout at the batch's positions.

    Gradients flow; train or eval mode is left as it is. No mask: padding is on the right, where a
    causal model never looks.
    """
    ids_BS, positions_T = batch.ids_BS.to(model.device), batch.positions_T.to(model.device)
    hidden_BSH = hidden_states(model, ids_BS, documents_BS=batch.documents_BS)
    return Readout(hidden_BSH.flatten(0, 1).index_select(0, positions_T), output_head(model))


def hidden_states(
    model: PreTrainedModel, ids_BS: torch.Tensor, *, documents_BS: torch.Tensor | None = None
) -> torch.Tensor:
    """Run the decoder: hidden states [B, S, H] for `output_head`, or logits [B, S, V].

    Padding stands on the right; its hidden states are undefined. documents_BS: packed rows, which
    document each token is of; ask `check_packing` first.
    """
    inputs = {"input_ids": ids_BS}
    if documents_BS is not None:
        inputs |= packed_inputs(documents_BS, plain(model).dtype)
    if needs_whole_logits(model):
        return model(**inputs, use_cache=False).logits
    return last_hidden(model, inputs)


def output_head(model: PreTrainedModel) -> Head:
    """Return the head that reads `hidden_states`, its weights live for gradients."""
    return Head(None) if needs_whole_logits(model) else linear_head(model)


def needs_whole_logits(model: PreTrainedModel) -> bool:
    """Tell whether a model's head cannot be taken apart; examined once per model."""
    return found_once(model, "whole_logits", lambda: head_fault(model) is not None)


def examine(model: PreTrainedModel, name: str = "") -> None:
    """Find out anew whether a model's head can be taken apart; say where it cannot.

    Asked before a job begins, since a model may have changed. name: of the model in the notice.
    """
    fault = head_fault(model)
    found_once(model, "whole_logits", lambda: fault is not None, anew=True)
    if fault is not None:
        log.warning(
            "%s: %s Its own logits are used, all at once (%s).",
            name or called(model),
            fault.what,
            fault.values,
        )


def last_hidden(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Run the decoder without its head; a constant factor on the logits is folded in.

    For who has asked `check_head`; `hidden_states` is for everybody.
    """
    hidden_BSH = body_of(model)(**inputs, use_cache=False, return_dict=True).last_hidden_state
    scale = logit_factor(model.config.get_text_config())
    return hidden_BSH if scale == 1.0 else hidden_BSH * scale


def linear_head(model: PreTrainedModel) -> Head:
    """Take a linear head apart; the weight is the live parameter, tied or not.

    A LoRA-wrapped head gives weight + B A * scaling. Raises CapabilityError where the head is not a
    plain linear layer.
    """
    text = model.config.get_text_config()
    head = plain(model).get_output_embeddings()
    if head is None:
        raise CapabilityError(
            "This model has no language-model head that can be taken apart.",
            f"architecture: {type(plain(model)).__name__}",
            "Use a decoder-only causal language model.",
        )
    weight_VH, bias_V = linear_parts(head, type(plain(model)).__name__)
    scale = logit_factor(text)
    if bias_V is not None and scale != 1.0:
        bias_V = bias_V * scale
    field = SOFTCAP.get(text.model_type)
    cap = getattr(text, field) if field else None
    return Head(weight_VH, bias_V, float(cap) if cap else None)


def linear_parts(
    head: torch.nn.Module, architecture: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias of a linear layer, LoRA included."""
    if isinstance(head, torch.nn.Linear) and head.weight.is_floating_point():
        return head.weight, head.bias
    if isinstance(head, lora_linear()) and isinstance(head.get_base_layer(), torch.nn.Linear):
        base, active = cast("torch.nn.Linear", head.get_base_layer()), head.active_adapters
        dropouts = [head.lora_dropout[name] for name in active if name in head.lora_dropout]
        if not (
            head.training and any(isinstance(d, torch.nn.Dropout) and d.p > 0 for d in dropouts)
        ):
            weight = base.weight
            for name in active:
                if name in head.lora_A and not head.merged and not head.disable_adapters:
                    weight = weight + head.get_delta_weight(name)
            return weight, base.bias
    raise CapabilityError(
        "The head of this model is not a plain linear layer, so it cannot be computed in chunks.",
        f"architecture: {architecture}; head: {type(head).__name__}",
        "Use an unquantised head without adapter dropout on it.",
    )


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """Return the transformers model inside a PEFT wrapper, or itself."""
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        return model
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return cast("PreTrainedModel", model.get_base_model())
    raise ModelError(
        "This is not a transformers model.",
        f"type: {type(model).__name__}",
        "Load it with load_model.",
    )


def called(model: PreTrainedModel) -> str:
    """Name a model in a message: its folder or hub id, else its class."""
    return plain(model).name_or_path or type(plain(model)).__name__


def body_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the decoder without its head."""
    causal = plain(model)
    body = causal.base_model
    if causal.config.is_encoder_decoder or body is causal:
        raise encoder_decoder(causal.config)
    return cast("PreTrainedModel", body)


def encoder_decoder(config: PretrainedConfig) -> ModelError:
    """Make the error for a model that is no decoder-only language model."""
    return ModelError(
        "Only decoder-only language models can be used.",
        f"model type: {config.model_type}",
        "Choose a causal model (GPT-2, OPT, LLaMA, Qwen, Mistral, Gemma, ...), "
        "not an encoder or encoder-decoder.",
    )


def logit_factor(text: PretrainedConfig) -> float:
    """Return the constant factor on the logits (1 in most families)."""
    if field := LOGITS_TIMES.get(text.model_type):
        return float(getattr(text, field))
    if field := LOGITS_OVER.get(text.model_type):
        return 1.0 / float(getattr(text, field))
    return 1.0


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Take out gradients and dropout; put every part back in its mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def check_head(model: PreTrainedModel) -> None:
    """Prove on five tokens that hidden states and head give the model's own logits.

    Raises CapabilityError where they do not. Costs two tiny forward passes.
    """
    ids_BS = probe_ids(model)
    with evaluating(model), torch.autocast(model.device.type, enabled=False):
        theirs = model(input_ids=ids_BS, use_cache=False).logits.float()
        ours = project(last_hidden(model, {"input_ids": ids_BS}), linear_head(model))
    if fault := mismatch(ours, theirs, plain(model).dtype):
        raise CapabilityError(
            "The logits of this model are not its last hidden state times its head, "
            "so chunks cannot be used.",
            f"model type: {model.config.model_type}; {fault}",
            "Use a family whose head is linear "
            "(GPT-2, OPT, LLaMA, Qwen, Mistral, Gemma, GPT-NeoX, Phi, Cohere, ...).",
        )


def head_fault(model: PreTrainedModel) -> CapabilityError | None:
    """Return why a model's head cannot be taken apart; None where it can."""
    try:
        check_head(model)
    except CapabilityError as error:
        return error
    return None


def check_causal(model: PreTrainedModel) -> None:
    """Prove on five tokens that no position sees a later one; else ModelError (BERT)."""
    ids_BT = probe_ids(model)
    with evaluating(model):
        whole = model(input_ids=ids_BT, use_cache=False).logits.float()
        start = model(input_ids=ids_BT[:, :3], use_cache=False).logits.float()
    if mismatch(start, whole[:, :3], plain(model).dtype):
        raise encoder_decoder(model.config)


def probe_ids(model: PreTrainedModel) -> torch.Tensor:
    """Choose five different ids of the vocabulary, [1, 5]."""
    vocabulary = embedding_rows(model)
    return torch.tensor([[k * (vocabulary - 1) // 4 for k in range(5)]], device=model.device)


def embedding_rows(model: PreTrainedModel) -> int:
    """Count the token ids that the model can read."""
    return len(cast("torch.nn.Embedding", plain(model).get_input_embeddings()).weight)


def mismatch(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype, what: str = "logits") -> str:
    """Say how far finite tensors differ; empty where they are equal to the precision."""
    tolerance = 1e-3 if dtype == torch.float32 else 0.03
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return ""
    largest = (a - b).abs().max()
    if largest <= tolerance * b.abs().max() + 1e-5:
        return ""
    return f"largest difference of {what}: {float(largest):.3g}"
