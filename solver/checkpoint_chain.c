/* Dynamic programmes for recomputation on a chain.
 *
 * After Herrmann, Beaumont, Eyraud-Dubois, Hermann, Joly, Shilova, "Optimal checkpointing for heterogeneous
 * chains: how to train deep neural networks with limited memory", ACM TOMS 2020 (doi 10.1145/3648633).
 * Schedules are persistent: what is kept stays until its backward. C(s, t, m) is the least time in which
 * stages s..t go forward and backward when a[s] and d[t + 1] are there and m bytes are free beyond a[s]:
 *
 *   C(s, s, m) = f_s + b_s                                         if m >= save_need(s, s)
 *   C(s, t, m) = min of
 *     save s:   f_s + b_s + C(s + 1, t, m - saved_s)               if m >= save_need(s, t)
 *     keep a[s], run to x, s < x <= t:
 *               f_s + .. + f_{x-1} + C(x, t, m - a[x]) + C(s, x - 1, m)
 *                                                       if m >= forward_need of s .. x - 1 under d[t + 1]
 *
 * Memory is counted in slots of u bytes. Every size and need is rounded down, so C at floor(M / u) is a lower
 * bound for the true chain; answers are traced for that many slots and for ever fewer, until one, played with
 * its true sizes, fits M. u is chosen near M / slots such that the sizes are nearly multiples of it, which
 * for repeated layers makes the rounding vanish. C(s, t, .) is a row over the slots from the least that is
 * feasible to the least at which everything is saved; the rows of one length t - s are independent and shared
 * between threads. O(L^3 * slots), in float: each value is a sum of at most 2 L terms, so the bound is
 * lowered by 2 L ulps. */
#include "solver/checkpoint_chain.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { MOST_FLOATS = 128 * 1024 * 1024, MOST_THREADS = 16 };

/* ---- least memory, in bytes ---- */

typedef struct least_choice {
    int64_t bytes;
    int32_t split; /* x, or 0 where s is saved */
} least_choice;

static void emit_least(const chain_sizes *c, const least_choice *table, int32_t s, int32_t t,
                       col_arena *arena, col_checkpoint_schedule *out)
{
    if (s > t) return;
    int32_t x = table[chain_cell(c->count, s, t)].split;
    if (x == 0) {
        chain_emit(arena, out, COL_CHECKPOINT_FORWARD_SAVE, s);
        emit_least(c, table, s + 1, t, arena, out);
        chain_emit(arena, out, COL_CHECKPOINT_BACKWARD, s);
        return;
    }
    chain_emit_forwards(arena, out, s, x);
    emit_least(c, table, x, t, arena, out);
    emit_least(c, table, s, x - 1, arena, out);
}

int64_t chain_least_memory(const chain_sizes *c, col_arena *arena, col_checkpoint_schedule *out)
{
    int32_t n = c->count;
    col_arena *scratch = col_arena_create();
    least_choice *table = COL_NEW_ARRAY(scratch, least_choice, (size_t)n * (size_t)n);
    for (int32_t s = n - 1; s >= 0; s--) {
        table[chain_cell(n, s, s)].bytes = chain_save_need(c, s, s);
        for (int32_t t = s + 1; t < n; t++) {
            int64_t rest = c->saved[s] + table[chain_cell(n, s + 1, t)].bytes;
            least_choice best = {COL_MAX(chain_save_need(c, s, t), rest), 0};
            int64_t run = 0;
            for (int32_t x = s + 1; x <= t; x++) {
                run = COL_MAX(run, chain_forward_need(c, x - 1, t, x - 1 == s));
                int64_t right = c->a[x] + table[chain_cell(n, x, t)].bytes;
                int64_t bytes = COL_MAX(COL_MAX(run, right), table[chain_cell(n, s, x - 1)].bytes);
                if (bytes < best.bytes) best = (least_choice){bytes, x};
            }
            table[chain_cell(n, s, t)] = best;
        }
    }
    int64_t bytes = table[chain_cell(n, 0, n - 1)].bytes;
    if (out) emit_least(c, table, 0, n - 1, arena, out);
    col_arena_destroy(scratch);
    return bytes;
}

