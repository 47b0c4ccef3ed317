/* Collectives between devices, timed as instructions of a plan that is made here: rows of equal ones of each kind, size
 * and group, and one beside products.
 *
 *     seconds = start + rounds * latency + bytes sent / bandwidth        (passes/cost.h)
 *
 * The two largest sizes give the line: smaller tensors take less than it says. Groups of two and of all tell start and
 * latency apart; where there are only two ranks the latency counts as start. The share s of its speed that a collective keeps beside C
 * seconds of products follows from the time T of both and M of the collectives alone: T = C + M - s C. */
#include "runtime/probe_device.h"

#include <math.h>
#include <stdio.h>

#include "runtime/transport.h"

enum { SIZES = 4, ROW = 10, LONG_ROW = 40, BESIDE = 8, TIMEOUT = 60 };
static const int64_t sizes[SIZES] = {64 << 10, 1 << 20, 16 << 20, 256 << 20};
enum { BESIDE_BYTES = 64 << 20, TOKENS = 8192, WIDTH = 2048 };

const char *const probe_collective_names[PROBE_COLLECTIVES] = {"all-reduce", "all-gather", "reduce-scatter",
                                                               "all-to-all"};
static const Col__Plan__CollectiveKind kinds[PROBE_COLLECTIVES] = {
    COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE, COL__PLAN__COLLECTIVE_KIND__ALL_GATHER,
    COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER, COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL};

typedef struct maker {
    col_arena *arena;
    col_plan plan;
    int64_t ranks;
    COL_VEC(col_plan_program *) programs;
} maker;

static col_plan_view *make_view(maker *m, uint64_t offset, Col__Plan__Dtype dtype, int64_t rows,
                                int64_t columns)
{
    col_plan_view *view = COL_NEW(m->arena, col_plan_view);
    int64_t *numbers = COL_NEW_ARRAY(m->arena, int64_t, 4);
    col__plan__view__init(view);
    numbers[0] = rows;
    numbers[1] = numbers[2] = columns;
    numbers[3] = 1;
    view->offset = offset;
    view->dtype = dtype;
    view->n_dims = view->n_strides = 2;
    view->dims = numbers;
    view->strides = numbers + 2;
    return view;
}

static col_plan_instruction *make_instruction(maker *m, const char *name, size_t reads, size_t writes)
{
    col_plan_instruction *in = COL_NEW(m->arena, col_plan_instruction);
    col__plan__instruction__init(in);
    in->name = col_arena_strdup(m->arena, name);
    in->n_reads = reads;
    in->n_writes = writes;
    in->reads = COL_NEW_ARRAY(m->arena, col_plan_view *, reads + writes);
    in->writes = in->reads + reads;
    return in;
}

/* On tensors of so many bytes, whole: the operand of a gather and the result of a scatter are a part. */
static col_plan_instruction *make_collective(maker *m, int kind, int64_t bytes, bool pairs, bool started)
{
    bool gathers = kind == 1, scatters = kind == 2, exchanges = kind == 3;
    int64_t n = pairs ? 2 : m->ranks, columns = bytes / (int64_t)sizeof(float) / n;
    uint64_t second = (uint64_t)sizes[SIZES - 1];
    col_plan_instruction *in = make_instruction(m, probe_collective_names[kind], 1, 1);
    Col__Plan__Collective *how = in->collective = COL_NEW(m->arena, Col__Plan__Collective);
    col__plan__collective__init(how);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_COLLECTIVE;
    how->kind = kinds[kind];
    how->n_axes = m->plan.n_mesh - (pairs && m->plan.n_mesh > 1);
    how->axes = COL_NEW_ARRAY(m->arena, uint32_t, 2);
    for (size_t a = 0; a < how->n_axes; a++) how->axes[a] = (uint32_t)(m->plan.n_mesh - how->n_axes + a);
    how->from_dim = exchanges;
    how->started = started;
    in->reads[0] = make_view(m, 0, COL__PLAN__DTYPE__F32, gathers ? 1 : n, columns);
    in->writes[0] = make_view(m, kind ? second : 0, COL__PLAN__DTYPE__F32, scatters || exchanges ? 1 : n,
                              exchanges ? n * columns : columns);
    uint64_t sent = (uint64_t)(gathers ? bytes / n : bytes);
    COL_ASSERT(col_plan_collective_bytes(how, n, sent, &how->bytes));
    return in;
}

