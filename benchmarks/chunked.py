"""What `distillation_sums` costs beside what one would write by hand: time and peak memory of forward and backward, one run.

    python benchmarks/chunked.py [--losses ce fkl jsd ...] [--tokens 2048] [--vocab 50257] [--width 768] [--threads 2]
    python benchmarks/chunked.py --device cuda --tokens 8192 --vocab 151936 --width 2048 --losses jsd

CPU, float32: against the dense form (logits of both models, log-softmax, the same divergence, cross-entropy), and for `ce`
against torch's own cross-entropy. Targets: at most 15 % of its peak memory and 1.0 times its time.
CUDA, bfloat16: against liger-kernel's fused linear JSD and TRL's generalized JSD, where installed (targets: their memory,
1.1 times their time). Peak memory is what a call adds, without the gradients of the two inputs, which every form returns.
Each form runs in a process of its own; forms alternate; the fastest of all repeats counts. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stillage.functional.chunked import distillation_sums
from stillage.functional.divergence import DIVERGENCES

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def inputs(tokens: int, vocab: int, width: int, device: str) -> Inputs:
    """Hidden states and heads with logits of a trained model's spread (standard deviation about 3)."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16

    def normal(rows: int, scale: float) -> Tensor:
        return (torch.randn(rows, width, generator=generator, device=device) * scale).to(dtype)

    scale = 3 / width**0.5
    labels = torch.randint(vocab, (tokens,), generator=generator, device=device)
    student, head = normal(tokens, 1.0).requires_grad_(), normal(vocab, scale).requires_grad_()
    return student, head, normal(tokens, 1.0), normal(vocab, scale), labels


def dense(x: Inputs, loss: str) -> Tensor:
    """The loss as one would write it: every logit at once."""
    student, head, teacher, teacher_head, labels = x
    logits = student @ head.T
    if loss == "ce":
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    with torch.no_grad():
        p = torch.log_softmax(teacher @ teacher_head.T, -1)
    q = torch.log_softmax(logits, -1)
    return DIVERGENCES[loss](p, q).sum() + torch.nn.functional.nll_loss(q, labels, reduction="sum")


def stillage(x: Inputs, loss: str) -> Tensor:
    """The same from `distillation_sums`."""
    student, head, teacher, teacher_head, labels = x
    if loss == "ce":
        return distillation_sums(student, head, None, None, labels).ce
    sums = distillation_sums(student, head, teacher, teacher_head, labels, divergence=loss)
    return sums.kd + sums.ce


def stillage_kd(x: Inputs, loss: str) -> Tensor:
    """The divergence alone, for the forms of others that have nothing else."""
    return distillation_sums(*x, divergence=loss, gradient_weights=(1.0, 0.0)).kd


def liger(x: Inputs, loss: str) -> Tensor:
    """liger-kernel's fused linear JSD, beta 0.5, soft part only."""
    from liger_kernel.chunked_loss import (  # pyright: ignore[reportMissingImports] - asked for by name
        LigerFusedLinearJSDLoss,
    )

    assert loss == "jsd"
    fused = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.5)
    return fused(x[0], x[1], x[2], x[3], x[4])


def trl(x: Inputs, loss: str) -> Tensor:
    """TRL's generalized JSD on whole logits, beta 0.5."""
    from trl.experimental.gkd import GKDTrainer  # pyright: ignore[reportMissingImports]

    assert loss == "jsd"
    teacher = (x[2] @ x[3].T)[None]
    return GKDTrainer.generalized_jsd_loss(
        (x[0] @ x[1].T)[None], teacher, labels=x[4][None], beta=0.5
    )


FORMS: dict[str, Callable[[Inputs, str], Tensor]] = {
    "dense": dense,
    "stillage": stillage,
    "stillage_kd": stillage_kd,
    "liger": liger,
    "trl": trl,
}


def peak_bytes(device: str, reset: bool) -> int:
    """The most memory held since the last reset; on CPU the resident set's high-water mark."""
    if device != "cpu":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux: no reset, so the set-up must be smaller than the call
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024


