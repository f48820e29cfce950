"""What a decoder says, taken apart: the last hidden state and the head, so that logits of [T, V] need never exist.

For every supported model: logits = cap * tanh((hidden W' + b) / cap), without the cap where there is none; a constant
factor on the logits (Cohere, Granite, ...) is folded into the hidden state. `check_head` proves it on a given model.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch

from stillage.errors import CapabilityError, ModelError
from stillage.versions import lora_linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

# model_type -> the field of its config. What is missing here is caught by check_head, never silently wrong.
LOGITS_TIMES: Mapping[str, str] = {
    "cohere": "logit_scale",
    "cohere2": "logit_scale",
    "cohere2_moe": "logit_scale",
    "falcon_h1": "lm_head_multiplier",
    "hyperclovax": "logits_scaling",
}
LOGITS_OVER: Mapping[str, str] = {
    "granite": "logits_scaling",
    "granitemoe": "logits_scaling",
    "granitemoeshared": "logits_scaling",
    "granitemoehybrid": "logits_scaling",
    "granite_swa": "logits_scaling",
    "granitemoe_swa": "logits_scaling",
}
SOFTCAP: Mapping[str, str] = {
    "gemma2": "final_logit_softcapping",
    "gemma3_text": "final_logit_softcapping",
    "gemma3n_text": "final_logit_softcapping",
    "gemma4_text": "final_logit_softcapping",
    "vaultgemma": "final_logit_softcapping",
    "nanochat": "final_logit_softcapping",
    "recurrent_gemma": "logits_soft_cap",
    "xlstm": "output_logit_soft_cap",
}
CANNOT = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError, AssertionError)
"""What an architecture raises for a request that it cannot serve."""
Head = tuple[torch.Tensor, torch.Tensor | None, float | None]
"""weight_VH, bias_V or None, soft cap or None."""


def forward_hidden(
    model: PreTrainedModel, ids_BT: torch.Tensor, *, documents_BT: torch.Tensor | None = None
) -> torch.Tensor:
    """Run the decoder without its head: the hidden states that the head turns into logits, [B, T, H].

    Padding stands on the right, where a causal model never looks; its hidden states are undefined.
    documents_BT: packed rows, which document each token is of (see `packed_inputs`); ask `check_packing` first.
    Gradients flow; the model's train or eval mode is left as it is.
    """
    base, text = body_of(model), model.config.get_text_config()
    beside = {} if documents_BT is None else packed_inputs(model, documents_BT)
    inputs = {"input_ids": ids_BT} | beside
    hidden_BTH = base(**inputs, use_cache=False, return_dict=True).last_hidden_state
    scale = logit_factor(text)
    return hidden_BTH if scale == 1.0 else hidden_BTH * scale


def packed_inputs(model: PreTrainedModel, documents_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mask and positions for rows of several documents: each position sees its own document only, and counts from its start.

    documents_BT: a number per document, its tokens side by side; padding is a document like another. Positions alone would
    not keep documents apart: a block mask [B, 1, T, T] does, added to the scores of the attention.
    """
    steps_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    seen_B1TT = (same_BTT & (steps_T[:, None] >= steps_T))[:, None]
    first_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    first_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    start_BT = torch.where(first_BT, steps_T, 0).cummax(1).values
    dtype = plain(model).dtype
    mask_B1TT = torch.zeros(seen_B1TT.shape, dtype=dtype, device=seen_B1TT.device)
    mask_B1TT.masked_fill_(~seen_B1TT, torch.finfo(dtype).min)
    return {"attention_mask": mask_B1TT, "position_ids": steps_T - start_BT}


def check_packing(model: PreTrainedModel, longest: int) -> None:
    """Prove on two short documents that a row of both gives what each gives alone; CapabilityError where it does not.

    longest: tokens of the longest document that will be packed. Costs three tiny forward passes.
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
            "Leave out packing, or use an attention model that takes a block mask (GPT-2, OPT, LLaMA, Qwen, Mistral, ...).",
        )


def packing_fault(model: PreTrainedModel) -> str:
    """What goes wrong where two short documents share a row; empty where nothing does."""
    ids_BT = probe_ids(model)
    documents_BT = torch.tensor([[0, 0, 0, 1, 1]], device=ids_BT.device)
    with evaluating(model):
        alone = torch.cat([forward_hidden(model, part) for part in ids_BT.split([3, 2], 1)], 1)
        try:
            packed = forward_hidden(model, ids_BT, documents_BT=documents_BT)
        except CANNOT as error:
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if close(packed, alone, plain(model).dtype):
        return ""
    return f"largest difference of hidden states: {float((packed - alone).abs().max()):.3g}"


def head_of(model: PreTrainedModel) -> Head:
    """The head that turns `forward_hidden` into logits: weight [V, H], bias [V] or None, soft cap or None.

    The weight is the live parameter (gradients flow), tied or not; a LoRA-wrapped head gives weight + B A * scaling.
    Raises CapabilityError where the head is not a plain linear layer.
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
    return weight_VH, bias_V, float(cap) if cap else None


