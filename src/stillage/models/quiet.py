"""Work of transformers and peft: without progress bars, its errors in three lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from stillage.errors import ModelError, first_line

FAILURES = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError, SafetensorError)


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


@contextmanager
def refusing(what: str, fix: str, values: str = "") -> Iterator[None]:
    """Work quietly; turn what transformers and peft raise over files into ModelError.

    what, values, fix: its three lines; the error's own first line follows the values.
    """
    try:
        with quiet():
            yield
    except FAILURES as error:
        raise ModelError(what, values + first_line(error), fix) from error
