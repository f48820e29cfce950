"""Loading and saving without transformers' progress bars."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress bars of transformers inside; as before afterwards.

    Nor its warnings of how another library calls it (peft does). Downloads are outside: there a bar
    is wanted.
    """
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
