#include "runtime/probe_plan.h"

#include <stdlib.h>
#include <string.h>

#include "ir/base/vec.h"

enum { TIMES = 3, LEAST_REPEATS = 8, MOST_REPEATS = 400 };
static const double LONG = 5e-3; /* seconds that repeats of an instruction shall take, as predicted */

/* Kinds of instructions. */

static bool is_like_view(const col_plan_view *a, const col_plan_view *b)
{
    size_t bytes = a->n_dims * sizeof *a->dims;
    return a->dtype == b->dtype && a->n_dims == b->n_dims && !memcmp(a->dims, b->dims, bytes) &&
           !memcmp(a->strides, b->strides, bytes);
}

static bool is_like(const col_plan_instruction *a, const col_plan_instruction *b)
{
    if (a->kind_case != b->kind_case || a->n_reads != b->n_reads || a->n_writes != b->n_writes) return false;
    if (a->flops != b->flops) return false;
    if (a->kind_case == COL__PLAN__INSTRUCTION__KIND_KERNEL && strcmp(a->kernel->symbol, b->kernel->symbol))
        return false;
    for (size_t i = 0; i < a->n_reads; i++) {
        if (!is_like_view(a->reads[i], b->reads[i])) return false;
    }
    for (size_t i = 0; i < a->n_writes; i++) {
        if (!is_like_view(a->writes[i], b->writes[i])) return false;
    }
    return true;
}

/* The program cut into programs: each new instruction repeated, and what is between them as it is. */
typedef struct pieces {
    col_arena *arena;
    COL_VEC(col_probed) kinds;
    COL_VEC(col_plan_program *) programs; /* in order; the last is the whole */
    COL_VEC(int64_t) timed;               /* by program: of `kinds`; below 0: not timed */
} pieces;

static col_plan_program *add_program(pieces *p, size_t count, int64_t timed)
{
    col_plan_program *program = COL_NEW(p->arena, col_plan_program);
    col__plan__program__init(program);
    program->name = "probe";
    program->n_instructions = count;
    program->instructions = COL_NEW_ARRAY(p->arena, col_plan_instruction *, count);
    col_vec_push(p->arena, &p->programs, program);
    col_vec_push(p->arena, &p->timed, timed);
    return program;
}

static col_probed *find_kind(pieces *p, const col_plan_instruction *in)
{
    for (size_t i = 0; i < p->kinds.len; i++) {
        if (is_like(p->kinds.data[i].instruction, in)) return &p->kinds.data[i];
    }
    return NULL;
}

static size_t repeats_of(const col_plan_instruction *in)
{
    double times = in->seconds > 0 ? LONG / in->seconds : MOST_REPEATS;
    return (size_t)COL_MIN(COL_MAX(times, LEAST_REPEATS), MOST_REPEATS);
}

static void cut(pieces *p, const col_plan_program *program)
{
    size_t known = 0; /* instructions before i that are not in a piece yet */
    for (size_t i = 0; i <= program->n_instructions; i++) {
        col_plan_instruction *in = i < program->n_instructions ? program->instructions[i] : NULL;
        col_probed *kind = in ? find_kind(p, in) : NULL;
        if (kind) {
            kind->count++;
            known++;
            continue;
        }
        if (known) {
            col_plan_program *rest = add_program(p, known, -1);
            memcpy(rest->instructions, program->instructions + i - known, known * sizeof in);
        }
        known = 0;
        if (!in) break;
        col_plan_program *repeated = add_program(p, repeats_of(in), (int64_t)p->kinds.len);
        for (size_t k = 0; k < repeated->n_instructions; k++) repeated->instructions[k] = in;
        col_vec_push(p->arena, &p->kinds, ((col_probed){in, 1, 0}));
    }
    col_plan_program *whole = add_program(p, program->n_instructions, -1);
    memcpy(whole->instructions, program->instructions,
           program->n_instructions * sizeof *program->instructions);
}

/* Values. */

