"""Text in files: readers of every format, plain-text corpora, their tokens.

In Python: `st.corpus.find_near` and `st.corpus.find_repeats`, imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillage.corpus.python_calls import find_near, find_repeats
else:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        import importlib

        if name not in __all__:
            raise AttributeError(f"module 'stillage.corpus' has no attribute {name!r}")
        return getattr(importlib.import_module("stillage.corpus.python_calls"), name)


__all__ = ["find_near", "find_repeats"]


def __dir__() -> list[str]:
    """Name what there is, for tab completion."""
    return sorted([*globals(), *__all__])
