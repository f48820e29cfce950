"""Our loss in a training loop of your own: no logits of every token are ever held."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import stillage as st

VOCAB, STEPS = 97, 20


def small_model(layers: int, width: int) -> GPT2LMHeadModel:
    """Make a GPT-2 from scratch; yours would come from `from_pretrained`."""
    size = GPT2Config(  # with ends of text that lie in this vocabulary, as GPT-2's own do not
        vocab_size=VOCAB, n_layer=layers, n_embd=width, n_head=2, bos_token_id=0, eos_token_id=0
    )
    size.initializer_range = 0.2
    return GPT2LMHeadModel(size)


def main() -> list[float]:
    """Distil, and return the divergence per token at each step."""
    torch.manual_seed(1)
    teacher, student = small_model(2, 64).eval(), small_model(1, 32)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-2)
    ids_BS = torch.randint(VOCAB, (8, 16))
    labels_T = ids_BS[:, 1:].flatten()  # position t predicts token t + 1

    divergences: list[float] = []
    for _ in range(STEPS):
        with torch.no_grad():
            teacher_hidden_BSG = teacher.transformer(ids_BS).last_hidden_state
        student_hidden_BSH = student.transformer(ids_BS).last_hidden_state
        sums = st.losses.distillation_sums(
            student_hidden_BSH[:, :-1].flatten(0, 1),
            student.lm_head.weight,
            teacher_hidden_BSG[:, :-1].flatten(0, 1),
            teacher.lm_head.weight,
            labels_T,
            divergence="sfkl",
            params={"alpha": 0.1},
        )
        loss = (0.9 * sums.kd + 0.1 * sums.ce) / sums.tokens  # divided once, by all tokens
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        divergences.append(sums.kd.item() / sums.tokens.item())
    return divergences


if __name__ == "__main__":
    first, *_, last = main()
    print(f"divergence per token: {first:.4f} at first, {last:.4f} after {STEPS} steps")