static col_plan_instruction *make_product(maker *m)
{
    uint64_t at = 2 * (uint64_t)sizes[SIZES - 1], a = 2 * TOKENS * WIDTH, b = 2 * WIDTH * WIDTH;
    col_plan_instruction *in = make_instruction(m, "product", 2, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_MATMUL;
    in->matmul = COL_NEW(m->arena, Col__Plan__Matmul);
    col__plan__matmul__init(in->matmul);
    in->reads[0] = make_view(m, at, COL__PLAN__DTYPE__BF16, TOKENS, WIDTH);
    in->reads[1] = make_view(m, at + a, COL__PLAN__DTYPE__BF16, WIDTH, WIDTH);
    in->writes[0] = make_view(m, at + a + b, COL__PLAN__DTYPE__BF16, TOKENS, WIDTH);
    return in;
}

static col_plan_instruction *make_wait(maker *m, const col_plan_instruction *for_what, size_t start)
{
    col_plan_instruction *in = make_instruction(m, for_what->name, 1, 1);
    in->kind_case = COL__PLAN__INSTRUCTION__KIND_WAIT;
    in->wait = COL_NEW(m->arena, Col__Plan__Wait);
    col__plan__wait__init(in->wait);
    in->wait->start = (uint32_t)start;
    in->reads[0] = in->writes[0] = for_what->writes[0];
    return in;
}

static col_plan_program *add_program(maker *m, size_t most)
{
    col_plan_program *program = COL_NEW(m->arena, col_plan_program);
    col__plan__program__init(program);
    program->name = "probe";
    program->instructions = COL_NEW_ARRAY(m->arena, col_plan_instruction *, most);
    col_vec_push(m->arena, &m->programs, program);
    return program;
}

static void add(col_plan_program *program, col_plan_instruction *in, size_t times)
{
    for (size_t i = 0; i < times; i++) program->instructions[program->n_instructions++] = in;
}

static maker start_plan(col_arena *arena, const char *target, int64_t ranks)
{
    maker m = {.arena = arena, .plan = COL__PLAN__PLAN__INIT, .ranks = ranks};
    bool has_pairs = ranks > 2 && ranks % 2 == 0;
    m.plan.target = col_arena_strdup(arena, target);
    m.plan.n_mesh = has_pairs ? 2 : 1;
    m.plan.mesh = COL_NEW_ARRAY(arena, int64_t, 2);
    m.plan.mesh[0] = has_pairs ? ranks / 2 : ranks;
    m.plan.mesh[1] = 2;
    m.plan.arena_bytes = 2 * (uint64_t)sizes[SIZES - 1] + 2 * (2 * TOKENS * WIDTH + WIDTH * WIDTH);
    return m;
}

static col_plan *end_plan(maker *m)
{
    m->plan.programs = m->programs.data;
    m->plan.n_programs = m->programs.len;
    return &m->plan;
}

/* Fills the operands of products: zeros are multiplied faster than numbers. */
static col_status fill_products(const col_device_type *type, col_device *device)
{
    enum { CHUNK = 1 << 18 };
    uint16_t numbers[CHUNK / 2];
    uint64_t at = 2 * (uint64_t)sizes[SIZES - 1], end = at + 2 * (TOKENS * WIDTH + WIDTH * WIDTH);
    uint32_t random = 1;
    for (; at < end; at += CHUNK) {
        for (size_t i = 0; i < COL_COUNT(numbers); i++) {
            random = random * 1664525 + 1013904223;
            numbers[i] = (uint16_t)((random >> 16 & 0x80ff) | (0x3c00 + (random >> 8 & 0x0300)));
        }
        COL_TRY(type->write(device, at, numbers, COL_MIN((uint64_t)CHUNK, end - at)));
    }
    return NULL;
}

/* Seconds of each program. */
static col_status time_plan(const col_device_type *type, const col_plan *plan, col_comm *comm, double *out)
{
    col_device_options options = {.comm = comm, .place = comm->place, .sharing = comm->sharing};
    col_device *device = NULL;
    COL_TRY(type->open(plan, &options, &device));
    col_status status = fill_products(type, device);
    for (size_t i = 0; i < plan->n_programs && !status; i++)
        status = col_probe_time(type, device, plan->programs[i], &out[i]);
    type->close(device);
    return status;
}

/* Bytes that a rank of n sends of a whole tensor. */
static double sent_of(int kind, int64_t n, int64_t bytes)
{
    return (kind ? 1 : 2) * (double)(n - 1) / (double)n * (double)bytes;
}

/* `seconds` of one collective by kind and size. */
static void fit(double seconds[PROBE_COLLECTIVES][SIZES], int64_t n, double *out_bandwidth, double *out_start)
{
    enum { LARGE = SIZES - 2, LARGEST = SIZES - 1 };
    *out_start = 0;
    for (int k = 0; k < PROBE_COLLECTIVES; k++) {
        double more = sent_of(k, n, sizes[LARGEST] - sizes[LARGE]);
        double longer = fmax(seconds[k][LARGEST] - seconds[k][LARGE], seconds[k][LARGEST] / 2);
        out_bandwidth[k] = more / longer;
        double start = seconds[k][LARGE] - sent_of(k, n, sizes[LARGE]) / out_bandwidth[k];
        *out_start += fmax(start, 0) / PROBE_COLLECTIVES;
    }
}

static size_t row_of(int size)
{
    return sizes[size] > 1 << 20 ? ROW : LONG_ROW;
}

static void add_rows(maker *m, bool pairs)
{
    for (int k = 0; k < PROBE_COLLECTIVES; k++) {
        for (int s = 0; s < SIZES; s++)
            add(add_program(m, LONG_ROW), make_collective(m, k, sizes[s], pairs, false), row_of(s));
    }
}

static void read_rows(const double *times, int64_t ranks, bool says, double out[PROBE_COLLECTIVES][SIZES])
{
    for (int k = 0; k < PROBE_COLLECTIVES; k++) {
        for (int s = 0; s < SIZES; s++) {
            out[k][s] = times[k * SIZES + s] / (double)row_of(s);
            if (says)
                printf("%-15s %3lld ranks %8lld KiB %10.1f us\n", probe_collective_names[k], (long long)ranks,
                       (long long)sizes[s] >> 10, 1e6 * out[k][s]);
        }
    }
}

static col_status measure_overlap(const col_device_type *type, int64_t ranks, col_comm *comm, double alone,
                                  double product, double *out_share)
{
    size_t products = (size_t)COL_MAX(llround(alone / product), 1);
    col_arena *arena = col_arena_create();
    double times[2];
    maker m = start_plan(arena, type->name, ranks);
    add(add_program(&m, BESIDE * products), make_product(&m), BESIDE * products);
    col_plan_program *both = add_program(&m, BESIDE * (products + 2));
    for (int i = 0; i < BESIDE; i++) {
        col_plan_instruction *start = make_collective(&m, 0, BESIDE_BYTES, false, true);
        size_t at = both->n_instructions;
        add(both, start, 1);
        add(both, make_product(&m), products);
        add(both, make_wait(&m, start, at), 1);
    }
    col_status status = time_plan(type, end_plan(&m), comm, times);
    *out_share = fmin(fmax((times[0] + BESIDE * alone - times[1]) / times[0], 0), 1);
    if (!status && comm->rank == 0)
        printf("beside products %7.3f ms of them, %7.3f ms of all-reduces, %7.3f ms together\n",
               1e3 * times[0], 1e3 * BESIDE * alone, 1e3 * times[1]);
    col_arena_destroy(arena);
    return status;
}

static col_status measure(const col_device_type *type, const col_plan *plan, col_comm *comm, probe_links *out)
{
    enum { ROWS = PROBE_COLLECTIVES * SIZES };
    double times[2 * ROWS + 2], all[PROBE_COLLECTIVES][SIZES], pair[PROBE_COLLECTIVES][SIZES], start_of_pair;
    bool has_pairs = plan->n_mesh == 2, says = comm->rank == 0;
    const double *last = &times[plan->n_programs - 2];
    COL_TRY(time_plan(type, plan, comm, times));
    read_rows(times, out->ranks, says, all);
    fit(all, out->ranks, out->bandwidth, &out->start);
    if (has_pairs) {
        read_rows(times + ROWS, 2, says, pair);
        fit(pair, 2, out->pair, &start_of_pair);
        double rounds =
            (double)(out->ranks - 2) * 5 / 4; /* more of them, over the four kinds: (2 + 1 + 1 + 1) / 4 */
        out->latency = fmax(out->start - start_of_pair, 0) / rounds;
        out->start = start_of_pair - out->latency * 5 / 4;
    }
    return measure_overlap(type, out->ranks, comm, last[0] / ROW, last[1] / LONG_ROW, &out->overlap);
}

col_status probe_links_measure(const col_device_type *type, int64_t ranks, col_comm **out_comm,
                               probe_links *out)
{
    col_arena *arena = col_arena_create();
    maker m = start_plan(arena, type->name, ranks);
    *out = (probe_links){.ranks = ranks};
    add_rows(&m, false);
    if (m.plan.n_mesh == 2) add_rows(&m, true);
    add(add_program(&m, ROW), make_collective(&m, 0, BESIDE_BYTES, false, false), ROW);
    add(add_program(&m, LONG_ROW), make_product(&m), LONG_ROW);
    const col_plan *plan = end_plan(&m);
    col_status status = col_transport_open("local", plan, TIMEOUT, out_comm);
    if (!status && !*out_comm)
        status =
            col_error_make(COL_BAD_INPUT, "--ranks: links of the target '%s' are not measured", type->name);
    if (!status) status = measure(type, plan, *out_comm, out);
    col_arena_destroy(arena);
    return status;
}
