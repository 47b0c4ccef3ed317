/* Every collective against the definition in plan.proto, worked out element by element: one by one, and started
 * and waited for; and plans that start and wait wrongly. */
#include "tests/cts/ranks.h"

#include <math.h>

/* The ranks of a rank's group in order; returns the place of the rank itself. */
static int64_t find_group(const ranks_problem *p, int64_t rank, int64_t *members)
{
    int64_t self = -1;
    for (int64_t q = 0; q < col_mesh_size(&p->mesh); q++) {
        int64_t place = 0;
        bool same = true;
        for (int a = 0; a < p->mesh.rank; a++) {
            bool grouped = false;
            for (size_t i = 0; i < p->axis_count; i++) grouped |= p->axes[i] == (uint32_t)a;
            same &= grouped || col_mesh_coordinate(&p->mesh, q, a) == col_mesh_coordinate(&p->mesh, rank, a);
        }
        for (size_t i = 0; i < p->axis_count; i++) {
            place = place * p->mesh.dims[p->axes[i]] + col_mesh_coordinate(&p->mesh, q, (int)p->axes[i]);
        }
        if (same) members[place] = q;
        if (q == rank) self = place;
    }
    return self;
}

static int64_t flat(size_t rank, const int64_t *dims, const int64_t *index)
{
    int64_t at = 0;
    for (size_t i = 0; i < rank; i++) at = at * dims[i] + index[i];
    return at;
}

static double reduced(const ranks_problem *p, const double *in, const int64_t *members, int64_t at)
{
    double sum = in[members[0] * p->in_numel + at];
    for (int64_t k = 1; k < p->n; k++) {
        double next = in[members[k] * p->in_numel + at];
        if (p->reduce == COL__PLAN__REDUCE_KIND__MAX)
            sum = fmax(sum, next);
        else if (p->reduce == COL__PLAN__REDUCE_KIND__MIN)
            sum = fmin(sum, next);
        else
            sum = p->dtype == COL__PLAN__DTYPE__F32 ? (double)((float)sum + (float)next) : sum + next;
    }
    return sum;
}

/* One element of a rank's result. `in` has the operands of all ranks. */
static double expected(const ranks_problem *p, const double *in, int64_t rank, const int64_t *out_index)
{
    int64_t members[64], index[COL_PLAN_MAX_RANK], self = find_group(p, rank, members), from = rank;
    memcpy(index, out_index, sizeof index);
    if (p->shard) {
        index[p->dim] += self * p->out_dims[p->dim];
        return in[rank * p->in_numel + flat(p->rank, p->in_dims, index)];
    }
    switch (p->kind) {
    case COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE:
        return reduced(p, in, members, flat(p->rank, p->in_dims, index));
    case COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER:
        index[p->dim] += self * p->out_dims[p->dim];
        return reduced(p, in, members, flat(p->rank, p->in_dims, index));
    case COL__PLAN__COLLECTIVE_KIND__ALL_GATHER:
        from = members[index[p->dim] / p->in_dims[p->dim]];
        index[p->dim] %= p->in_dims[p->dim];
        break;
    case COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL:
        from = members[index[p->from_dim] / p->in_dims[p->from_dim]];
        index[p->from_dim] %= p->in_dims[p->from_dim];
        index[p->dim] += self * p->out_dims[p->dim];
        break;
    case COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE:
        if (self - p->shift < 0 || self - p->shift >= p->n) return 0;
        from = members[self - p->shift];
        break;
    default: from = members[p->root]; break;
    }
    return in[from * p->in_numel + flat(p->rank, p->in_dims, index)];
}