/* ---- the time programme, in slots ---- */

/* C(s, t, m) for m = low .. high; INFINITY below, constant above. Empty if low > high. */
typedef struct time_row {
    int32_t low, high;
    size_t begin; /* of its values in the pool; rows of equal segments share them */
} time_row;

typedef struct programme {
    const chain_sizes *c;
    int32_t n, most; /* stages; slots of the memory */
    int64_t unit;    /* u */
    int32_t *keep;   /* [n + 1] slots of a[x] */
    int32_t *save;   /* [n] slots of saved_s */
    time_row *rows;  /* [n * n] */
    float *pool;
    int32_t *twin;           /* [n] a later stage from which on the chain repeats that from this one, or -1 */
    int32_t *repeats;        /* [n] for how many stages */
    COL_VEC(int32_t) starts; /* s of the rows that are not shared with a later segment, by length */
    size_t *lengths;         /* [n + 1] starts[lengths[k] .. lengths[k + 1]) have t - s = k */
    float *forward;          /* [n + 1] as in chain_sizes */
    float *both;             /* [n] f_s + b_s */
    int threads;
    pthread_barrier_t barrier;
} programme;

static int32_t to_slots(const programme *p, int64_t bytes)
{
    int64_t slots = bytes / p->unit;
    return slots > p->most ? p->most + 1 : (int32_t)slots; /* more than there are is as good as any more */
}

static time_row *row_of(const programme *p, int32_t s, int32_t t)
{
    return &p->rows[chain_cell(p->n, s, t)];
}

static float *values_of(const programme *p, const time_row *row)
{
    return p->pool + row->begin;
}

/* Bytes that rounding down to slots of `unit` forgets, over all that a schedule may keep. */
static int64_t forgotten_bytes(const chain_sizes *c, int64_t unit)
{
    int64_t sum = 0;
    for (int32_t s = 0; s < c->count; s++) {
        sum += COL_MAX(c->saved[s] % unit, c->a[s] % unit);
    }
    return sum;
}

static int64_t choose_unit(const chain_sizes *c, int64_t memory, int32_t slots)
{
    int64_t low = COL_MAX(memory / (slots + slots / 3), 1), high = COL_MAX(memory / (slots - slots / 3), 1);
    int64_t best = COL_MAX(memory / slots, 1), best_forgotten = forgotten_bytes(c, best), tried = 0;
    for (int32_t s = 0; s < c->count; s++) {
        int64_t sizes[] = {c->saved[s], c->a[s]};
        for (size_t k = 0; k < COL_COUNT(sizes); k++) {
            if (sizes[k] < low || sizes[k] == tried) continue;
            if (s > 0 && (sizes[k] == c->saved[s - 1] || sizes[k] == c->a[s - 1])) continue;
            tried = sizes[k];
            for (int64_t parts = (tried + high - 1) / high; parts <= tried / low; parts++) {
                int64_t forgotten = forgotten_bytes(c, tried / parts);
                if (forgotten >= best_forgotten) continue;
                best = tried / parts;
                best_forgotten = forgotten;
            }
        }
        if (s > 24 && best_forgotten == 0) break;
    }
    return best;
}

static bool same_stage(const col_checkpoint_stage *x, const col_checkpoint_stage *y)
{
    return x->forward_seconds == y->forward_seconds && x->backward_seconds == y->backward_seconds &&
           x->input_bytes == y->input_bytes && x->saved_bytes == y->saved_bytes &&
           x->gradient_bytes == y->gradient_bytes && x->forward_temp_bytes == y->forward_temp_bytes &&
           x->backward_temp_bytes == y->backward_temp_bytes;
}

