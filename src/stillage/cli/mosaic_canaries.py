"""`stillage mosaic canaries MODEL OUT.parquet`: texts that a model writes."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillage.cli.mosaic_books import table_path
from stillage.run.mosaic_config import CanaryConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.run.progress import Done, Progress

NAMES = ("MODEL", "OUT.parquet")


@dataclass(frozen=True, kw_only=True)
class CanariesFlags:
    """What `canaries MODEL OUT` takes: a CanaryConfig with MODEL as generator."""

    tokenizer: str = ""
    """Folder or hub id of the model that will be trained, whose tokens count; empty: MODEL."""
    tokenizer_revision: str = ""
    """Commit of that hub id."""
    members: int = 100
    """Canaries that go into the documents."""
    nonmembers: int = 100
    """Canaries of the same kind that go nowhere."""
    length: int = 100
    """Tokens of a canary, in the trained model's tokenizer."""
    revision: str = ""
    """Commit of MODEL, if that is a hub id."""
    sampling_temperature: float = 1.0
    """Temperature of the sampling."""
    top_k: int = 0
    """Sample among the k likeliest tokens; 0: all. The published study left 50 unsaid."""
    top_p: float = 1.0
    """Nucleus sampling; 1: off."""
    max_jaccard: float = 0.2
    """Largest share of token ids that two canaries, members or not, have in common."""
    buckets: tuple[float, ...] = ()
    """Borders of perplexity buckets, each filled equally, in order; none: any perplexity."""
    tries: int = 100
    """Texts written for each canary that is kept, and for ten more, before giving up."""
    seed: int = 1
    """Decides the texts and the roles."""


SETTINGS = CanariesFlags


def main(paths: list[str], chosen: CanariesFlags) -> int:
    """Let the model write, and say how many texts were kept, and why others were not."""
    from stillage.cli.board import Board
    from stillage.cli.stoppable import stoppable
    from stillage.models.load import load_on_device, load_tokenizer
    from stillage.mosaic.canaries import check_canary_options, make_canaries
    from stillage.run.config import ModelConfig
    from stillage.run.folder import write_with_metadata
    from stillage.run.stop import watch_signals

    model, out = paths[0], table_path(paths[1], "canaries")
    options = canary_options(model, chosen)
    check_canary_options(options)
    with watch_signals() as stop, Board() as board:
        own = load_tokenizer(model, chosen.revision)
        other = chosen.tokenizer
        target = load_tokenizer(other, chosen.tokenizer_revision) if other else own
        generator = load_on_device(ModelConfig(path=model, revision=chosen.revision), own)
        tell = watching(stoppable(board, stop))
        table = make_canaries(generator, own, target, options, seed=chosen.seed, progress=tell)
        write_with_metadata(out, table)
    print("\n".join(what_was_written(table)))
    print(f"written: {out}")
    return 0


def canary_options(model: str, chosen: CanariesFlags) -> CanaryConfig:
    """The settings of canaries that the flags mean."""
    shared = {entry.name for entry in dataclasses.fields(CanaryConfig)} - {"generator", "file"}
    return CanaryConfig(generator=model, **{name: getattr(chosen, name) for name in shared})


def watching(show: Progress) -> Done:
    """Show how many canaries are kept, and the time left."""
    started = time.monotonic()

    def done(kept: int, of: int, share: float) -> None:
        facts = {"doing": "{} canaries", "done": kept, "of": of, "share": share}
        passed = time.monotonic() - started
        eta = {"eta_s": passed * (1 - share) / share} if share else {}
        show("canaries", facts | eta)

    return done


def what_was_written(table: pa.Table) -> list[str]:
    """Say how many canaries there are, what was rejected, and their perplexities."""
    import numpy as np

    from stillage.mosaic.canaries import ROLES, about_canaries

    about, roles = about_canaries(table), table["role"].to_pylist()
    counts = " and ".join(f"{roles.count(role)} {role}s" for role in ROLES)
    rejected = about["rejected"]
    why = ", ".join(f"{count} {reason}" for reason, count in rejected.items()) or "none"
    quarters = np.quantile(table["perplexity"].to_numpy(), (0, 0.25, 0.5, 0.75, 1))
    return [
        f"{counts} of {about['length']} tokens, of {about['written']} texts",
        f"rejected: {why}",
        "perplexity (least, quartiles, most): " + ", ".join(f"{one:.4g}" for one in quarters),
        f"begun with {about['generator']['prompt']}",
    ]