ranks_problem ranks_choose(cts_case *c, int kind)
{
    static const Col__Plan__Dtype dtypes[] = {COL__PLAN__DTYPE__F32, COL__PLAN__DTYPE__F64,
                                              COL__PLAN__DTYPE__F16, COL__PLAN__DTYPE__BF16,
                                              COL__PLAN__DTYPE__I32, COL__PLAN__DTYPE__I64};
    ranks_problem p = {.mesh = col_plan_mesh(c->maker.plan), .n = 1, .shard = kind == COL_COMM_KINDS};
    p.kind = p.shard ? 0 : (Col__Plan__CollectiveKind)kind;
    p.reduce = (Col__Plan__ReduceKind)cts_random(c, 0, 2);
    p.dtype = dtypes[cts_random(c, 0, COL_COUNT(dtypes) - 1)];
    uint32_t free_axes[COL_MESH_RANK];
    for (int a = 0; a < p.mesh.rank; a++) free_axes[a] = (uint32_t)a;
    int64_t count = cts_random(c, 1, p.mesh.rank);
    for (int left = p.mesh.rank; count > 0; count--, left--) { /* in any order */
        int64_t pick = cts_random(c, 0, left - 1);
        p.axes[p.axis_count++] = free_axes[pick];
        p.n *= p.mesh.dims[free_axes[pick]];
        free_axes[pick] = free_axes[left - 1];
    }
    p.root = (uint32_t)cts_random(c, 0, p.n - 1);
    p.shift = cts_random(c, 1, p.n) * (cts_random(c, 0, 1) ? 1 : -1);
    p.started = !p.shard && cts_random(c, 0, 1);
    p.rank = (size_t)cts_random(c, 2, 4);
    for (size_t i = 0; i < p.rank; i++) p.in_dims[i] = cts_random(c, 1, 5);
    if (!cts_random(c, 0, 5)) p.in_dims[cts_random(c, 0, (int64_t)p.rank - 1)] = 700;
    memcpy(p.out_dims, p.in_dims, sizeof p.in_dims);
    p.dim = (int32_t)cts_random(c, 0, (int64_t)p.rank - 1);
    p.from_dim = (int32_t)((p.dim + cts_random(c, 1, (int64_t)p.rank - 1)) % (int64_t)p.rank);
    bool gathers = !p.shard && p.kind == COL__PLAN__COLLECTIVE_KIND__ALL_GATHER;
    bool all_to_all = !p.shard && p.kind == COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL;
    bool splits = p.shard || all_to_all || p.kind == COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER;
    if (splits) p.in_dims[p.dim] *= p.n;
    if (gathers) p.out_dims[p.dim] *= p.n;
    if (all_to_all) p.out_dims[p.from_dim] *= p.n;
    p.in_numel = col_plan_numel(p.rank, p.in_dims);
    p.out_numel = col_plan_numel(p.rank, p.out_dims);
    return p;
}

static uint64_t group_bytes(const ranks_problem *p)
{
    uint64_t n = (uint64_t)p->n, bytes = (uint64_t)p->in_numel * col_plan_dtype_size(p->dtype);
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE) return 2 * (n - 1) * bytes;
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__ALL_GATHER) return n * (n - 1) * bytes;
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE)
        return (n - (uint64_t)(p->shift < 0 ? -p->shift : p->shift)) * bytes;
    return (n - 1) * bytes;
}

void ranks_describe(cts_case *c, ranks_problem *p, col_plan_view *from, col_plan_view *to)
{
    col_plan_instruction *in = maker_instruction(&c->maker, "h.0.sum", 1, &from, 1, &to);
    uint32_t *axes = col_arena_copy(c->arena, p->axes, sizeof p->axes);
    if (p->shard) {
        Col__Plan__Shard *how = MAKER_KIND(&c->maker, in, SHARD, shard, Shard);
        how->n_axes = p->axis_count;
        how->axes = axes;
        how->dim = p->dim;
        return;
    }
    Col__Plan__Collective *how = MAKER_KIND(&c->maker, in, COLLECTIVE, collective, Collective);
    how->kind = p->kind;
    how->n_axes = p->axis_count;
    how->axes = axes;
    how->dim = p->dim;
    how->from_dim = p->from_dim;
    how->root = p->root;
    how->shift = p->shift;
    how->started = p->started;
    how->reduce = p->reduce;
    how->bytes = group_bytes(p);
}

void ranks_wait(cts_case *c, uint32_t start)
{
    col_plan_view *to = c->maker.instructions.data[start]->writes[0];
    col_plan_instruction *in = maker_instruction(&c->maker, "h.0.sum", 1, &to, 1, &to);
    MAKER_KIND(&c->maker, in, WAIT, wait, Wait)->start = start;
}

static void check_result(const ranks_problem *p, const double *in, const void *out)
{
    for (int64_t r = 0; r < col_mesh_size(&p->mesh); r++) {
        int64_t index[COL_PLAN_MAX_RANK] = {0};
        for (int64_t e = 0; e < p->out_numel; e++) {
            double want = expected(p, in, r, index), got = ranks_decode(p->dtype, out, r * p->out_numel + e);
            if (got != want) {
                print_error("kind %d of %s over %d axes, rank %lld, element %lld: %.17g, should be %.17g\n",
                            p->shard ? -1 : (int)p->kind, col_plan_dtype_name(p->dtype), (int)p->axis_count,
                            (long long)r, (long long)e, got, want);
                fail();
            }
            for (size_t d = p->rank; d-- > 0;) {
                if (++index[d] < p->out_dims[d]) break;
                index[d] = 0;
            }
        }
    }
}

