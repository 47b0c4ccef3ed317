/* The kernels of the bigram plans (bigram_plan.c): a language model whose logits are a row of a table, small
 * enough to write by hand. Every kernel has one iteration. Sums are in a fixed order. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/parity/bigram.h"

enum { V = BIGRAM_VOCAB, N = BIGRAM_BATCH * BIGRAM_SEQ };

void bigram_backward(void *const *args, int64_t begin, int64_t end);
void bigram_accumulate(void *const *args, int64_t begin, int64_t end);
void bigram_update(void *const *args, int64_t begin, int64_t end);
void bigram_eval(void *const *args, int64_t begin, int64_t end);
void bigram_remember(void *const *args, int64_t begin, int64_t end);
void bigram_decode(void *const *args, int64_t begin, int64_t end);

/* -log softmax(row)[label]; the probabilities go to `p`. */
static float row_loss(const float *row, int32_t label, float *p)
{
    float max = row[0], sum = 0;
    for (int i = 1; i < V; i++) max = fmaxf(max, row[i]);
    for (int i = 0; i < V; i++) sum += p[i] = expf(row[i] - max);
    for (int i = 0; i < V; i++) p[i] /= sum;
    return logf(sum) + max - row[label];
}

/* reads input_ids, labels, rng, table; writes loss, gradient. The gradient of some entries is dropped, by the
 * micro-batch's number, as dropout would. */
void bigram_backward(void *const *args, int64_t begin, int64_t end)
{
    const int32_t *ids = args[0], *labels = args[1];
    const int64_t *rng = args[2];
    const float *table = args[3];
    float *loss = args[4], *gradient = args[5], p[V], total = 0;
    int count = 0;
    if (begin == end) return;
    memset(gradient, 0, sizeof(float) * V * V);
    for (int i = 0; i < N; i++) count += labels[i] >= 0;
    for (int i = 0; i < N; i++) {
        if (labels[i] < 0) continue;
        total += row_loss(table + ids[i] * V, labels[i], p);
        for (int v = 0; v < V; v++) {
            if ((v + rng[1] + rng[0]) % 7)
                gradient[ids[i] * V + v] += (p[v] - (v == labels[i])) / (float)count;
        }
    }
    *loss = total / (float)count;
}

/* reads gradient; writes accumulated, micro: a step has BIGRAM_ACCUMULATE micro-batches. */
void bigram_accumulate(void *const *args, int64_t begin, int64_t end)
{
    const float *gradient = args[0];
    float *sum = args[1];
    int32_t *micro = args[2];
    if (begin == end) return;
    for (int i = 0; i < V * V; i++) sum[i] = (*micro ? sum[i] : 0) + gradient[i] / BIGRAM_ACCUMULATE;
    *micro = (*micro + 1) % BIGRAM_ACCUMULATE;
}

/* reads gradient, lr, total_steps; writes table, momentum, step, grad_norm, learning_rate. A gradient that is
 * not finite changes nothing. */
void bigram_update(void *const *args, int64_t begin, int64_t end)
{
    const float *gradient = args[0], *lr = args[1];
    const int32_t *total = args[2];
    float *table = args[3], *momentum = args[4], *norm = args[6], *rate = args[7], square = 0;
    int32_t *step = args[5];
    if (begin == end) return;
    for (int i = 0; i < V * V; i++) square += gradient[i] * gradient[i];
    *norm = sqrtf(square);
    *rate = *lr * (1 - (float)*step / (float)*total);
    if (!isfinite(*norm)) return;
    for (int i = 0; i < V * V; i++) {
        momentum[i] = 0.9f * momentum[i] + gradient[i];
        table[i] -= *rate * momentum[i];
    }
    ++*step;
}

/* reads input_ids, labels, table; writes loss. */
void bigram_eval(void *const *args, int64_t begin, int64_t end)
{
    const int32_t *ids = args[0], *labels = args[1];
    const float *table = args[2];
    float *loss = args[3], p[V], total = 0;
    int count = 0;
    if (begin == end) return;
    for (int i = 0; i < N; i++) {
        if (labels[i] < 0) continue;
        total += row_loss(table + ids[i] * V, labels[i], p);
        count++;
    }
    *loss = total / (float)count;
}

/* reads ids [1, chunk], position; writes the cache [1, context]. */
void bigram_remember(void *const *args, int64_t begin, int64_t end)
{
    const int32_t *ids = args[0], *position = args[1];
    int32_t *cache = args[2];
    if (begin == end) return;
    for (int i = 0; i < BIGRAM_CHUNK; i++) cache[*position + i] = ids[i];
}

/* reads id, position, table; writes cache, logits: the token's row, and a trace of all tokens before it. */
void bigram_decode(void *const *args, int64_t begin, int64_t end)
{
    const int32_t *id = args[0], *position = args[1];
    const float *table = args[2];
    int32_t *cache = args[3];
    float *logits = args[4];
    if (begin == end) return;
    cache[*position] = *id;
    memcpy(logits, table + *id * V, sizeof(float) * V);
    for (int i = 0; i < *position; i++) logits[cache[i]] += 0.01f * (float)(i % 3);
}
