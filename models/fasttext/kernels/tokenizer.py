"""Kernels from UTF-8 bytes to token ids: one hash table, no Python object per word.

A word is a run of bytes between separators (space, tab, CR, LF, VT, FF, NUL). Its 32-bit FNV-1a hash, bytes taken as
signed, is also what word n-grams are made of, so that bucket numbers equal those of the fastText package.
"""

import numpy as np

from fuseline.models.fasttext.kernels.jit import inlined, kernel, prefetch

BASIS, PRIME, MASK = np.uint64(2166136261), np.uint64(16777619), np.uint64(0xFFFFFFFF)
SIGN = np.uint64(0xFFFFFF00)
HIGH, LOW = np.uint64(128), np.uint64(32)
NGRAM = np.uint64(116049371)
BATCH = 256  # words looked up together


@inlined
def same(data, lo, arena, start, length):  # type: ignore[no-untyped-def]
    """Return whether two byte runs of one length are equal."""
    for k in range(length):  # noqa: SIM110 - compiled code has no all() over generators
        if data[lo + k] != arena[start + k]:
            return False
    return True


@inlined
def home(h, mask):  # type: ignore[no-untyped-def]
    """Return the slot where the search for a hash begins, of mask + 1."""
    return np.int64((h ^ (h >> np.uint64(15))) & np.uint64(mask))


@kernel
def rehash(hashes, n, slots):  # type: ignore[no-untyped-def]
    """Fill empty `slots` with words 0..n-1."""
    mask = slots.size - 1
    for i in range(n):
        at = home(np.uint64(hashes[i]), mask)
        while slots[at] != 0:
            at = (at + 1) & mask
        slots[at] = (np.uint64(hashes[i]) << LOW) | np.uint64(i + 1)


@kernel
def seek(data, lo, hi, h, slots, starts, arena):  # type: ignore[no-untyped-def]
    """Return (id, slot) of the word data[lo:hi] with hash h; id -1 and the empty slot when it is unknown."""
    mask = slots.size - 1
    at = home(h, mask)
    while slots[at] != 0:
        if slots[at] >> LOW == h:
            i = np.int64(slots[at] & MASK) - 1
            if starts[i + 1] - starts[i] == hi - lo and same(data, lo, arena, starts[i], hi - lo):
                return i, at
        at = (at + 1) & mask
    return np.int64(-1), at


@kernel
def enlarge(array, length):  # type: ignore[no-untyped-def]
    """Return a copy of `array` with zeros up to `length`."""
    larger = np.zeros(length, array.dtype)
    for i in range(array.size):  # a slice would take seconds to compile for every type
        larger[i] = array[i]
    return larger


@kernel
def insert(data, lo, hi, h, slots, starts, arena, hashes, counts, used):  # type: ignore[no-untyped-def]
    """Return the id of a word, new or known, and the table's arrays, which may have been replaced by larger ones."""
    i, at = seek(data, lo, hi, h, slots, starts, arena)
    if i < 0:
        i, stop = used, starts[used] + hi - lo
        if stop > arena.size:
            arena = enlarge(arena, 2 * stop)
        for k in range(hi - lo):
            arena[starts[i] + k] = data[lo + k]
        hashes[i], counts[i], starts[i + 1] = h, 0, stop
        slots[at] = (h << LOW) | np.uint64(i + 1)
        used += 1
        if used == hashes.size:
            hashes, counts = enlarge(hashes, 2 * used), enlarge(counts, 2 * used)
            starts, slots = enlarge(starts, 2 * used + 1), np.zeros(2 * slots.size, np.uint64)
            rehash(hashes, used, slots)
    return i, slots, starts, arena, hashes, counts, used


