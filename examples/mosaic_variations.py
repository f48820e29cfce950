"""Near-copies of texts, how far they are from them, and how many exact copies one is worth."""

from __future__ import annotations

import stillage as st
from stillage.data.bpe import train_bpe

TEXTS = [
    "The owl and the pussycat went to sea in a beautiful pea green boat, they took some honey and "
    "plenty of money, wrapped up in a five pound note.",
    "How pleasant to know Mr Lear, who has written such volumes of stuff; some think him ill "
    "tempered and queer, but a few think him pleasant enough.",
]
AUC_BY_COPIES = [0.61, 0.70, 0.78, 0.83, 0.87, 0.90, 0.93, 0.94, 0.96, 0.96]
"""How well members are told from nonmembers by a model trained on 1 to 10 exact copies."""
FUZZY_AUC = 0.89  # the same, trained on one exact copy and nine near-copies


def main() -> tuple[list[tuple[str, int, int, str]], tuple[float, float]]:
    """Return near-copies (kind, Levenshtein distance, length, text), and what one is worth.

    Worth: all ten in exact copies, and rho, that of a near-copy among them (1: an exact one).
    """
    tokenizer = train_bpe(TEXTS, 300)  # or the folder or hub id of a model
    kinds = {
        "3 tokens replaced": st.mosaic.Replacement(replaced=3, candidates="random"),
        "1 inserted after 10": st.mosaic.Insertion(piece=10, inserted=1),
        "shuffled": st.mosaic.Shuffle(piece=10, tau=0.5),
    }
    near: list[tuple[str, int, int, str]] = []
    for name, kind in kinds.items():
        table = st.mosaic.make_variations(TEXTS, tokenizer, kind=kind, count=2, seed=1)
        for row in table.to_pylist():
            near.append((name, row["levenshtein"], row["length"], row["text"]))
    worth = st.mosaic.exact_duplicate_equivalent(AUC_BY_COPIES, FUZZY_AUC)
    return near, (worth.copies, worth.rho)


if __name__ == "__main__":
    copies, (equivalent, rho) = main()
    for entry in copies:
        print(*entry, sep=" | ")
    print(f"worth {equivalent:.2f} exact copies; rho {rho:.2f}")
