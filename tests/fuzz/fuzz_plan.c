/* The plan loader on any bytes. The input is a plan file or, without its magic, the message alone; since no
 * mutation keeps a checksum right, the message is also tried behind a header that fits. A plan that passes
 * the verifier keeps the verifier's promises (plan_verify.h), counted here in wider integers, and the null
 * device runs it. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "ir/plan/plan_io.h"
#include "runtime/ranks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 32, ARENA_LIMIT = 1 << 20 };

static void check_view(const col_plan *plan, const col_plan_view *view)
{
    size_t element = col_plan_dtype_size(view->dtype);
    __int128 last = 0;
    COL_ASSERT(element && view->n_dims <= COL_PLAN_MAX_RANK && view->n_strides == view->n_dims);
    COL_ASSERT(view->offset % element == 0);
    for (size_t i = 0; i < view->n_dims; i++) {
        COL_ASSERT(view->dims[i] >= 1 && view->strides[i] >= 0);
        last += (__int128)(view->dims[i] - 1) * view->strides[i];
    }
    COL_ASSERT((__int128)view->offset + (last + 1) * (__int128)element <= plan->arena_bytes);
}

static void check_program(const col_plan *plan, const col_plan_program *program)
{
    for (size_t i = 0; i < program->n_instructions; i++) {
        const col_plan_instruction *in = program->instructions[i];
        for (size_t k = 0; k < in->n_reads; k++) check_view(plan, in->reads[k]);
        for (size_t k = 0; k < in->n_writes; k++) check_view(plan, in->writes[k]);
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_KERNEL)
            COL_ASSERT(in->kernel->object < plan->n_objects && *in->kernel->symbol);
    }
    for (size_t i = 0; i < program->n_outputs; i++) {
        check_view(plan, program->outputs[i]->view);
        COL_ASSERT(col_plan_find_output(program, program->outputs[i]->name) == program->outputs[i]);
    }
}

static void check_plan(const col_plan *plan)
{
    COL_ASSERT(plan->source && plan->state_bytes <= plan->arena_bytes);
    for (size_t i = 0; i < plan->n_programs; i++) {
        check_program(plan, plan->programs[i]);
        COL_ASSERT(col_plan_find_program(plan, plan->programs[i]->name) == plan->programs[i]);
    }
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        COL_ASSERT(col_plan_find_variable(plan, v->name) == v);
        COL_ASSERT((__int128)v->offset + col_plan_local_bytes(plan, v) <= plan->state_bytes);
    }
}

/* Tensors of many ranks may be far larger than what one of them holds. */
static bool is_small(const col_plan *plan)
{
    col_mesh mesh = col_plan_mesh(plan);
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->n_variables; i++)
        bytes = COL_MAX(bytes, col_plan_variable_bytes(plan->variables[i]));
    return col_mesh_size(&mesh) <= 4 && plan->arena_bytes <= ARENA_LIMIT && bytes <= ARENA_LIMIT;
}

static void run_plan(const col_plan *plan)
{
    col_ranks *ranks = NULL;
    col_ranks_options options = {.timeout = 60};
    if (!is_small(plan)) return;
    if (col_error_ignore(col_ranks_open(plan, &col_device_null, &options, &ranks))) return;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        uint64_t bytes = col_plan_variable_bytes(v);
        void *data = calloc(1, bytes ? bytes : 1);
        COL_ASSERT(data);
        COL_ASSERT(!col_ranks_write(ranks, v, 0, data, bytes));
        COL_ASSERT(!col_ranks_read(ranks, v, 0, data, bytes));
        free(data);
    }
    for (size_t i = 0; i < plan->n_programs; i++) COL_ASSERT(!col_ranks_run(ranks, plan->programs[i], NULL));
    col_ranks_close(ranks);
}

static void parse(const uint8_t *data, size_t size)
{
    col_plan *plan = NULL;
    if (col_error_ignore(col_plan_parse("fuzz", data, size, &plan))) return;
    check_plan(plan);
    run_plan(plan);
    col_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole = size >= HEADER && !memcmp(data, "colcplan", 8);
    if (whole) parse(data, size);
    size_t message = whole ? size - HEADER : size;
    uint8_t *fitted = malloc(HEADER + message);
    if (!fitted) COL_PANIC("out of memory");
    if (message) memcpy(fitted + HEADER, data + size - message, message);
    uint32_t version[2] = {COL_PLAN_VERSION, 0};
    uint64_t rest[2] = {message, XXH3_64bits(fitted + HEADER, message)};
    memcpy(fitted, "colcplan", 8);
    memcpy(fitted + 8, version, sizeof version);
    memcpy(fitted + 16, rest, sizeof rest);
    parse(fitted, HEADER + message);
    free(fitted);
    return 0;
}