@kernel
def look_up(data, n, words, slots, starts, arena, counts, ids):  # type: ignore[no-untyped-def]
    """Write the ids of n waiting words and count them; returns how many are new, moved to the front of `words`.

    words (4, BATCH) int64: first byte, end, hash and place in `ids` of each. All words take a step of the look-up
    before the first takes the next, so that the memory which that needs is on its way meanwhile.
    """
    known, mask, new = np.empty(BATCH, np.int64), slots.size - 1, 0
    for b in range(n):
        h = np.uint64(words[2, b])
        at = home(h, mask)
        while slots[at] != 0 and slots[at] >> LOW != h:
            at = (at + 1) & mask
        known[b] = np.int64(slots[at] & MASK) - 1
        if known[b] >= 0:
            prefetch(starts, known[b])
            prefetch(counts, known[b])
    for b in range(n):
        if known[b] >= 0:
            prefetch(arena, starts[known[b]])
    for b in range(n):
        i, lo, length = known[b], words[0, b], words[1, b] - words[0, b]
        if i >= 0 and starts[i + 1] - starts[i] == length and same(data, lo, arena, starts[i], length):
            counts[i] += 1
            ids[words[3, b]] = i
        else:
            for k in range(4):
                words[k, new] = words[k, b]
            new += 1
    return new


@kernel
def cut(data, offsets, eos, state, words, slots, counts, ids, indptr):  # type: ignore[no-untyped-def]
    """Cut texts into at most BATCH words, starting at `state`, and write `words` as `look_up` takes them.

    state (4,) int64: text, byte, place in `ids`, and the place where the text began; it is moved on. With eos, word 0
    ends every text that has words. Returns how many words were cut: fewer than BATCH when there are no more.
    """
    n, mask = 0, slots.size - 1
    r, p, out, first = state
    while r < offsets.size - 1:
        end = offsets[r + 1]
        while p < end and n < BATCH:
            lo, h = p, BASIS
            while p < end:
                c = data[p]
                if c <= 32 and (c == 32 or c == 0 or (9 <= c <= 13)):
                    break
                wide = np.uint64(c)
                if wide >= HIGH:
                    wide |= SIGN
                h = ((h ^ wide) * PRIME) & MASK
                p += 1
            if p > lo:
                prefetch(slots, home(h, mask))
                words[0, n], words[1, n], words[2, n], words[3, n] = lo, p, np.int64(h), out
                n += 1
                out += 1
            p += 1
        if p < end:
            break
        if eos and out > first:
            counts[0] += 1
            ids[out] = 0
            out += 1
        indptr[r + 1] = out
        r += 1
        p, first = end, out
    state[0], state[1], state[2], state[3] = r, p, out, first
    return n


@kernel
def scan(data, offsets, eos, slots, starts, arena, hashes, counts, size, ids, indptr):  # type: ignore[no-untyped-def]
    """Cut texts data[offsets[r]:offsets[r + 1]] into words, add new ones to the table, write ids and indptr (CSR).

    With eos, word 0 ends every text that has words. Returns the table's arrays, which may have been replaced.
    """
    state, words, used = np.zeros(4, np.int64), np.empty((4, BATCH), np.int64), size[0]
    state[1], n = offsets[0], BATCH
    while n == BATCH:
        n = cut(data, offsets, eos, state, words, slots, counts, ids, indptr)
        # Apart, since numba counts references wherever a loop may replace an array: slower than the look-up itself.
        for b in range(look_up(data, n, words, slots, starts, arena, counts, ids)):
            i, slots, starts, arena, hashes, counts, used = insert(
                data, words[0, b], words[1, b], np.uint64(words[2, b]), slots, starts, arena, hashes, counts, used
            )
            counts[i] += 1
            ids[words[3, b]] = i
    size[0] = used
    return slots, starts, arena, hashes, counts


@kernel
def merge(from_starts, from_arena, from_hashes, from_counts, n, slots, starts, arena, hashes, counts, size, ids):  # type: ignore[no-untyped-def]
    """Add words 0..n-1 of another table with their counts; writes their ids here, returns as `scan` does."""
    used = size[0]
    for w in range(n):
        i, slots, starts, arena, hashes, counts, used = insert(
            from_arena, from_starts[w], from_starts[w + 1], np.uint64(from_hashes[w]),
            slots, starts, arena, hashes, counts, used,
        )  # fmt: skip
        counts[i] += from_counts[w]
        ids[w] = i
    size[0] = used
    return slots, starts, arena, hashes, counts


