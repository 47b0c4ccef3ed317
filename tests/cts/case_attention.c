/* Attention against the textbook's formula, with the whole matrix of probabilities P:
 *     S = scale Q K^T + mask,  P = softmax(S),  lse = log sum e^S,  D = P or 0 (dropout),  O = D V
 *     dV = D^T dO,  dD = dO V^T,  dP = dropout(dD),  dS = P (dP - sum_j P dP),  dQ = scale dS K,  dK = scale
 * dS^T Q */
#include "tests/cts/cases.h"

#include <math.h>

#include "ir/base/philox.h"

typedef struct problem {
    int64_t b, t, s, h, d;
    int64_t first;
    bool causal;
    int layout;     /* of heads */
    bool is_narrow; /* the results of the forward pass are there, in 16 bits */
    double scale, rate;
    int64_t rng[2], salt;
    int64_t all_heads, first_score; /* of the scores that dropout numbers; all_heads 0: these alone */
    col_plan_view *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv, *mask, *rng_view, *first_view;
} problem;

static double get4(const cts_case *c, const col_plan_view *view, int64_t b, int64_t t, int64_t h, int64_t d)
{
    return cts_get(view, c->before, (int64_t[]){b, t, h, d});
}

static double dot(const cts_case *c, const problem *p, const col_plan_view *x, int64_t i,
                  const col_plan_view *y, int64_t j, int64_t b, int64_t h)
{
    double sum = 0;
    for (int64_t d = 0; d < p->d; d++) sum += get4(c, x, b, i, h, d) * get4(c, y, b, j, h, d);
    return sum;
}

/* What dropout multiplies a probability by. */
static double dropped(const problem *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    if (p->rate == 0) return 1;
    int64_t heads = p->all_heads ? p->all_heads : p->h;
    uint64_t element = (uint64_t)(p->first_score + ((b * heads + h) * p->t + i) * p->s + j);
    float u = col_philox_at((uint64_t)p->rng[0], (uint32_t)p->rng[1], (uint32_t)p->salt, element);
    return u < (float)p->rate ? 0 : 1 / (1 - p->rate);
}

/* Probabilities of one head, [t, s]; returns the log-sum-exps. */
static void probabilities(const cts_case *c, const problem *p, int64_t b, int64_t h, double *out, double *lse)
{
    for (int64_t i = 0; i < p->t; i++) {
        double *row = out + i * p->s, max = -INFINITY, sum = 0;
        for (int64_t j = 0; j < p->s; j++) {
            bool seen = !p->causal || j <= p->first + i;
            row[j] = seen ? p->scale * dot(c, p, p->q, i, p->k, j, b, h) : -INFINITY;
            if (p->mask) row[j] += cts_get(p->mask, c->before, (int64_t[]){b, h, i, j});
            max = fmax(max, row[j]);
        }
        for (int64_t j = 0; j < p->s && max > -INFINITY; j++) sum += exp(row[j] - max);
        lse[i] = max > -INFINITY ? max + log(sum) : -INFINITY; /* a query that sees no key gets zeros */
        for (int64_t j = 0; j < p->s; j++) row[j] = sum > 0 ? exp(row[j] - lse[i]) : 0;
    }
}

/* Adds value to element [b, t, h, d] of a row-major result. */
static void add4(double *to, const problem *p, int64_t rows, int64_t b, int64_t row, int64_t h, int64_t d,
                 double value)
{
    to[((b * rows + row) * p->h + h) * p->d + d] += value;
}

typedef struct reference {
    double *out, *lse, *dq, *dk, *dv;
} reference;

static void head_forward(const cts_case *c, const problem *p, int64_t b, int64_t h, const double *probs,
                         reference *r)
{
    for (int64_t i = 0; i < p->t; i++) {
        for (int64_t j = 0; j < p->s; j++) {
            double weight = probs[i * p->s + j] * dropped(p, b, h, i, j);
            for (int64_t d = 0; d < p->d && weight != 0; d++)
                add4(r->out, p, p->t, b, i, h, d, weight * get4(c, p->v, b, j, h, d));
        }
    }
}