static void check_bytes(const ranks_suite *s, const ranks_problem *p, col_ranks *ranks)
{
    uint64_t sent[COL_COMM_KINDS], all[64][COL_COMM_KINDS];
    col_ranks_sent(ranks, sent);
    if (s->comm) {
        assert_ok(s->comm->type->exchange(s->comm, sent, all, sizeof sent));
        memset(sent, 0, sizeof sent);
        for (int64_t r = 0; r < col_mesh_size(&p->mesh); r++) {
            for (int k = 0; k < COL_COMM_KINDS; k++) sent[k] += all[r][k];
        }
    }
    for (int k = 0; k < COL_COMM_KINDS; k++) {
        uint64_t groups = (uint64_t)(col_mesh_size(&p->mesh) / p->n);
        uint64_t want = !p->shard && k == (int)p->kind ? groups * group_bytes(p) : 0;
        assert_int_equal(sent[k], want);
    }
}

static void run_collective(const ranks_suite *s, int number, const char *mesh, int kind)
{
    cts_case c = ranks_start(s, number, mesh);
    ranks_problem p = ranks_choose(&c, kind);
    bool in_place = !p.shard && p.kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE && cts_random(&c, 0, 1);
    col_plan_view *from = ranks_rows(&c, "x", p.dtype, p.rank, p.in_dims);
    col_plan_view *to = in_place ? from : ranks_rows(&c, "y", p.dtype, p.rank, p.out_dims);
    ranks_describe(&c, &p, from, to);
    if (p.started) ranks_wait(&c, 0);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = ranks_open(s, &c, 60);
    const col_plan_variable *x = plan->variables[0], *y = plan->variables[plan->n_variables - 1];
    int64_t count = col_mesh_size(&p.mesh) * p.in_numel;
    double *values = malloc((size_t)count * sizeof *values);
    unsigned char *data = malloc(col_plan_variable_bytes(x)), *out = malloc(col_plan_variable_bytes(y));
    assert_true(values && data && out);
    for (int64_t i = 0; i < count; i++) {
        ranks_encode(p.dtype, data, i, ranks_random(&c, p.dtype));
        values[i] = ranks_decode(p.dtype, data, i);
    }
    assert_ok(col_ranks_write(ranks, x, 0, data, col_plan_variable_bytes(x)));
    assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
    assert_ok(col_ranks_read(ranks, y, 0, out, col_plan_variable_bytes(y)));
    check_result(&p, values, out);
    check_bytes(s, &p, ranks);
    col_ranks_close(ranks);
    free(values);
    free(data);
    free(out);
    cts_end(&c);
}

void test_collectives(void **state)
{
    const ranks_suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int kind = 0; kind <= COL_COMM_KINDS; kind++) {
            for (int i = 0; i < s->cases; i++)
                run_collective(s, (i << 8 | (int)m << 4) + kind, s->meshes[m], kind);
        }
    }
}

/* Several collectives, started one after another, some waited for late, in another order, and one of them not
 * started at all: every rank gets what the same collectives give one by one, on each of several runs. */
static void run_stream(const ranks_suite *s, int number, const char *mesh)
{
    enum { COUNT = 6, ROUNDS = 3 };
    cts_case c = ranks_start(s, number, mesh);
    ranks_problem p[COUNT];
    uint32_t starts[COUNT], open = 0;
    for (int k = 0; k < COUNT; k++) {
        p[k] = ranks_choose(&c, (int)cts_random(&c, 0, COL_COMM_KINDS - 1));
        p[k].started = k != COUNT / 2;
        col_plan_view *from = ranks_rows(&c, maker_text(&c.maker, (char[]){'x', (char)('0' + k), 0}),
                                         p[k].dtype, p[k].rank, p[k].in_dims);
        col_plan_view *to = ranks_rows(&c, maker_text(&c.maker, (char[]){'y', (char)('0' + k), 0}),
                                       p[k].dtype, p[k].rank, p[k].out_dims);
        uint32_t at = (uint32_t)c.maker.instructions.len;
        ranks_describe(&c, &p[k], from, to);
        if (p[k].started) starts[open++] = at;
        while (open && !cts_random(&c, 0, 2)) {
            uint32_t pick = (uint32_t)cts_random(&c, 0, open - 1);
            ranks_wait(&c, starts[pick]);
            starts[pick] = starts[--open];
        }
    }
    while (open) ranks_wait(&c, starts[--open]);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = ranks_open(s, &c, 60);
    double *values[COUNT];
    for (int k = 0; k < COUNT; k++) {
        const col_plan_variable *x = plan->variables[2 * k];
        int64_t count = col_mesh_size(&p[k].mesh) * p[k].in_numel;
        unsigned char *data = malloc(col_plan_variable_bytes(x));
        values[k] = malloc((size_t)count * sizeof **values);
        assert_true(data && values[k]);
        for (int64_t i = 0; i < count; i++) {
            ranks_encode(p[k].dtype, data, i, ranks_random(&c, p[k].dtype));
            values[k][i] = ranks_decode(p[k].dtype, data, i);
        }
        assert_ok(col_ranks_write(ranks, x, 0, data, col_plan_variable_bytes(x)));
        free(data);
    }
    for (int round = 0; round < ROUNDS; round++) assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
    for (int k = 0; k < COUNT; k++) {
        const col_plan_variable *y = plan->variables[2 * k + 1];
        unsigned char *out = malloc(col_plan_variable_bytes(y));
        assert_non_null(out);
        assert_ok(col_ranks_read(ranks, y, 0, out, col_plan_variable_bytes(y)));
        check_result(&p[k], values[k], out);
        free(out);
        free(values[k]);
    }
    col_ranks_close(ranks);
    cts_end(&c);
}

