"""The counting filter's compiled loop: sums of many targets in planes of bits.

Bit t of plane i is bit i of target t's sum. Adding a row of bits is what an adder circuit does, for
64 targets with each operation on a word. Sizes are constants of the compiled code, and the rows,
the planes and what is carried lie in one array at fixed places: only so are several words taken at
once (vector instructions).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import njit

from stillage.types import Array

BLOCK_TOKENS = 8  # as many rows as `add_rows` takes
Bits = np.uint64
WORDS = (1, 8)  # of 64 targets each: a kernel for few, and one for many


@njit(nogil=True)
def copy_word(rows_RW: Array, row: int, held: Array, at: int) -> None:
    """Copy a row of one word."""
    held[at] = rows_RW[row, 0]


@njit(nogil=True)
def copy_8_words(rows_RW: Array, row: int, held: Array, at: int) -> None:
    """Copy a row of 8 words, reading all before writing one: a single operation."""
    a, b, c, d = rows_RW[row, 0], rows_RW[row, 1], rows_RW[row, 2], rows_RW[row, 3]
    e, f, g, h = rows_RW[row, 4], rows_RW[row, 5], rows_RW[row, 6], rows_RW[row, 7]
    held[at], held[at + 1], held[at + 2], held[at + 3] = a, b, c, d
    held[at + 4], held[at + 5], held[at + 6], held[at + 7] = e, f, g, h


@njit(nogil=True)
def full(a: Bits, b: Bits, c: Bits) -> tuple[Bits, Bits]:
    """Add three bits: the sum's lower bit, and its upper."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


@njit(nogil=True)
def add_rows(held: Array, at: int, words: int) -> tuple[Bits, Bits, Bits, Bits]:
    """Add up the bits of 8 rows, a word of each: four bits of sums, lowest first.

    at: of the first row's word; the next row's lies `words` further.
    """
    one_a, two_a = full(held[at], held[at + words], held[at + 2 * words])
    one_b, two_b = full(held[at + 3 * words], held[at + 4 * words], held[at + 5 * words])
    one_c, two_c = full(one_a, one_b, held[at + 6 * words])
    last = held[at + 7 * words]
    two_d = one_c & last
    two_e, four_a = full(two_a, two_b, two_c)
    four_b = two_e & two_d
    return one_c ^ last, two_e ^ two_d, four_a ^ four_b, four_a & four_b


@njit(nogil=True)
def change_bit(
    old: Bits, more: Bits, less: Bits, carry: Bits, borrow: Bits
) -> tuple[Bits, Bits, Bits]:
    """Change one bit of a sum: the bit, what is carried and what is borrowed."""
    new, carry = full(old, more, carry)
    return new ^ less ^ borrow, carry, (~new & (less | borrow)) | (less & borrow)


@lru_cache(maxsize=8)
def counting_kernel(words: int, planes: int) -> Callable[..., int]:
    """Compile `count_blocks` for rows of so many words and sums of so many bits."""
    less_at, sums_at = 8 * words, 16 * words
    carry_at = sums_at + planes * words
    top_at, borrow_at = carry_at - words, carry_at + words
    copy = {1: copy_word, 8: copy_8_words}[words]

    @njit(nogil=True)
    def change_sums(held: Array) -> None:
        """Add the first 8 rows that are held to the sums, and take the next 8 off."""
        for w in range(words):
            m0, m1, m2, m3 = add_rows(held, w, words)
            l0, l1, l2, l3 = add_rows(held, less_at + w, words)
            zero = np.uint64(0)
            at = sums_at + w
            held[at], carry, borrow = change_bit(held[at], m0, l0, zero, zero)
            at += words
            held[at], carry, borrow = change_bit(held[at], m1, l1, carry, borrow)
            at += words
            held[at], carry, borrow = change_bit(held[at], m2, l2, carry, borrow)
            at += words
            held[at], carry, borrow = change_bit(held[at], m3, l3, carry, borrow)
            held[carry_at + w], held[borrow_at + w] = carry, borrow
        for plane in range(4, planes):
            for w in range(words):
                at = sums_at + plane * words + w
                old, carry, borrow = held[at], held[carry_at + w], held[borrow_at + w]
                new = old ^ carry
                held[at] = new ^ borrow
                held[carry_at + w], held[borrow_at + w] = old & carry, ~new & borrow

    @njit(nogil=True)
    def count_blocks(
        tokens_T: Array,
        levels: tuple[Array, Array, Array],
        rows_RW: Array,
        start_PW: Array,
        blocks: int,
        found_P2: Array,
    ) -> int:
        """Write the candidates; return how many there are, even where there is no room.

        levels: class_V, first_C and count_C of the filter. blocks: W.
        """
        class_V, first_C, most_C = levels
        classes, found = np.uint32(class_V.size), 0
        held = np.zeros(borrow_at + words, dtype=np.uint64)
        held[sums_at:carry_at] = start_PW.ravel()
        more, less = np.zeros(BLOCK_TOKENS, np.int64), np.zeros(BLOCK_TOKENS, np.int64)
        ring = np.zeros((blocks, BLOCK_TOKENS), dtype=np.uint16)  # classes of the last blocks
        count_C = np.zeros(first_C.size, dtype=np.int32)
        for block in range((tokens_T.size + BLOCK_TOKENS - 1) // BLOCK_TOKENS):
            own = ring[block % blocks]
            for at in range(BLOCK_TOKENS):  # without branches: nobody could guess them
                number = own[at]
                count = count_C[number] - 1
                count_C[number] = count
                less[at] = (first_C[number] + count) * (count < most_C[number])
            for at in range(BLOCK_TOKENS):
                place = block * BLOCK_TOKENS + at
                token = tokens_T[place] if place < tokens_T.size else classes
                number = class_V[token] if token < classes else np.uint16(0)
                own[at] = number
                count = count_C[number]
                count_C[number] = count + 1
                more[at] = (first_C[number] + count) * (count < most_C[number])
            for at in range(BLOCK_TOKENS):
                copy(rows_RW, more[at], held, at * words)
                copy(rows_RW, less[at], held, less_at + at * words)
            change_sums(held)
            for w in range(words):
                enough, target = held[top_at + w], 64 * w
                while enough:
                    if enough & np.uint64(1):
                        if found < found_P2.shape[0]:
                            found_P2[found, 0], found_P2[found, 1] = block, target
                        found += 1
                    enough >>= np.uint64(1)
                    target += 1
        return found

    return count_blocks