def measure(form: str, loss: str, a: argparse.Namespace) -> dict[str, float]:
    """In this process: extra peak of the first call, the fastest wall and processor seconds of all."""
    FORMS[form](
        inputs(64, 4096, a.width, a.device), loss
    ).backward()  # libraries loaded, threads started
    x = inputs(a.tokens, a.vocab, a.width, a.device)
    returned = sum(t.numel() * t.element_size() for t in x[:2])
    wall, cpu, peak = [], [], 0
    for repeat in range(a.repeats):
        x[0].grad = x[1].grad = None
        before = peak_bytes(a.device, reset=True)
        start, start_cpu = time.perf_counter(), time.process_time()
        FORMS[form](x, loss).backward()
        if a.device != "cpu":
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
        peak = peak_bytes(a.device, reset=False) - before - returned if repeat == 0 else peak
    return {"peak": peak, "wall": min(wall), "cpu": min(cpu)}


def in_process(form: str, loss: str, a: argparse.Namespace) -> dict[str, float]:
    """measure() in a fresh process."""
    settings = {
        name: getattr(a, name)
        for name in ("tokens", "vocab", "width", "device", "repeats", "threads")
    }
    flags = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, __file__, *flags, "--losses", loss, "--child", form]
    environment = os.environ | {"OMP_NUM_THREADS": str(a.threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{form} {loss} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def best(form: str, loss: str, a: argparse.Namespace, kept: dict) -> dict[str, float]:
    """The better of what is known of a form and one more process."""
    new, old = in_process(form, loss, a), kept.get((form, loss))
    return (
        new
        if old is None
        else {"peak": max(old["peak"], new["peak"])}
        | {k: min(old[k], new[k]) for k in ("wall", "cpu")}
    )


def hardware(a: argparse.Namespace) -> str:
    """The name a table needs to mean anything."""
    if a.device != "cpu":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {a.threads} threads"


def rivals(a: argparse.Namespace) -> list[tuple[str, str]]:
    """(ours, theirs) to compare; says why one is left out."""
    if a.device == "cpu":
        return [("stillage", "dense")]
    pairs = []
    for form, module in (("liger", "liger_kernel"), ("trl", "trl")):
        if importlib.util.find_spec(module) is None:
            print(f"{form}: skipped, {module} is not installed")
        else:
            pairs.append(("stillage_kd", form))
    return [*pairs, ("stillage", "dense")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {
        "tokens": 2048,
        "vocab": 50257,
        "width": 768,
        "threads": 2,
        "repeats": 3,
        "rounds": 2,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--losses", nargs="+", default=["ce", *DIVERGENCES], choices=["ce", *DIVERGENCES]
    )
    parser.add_argument("--child", choices=list(FORMS), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        print(json.dumps(measure(a.child, a.losses[0], a)))
        return
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA device here: the comparison with liger-kernel and TRL is skipped.")
    print(f"{hardware(a)}; torch {torch.__version__}; T={a.tokens}, V={a.vocab}, H={a.width}")
    print(
        "| loss | against | time, s | theirs, s | ratio | processor time ratio | peak, MB | theirs, MB | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for loss in a.losses:
        for ours, theirs in rivals(a):
            if theirs in ("liger", "trl") and loss != "jsd":
                continue
            kept: dict[tuple[str, str], dict[str, float]] = {}
            for _ in range(a.rounds):
                kept[theirs, loss] = best(theirs, loss, a, kept)
                kept[ours, loss] = best(ours, loss, a, kept)
            x, y = kept[ours, loss], kept[theirs, loss]
            name = loss if loss == "ce" or ours == "stillage_kd" else f"{loss} + ce"
            against = "torch" if (theirs, loss) == ("dense", "ce") else theirs
            times = f"{x['wall']:.2f} | {y['wall']:.2f} | {x['wall'] / y['wall']:.2f} | {x['cpu'] / y['cpu']:.2f}"
            memory = f"{x['peak'] / 1e6:.0f} | {y['peak'] / 1e6:.0f} | {x['peak'] / y['peak']:.1%}"
            print(f"| {name} | {against} | {times} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