/* For every stage the later one from which on the chain goes on equal for longest. */
static void find_repeats(programme *p, col_arena *scratch)
{
    const col_checkpoint_stage *stages = p->c->chain->stages;
    int32_t *equal = COL_NEW_ARRAY(scratch, int32_t, p->n + 1); /* [u] for how long s.. equals u.. */
    for (int32_t s = p->n - 1; s >= 0; s--) {
        p->twin[s] = -1;
        p->repeats[s] = 0;
        /* equal[u + 1] still is that of s + 1, as u goes up. */
        for (int32_t u = s + 1; u < p->n; u++) {
            equal[u] = same_stage(&stages[s], &stages[u]) ? equal[u + 1] + 1 : 0;
            if (equal[u] <= p->repeats[s]) continue;
            p->repeats[s] = equal[u];
            p->twin[s] = u;
        }
    }
}

/* The row of the equal segment at that later stage, or NULL. */
static const time_row *shared_row(const programme *p, int32_t s, int32_t t)
{
    int32_t u = p->twin[s], last = u + t - s;
    if (u < 0 || t - s >= p->repeats[s]) return NULL;
    bool same_end = p->c->d[t + 1] == p->c->d[last + 1] && p->c->a[t + 1] == p->c->a[last + 1];
    return same_end ? row_of(p, u, last) : NULL;
}

/* Bounds of row (s, t) from shorter rows: where it starts to be feasible, and where saving everything fits.
 */
static void bound_row(programme *p, int32_t s, int32_t t)
{
    time_row *row = row_of(p, s, t);
    int32_t none = p->most + 1, save_need = to_slots(p, chain_save_need(p->c, s, t));
    row->low = row->high = save_need;
    if (s < t) {
        const time_row *rest = row_of(p, s + 1, t);
        row->low = COL_MAX(save_need, COL_MIN(rest->low + p->save[s], none));
        row->high = COL_MAX(save_need, COL_MIN(rest->high + p->save[s], none));
    }
    int64_t run = 0;
    for (int32_t x = s + 1; x <= t; x++) {
        run = COL_MAX(run, chain_forward_need(p->c, x - 1, t, x - 1 == s));
        int32_t right = row_of(p, x, t)->low + p->keep[x], left = row_of(p, s, x - 1)->low;
        row->low = COL_MIN(row->low, COL_MAX(to_slots(p, run), COL_MAX(right, left)));
    }
    row->low = COL_MIN(row->low, none);
    row->high = COL_MIN(row->high, p->most);
}

/* out[m] = min(out[m], x[m] + y[m] + z) over n values; x or y NULL: INT constant folded into z. */
static void relax_both(float *restrict out, const float *restrict x, const float *restrict y, float z,
                       int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        float sum = x[i] + y[i] + z;
        out[i] = sum < out[i] ? sum : out[i];
    }
}

static void relax_one(float *restrict out, const float *restrict x, float z, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        float sum = x[i] + z;
        out[i] = sum < out[i] ? sum : out[i];
    }
}

/* Relaxes `row` by x(m - shift) + y(m) + z for m >= from; y NULL: x alone. Beyond both ends the sum is
 * constant, and the final prefix minimum carries it on. */
static void relax(const programme *p, const time_row *row, const time_row *x, int32_t shift,
                  const time_row *y, float z, int32_t from)
{
    float *row_value = values_of(p, row);
    const float *x_value = values_of(p, x), *y_value = y ? values_of(p, y) : NULL;
    if (x->low > x->high || (y && y->low > y->high)) return;
    int32_t m = COL_MAX(COL_MAX(from, row->low), x->low + shift);
    if (y) m = COL_MAX(m, y->low);
    int32_t x_end = x->high + shift, y_end = y ? y->high : INT32_MIN;
    int32_t both = COL_MIN(COL_MIN(x_end, y_end), row->high), one = COL_MIN(COL_MAX(x_end, y_end), row->high);
    if (m <= both) {
        relax_both(row_value + (m - row->low), x_value + (m - shift - x->low), y_value + (m - y->low), z,
                   both - m + 1);
        m = both + 1;
    }
    if (m <= one) {
        float *out = row_value + (m - row->low);
        if (x_end > y_end) {
            float rest = y ? y_value[y->high - y->low] : 0;
            relax_one(out, x_value + (m - shift - x->low), rest + z, one - m + 1);
        } else {
            relax_one(out, y_value + (m - y->low), x_value[x->high - x->low] + z, one - m + 1);
        }
        m = one + 1;
    } else if (m <= row->high) {
        float sum = x_value[x->high - x->low] + (y ? y_value[y->high - y->low] : 0) + z;
        float *out = row_value + (m - row->low);
        *out = COL_MIN(*out, sum);
    }
}

