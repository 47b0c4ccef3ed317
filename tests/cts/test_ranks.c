/* Plans on meshes: every collective on a device, between ranks that are threads, against the definition in
 * plan.proto worked out element by element; variables cut and put together; ranks that fail or do not come.
 *
 *     test_ranks DEVICE [CASES]             "cpu" or "null", and the number of random problems of each kind
 *     mpirun ... test_ranks_mpi DEVICE CASES MESH    the same with processes, on one mesh
 *
 * What differs from rank to rank goes in and comes out as a variable with a first dimension that is split
 * over all axes of the mesh: rank r holds the r-th row. */
#include "tests/cts/cts.h"

#include <dirent.h>
#include <math.h>
#include <time.h>

#include "ir/plan/plan_io.h"
#include "runtime/ranks.h"
#include "runtime/session.h"
#include "tests/unit/temporary_folder.h"

#ifdef COL_TEST_MPI
#include "runtime/mpi/mpi.h"
#endif

typedef struct suite {
    const col_device_type *type;
    int cases;
    const char *const *meshes;
    size_t mesh_count;
    col_comm *comm; /* with processes: this one's */
} suite;

static cts_case start(const suite *s, int number, const char *mesh)
{
    cts_case c = cts_start(s->type, 0, (uint64_t)(number + 1) * UINT64_C(0x9e3779b97f4a7c15));
    col_mesh parsed;
    assert_true(col_mesh_parse(mesh, &parsed));
    c.maker.plan->n_mesh = (size_t)parsed.rank;
    c.maker.plan->mesh = col_arena_copy(c.arena, parsed.dims, sizeof *parsed.dims * (size_t)parsed.rank);
    return c;
}

static col_ranks *open_ranks(const suite *s, cts_case *c, double timeout)
{
    col_ranks *ranks = NULL;
    if (s->comm) memset(s->comm->sent, 0, sizeof s->comm->sent);
    assert_ok(col_plan_verify(c->maker.plan));
    assert_ok(col_ranks_open(c->maker.plan, c->type,
                             &(col_ranks_options){.timeout = timeout, .comm = s->comm}, &ranks));
    return ranks;
}

/* A variable with a row per rank; returns the view of a rank's row, without the first dimension. */
static col_plan_view *rows(cts_case *c, const char *name, Col__Plan__Dtype dtype, size_t rank,
                           const int64_t *dims)
{
    col_mesh mesh = col_plan_mesh(c->maker.plan);
    int64_t all[COL_PLAN_MAX_RANK] = {1};
    memcpy(all + 1, dims, rank * sizeof *dims);
    maker_variable(&c->maker, COL__PLAN__VARIABLE_KIND__PARAM, name, dtype, rank + 1, all);
    col_plan_variable *v = c->maker.variables.data[c->maker.variables.len - 1];
    v->dims = COL_NEW_ARRAY(c->arena, int64_t, rank + 1);
    memcpy(v->dims, all, (rank + 1) * sizeof *all);
    v->dims[0] = col_mesh_size(&mesh);
    col_layout layout = col_layout_whole();
    for (int a = 0; a < mesh.rank; a++) col_layout_push(&layout, 0, a);
    col_str text = {0};
    col_layout_print(&layout, (int)rank + 1, &text);
    v->layout = maker_text(&c->maker, col_str_text(&text));
    col_str_fini(&text);
    col_plan_view *view = COL_NEW(c->arena, col_plan_view);
    col__plan__view__init(view);
    view->offset = v->offset;
    view->dtype = dtype;
    view->n_dims = view->n_strides = rank;
    view->dims = col_arena_copy(c->arena, dims, rank * sizeof *dims);
    view->strides = COL_NEW_ARRAY(c->arena, int64_t, rank);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0; stride *= dims[i]) view->strides[i] = stride;
    return view;
}

/* Elements as doubles. */