def linear_parts(
    head: torch.nn.Module, architecture: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a linear layer, LoRA included."""
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


def project(hidden_TH: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of some positions, [T, V], in float32: cap * tanh((hidden W' + b) / cap)."""
    weight_VH, bias_V, cap = head
    logits_TV = torch.nn.functional.linear(hidden_TH, weight_VH, bias_V).float()
    return logits_TV if cap is None else torch.tanh(logits_TV / cap) * cap


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """The transformers model inside a PEFT wrapper (its adapters stay active), or the model itself."""
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
    """What a message calls a model: its folder or hub id, or the class of one that was never saved."""
    return plain(model).name_or_path or type(plain(model)).__name__


def body_of(model: PreTrainedModel) -> PreTrainedModel:
    """The decoder without its head."""
    causal = plain(model)
    body = causal.base_model
    if causal.config.is_encoder_decoder or body is causal:
        raise encoder_decoder(causal.config)
    return cast("PreTrainedModel", body)


def encoder_decoder(config: PretrainedConfig) -> ModelError:
    """The error for a model that is no decoder-only language model."""
    return ModelError(
        "Only decoder-only language models can be used.",
        f"model type: {config.model_type}",
        "Choose a causal model (GPT-2, OPT, LLaMA, Qwen, Mistral, Gemma, ...), not an encoder or encoder-decoder.",
    )


def logit_factor(text: PretrainedConfig) -> float:
    """The constant factor on the logits (1 in most families)."""
    if field := LOGITS_TIMES.get(text.model_type):
        return float(getattr(text, field))
    if field := LOGITS_OVER.get(text.model_type):
        return 1.0 / float(getattr(text, field))
    return 1.0


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Without gradients and dropout; afterwards every part is in the mode it had before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def check_head(model: PreTrainedModel) -> None:
    """Prove on five tokens that hidden and head give the model's own logits; CapabilityError where they do not.

    Costs two tiny forward passes; run once, before a loss or a score is computed in chunks.
    """
    ids_BT = probe_ids(model)
    with evaluating(model):
        theirs = model(input_ids=ids_BT, use_cache=False).logits.float()
        ours = project(forward_hidden(model, ids_BT), head_of(model))
    if not close(ours, theirs, plain(model).dtype):
        raise CapabilityError(
            "The logits of this model are not its last hidden state times its head, so chunks cannot be used.",
            f"model type: {model.config.model_type}; largest difference {float((ours - theirs).abs().max()):.3g}",
            "Use a family whose head is linear (GPT-2, OPT, LLaMA, Qwen, Mistral, Gemma, GPT-NeoX, Phi, Cohere, ...).",
        )


def check_causal(model: PreTrainedModel) -> None:
    """Prove on five tokens that no position sees a later one; ModelError for a model that does (BERT as a decoder)."""
    ids_BT = probe_ids(model)
    with evaluating(model):
        whole = model(input_ids=ids_BT, use_cache=False).logits.float()
        start = model(input_ids=ids_BT[:, :3], use_cache=False).logits.float()
    if not close(start, whole[:, :3], plain(model).dtype):
        raise encoder_decoder(model.config)


def probe_ids(model: PreTrainedModel) -> torch.Tensor:
    """Five different ids of the vocabulary, [1, 5]."""
    vocabulary = embedding_rows(model)
    return torch.tensor([[k * (vocabulary - 1) // 4 for k in range(5)]], device=model.device)


def embedding_rows(model: PreTrainedModel) -> int:
    """How many token ids the model can read."""
    return len(cast("torch.nn.Embedding", plain(model).get_input_embeddings()).weight)


def close(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> bool:
    """Equal up to the rounding of the model's precision; a model whose logits are not finite is not judged here."""
    tolerance = 1e-3 if dtype == torch.float32 else 0.03
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return True
    return bool((a - b).abs().max() <= tolerance * b.abs().max() + 1e-5)