static void fill_row(programme *p, int32_t s, int32_t t)
{
    time_row *row = row_of(p, s, t);
    if (row->low > row->high) return;
    int32_t size = row->high - row->low + 1;
    float *value = values_of(p, row);
    for (int32_t i = 0; i < size; i++) value[i] = INFINITY;
    int32_t save_need = to_slots(p, chain_save_need(p->c, s, t));
    if (s == t) {
        for (int32_t m = COL_MAX(save_need, row->low); m <= row->high; m++) value[m - row->low] = p->both[s];
        return;
    }
    relax(p, row, row_of(p, s + 1, t), p->save[s], NULL, p->both[s], save_need);
    int64_t run = 0;
    for (int32_t x = s + 1; x <= t; x++) {
        run = COL_MAX(run, chain_forward_need(p->c, x - 1, t, x - 1 == s));
        relax(p, row, row_of(p, x, t), p->keep[x], row_of(p, s, x - 1), p->forward[x] - p->forward[s],
              to_slots(p, run));
    }
    for (int32_t i = 1; i < size; i++) value[i] = COL_MIN(value[i], value[i - 1]);
}

typedef struct worker {
    programme *p;
    int index;
} worker;

static void *fill_rows(void *argument)
{
    worker *w = argument;
    programme *p = w->p;
    for (int32_t length = 0; length < p->n; length++) {
        for (size_t k = p->lengths[length] + (size_t)w->index; k < p->lengths[length + 1];
             k += (size_t)p->threads) {
            fill_row(p, p->starts.data[k], p->starts.data[k] + length);
        }
        if (p->threads > 1) pthread_barrier_wait(&p->barrier);
    }
    return NULL;
}