static double decode(Col__Plan__Dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: return (double)((const float *)data)[i];
    case COL__PLAN__DTYPE__F64: return ((const double *)data)[i];
    case COL__PLAN__DTYPE__F16: return (double)((const _Float16 *)data)[i];
    case COL__PLAN__DTYPE__I32: return ((const int32_t *)data)[i];
    case COL__PLAN__DTYPE__I64: return (double)((const int64_t *)data)[i];
    default: break;
    }
    assert_int_equal(dtype, COL__PLAN__DTYPE__BF16);
    uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static void encode(Col__Plan__Dtype dtype, void *data, int64_t i, double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: ((float *)data)[i] = single; return;
    case COL__PLAN__DTYPE__F64: ((double *)data)[i] = value; return;
    case COL__PLAN__DTYPE__F16: ((_Float16 *)data)[i] = (_Float16)single; return;
    case COL__PLAN__DTYPE__I32: ((int32_t *)data)[i] = (int32_t)value; return;
    case COL__PLAN__DTYPE__I64: ((int64_t *)data)[i] = (int64_t)value; return;
    default: assert_int_equal(dtype, COL__PLAN__DTYPE__BF16); ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
    }
}

/* Multiples of a quarter below 2, whose sums are exact in 16 bits, where these are the type; else anything.
 */
static double random_element(cts_case *c, Col__Plan__Dtype dtype)
{
    double quarter = (double)cts_random(c, -7, 7) / 4;
    if (dtype == COL__PLAN__DTYPE__I32 || dtype == COL__PLAN__DTYPE__I64) return 4 * quarter;
    if (dtype == COL__PLAN__DTYPE__F16 || dtype == COL__PLAN__DTYPE__BF16) return quarter;
    return quarter + (double)cts_random(c, 0, 1 << 20) * 0x1p-22;
}

/* Collectives by their definition. */

typedef struct problem {
    col_mesh mesh;
    bool shard;
    Col__Plan__CollectiveKind kind;
    Col__Plan__ReduceKind reduce;
    size_t axis_count;
    uint32_t axes[COL_MESH_RANK];
    int64_t n; /* members of a group */
    int32_t dim, from_dim;
    uint32_t root;
    int64_t shift;
    bool started;
    Col__Plan__Dtype dtype;
    size_t rank;
    int64_t in_dims[COL_PLAN_MAX_RANK], out_dims[COL_PLAN_MAX_RANK];
    int64_t in_numel, out_numel;
} problem;

/* The ranks of a rank's group in order; returns the place of the rank itself. */
static int64_t find_group(const problem *p, int64_t rank, int64_t *members)
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

static double reduced(const problem *p, const double *in, const int64_t *members, int64_t at)
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
static double expected(const problem *p, const double *in, int64_t rank, const int64_t *out_index)
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

static problem choose(cts_case *c, int kind)
{
    static const Col__Plan__Dtype dtypes[] = {COL__PLAN__DTYPE__F32, COL__PLAN__DTYPE__F64,
                                              COL__PLAN__DTYPE__F16, COL__PLAN__DTYPE__BF16,
                                              COL__PLAN__DTYPE__I32, COL__PLAN__DTYPE__I64};
    problem p = {.mesh = col_plan_mesh(c->maker.plan), .n = 1, .shard = kind == COL_COMM_KINDS};
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

static uint64_t group_bytes(const problem *p)
{
    uint64_t n = (uint64_t)p->n, bytes = (uint64_t)p->in_numel * col_plan_dtype_size(p->dtype);
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE) return 2 * (n - 1) * bytes;
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__ALL_GATHER) return n * (n - 1) * bytes;
    if (p->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE)
        return (n - (uint64_t)(p->shift < 0 ? -p->shift : p->shift)) * bytes;
    return (n - 1) * bytes;
}

static void describe(cts_case *c, problem *p, col_plan_view *from, col_plan_view *to)
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

static void wait_for(cts_case *c, uint32_t start)
{
    col_plan_view *to = c->maker.instructions.data[start]->writes[0];
    col_plan_instruction *in = maker_instruction(&c->maker, "h.0.sum", 1, &to, 1, &to);
    MAKER_KIND(&c->maker, in, WAIT, wait, Wait)->start = start;
}

