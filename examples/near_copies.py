"""Near-duplicates of a text in a corpus, however it was changed, and what is repeated at all."""

from __future__ import annotations

import stillage as st

POEM = "the owl and the pussycat went to sea in a beautiful pea green boat"
TEXTS = [
    f"once {POEM} they took some honey",
    "the owl and the old cat went to sea in a pea green boat they took some honey",
    "nothing of the kind was ever said here or anywhere",
    "they took some honey and plenty of money",
]


def main() -> tuple[list[tuple[int, int, str]], list[tuple[int, str]]]:
    """Return near copies (document, distance, words), and repeats (count, words).

    Texts are compared word by word here; give `encode=` to compare the tokens of a tokenizer, and
    the folder of `stillage corpus tokenize` in place of texts for a corpus larger than memory.
    """
    words = [text.split() for text in TEXTS]
    near = st.corpus.find_near(TEXTS, [POEM], max_distance=5, mode="substring")
    copies = [
        (
            row["document"],
            row["distance"],
            " ".join(words[row["document"]][row["start"] : row["end"]]),
        )
        for row in near.to_pylist()
    ]
    repeats = st.corpus.find_repeats(TEXTS, min_length=4)
    repeated = [
        (row["count"], " ".join(words[row["document"]][row["start"] :][: row["length"]]))
        for row in repeats.to_pylist()
    ]
    return copies, repeated


if __name__ == "__main__":
    for entry in (entry for table in main() for entry in table):
        print(*entry)