static void fill_all(programme *p)
{
    worker workers[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    p->threads = COL_MAX(1, COL_MIN(p->threads, (int)MOST_THREADS));
    if (p->threads > 1) pthread_barrier_init(&p->barrier, NULL, (unsigned)p->threads);
    for (int k = 0; k < p->threads; k++) workers[k] = (worker){p, k};
    for (int k = 1; k < p->threads; k++) {
        if (pthread_create(&threads[k], NULL, fill_rows, &workers[k])) col_out_of_memory(0);
    }
    fill_rows(&workers[0]);
    for (int k = 1; k < p->threads; k++) pthread_join(threads[k], NULL);
    if (p->threads > 1) pthread_barrier_destroy(&p->barrier);
}

static float value_at(const programme *p, const time_row *row, int32_t m)
{
    if (m < row->low || row->low > row->high) return INFINITY;
    return values_of(p, row)[COL_MIN(m, row->high) - row->low];
}

/* Follows the minima from C(s, t, m). */
static void trace(const programme *p, int32_t s, int32_t t, int32_t m, col_arena *arena,
                  col_checkpoint_schedule *out)
{
    if (s > t) return;
    float best = INFINITY;
    int32_t split = 0;
    if (m >= to_slots(p, chain_save_need(p->c, s, t))) {
        best = p->both[s] + (s < t ? value_at(p, row_of(p, s + 1, t), m - p->save[s]) : 0);
    }
    int64_t run = 0;
    for (int32_t x = s + 1; x <= t; x++) {
        run = COL_MAX(run, chain_forward_need(p->c, x - 1, t, x - 1 == s));
        if (m < to_slots(p, run)) break;
        float sum = value_at(p, row_of(p, x, t), m - p->keep[x]) + value_at(p, row_of(p, s, x - 1), m) +
                    (p->forward[x] - p->forward[s]);
        if (sum >= best) continue;
        best = sum;
        split = x;
    }
    COL_ASSERT(!isinf(best));
    if (split == 0) {
        chain_emit(arena, out, COL_CHECKPOINT_FORWARD_SAVE, s);
        trace(p, s + 1, t, m - p->save[s], arena, out);
        chain_emit(arena, out, COL_CHECKPOINT_BACKWARD, s);
        return;
    }
    chain_emit_forwards(arena, out, s, split);
    trace(p, split, t, m - p->keep[split], arena, out);
    trace(p, s, split - 1, m, arena, out);
}

/* Lays out the rows for `slots`; returns how many floats they take together. */
static size_t lay_out(programme *p, int64_t memory, int32_t slots)
{
    const chain_sizes *c = p->c;
    p->unit = choose_unit(c, memory, slots);
    p->most = (int32_t)(memory / p->unit);
    for (int32_t s = 0; s <= p->n; s++) p->keep[s] = to_slots(p, c->a[s]);
    for (int32_t s = 0; s < p->n; s++) p->save[s] = to_slots(p, c->saved[s]);
    size_t floats = 0;
    for (int32_t s = p->n - 1; s >= 0; s--) {
        for (int32_t t = s; t < p->n; t++) {
            time_row *row = row_of(p, s, t);
            const time_row *shared = shared_row(p, s, t);
            if (shared) {
                *row = *shared;
                continue;
            }
            bound_row(p, s, t);
            row->begin = floats;
            if (row->low <= row->high) floats += (size_t)(row->high - row->low) + 1;
        }
    }
    return floats;
}

static void list_rows(programme *p, col_arena *arena)
{
    for (int32_t length = 0; length < p->n; length++) {
        p->lengths[length] = p->starts.len;
        for (int32_t s = 0; s + length < p->n; s++) {
            if (!shared_row(p, s, s + length)) col_vec_push(arena, &p->starts, s);
        }
    }
    p->lengths[p->n] = p->starts.len;
}

/* The answer of most slots whose true peak fits. */
static void find_answer(const programme *p, col_arena *arena, chain_answer *out)
{
    const time_row *whole = row_of(p, 0, p->n - 1);
    for (int32_t m = p->most; m >= whole->low && !out->found; m--) {
        out->schedule.ops.len = 0;
        trace(p, 0, p->n - 1, m, arena, &out->schedule);
        col_status status = col_checkpoint_play(p->c->chain, &out->schedule);
        if (status) COL_PANIC("recomputation: %s", col_error_message(status));
        out->found = out->schedule.peak <= p->c->chain->memory;
    }
}

void chain_solve_slots(const chain_sizes *c, int64_t memory, int32_t slots, int threads, col_arena *arena,
                       chain_answer *out)
{
    size_t n = (size_t)c->count;
    programme p = {.c = c,
                   .n = c->count,
                   .keep = COL_NEW_ARRAY(arena, int32_t, n + 1),
                   .save = COL_NEW_ARRAY(arena, int32_t, n),
                   .rows = COL_NEW_ARRAY(arena, time_row, n * n),
                   .forward = COL_NEW_ARRAY(arena, float, n + 1),
                   .both = COL_NEW_ARRAY(arena, float, n),
                   .twin = COL_NEW_ARRAY(arena, int32_t, n),
                   .repeats = COL_NEW_ARRAY(arena, int32_t, n),
                   .lengths = COL_NEW_ARRAY(arena, size_t, n + 1),
                   .threads = threads};
    find_repeats(&p, arena);
    size_t floats = lay_out(&p, memory, slots);
    for (; floats > MOST_FLOATS && slots > 8; slots /= 2) floats = lay_out(&p, memory, slots / 2);
    list_rows(&p, arena);
    p.pool = COL_NEW_ARRAY(arena, float, floats + 1);
    for (int32_t s = 0; s < p.n; s++) {
        const col_checkpoint_stage *stage = &c->chain->stages[s];
        p.forward[s + 1] = (float)c->forward[s + 1];
        p.both[s] = (float)(stage->forward_seconds + stage->backward_seconds);
    }
    fill_all(&p);
    float bound = value_at(&p, row_of(&p, 0, p.n - 1), p.most);
    out->bound = isinf(bound) ? 0 : bound * (1 - 0x1p-23 * (2 * (double)p.n + 2));
    if (!isinf(bound)) find_answer(&p, arena, out);
}
