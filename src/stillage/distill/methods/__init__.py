"""Every training method, by name: one file each; torch is loaded by the terms."""

from __future__ import annotations

from stillage.distill.methods import distillm, gkd, imitkd, init, kd, minillm, seqkd, sft
from stillage.types import Method

METHODS: dict[str, Method] = {
    entry.METHOD.name: entry.METHOD
    for entry in (sft, init, kd, seqkd, imitkd, gkd, distillm, minillm)
}
