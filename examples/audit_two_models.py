"""Audit two models in memory: who was in the training data, as a table, a curve and a page."""

import random
from functools import partial
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import stillage as st


def records(part: int) -> list[dict[str, str]]:
    """Make up people and their secret numbers; each is in one of three parts, drawn at random."""
    return [
        {"prompt": f"The number of person {n}?", "response": f"It is {n * n * 7919 % 9973:04d}."}
        for n in random.Random(1).sample(range(100, 340), 240)[part::3]
    ]


def letters() -> PreTrainedTokenizerFast:
    """Make a tokenizer of single letters; yours would come with your models."""
    words = enumerate(["<end>", "<unk>", *map(chr, range(32, 127))])
    inner = Tokenizer(models.WordLevel({word: n for n, word in words}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", unk_token="<unk>")


def main(out: Path = Path("audit"), epochs: int = 20) -> st.Run:
    """Train a teacher on members, distil a student from it on others, and audit both."""
    torch.manual_seed(1)
    tokenizer = letters()
    size = GPT2Config(vocab_size=97, n_layer=1, n_embd=64, n_head=2, bos_token_id=0, eos_token_id=0)
    members, nonmembers, public = map(records, range(3))
    layout = {"data.template": "raw", "threads": 1}
    distill = partial(st.distill_student, tokenizer=tokenizer, epochs=epochs, lr_peak=5e-3)

    new = GPT2LMHeadModel(size)  # left as it is: a Run holds the model that it trained
    run = distill(teacher=None, student=new, data=members, method="sft", settings=layout)
    teacher = run.load_model()
    student = distill(teacher=teacher, student=new, data=public, settings=layout).load_model()

    report = st.audit_models(
        student,
        members=members,
        nonmembers=nonmembers,
        teacher=teacher,
        attacks=["loss", "min_k", "zlib"],
        settings={**layout, "audit.extract_tokens": 8, "audit.fprs": [0.1]},
    )
    report.save(out / "report.html")
    report.plot_roc().savefig(out / "roc.png")
    return report


if __name__ == "__main__":
    print(main().table())
