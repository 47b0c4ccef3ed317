#include "tests/cts/cts.h"

#include <math.h>

cts_case cts_start(const col_device_type *type, int threads, uint64_t seed)
{
    cts_case c = {.type = type,
                  .threads = threads,
                  .arena = col_arena_create(),
                  .dtype = COL__PLAN__DTYPE__F32,
                  .random = seed};
    c.maker = maker_start(c.arena, type->name, "cts");
    return c;
}

void cts_end(cts_case *c)
{
    free(c->before);
    free(c->after);
    col_arena_destroy(c->arena);
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(cts_case *c)
{
    uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t cts_random(cts_case *c, int64_t low, int64_t high)
{
    return low + (int64_t)(next_random(c) % (uint64_t)(high - low + 1));
}

/* The order in memory, outermost first. */
static void choose_order(cts_case *c, int layout, size_t rank, size_t *order)
{
    for (size_t i = 0; i < rank; i++) order[i] = i;
    if (layout == CTS_DENSE || rank == 0) return;
    size_t free_dims = layout == CTS_LAST ? rank - 1 : rank;
    for (size_t i = free_dims; i > 1; i--) {
        size_t j = (size_t)cts_random(c, 0, (int64_t)i - 1), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    if (layout != CTS_MATRIX || rank < 2) return;
    size_t inner = rank - (size_t)cts_random(c, 1, 2), at = 0;
    while (order[at] != inner) at++;
    order[at] = order[rank - 1];
    order[rank - 1] = inner;
}

static col_plan_view *make_view(cts_case *c, Col__Plan__Dtype dtype, int layout, size_t rank,
                                const int64_t *dims)
{
    uint64_t element = col_plan_dtype_size(dtype);
    size_t order[COL_PLAN_MAX_RANK];
    int kind = layout & ~CTS_REPEATS;
    col_plan_view *view = maker_view(&c->maker, dtype, rank, dims);
    choose_order(c, kind, rank, order);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        size_t d = order[i];
        if ((layout & CTS_REPEATS) && d + 2 < rank && !cts_random(c, 0, 3)) {
            view->strides[d] = 0;
            continue;
        }
        if (kind != CTS_DENSE && i + 1 < rank) stride += cts_random(c, 0, 1) * cts_random(c, 1, 5);
        view->strides[d] = stride;
        stride *= dims[d];
    }
    if (kind != CTS_DENSE) view->offset += element * (uint64_t)cts_random(c, 0, 5);
    c->maker.at = (view->offset + element * (uint64_t)stride + 63) / 64 * 64;
    return view;
}

col_plan_view *cts_view(cts_case *c, int layout, size_t rank, const int64_t *dims)
{
    return make_view(c, c->dtype, layout, rank, dims);
}

col_plan_view *cts_view_f32(cts_case *c, int layout, size_t rank, const int64_t *dims)
{
    return make_view(c, COL__PLAN__DTYPE__F32, layout, rank, dims);
}

/* bf16 is the upper half of a float; nothing here needs it rounded well. */
static void put(Col__Plan__Dtype dtype, unsigned char *at, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t upper = (uint16_t)(bits >> 16);
    _Float16 half = (_Float16)value;
    if (dtype == COL__PLAN__DTYPE__BF16)
        memcpy(at, &upper, sizeof upper);
    else if (dtype == COL__PLAN__DTYPE__F16)
        memcpy(at, &half, sizeof half);
    else
        memcpy(at, &value, sizeof value);
}

static float take(Col__Plan__Dtype dtype, const unsigned char *at)
{
    uint16_t upper;
    float value;
    memcpy(&upper, at, sizeof upper);
    uint32_t bits = (uint32_t)upper << 16;
    _Float16 half;
    memcpy(&half, at, sizeof half);
    if (dtype == COL__PLAN__DTYPE__BF16)
        memcpy(&value, &bits, sizeof value);
    else if (dtype == COL__PLAN__DTYPE__F16)
        value = (float)half;
    else
        memcpy(&value, at, sizeof value);
    return value;
}

void cts_fill(cts_case *c)
{
    c->maker.at += 64; /* something to run over into */
    c->before = malloc(c->maker.at);
    c->after = malloc(c->maker.at);
    assert_true(c->before && c->after);
    for (uint64_t at = 0; at < c->maker.at; at += col_plan_dtype_size(c->dtype))
        put(c->dtype, c->before + at, (float)(next_random(c) >> 40) * 0x1p-23f - 1);
}

static uint64_t place_of(const col_plan_view *view, const int64_t *index)
{
    int64_t at = 0;
    for (size_t i = 0; i < view->n_dims; i++) at += index[i] * view->strides[i];
    return view->offset + (uint64_t)at * col_plan_dtype_size(view->dtype);
}

void cts_set(const col_plan_view *view, unsigned char *bytes, const int64_t *index, float value)
{
    put(view->dtype, bytes + place_of(view, index), value);
}

float cts_get(const col_plan_view *view, const unsigned char *bytes, const int64_t *index)
{
    return take(view->dtype, bytes + place_of(view, index));
}

bool cts_next(const col_plan_view *view, int64_t *index)
{
    for (size_t d = view->n_dims; d-- > 0;) {
        if (++index[d] < view->dims[d]) return true;
        index[d] = 0;
    }
    return false;
}

static void run_plan(const cts_case *c, int threads, unsigned char *out)
{
    col_device *device = NULL;
    const col_plan *plan = c->maker.plan;
    assert_ok(c->type->open(plan, &(col_device_options){.threads = threads}, &device));
    assert_ok(c->type->write(device, 0, c->before, plan->arena_bytes));
    assert_ok(c->type->run(device, plan->programs[0], NULL));
    assert_ok(c->type->read(device, 0, out, plan->arena_bytes));
    c->type->close(device);
}

void cts_run(cts_case *c)
{
    maker_program(&c->maker, "case");
    assert_ok(col_plan_verify(maker_finish(&c->maker)));
    run_plan(c, c->threads, c->after);
}

void cts_expect_same_on_any_threads(cts_case *c)
{
    unsigned char *other = malloc(c->maker.at);
    assert_non_null(other);
    for (int threads = 1; threads <= 4; threads++) {
        if (threads == c->threads) continue;
        run_plan(c, threads, other);
        assert_memory_equal(other, c->after, c->maker.at);
    }
    free(other);
}

static void print_view(const char *what, const col_plan_view *view)
{
    print_error("%s: [", what);
    for (size_t i = 0; i < view->n_dims; i++)
        print_error(" %lld:%lld", (long long)view->dims[i], (long long)view->strides[i]);
    print_error(" ] (dimension:stride)\n");
}

void cts_expect(cts_case *c, const char *what, const col_plan_view *view, const double *want,
                double tolerance)
{
    if (c->type == &col_device_null) return; /* takes every plan and computes nothing */
    int64_t index[COL_PLAN_MAX_RANK] = {0}, count = col_plan_numel(view->n_dims, view->dims);
    if (view->dtype == COL__PLAN__DTYPE__BF16) tolerance = 4e-2;
    if (view->dtype == COL__PLAN__DTYPE__F16) tolerance = 5e-3;
    double largest = 1; /* operands are of the order of 1: what cancels leaves rounding */
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(want[i])) largest = fmax(largest, fabs(want[i]));
    }
    for (int64_t i = 0; i < count; i++, cts_next(view, index)) {
        double got = cts_get(view, c->after, index);
        if (got == want[i] || fabs(got - want[i]) <= tolerance * largest) continue;
        print_view(what, view);
        for (size_t k = 0; k < c->maker.programs.data[0]->instructions[0]->n_reads; k++)
            print_view("  reads", c->maker.programs.data[0]->instructions[0]->reads[k]);
        print_error("element %lld is %g, should be %g\n", (long long)i, got, want[i]);
        fail();
    }
}

void cts_expect_rest(cts_case *c, size_t count, col_plan_view *const *written)
{
    unsigned char *changes = calloc(c->maker.at, 1);
    for (size_t k = 0; k < count; k++) {
        int64_t index[COL_PLAN_MAX_RANK] = {0};
        size_t size = col_plan_dtype_size(written[k]->dtype);
        do {
            int64_t at = 0;
            for (size_t i = 0; i < written[k]->n_dims; i++) at += index[i] * written[k]->strides[i];
            memset(changes + written[k]->offset + (uint64_t)at * size, 1, size);
        } while (cts_next(written[k], index));
    }
    for (uint64_t at = 0; at < c->maker.at; at++) {
        if (changes[at] || c->before[at] == c->after[at]) continue;
        for (size_t k = 0; k < count; k++) print_view("writes", written[k]);
        print_error("byte %llu outside of the results has changed\n", (unsigned long long)at);
        fail();
    }
    free(changes);
}