/* A number of the variable's distribution, near enough, from one between -1 and 1. */
static float value_of(const col_plan_variable *v, double random)
{
    if (v->kind == COL__PLAN__VARIABLE_KIND__INPUT) return (float)random;
    switch (v->init) {
    case COL__PLAN__INIT_KIND__CONSTANT: return (float)v->init_a;
    case COL__PLAN__INIT_KIND__NORMAL: return (float)(v->init_a + v->init_b * 1.7 * random);
    case COL__PLAN__INIT_KIND__UNIFORM:
        return (float)(v->init_a + (v->init_b - v->init_a) * (random + 1) / 2);
    default: return 0;
    }
}

static void fill(unsigned char *data, size_t bytes, const col_plan_variable *v, uint32_t *random)
{
    size_t size = col_plan_dtype_size(v->dtype);
    bool is_index = v->index_bound > 0;
    memset(data, 0, bytes);
    for (size_t at = 0; at + size <= bytes; at += size) {
        *random = *random * 1664525 + 1013904223;
        int64_t whole = is_index ? (int64_t)(*random >> 8) % v->index_bound : 0;
        float value = value_of(v, (double)*random / 0x1p31 - 1);
        if (v->dtype == COL__PLAN__DTYPE__F32)
            memcpy(data + at, &value, sizeof value);
        else if (is_index) /* little-endian */
            memcpy(data + at, &whole, COL_MIN(size, sizeof whole));
    }
}

col_status col_probe_fill(const col_device_type *type, col_device *device, const col_plan *plan)
{
    uint32_t random = 1;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        size_t bytes = col_plan_local_bytes(plan, v);
        unsigned char *data = malloc(bytes ? bytes : 1);
        if (!data) col_out_of_memory(bytes);
        fill(data, bytes, v, &random);
        col_status status = type->write(device, v->offset, data, bytes);
        free(data);
        if (status) return status;
    }
    return NULL;
}

/* Timing. */

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

col_status col_probe_time(const col_device_type *type, col_device *device, const col_plan_program *program,
                          double *out_seconds)
{
    double seconds[TIMES];
    for (int i = -2; i < TIMES; i++) {
        double start = col_seconds();
        COL_TRY(type->run(device, program, NULL));
        if (i >= 0) seconds[i] = col_seconds() - start;
    }
    qsort(seconds, TIMES, sizeof *seconds, by_size);
    *out_seconds = seconds[TIMES / 2];
    return NULL;
}

static col_status time_pieces(const col_device_type *type, col_device *device, const col_plan *plan,
                              pieces *p, double *out_whole)
{
    COL_TRY(col_probe_fill(type, device, plan));
    for (size_t i = 0; i + 1 < p->programs.len; i++) {
        const col_plan_program *program = p->programs.data[i];
        double seconds = 0;
        if (p->timed.data[i] < 0) {
            COL_TRY(type->run(device, program, NULL));
            continue;
        }
        COL_TRY(col_probe_time(type, device, program, &seconds));
        p->kinds.data[p->timed.data[i]].seconds = seconds / (double)program->n_instructions;
    }
    COL_TRY(col_probe_fill(type, device, plan)); /* what was repeated has left other values */
    return col_probe_time(type, device, p->programs.data[p->programs.len - 1], out_whole);
}

col_status col_probe_program(const col_device_type *type, const col_plan *plan,
                             const col_plan_program *program, col_arena *arena, col_probed **out_list,
                             size_t *out_count, double *out_whole)
{
    pieces p = {.arena = arena};
    col_plan probing = *plan;
    col_device_options options = {0};
    col_device *device = NULL;
    if (plan->n_mesh)
        return col_error_make(COL_BAD_INPUT,
                              "the plan is for several ranks; give one that was compiled without --mesh");
    cut(&p, program);
    probing.programs = p.programs.data;
    probing.n_programs = p.programs.len;
    COL_TRY(type->open(&probing, &options, &device));
    col_status status = time_pieces(type, device, plan, &p, out_whole);
    type->close(device);
    *out_list = p.kinds.data;
    *out_count = p.kinds.len;
    return status;
}
