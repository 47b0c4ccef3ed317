/* Merging one word, as the reference does: of all neighbouring pairs that have a rank the one of lowest rank,
 * and among equals the leftmost, becomes one symbol, until no pair has a rank.
 *
 * Symbols form a linked list over their first bytes; a binary heap of (rank, position) yields the next merge.
 * A merge outdates at most two pairs; their heap entries stay and are recognised, because ranks[position]
 * always is the rank of the pair that stands there now (equal rank means the same pair, hence still valid).
 * O(n log n) for a word of n bytes. */
#include "runtime/text/bpe.h"

#include <stdlib.h>

#define END UINT32_MAX

void bpe_scratch_fini(bpe_scratch *scratch)
{
    free(scratch->ids);
    free(scratch->next);
    free(scratch->previous);
    free(scratch->ranks);
    free(scratch->heap);
    *scratch = (bpe_scratch){0};
}

static col_status reserve(bpe_scratch *scratch, size_t size)
{
    if (size <= scratch->capacity) return NULL;
    bpe_scratch_fini(scratch);
    size_t capacity = COL_MAX(size, (size_t)256);
    *scratch = (bpe_scratch){
        .ids = malloc(capacity * sizeof *scratch->ids),
        .next = malloc(capacity * sizeof *scratch->next),
        .previous = malloc(capacity * sizeof *scratch->previous),
        .ranks = malloc(capacity * sizeof *scratch->ranks),
        /* n - 1 pairs at the start and at most two more for each of at most n - 1 merges. */
        .heap = malloc(3 * capacity * sizeof *scratch->heap),
        .capacity = capacity,
    };
    if (!scratch->ids || !scratch->next || !scratch->previous || !scratch->ranks || !scratch->heap) {
        bpe_scratch_fini(scratch);
        return col_error_make(COL_BAD_INPUT, "out of memory for a word of %zu bytes; break it with spaces",
                              size);
    }
    return NULL;
}

static void heap_push(uint64_t *heap, size_t *len, uint64_t entry)
{
    size_t at = (*len)++;
    while (at && heap[(at - 1) / 2] > entry) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

static uint64_t heap_pop(uint64_t *heap, size_t *len)
{
    uint64_t top = heap[0], last = heap[--*len];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= *len) break;
        if (child + 1 < *len && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* Looks up the pair that starts at `at` and queues it when it has a rank. */
static void queue_pair(const col_tokenizer *tokenizer, bpe_scratch *s, size_t *heap_len, uint32_t at)
{
    uint32_t right = s->next[at];
    const merge *m = right == END ? NULL : bpe_find_merge(tokenizer, s->ids[at], s->ids[right]);
    s->ranks[at] = m ? m->rank : NO_RANK;
    if (m) heap_push(s->heap, heap_len, (uint64_t)m->rank << 32 | at);
}

col_status bpe_merge_word(const col_tokenizer *tokenizer, bpe_scratch *s, const unsigned char *word,
                          size_t size, size_t *out_count)
{
    COL_ASSERT(size && size <= INT32_MAX);
    COL_TRY(reserve(s, size));
    for (size_t i = 0; i < size; i++) {
        s->ids[i] = tokenizer->byte_ids[word[i]];
        s->next[i] = i + 1 < size ? (uint32_t)i + 1 : END;
        s->previous[i] = i ? (uint32_t)i - 1 : END;
    }
    size_t heap_len = 0;
    for (size_t i = 0; i < size; i++) queue_pair(tokenizer, s, &heap_len, (uint32_t)i);

    while (heap_len) {
        uint64_t entry = heap_pop(s->heap, &heap_len);
        uint32_t at = (uint32_t)entry;
        if (s->ranks[at] != entry >> 32) continue;
        uint32_t right = s->next[at], after = s->next[right], before = s->previous[at];
        s->ids[at] = bpe_find_merge(tokenizer, s->ids[at], s->ids[right])->id;
        s->ranks[right] = NO_RANK;
        s->next[at] = after;
        if (after != END) s->previous[after] = at;
        queue_pair(tokenizer, s, &heap_len, at);
        if (before != END) queue_pair(tokenizer, s, &heap_len, before);
    }

    size_t count = 0;
    for (uint32_t at = 0; at != END; at = s->next[at]) s->ids[count++] = s->ids[at];
    *out_count = count;
    return NULL;
}