static void head_backward(const cts_case *c, const problem *p, int64_t b, int64_t h, const double *probs,
                          reference *r)
{
    double *dp = malloc((size_t)p->s * sizeof *dp);
    for (int64_t i = 0; i < p->t; i++) {
        double mean = 0;
        for (int64_t j = 0; j < p->s; j++) {
            dp[j] = dot(c, p, p->dout, i, p->v, j, b, h) * dropped(p, b, h, i, j);
            mean += probs[i * p->s + j] * dp[j];
        }
        if (p->is_narrow) mean = dot(c, p, p->dout, i, p->out, i, b, h); /* as rounded by the forward pass */
        for (int64_t j = 0; j < p->s; j++) {
            double prob = probs[i * p->s + j], ds = p->scale * prob * (dp[j] - mean);
            double used = prob * dropped(p, b, h, i, j);
            for (int64_t d = 0; d < p->d; d++) {
                add4(r->dv, p, p->s, b, j, h, d, used * get4(c, p->dout, b, i, h, d));
                add4(r->dq, p, p->t, b, i, h, d, ds * get4(c, p->k, b, j, h, d));
                add4(r->dk, p, p->s, b, j, h, d, ds * get4(c, p->q, b, i, h, d));
            }
        }
    }
    free(dp);
}

static reference solve(cts_case *c, const problem *p)
{
    int64_t queries = p->b * p->t * p->h, keys = p->b * p->s * p->h;
    reference r = {.out = COL_NEW_ARRAY(c->arena, double, queries * p->d),
                   .lse = COL_NEW_ARRAY(c->arena, double, queries),
                   .dq = COL_NEW_ARRAY(c->arena, double, queries * p->d),
                   .dk = COL_NEW_ARRAY(c->arena, double, keys * p->d),
                   .dv = COL_NEW_ARRAY(c->arena, double, keys * p->d)};
    double *probs = malloc((size_t)(p->t * p->s) * sizeof *probs);
    for (int64_t b = 0; b < p->b; b++) {
        for (int64_t h = 0; h < p->h; h++) {
            probabilities(c, p, b, h, probs, r.lse + (b * p->h + h) * p->t);
            head_forward(c, p, b, h, probs, &r);
            if (p->dout) head_backward(c, p, b, h, probs, &r);
        }
    }
    free(probs);
    return r;
}

static int64_t choose_length(cts_case *c)
{
    static const int64_t lengths[] = {1, 2, 5, 17, 63, 64, 65, 130};
    return lengths[cts_random(c, 0, COL_COUNT(lengths) - 1)];
}

static problem choose(cts_case *c)
{
    problem p = {
        .b = cts_random(c, 1, 2), .h = cts_random(c, 1, 3), .t = choose_length(c), .d = cts_random(c, 1, 20)};
    p.causal = cts_random(c, 0, 1);
    p.s = p.causal || cts_random(c, 0, 1) ? p.t : choose_length(c);
    p.scale = 0.5 + (double)cts_random(c, 0, 4);
    if (c->dtype != COL__PLAN__DTYPE__F32) { /* heads as tensor cores take them, most of the time */
        p.d = 8 * cts_random(c, 1, 17);
        p.scale /= sqrt((double)p.d);
    }
    p.layout = c->dtype != COL__PLAN__DTYPE__F32 && cts_random(c, 0, 3) ? CTS_DENSE : CTS_LAST;
    p.q = cts_view(c, p.layout, 4, (int64_t[]){p.b, p.t, p.h, p.d});
    p.k = cts_view(c, p.layout, 4, (int64_t[]){p.b, p.s, p.h, p.d});
    p.v = cts_view(c, p.layout, 4, (int64_t[]){p.b, p.s, p.h, p.d});
    p.out = cts_view(c, p.layout, 4, p.q->dims);
    return p;
}

/* Mask and dropout, each half of the time; half of the latter on a block of more heads. */
static void choose_extras(cts_case *c, problem *p)
{
    p->lse = cts_view_f32(c, CTS_ANY, 3, (int64_t[]){p->b, p->h, p->t});
    if (cts_random(c, 0, 1))
        p->mask = cts_view(c, CTS_ANY | CTS_REPEATS, 4, (int64_t[]){p->b, p->h, p->t, p->s});
    if (!cts_random(c, 0, 1)) return;
    p->rate = 0.25 * (double)cts_random(c, 1, 3);
    p->salt = cts_random(c, 0, 1000);
    p->rng[0] = cts_random(c, 0, INT32_MAX) << 20;
    p->rng[1] = cts_random(c, 0, 1000);
    p->rng_view = maker_view(&c->maker, COL__PLAN__DTYPE__I64, 1, (int64_t[]){2});
    if (!cts_random(c, 0, 1)) return;
    p->all_heads = p->h + cts_random(c, 0, 4);
    p->first_score = cts_random(c, 0, 12) * p->t * p->s;
    p->first_view = maker_view(&c->maker, COL__PLAN__DTYPE__I64, 0, NULL);
}