@kernel
def find(starts, hashes, arena, n, slots, known_starts, known_arena, ids):  # type: ignore[no-untyped-def]
    """Write the id of each of n words in another, frozen table; -1 when it is unknown there."""
    for i in range(n):
        ids[i] = seek(arena, starts[i], starts[i + 1], np.uint64(hashes[i]), slots, known_starts, known_arena)[0]


@kernel
def hash_words(starts, arena, n, hashes):  # type: ignore[no-untyped-def]
    """Write the 32-bit hash of words 0..n-1."""
    for i in range(n):
        h = BASIS
        for p in range(starts[i], starts[i + 1]):
            wide = np.uint64(arena[p])
            if wide >= HIGH:
                wide |= SIGN
            h = ((h ^ wide) * PRIME) & MASK
        hashes[i] = h


@kernel
def subwords(word, minn, maxn, buckets, out):  # type: ignore[no-untyped-def]
    """Write bucket numbers of the character n-grams (minn..maxn) of word, given with its < and >; return how many."""
    n, size = 0, word.size
    for i in range(size):
        if word[i] & 0xC0 == 0x80:  # inside a UTF-8 character
            continue
        h, j, chars = BASIS, i, 0
        while j < size and chars < maxn:
            wide = np.uint64(word[j])
            if wide >= HIGH:
                wide |= SIGN
            h = ((h ^ wide) * PRIME) & MASK
            j += 1
            if j < size and word[j] & 0xC0 == 0x80:
                continue
            chars += 1
            if chars >= minn and not (chars == 1 and (i == 0 or j == size)):
                out[n] = np.int64(h % np.uint64(buckets))
                n += 1
    return n


@kernel
def subword_lists(starts, arena, n, ids, minn, maxn, buckets, offset, indptr, out):  # type: ignore[no-untyped-def]
    """Write, for words 0..n-1, the tokens each stands for: its own id if it has one, then its subwords.

    indptr (n + 1,) and out (enough,) int32; word 0, the end of a text, has no subwords.
    """
    total = 0
    numbers = np.empty(1, np.int64)
    for i in range(n):
        length = starts[i + 1] - starts[i]
        if ids[i] >= 0:
            out[total] = ids[i]
            total += 1
        if maxn > 0 and i > 0:
            word = np.empty(length + 2, np.uint8)
            word[0], word[length + 1] = 60, 62
            for k in range(length):
                word[k + 1] = arena[starts[i] + k]
            if numbers.size < (length + 2) * maxn:
                numbers = np.empty((length + 2) * maxn, np.int64)
            for k in range(subwords(word, minn, maxn, buckets, numbers)):
                out[total] = offset + numbers[k]
                total += 1
        indptr[i + 1] = total


@kernel
def expand(indptr, ids, list_ptr, lists, hashes, ngrams, buckets, offset, write, out_ptr, out):  # type: ignore[no-untyped-def]
    """Replace each word of each text by the tokens it stands for, and add word n-grams up to `ngrams` words.

    Call with write False to learn out_ptr, then with write True to fill `out` int32.
    """
    total = 0
    for r in range(indptr.size - 1):
        for p in range(indptr[r], indptr[r + 1]):
            for q in range(list_ptr[ids[p]], list_ptr[ids[p] + 1]):
                if write:
                    out[total] = lists[q]
                total += 1
        if ngrams > 1:
            for p in range(indptr[r], indptr[r + 1]):
                h = np.uint64(np.int64(np.int32(hashes[ids[p]])))
                for q in range(p + 1, min(p + ngrams, indptr[r + 1])):
                    h = h * NGRAM + np.uint64(np.int64(np.int32(hashes[ids[q]])))
                    if write:
                        out[total] = offset + np.int64(h % np.uint64(buckets))
                    total += 1
        out_ptr[r + 1] = total
