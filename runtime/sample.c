#include "runtime/sample.h"

#include <math.h>
#include <stdlib.h>

#include "ir/base/philox.h"

/* The stream of choices: any salt that the compiler's small numbers and initialisers' hashes leave alone; the
 * step of generation is never that of an initialiser. */
enum { SAMPLE_SALT = 0x5a3b1e };

double col_sample_uniform(uint64_t seed, uint64_t index)
{
    col_philox_block block = col_philox_stream(seed, 0, SAMPLE_SALT, index);
    uint64_t bits = (uint64_t)block.words[0] << 32 | block.words[1];
    return (double)(bits >> 11) * 0x1p-53;
}

/* The largest logit's id, the first of equals; -1 when there is none to choose. */
static int32_t likeliest(const float *logits, size_t count)
{
    int32_t best = -1;
    for (size_t i = 0; i < count; i++) {
        if (isnan(logits[i])) return -1;
        if (logits[i] > -INFINITY && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
    }
    return best;
}

/* Likelier first, then by id. */
static int by_weight(const void *a, const void *b)
{
    const col_candidate *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Candidates of weight not below `floor`, in order of id; returns how many. */
static size_t keep_from(col_candidate *list, size_t count, double floor)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].weight >= floor) list[kept++] = list[i];
    }
    return kept;
}

static double total_of(const col_candidate *list, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++) total += list[i].weight;
    return total;
}

/* The k-th largest logit (0 < k <= count): a heap of the k largest so far, the least on top. */
static float kth_logit(const float *logits, size_t count, size_t k)
{
    float *heap = malloc(k * sizeof *heap);
    if (!heap) col_out_of_memory(0);
    for (size_t i = 0; i < count; i++) {
        size_t at;
        if (i < k) {
            for (at = i; at && heap[(at - 1) / 2] > logits[i]; at = (at - 1) / 2)
                heap[at] = heap[(at - 1) / 2];
        } else {
            if (logits[i] <= heap[0]) continue;
            for (at = 0;;) {
                size_t child = 2 * at + 1;
                if (child + 1 < k && heap[child + 1] < heap[child]) child++;
                if (child >= k || heap[child] >= logits[i]) break;
                heap[at] = heap[child];
                at = child;
            }
        }
        heap[at] = logits[i];
    }
    float kth = heap[0];
    free(heap);
    return kth;
}

/* The cut at top_p sorts only tokens of probability (1 - p) / count and more: the others make up less than 1
 * - p together, so the likeliest ones exceed p without them. */
static size_t cut_top_p(col_candidate *list, size_t count, double p)
{
    double total = total_of(list, count);
    size_t kept = keep_from(list, count, total * (1 - p) / (double)count);
    qsort(list, kept, sizeof *list, by_weight);
    double sum = 0;
    for (size_t i = 0; i < kept; i++) {
        sum += list[i].weight;
        if (sum > p * total) return i + 1;
    }
    return kept;
}

static int32_t draw(const col_candidate *list, size_t count, double uniform)
{
    double left = uniform * total_of(list, count);
    int32_t last = -1; /* should rounding leave a rest */
    for (size_t i = 0; i < count; i++) {
        if (list[i].weight == 0) continue;
        last = list[i].id;
        left -= list[i].weight;
        if (left < 0) break;
    }
    return last;
}

int32_t col_sample(const float *logits, size_t count, const col_sample_options *o, uint64_t index,
                   col_candidate *list)
{
    int32_t best = likeliest(logits, count);
    if (best < 0 || (o->temperature == 0 && o->top_k == 0 && o->top_p == 0)) return best;
    bool cuts = o->top_k > 0 && (size_t)o->top_k < count;
    float floor = cuts ? kth_logit(logits, count, (size_t)o->top_k) : -INFINITY;
    double scale = o->temperature > 0 ? 1 / o->temperature : 1;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (logits[i] < floor) continue;
        double gap = (double)logits[i] - (double)logits[best]; /* NaN when both are +infinity */
        list[kept++] = (col_candidate){isnan(gap) ? 1 : exp(gap * scale), (int32_t)i};
    }
    if (o->top_p > 0 && o->top_p < 1) kept = cut_top_p(list, kept, o->top_p);
    return draw(list, kept, col_sample_uniform(o->seed, index));
}