static void set_values(cts_case *c, const problem *p)
{
    cts_fill(c);
    if (p->rng_view) memcpy(c->before + p->rng_view->offset, p->rng, sizeof p->rng);
    if (p->first_view) memcpy(c->before + p->first_view->offset, &p->first_score, sizeof p->first_score);
    int64_t index[4] = {0};
    if (!p->mask) return;
    do {
        if (!cts_random(c, 0, 3)) cts_set(p->mask, c->before, index, -INFINITY);
    } while (cts_next(p->mask, index));
}

static void describe(const problem *p, Col__Plan__Attention *how)
{
    how->causal = p->causal;
    how->scale = p->scale;
    how->rate = p->rate;
    how->salt = p->salt;
    how->masked = p->mask != NULL;
    how->heads = p->all_heads;
}

static size_t add_extras(const problem *p, col_plan_view **reads, size_t count)
{
    if (p->mask) reads[count++] = p->mask;
    if (p->rng_view) reads[count++] = p->rng_view;
    if (p->first_view) reads[count++] = p->first_view;
    return count;
}

void case_attention_forward(cts_case *c)
{
    problem p = choose(c);
    choose_extras(c, &p);
    set_values(c, &p);
    reference r = solve(c, &p);
    col_plan_view *reads[6] = {p.q, p.k, p.v}, *writes[] = {p.out, p.lse};
    col_plan_instruction *in =
        maker_instruction(&c->maker, "attention", add_extras(&p, reads, 3), reads, 2, writes);
    describe(&p, MAKER_KIND(&c->maker, in, ATTENTION, attention, Attention));
    cts_run(c);
    cts_expect(c, "out", p.out, r.out, 1e-5);
    cts_expect(c, "lse", p.lse, r.lse, c->dtype != COL__PLAN__DTYPE__F32 ? 1e-4 : 1e-5);
    cts_expect_rest(c, 2, writes);
}

void case_attention_backward(cts_case *c)
{
    problem p = choose(c);
    p.dout = cts_view(c, p.layout, 4, p.q->dims);
    p.dq = cts_view(c, p.layout, 4, p.q->dims);
    p.dk = cts_view(c, p.layout, 4, p.k->dims);
    p.dv = cts_view(c, p.layout, 4, p.v->dims);
    choose_extras(c, &p);
    set_values(c, &p);
    reference r = solve(c, &p);
    /* What the forward pass left. */
    int64_t index[4] = {0}, i = 0;
    do cts_set(p.out, c->before, index, (float)r.out[i++]);
    while (cts_next(p.out, index));
    i = 0;
    do cts_set(p.lse, c->before, index, (float)r.lse[i++]);
    while (cts_next(p.lse, index));
    p.is_narrow = c->dtype != COL__PLAN__DTYPE__F32;
    if (p.is_narrow) r = solve(c, &p);
    col_plan_view *reads[9] = {p.q, p.k, p.v, p.out, p.lse, p.dout}, *writes[] = {p.dq, p.dk, p.dv};
    col_plan_instruction *in =
        maker_instruction(&c->maker, "attention", add_extras(&p, reads, 6), reads, 3, writes);
    Col__Plan__Attention *how = MAKER_KIND(&c->maker, in, ATTENTION, attention, Attention);
    describe(&p, how);
    how->backward = true;
    cts_run(c);
    cts_expect(c, "dq", p.dq, r.dq, 2e-5);
    cts_expect(c, "dk", p.dk, r.dk, 2e-5);
    cts_expect(c, "dv", p.dv, r.dv, 2e-5);
    cts_expect_rest(c, 3, writes);
}

/* A few new queries against a cache that is longer than what is in it. */
void case_attention_cached(cts_case *c)
{
    problem p = choose(c);
    p.causal = true;
    p.s = p.t + cts_random(c, 0, 150);
    p.k = cts_view(c, p.layout, 4, (int64_t[]){p.b, p.s, p.h, p.d});
    p.v = cts_view(c, p.layout, 4, p.k->dims);
    col_plan_view *position = maker_view(&c->maker, COL__PLAN__DTYPE__I32, 0, NULL);
    set_values(c, &p);
    int32_t first = (int32_t)cts_random(c, 0, p.s - p.t);
    memcpy(c->before + position->offset, &first, sizeof first);
    p.first = first;
    reference r = solve(c, &p);
    col_plan_view *reads[] = {p.q, p.k, p.v, position};
    col_plan_instruction *in = maker_instruction(&c->maker, "attention_cached", 4, reads, 1, &p.out);
    MAKER_KIND(&c->maker, in, ATTENTION_CACHED, attention_cached, AttentionCached)->scale = p.scale;
    cts_run(c);
    cts_expect(c, "out", p.out, r.out, 1e-5);
    cts_expect_rest(c, 1, &p.out);
}