static void check_result(const problem *p, const double *in, const void *out)
{
    for (int64_t r = 0; r < col_mesh_size(&p->mesh); r++) {
        int64_t index[COL_PLAN_MAX_RANK] = {0};
        for (int64_t e = 0; e < p->out_numel; e++) {
            double want = expected(p, in, r, index), got = decode(p->dtype, out, r * p->out_numel + e);
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

static void check_bytes(const suite *s, const problem *p, col_ranks *ranks)
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

static void run_collective(const suite *s, int number, const char *mesh, int kind)
{
    cts_case c = start(s, number, mesh);
    problem p = choose(&c, kind);
    bool in_place = !p.shard && p.kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE && cts_random(&c, 0, 1);
    col_plan_view *from = rows(&c, "x", p.dtype, p.rank, p.in_dims);
    col_plan_view *to = in_place ? from : rows(&c, "y", p.dtype, p.rank, p.out_dims);
    describe(&c, &p, from, to);
    if (p.started) wait_for(&c, 0);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = open_ranks(s, &c, 60);
    const col_plan_variable *x = plan->variables[0], *y = plan->variables[plan->n_variables - 1];
    int64_t count = col_mesh_size(&p.mesh) * p.in_numel;
    double *values = malloc((size_t)count * sizeof *values);
    unsigned char *data = malloc(col_plan_variable_bytes(x)), *out = malloc(col_plan_variable_bytes(y));
    assert_true(values && data && out);
    for (int64_t i = 0; i < count; i++) {
        encode(p.dtype, data, i, random_element(&c, p.dtype));
        values[i] = decode(p.dtype, data, i);
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

static void test_collectives(void **state)
{
    const suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int kind = 0; kind <= COL_COMM_KINDS; kind++) {
            for (int i = 0; i < s->cases; i++)
                run_collective(s, (i << 8 | (int)m << 4) + kind, s->meshes[m], kind);
        }
    }
}

/* Several collectives, started one after another, some waited for late, in another order, and one of them not
 * started at all: every rank gets what the same collectives give one by one, on each of several runs. */
static void run_stream(const suite *s, int number, const char *mesh)
{
    enum { COUNT = 6, ROUNDS = 3 };
    cts_case c = start(s, number, mesh);
    problem p[COUNT];
    uint32_t starts[COUNT], open = 0;
    for (int k = 0; k < COUNT; k++) {
        p[k] = choose(&c, (int)cts_random(&c, 0, COL_COMM_KINDS - 1));
        p[k].started = k != COUNT / 2;
        col_plan_view *from = rows(&c, maker_text(&c.maker, (char[]){'x', (char)('0' + k), 0}), p[k].dtype,
                                   p[k].rank, p[k].in_dims);
        col_plan_view *to = rows(&c, maker_text(&c.maker, (char[]){'y', (char)('0' + k), 0}), p[k].dtype,
                                 p[k].rank, p[k].out_dims);
        uint32_t at = (uint32_t)c.maker.instructions.len;
        describe(&c, &p[k], from, to);
        if (p[k].started) starts[open++] = at;
        while (open && !cts_random(&c, 0, 2)) {
            uint32_t pick = (uint32_t)cts_random(&c, 0, open - 1);
            wait_for(&c, starts[pick]);
            starts[pick] = starts[--open];
        }
    }
    while (open) wait_for(&c, starts[--open]);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = open_ranks(s, &c, 60);
    double *values[COUNT];
    for (int k = 0; k < COUNT; k++) {
        const col_plan_variable *x = plan->variables[2 * k];
        int64_t count = col_mesh_size(&p[k].mesh) * p[k].in_numel;
        unsigned char *data = malloc(col_plan_variable_bytes(x));
        values[k] = malloc((size_t)count * sizeof **values);
        assert_true(data && values[k]);
        for (int64_t i = 0; i < count; i++) {
            encode(p[k].dtype, data, i, random_element(&c, p[k].dtype));
            values[k][i] = decode(p[k].dtype, data, i);
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

static void test_streams(void **state)
{
    const suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int i = 0; i < s->cases; i++) run_stream(s, i << 4 | (int)m, s->meshes[m]);
    }
}

#ifndef COL_TEST_MPI
/* A NaN of any rank stays one. */
static void test_nan(void **state)
{
    const suite *s = *state;
    cts_case c = start(s, 0, "2");
    int64_t dims[] = {2};
    col_plan_view *view = rows(&c, "x", COL__PLAN__DTYPE__F32, 1, dims);
    problem p = {.mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .n = 2, .in_numel = 2};
    p.reduce = COL__PLAN__REDUCE_KIND__MAX;
    p.dtype = COL__PLAN__DTYPE__F32;
    describe(&c, &p, view, view);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = open_ranks(s, &c, 60);
    float data[2][2] = {{NAN, 1}, {2, NAN}};
    assert_ok(col_ranks_write(ranks, plan->variables[0], 0, data, sizeof data));
    assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
    assert_ok(col_ranks_read(ranks, plan->variables[0], 0, data, sizeof data));
    for (int i = 0; i < 4; i++) assert_true(isnan(data[i / 2][i % 2]));
    col_ranks_close(ranks);
    cts_end(&c);
}

#endif

/* Variables. */

/* Axes go to random dimensions, in random order, while they divide; the rest replicate. */
static col_layout choose_layout(cts_case *c, size_t rank, const int64_t *dims)
{
    col_mesh mesh = col_plan_mesh(c->maker.plan);
    col_layout layout = col_layout_whole();
    for (int tries = 0; tries < 2 * mesh.rank; tries++) {
        int axis = (int)cts_random(c, 0, mesh.rank - 1), dim = (int)cts_random(c, 0, (int64_t)rank - 1);
        if (col_layout_axes(&layout) >> axis & 1) continue;
        col_layout_push(&layout, dim, axis);
        if (!col_layout_fits(&layout, &mesh, (int)rank, dims)) col_layout_pop(&layout, dim);
    }
    return layout;
}

/* Row r of `rows` is rank r's block of the whole. */
static void check_blocks(const col_plan *plan, const col_plan_variable *v, const col_layout *layout,
                         const int32_t *whole, const int32_t *blocks)
{
    col_mesh mesh = col_plan_mesh(plan);
    int64_t local[COL_PLAN_MAX_RANK], start[COL_PLAN_MAX_RANK];
    int rank = (int)v->n_dims;
    col_layout_local(layout, &mesh, rank, v->dims, local);
    for (int64_t r = 0; r < col_mesh_size(&mesh); r++) {
        int64_t index[COL_PLAN_MAX_RANK] = {0}, numel = col_plan_numel(v->n_dims, local);
        for (int d = 0; d < rank; d++) start[d] = col_layout_start(layout, &mesh, v->dims[d], d, r);
        for (int64_t e = 0; e < numel; e++) {
            int64_t at = 0;
            for (int d = 0; d < rank; d++) at = at * v->dims[d] + start[d] + index[d];
            assert_int_equal(blocks[r * numel + e], whole[at]);
            for (int d = rank; d-- > 0;) {
                if (++index[d] < local[d]) break;
                index[d] = 0;
            }
        }
    }
}

/* x has any layout; a copy on each rank shows what the rank holds. */
static void run_variable(const suite *s, int number, const char *mesh_text)
{
    cts_case c = start(s, number, mesh_text);
    col_mesh mesh = col_plan_mesh(c.maker.plan);
    int64_t dims[COL_PLAN_MAX_RANK], local[COL_PLAN_MAX_RANK];
    size_t rank = (size_t)cts_random(&c, 1, 4);
    for (size_t i = 0; i < rank; i++) dims[i] = cts_random(&c, 1, 3) * (cts_random(&c, 0, 3) ? 4 : 3);
    col_layout layout = choose_layout(&c, rank, dims);
    col_layout_local(&layout, &mesh, (int)rank, dims, local);
    col_plan_view *x =
        maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__PARAM, "x", COL__PLAN__DTYPE__I32, rank, local);
    col_plan_variable *v = c.maker.variables.data[0];
    v->dims = col_arena_copy(c.arena, dims, sizeof dims);
    col_str text = {0};
    col_layout_print(&layout, (int)rank, &text);
    v->layout = maker_text(&c.maker, col_str_text(&text));
    col_str_fini(&text);
    col_plan_view *y = rows(&c, "y", COL__PLAN__DTYPE__I32, rank, local);
    col_plan_instruction *in = maker_instruction(&c.maker, "copy", 1, &x, 1, &y);
    (void)MAKER_KIND(&c.maker, in, COPY, copy, Copy);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    col_ranks *ranks = open_ranks(s, &c, 60);
    int64_t numel = col_plan_numel(rank, dims);
    uint64_t bytes = (uint64_t)numel * 4;
    int32_t *whole = malloc(bytes), *back = malloc(bytes),
            *blocks = malloc(col_plan_variable_bytes(plan->variables[1]));
    assert_true(whole && back && blocks);
    for (int64_t i = 0; i < numel; i++) whole[i] = (int32_t)cts_random(&c, INT32_MIN, INT32_MAX);
    for (int64_t at = 0; at < numel;) { /* in parts */
        int64_t count = cts_random(&c, 1, numel - at);
        assert_ok(col_ranks_write(ranks, v, (uint64_t)at * 4, whole + at, (uint64_t)count * 4));
        at += count;
    }
    assert_ok(col_ranks_read(ranks, v, 0, back, bytes));
    assert_memory_equal(whole, back, bytes);
    int64_t at = cts_random(&c, 0, numel - 1), count = cts_random(&c, 1, numel - at);
    assert_ok(col_ranks_read(ranks, v, (uint64_t)at * 4, back, (uint64_t)count * 4));
    assert_memory_equal(whole + at, back, (size_t)count * 4);
    bool is_split = col_layout_axes(&layout) != 0;
    bool in_parts = false;
    for (size_t d = 0; d < rank; d++) in_parts |= local[d] != dims[d];
    assert_true(is_split || !in_parts);
    assert_true(!col_ranks_host(ranks, v) == in_parts);
    if (c.type != &col_device_null) {
        assert_ok(col_ranks_run(ranks, plan->programs[0], NULL));
        assert_ok(col_ranks_read(ranks, plan->variables[1], 0, blocks,
                                 col_plan_variable_bytes(plan->variables[1])));
        check_blocks(plan, v, &layout, whole, blocks);
    }
    col_ranks_close(ranks);
    free(whole);
    free(back);
    free(blocks);
    cts_end(&c);
}

static void test_variables(void **state)
{
    const suite *s = *state;
    for (size_t m = 0; m < s->mesh_count; m++) {
        for (int i = 0; i < s->cases; i++) run_variable(s, i << 4 | (int)m, s->meshes[m]);
    }
}

#ifndef COL_TEST_MPI
/* Ranks that fail. A device whose rank `culprit` fails in a run, or sleeps first. */

static const struct fault {
    int64_t culprit;
    bool sleeps;
} * fault; /* of the test that is running */

typedef struct faulty {
    col_device *inner;
    col_comm *comm;
} faulty;

static col_status faulty_open(const col_plan *plan, const col_device_options *options, col_device **out)
{
    faulty *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->comm = options->comm;
    *out = (col_device *)f;
    return col_device_null.open(plan, options, &f->inner);
}

static void faulty_close(col_device *device)
{
    faulty *f = (faulty *)device;
    col_device_null.close(f->inner);
    free(f);
}

static col_status faulty_run(col_device *device, const col_plan_program *program, int64_t *out_bad)
{
    faulty *f = (faulty *)device;
    if (f->comm->rank != fault->culprit) return col_device_null.run(f->inner, program, out_bad);
    if (!fault->sleeps) return col_error_make(COL_DEVICE, "the device is on fire");
    nanosleep(&(struct timespec){.tv_nsec = 400 * 1000 * 1000}, NULL);
    return col_device_null.run(f->inner, program, out_bad);
}

static const col_device_type faulty_type = {
    .name = "faulty", .open = faulty_open, .close = faulty_close, .run = faulty_run};

static int count_threads(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* All-reduces over axis 1, then over axis 0: the culprit's partner waits for it, and the others for that one.
 * `started`: both go on beside a third that waits for them. */
static void run_fault(const suite *s, const struct fault *what, bool started, double timeout,
                      const char *message)
{
    int threads = count_threads();
    cts_case c = start(s, 0, "2x2");
    int64_t dims[] = {3};
    col_plan_view *view = rows(&c, "x", COL__PLAN__DTYPE__F32, 1, dims);
    for (uint32_t axis = 2; axis-- > 0;) {
        problem p = {
            .mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .axes = {axis}, .n = 2, .in_numel = 3};
        p.started = started;
        describe(&c, &p, view, started ? rows(&c, axis ? "y" : "z", COL__PLAN__DTYPE__F32, 1, dims) : view);
    }
    for (uint32_t i = 0; i < 2 && started; i++) wait_for(&c, i);
    maker_program(&c.maker, "case");
    const col_plan *plan = maker_finish(&c.maker);
    c.type = &faulty_type;
    fault = what;
    col_ranks *ranks = open_ranks(s, &c, timeout);
    assert_fails(col_ranks_run(ranks, plan->programs[0], NULL), COL_DEVICE, message);
    assert_fails(col_ranks_run(ranks, plan->programs[0], NULL), COL_DEVICE, message); /* it stays failed */
    col_ranks_close(ranks);
    assert_int_equal(count_threads(), threads);
    cts_end(&c);
}

static void test_failing_rank(void **state)
{
    for (int started = 0; started < 2; started++)
        run_fault(*state, &(struct fault){2, false}, started, 60, "rank 2 failed: the device is on fire");
}

static void test_late_rank(void **state)
{
    for (int started = 0; started < 2; started++)
        run_fault(*state, &(struct fault){3, true}, started, 0.05,
                  "rank 3 did not come to the all-reduce 'h.0.sum'");
}

/* Sessions. */

static cts_case session_plan(const suite *s, const char *mesh, const char *layout, int64_t rows_here)
{
    cts_case c = mesh ? start(s, 0, mesh) : cts_start(s->type, 0, 1);
    int64_t dims[] = {rows_here, 5};
    maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__PARAM, "w", COL__PLAN__DTYPE__F32, 2, dims);
    col_plan_variable *v = c.maker.variables.data[0];
    v->dims = col_arena_copy(c.arena, ((int64_t[]){24, 5}), 2 * sizeof(int64_t));
    v->layout = maker_text(&c.maker, layout);
    v->init = COL__PLAN__INIT_KIND__NORMAL;
    v->init_b = 1;
    int64_t axes = (int64_t)c.maker.plan->n_mesh;
    if (mesh)
        maker_variable(&c.maker, COL__PLAN__VARIABLE_KIND__INPUT, COL_PLAN_COORDINATE, COL__PLAN__DTYPE__I32,
                       1, &axes);
    maker_program(&c.maker, "forward");
    maker_finish(&c.maker);
    return c;
}

/* Initial values do not depend on the mesh; the plan says how many ranks it is for. */
static void test_session(void **state)
{
    const suite *s = *state;
    cts_case one = session_plan(s, NULL, "", 24), many = session_plan(s, "2x3", "S10R", 4);
    char folder[] = "/tmp/col_test_XXXXXX";
    assert_non_null(mkdtemp(folder));
    const char *paths[] = {col_arena_printf(one.arena, "%s/one", folder),
                           col_arena_printf(one.arena, "%s/many", folder)};
    assert_ok(col_plan_write(one.maker.plan, paths[0]));
    assert_ok(col_plan_write(many.maker.plan, paths[1]));
    float values[2][24 * 5];
    for (int i = 0; i < 2; i++) {
        col_session *session = NULL;
        assert_ok(col_session_open(paths[i], &(col_session_options){.ranks = i ? 6 : 1}, &session));
        assert_ok(col_session_initialize(session, 7));
        assert_ok(col_session_read(session, "w", values[i], sizeof *values));
        int32_t at[2] = {7, 7};
        if (i) assert_ok(col_session_read(session, COL_PLAN_COORDINATE, at, sizeof at));
        if (i) assert_int_equal(at[0] | at[1], 0);
        col_session_close(session);
        assert_fails(col_session_open(paths[i], &(col_session_options){.ranks = 4}, &session), COL_BAD_INPUT,
                     i ? "--ranks 4, but the plan is for 6 ranks (mesh 2x3)"
                       : "--ranks 4, but the plan is for 1 rank (mesh 1)");
    }
    assert_memory_equal(values[0], values[1], sizeof *values);
    folder_remove_tree(folder);
    cts_end(&one);
    cts_end(&many);
}

/* Plans that the verifier must refuse. */
static void test_refused(void **state)
{
    static const char *const layouts[] = {"S2R", "S0", "RS0", "R+P0", "S00R", "X"};
    for (size_t i = 0; i < COL_COUNT(layouts); i++) {
        cts_case c = session_plan(*state, "2x3", layouts[i], 24);
        assert_fails(col_plan_verify(c.maker.plan), COL_BAD_INPUT, "variable 'w': has a");
        cts_end(&c);
    }
    for (int fault_number = 0; fault_number < 7; fault_number++) {
        cts_case c = start(*state, fault_number, "2x2");
        problem p = choose(&c, COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL);
        p.started = false;
        col_plan_view *from = rows(&c, "x", p.dtype, p.rank, p.in_dims);
        col_plan_view *to = rows(&c, "y", p.dtype, p.rank, p.out_dims);
        describe(&c, &p, from, to);
        Col__Plan__Collective *how = c.maker.instructions.data[0]->collective;
        switch (fault_number) {
        case 0: break;
        case 1: how->axes[0] = 2; break;
        case 2:
            how->n_axes = 2;
            how->axes[1] = how->axes[0];
            break;
        case 3: how->bytes++; break;
        case 4: how->from_dim = how->dim; break;
        case 5: to->offset = from->offset; break;
        default: how->n_axes = 0; break;
        }
        maker_program(&c.maker, "case");
        maker_finish(&c.maker);
        if (fault_number)
            assert_fails(col_plan_verify(c.maker.plan), COL_BAD_INPUT, "do not fit its kind");
        else
            assert_ok(col_plan_verify(c.maker.plan));
        cts_end(&c);
    }
}

/* Two all-reduces of f32[2], started, and a copy of f32[2] in between; then both waits. */
static void test_refused_starts(void **state)
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
        cts_case c = start(*state, 0, "2");
        int64_t dims[] = {2};
        col_plan_view *v[6];
        for (int i = 0; i < 6; i++) v[i] = maker_view(&c.maker, COL__PLAN__DTYPE__F32, 1, dims);
        problem p = {.mesh = col_plan_mesh(c.maker.plan), .axis_count = 1, .n = 2, .in_numel = 2};
        p.dtype = COL__PLAN__DTYPE__F32;
        p.started = true;
        describe(&c, &p, v[0], v[1]);
        describe(&c, &p, v[2], v[3]);
        col_plan_view *from = number == 4 ? v[1] : v[4], *to = number == 5 ? v[0] : number == 6 ? v[3] : v[5];
        col_plan_instruction *copy = maker_instruction(&c.maker, "copy", 1, &from, 1, &to);
        (void)MAKER_KIND(&c.maker, copy, COPY, copy, Copy);
        wait_for(&c, 0);
        if (number) wait_for(&c, 1);
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

#endif

int main(int argc, char **argv)
{
    static const char *const meshes[] = {"2", "4", "2x2", "2x2x2", "3", "1x4", "3x2", "8"};
    suite s = {.cases = 10, .meshes = meshes, .mesh_count = COL_COUNT(meshes)};
    if (col_error_ignore(col_device_type_find(argc > 1 ? argv[1] : "", &s.type))) s.type = NULL;
    if (argc > 2) s.cases = atoi(argv[2]);
    if (!s.type) {
        fprintf(stderr, "this build has no device '%s'\n", argc > 1 ? argv[1] : "");
        return 77;
    }
#define TEST(name) {#name, test_##name, NULL, NULL, &s}
#ifdef COL_TEST_MPI
    col_mesh mesh;
    if (argc < 4 || !col_mesh_parse(argv[3], &mesh)) return 2;
    s.meshes = (const char *const[]){argv[3]};
    s.mesh_count = 1;
    assert_ok(col_mpi_open(&mesh, 0, 60, &s.comm));
    const struct CMUnitTest tests[] = {TEST(collectives), TEST(streams), TEST(variables)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    s.comm->type->close(s.comm);
    return failed;
#else
    const struct CMUnitTest tests[] = {TEST(collectives), TEST(streams),      TEST(nan),
                                       TEST(variables),   TEST(failing_rank), TEST(late_rank),
                                       TEST(session),     TEST(refused),      TEST(refused_starts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
