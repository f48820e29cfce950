"""Near-copies that occur by themselves: what a `corpus scan` found of its targets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.corpus.near_counts import own_places
from stillage.corpus.scan_results import Scan, read_scan, refuse_overlaps
from stillage.corpus.shards import ShardSet, open_shards
from stillage.corpus.tokenizers import rules_hash
from stillage.errors import ConfigError, DataError
from stillage.mosaic.kinds import Scanned
from stillage.rng import generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFound:
    """What a scan found of each target.

    copies: target -> its different near-copies within the distances, in the order of the corpus.
    repeated: how many more hits were copies of those. holding: how many held their target whole.
    """

    scan: str
    copies: Mapping[Ids, Sequence[Ids]]
    repeated: int
    holding: int = 0
    farthest: int = 0  # distance that was scanned for

    def with_enough(self, count: int) -> list[Ids]:
        """The targets with `count` near-copies or more, which can be canaries."""
        return [target for target, near in self.copies.items() if len(near) >= count]


def find_scanned(kind: Scanned, tokenizer: PreTrainedTokenizerFast) -> ScanFound:
    """Read the near-copies that a scan found of its targets.

    Exact ones, those that hold their target whole, and the targets' own places are left out. By
    Levenshtein where the scan has it, otherwise by Hamming. Equal targets are one. ConfigError for
    distances without a near-copy, or a scan with overlapping pieces; DataError for one that is not
    finished, of another tokenizer, or whose shards have changed.
    """
    if not 1 <= kind.min_distance <= kind.max_distance:
        values = f"min_distance: {kind.min_distance}; max_distance: {kind.max_distance}"
        raise ConfigError(
            "No near-copy is at such a distance.", values, "Give 1 or more, ascending."
        )
    scan = read_scan(Path(kind.scan))
    refuse_overlaps(scan)
    if kind.max_distance > scan.plan.settings.max_distance:
        values = f"max_distance: {kind.max_distance}; scanned: {scan.plan.settings.max_distance}"
        fix = "Lower it, or scan as far."
        raise ConfigError("The scan did not look that far.", values, fix)
    if scan.plan.tokenizer and scan.plan.tokenizer != rules_hash(tokenizer):
        values = f"{kind.scan}: {scan.plan.tokenizer[:12]}; here: {rules_hash(tokenizer)[:12]}"
        fix = "Train with the tokenizer of the scanned corpus."
        raise DataError("The scan is of another tokenizer's tokens.", values, fix)
    corpus = open_shards(Path(scan.plan.corpus))
    if [one["sha256"] for one in scan.plan.shards] != [shard.sha256 for shard in corpus.shards]:
        fix = "Scan the corpus again."
        raise DataError("The shards are not those that were scanned.", scan.plan.corpus, fix)
    return hit_tokens(kind, scan, corpus)


def hit_tokens(kind: Scanned, scan: Scan, corpus: ShardSet) -> ScanFound:
    """Gather the tokens of the hits that count."""
    metric = scan.plan.settings.metrics[0]
    is_own_H, _ = own_places(scan.hits, scan.targets)
    copies: dict[Ids, dict[Ids, None]] = {tuple(row): {} for row in scan.tokens_Nm.tolist()}
    targets = list(map(tuple, scan.tokens_Nm.tolist()))
    hits = holding = 0
    for hit, is_own in zip(scan.hits.to_pylist(), is_own_H.tolist(), strict=True):
        is_near = kind.min_distance <= hit["distance"] <= kind.max_distance
        if is_near and hit["metric"] == metric and not is_own:
            ids = tokens_at(corpus, hit["document"], hit["start"], hit["end"])
            target = targets[hit["target"]]
            if target in pieces_of(ids, len(target)):  # an exact copy and tokens around it
                holding += 1
                continue
            copies[target][ids] = None
            hits += 1
    found = {target: list(near) for target, near in copies.items()}
    different = sum(map(len, found.values()))
    return ScanFound(
        scan=kind.scan,
        copies=found,
        repeated=hits - different,
        holding=holding,
        farthest=scan.plan.settings.max_distance,
    )


def pieces_of(ids: Ids, length: int) -> set[Ids]:
    """List the pieces of so many tokens; none of a shorter text."""
    return {ids[start : start + length] for start in range(len(ids) - length + 1)}


def tokens_at(corpus: ShardSet, document: int, start: int, end: int) -> Ids:
    """Read tokens of a document, counted through all shards."""
    firsts = [shard.first_document for shard in corpus.shards]
    shard = corpus.shards[bisect_right(firsts, document) - 1]
    first = int(shard.offsets_D[document - shard.first_document])
    return tuple(shard.tokens_T[first + start : first + end].tolist())


def scanned_variations(
    ids_by_canary: Sequence[Sequence[int]], found: ScanFound, *, count: int, seed: int
) -> list[list[list[int]]]:
    """Draw `count` near-copies of each canary, all different: [canary][variation] ids.

    DataError, naming the canary, for one that is no target or has fewer.
    """
    results = []
    for canary, ids in enumerate(ids_by_canary):
        near = found.copies.get(tuple(ids))
        if near is None or len(near) < count:
            has = "no target of the scan" if near is None else f"{len(near)} near-copies"
            values = f"{found.scan}: canary {canary}: {has}; wanted: {count}"
            fix = f"Take as canaries the {len(found.with_enough(count))} targets that have so many."
            raise DataError("The scan has too few near-copies of a canary.", values, fix)
        chosen = generator(seed, "scanned", canary).permutation(len(near))[:count]
        results.append([list(near[number]) for number in chosen])
    return results