void test_streams(void **state)
{
    const ranks_suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int i = 0; i < s->cases; i++) run_stream(s, i << 4 | (int)m, s->meshes[m]);
    }
}

/* A NaN of any rank stays one. */
void test_nan(void **state)
{
    const ranks_suite *s = *state;
    cts_case c = ranks_start(s, 0, "2");
    int64_t dims[] = {2};
    col_plan_view *view = ranks_rows(&c, "x", COL__PLAN__DTYPE__F32, 1, dims);
    ranks_problem p = {.mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .n = 2, .in_numel = 2};
    p.reduce = COL__PLAN__REDUCE_KIND__MAX;
    p.dtype = COL__PLAN__DTYPE__F32;
    ranks_describe(&c, &p, view, view);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = ranks_open(s, &c, 60);
    float data[2][2] = {{NAN, 1}, {2, NAN}};
    assert_ok(col_ranks_write(ranks, plan->variables[0], 0, data, sizeof data));
    assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
    assert_ok(col_ranks_read(ranks, plan->variables[0], 0, data, sizeof data));
    for (int i = 0; i < 4; i++) assert_true(isnan(data[i / 2][i % 2]));
    col_ranks_close(ranks);
    cts_end(&c);
}

/* Two all-reduces of f32[2], started, and a copy of f32[2] in between; then both waits. */
void test_refused_starts(void **state)
{
    static const char *const messages[] = {
        "is started and never waited for",
        "waits for what no instruction before it has started",
        "waits for what no instruction before it has started",
        "waits for what no instruction before it has started",
        "touches what a collective that was started still works on",
        "touches what a collective that was started still works on",
        "touches what a collective that was started still works on",
        "do not fit its kind",
    };
    for (int number = -1; number < (int)COL_COUNT(messages); number++) {
        cts_case c = ranks_start(*state, 0, "2");
        int64_t dims[] = {2};
        col_plan_view *v[6];
        for (int i = 0; i < 6; i++) v[i] = maker_view(&c.maker, COL__PLAN__DTYPE__F32, 1, dims);
        ranks_problem p = {.mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .n = 2, .in_numel = 2};
        p.dtype = COL__PLAN__DTYPE__F32;
        p.started = true;
        ranks_describe(&c, &p, v[0], v[1]);
        ranks_describe(&c, &p, v[2], v[3]);
        col_plan_view *from = number == 4 ? v[1] : v[4], *to = number == 5 ? v[0] : number == 6 ? v[3] : v[5];
        col_plan_instruction *copy = maker_instruction(&c.maker, "copy", 1, &from, 1, &to);
        (void)MAKER_KIND(&c.maker, copy, COPY, copy, Copy);
        ranks_wait(&c, 0);
        if (number) ranks_wait(&c, 1);
        col_plan_instruction **list = c.maker.instructions.data;
        if (number == 1) list[4]->wait->start = 2;
        if (number == 2) list[4]->wait->start = 0;
        if (number == 3) list[4]->phase = 1;
        if (number == 7) list[4]->n_writes = 0;
        maker_program(&c.maker, "case");
        maker_finish(&c.maker);
        if (number < 0)
            assert_ok(col_plan_verify(c.maker.plan));
        else
            assert_fails(col_plan_verify(c.maker.plan), COL_BAD_INPUT, messages[number]);
        cts_end(&c);
    }
}
