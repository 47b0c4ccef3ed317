/* Plans made by hand, without the compiler: variables one after another, then temporaries, then instructions
 * on views of them. Everything lives in one arena. */
#ifndef COL_CTS_PLAN_MAKER_H
#define COL_CTS_PLAN_MAKER_H

#include <string.h>

#include "ir/base/vec.h"
#include "ir/plan/plan.h"

typedef struct plan_maker {
    col_arena *arena;
    col_plan *plan;
    COL_VEC(col_plan_variable *) variables;
    COL_VEC(col_plan_program *) programs;
    COL_VEC(col_plan_instruction *) instructions; /* of the program being made */
    COL_VEC(col_plan_output *) outputs;
    uint64_t at; /* next free byte of the arena */
} plan_maker;

static inline char *maker_text(plan_maker *m, const char *text)
{
    return col_arena_strdup(m->arena, text);
}

static inline plan_maker maker_start(col_arena *arena, const char *target, const char *use)
{
    plan_maker m = {.arena = arena, .plan = COL_NEW(arena, col_plan)};
    col__plan__plan__init(m.plan);
    m.plan->version = COL_PLAN_VERSION;
    m.plan->target = maker_text(&m, target);
    m.plan->use = maker_text(&m, use);
    m.plan->accumulate = 1;
    m.plan->source = COL_NEW(arena, Col__Plan__Source);
    col__plan__source__init(m.plan->source);
    m.plan->source->name = maker_text(&m, "handmade");
    return m;
}

/* A dense row-major view at the next free place, its offset a multiple of 64. */
static inline col_plan_view *maker_view(plan_maker *m, Col__Plan__Dtype dtype, size_t rank,
                                        const int64_t *dims)
{
    col_plan_view *view = COL_NEW(m->arena, col_plan_view);
    col__plan__view__init(view);
    view->dtype = dtype;
    view->n_dims = view->n_strides = rank;
    view->dims = COL_NEW_ARRAY(m->arena, int64_t, rank);
    view->strides = COL_NEW_ARRAY(m->arena, int64_t, rank);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        view->dims[i] = dims[i];
        view->strides[i] = stride;
        stride *= dims[i];
    }
    view->offset = m->at;
    m->at = (m->at + (uint64_t)stride * col_plan_dtype_size(dtype) + 63) / 64 * 64;
    return view;
}

static inline col_plan_view *maker_copy_view(plan_maker *m, const col_plan_view *view)
{
    col_plan_view *copy = col_arena_copy(m->arena, view, sizeof *view);
    copy->dims = col_arena_copy(m->arena, view->dims, view->n_dims * sizeof *view->dims);
    copy->strides = col_arena_copy(m->arena, view->strides, view->n_dims * sizeof *view->strides);
    return copy;
}

/* A variable; all of them come before the first temporary. */
static inline col_plan_view *maker_variable(plan_maker *m, Col__Plan__VariableKind kind, const char *name,
                                            Col__Plan__Dtype dtype, size_t rank, const int64_t *dims)
{
    col_plan_view *view = maker_view(m, dtype, rank, dims);
    col_plan_variable *v = COL_NEW(m->arena, col_plan_variable);
    col__plan__variable__init(v);
    v->name = maker_text(m, name);
    v->kind = kind;
    v->dtype = dtype;
    v->n_dims = rank;
    v->dims = view->dims;
    v->offset = view->offset;
    col_vec_push(m->arena, &m->variables, v);
    m->plan->state_bytes = m->at;
    return view;
}

/* An instruction without its kind; the views are copied pointers. */
static inline col_plan_instruction *maker_instruction(plan_maker *m, const char *name, size_t read_count,
                                                      col_plan_view *const *reads, size_t write_count,
                                                      col_plan_view *const *writes)
{
    col_plan_instruction *in = COL_NEW(m->arena, col_plan_instruction);
    col__plan__instruction__init(in);
    in->name = maker_text(m, name);
    in->n_reads = read_count;
    in->n_writes = write_count;
    in->reads = col_arena_copy(m->arena, reads, read_count * sizeof(col_plan_view *));
    in->writes = col_arena_copy(m->arena, writes, write_count * sizeof(col_plan_view *));
    col_vec_push(m->arena, &m->instructions, in);
    return in;
}

/* Sets the kind: MAKER_KIND(m, in, MATMUL, matmul, Matmul) */
#define MAKER_KIND(m, in, UPPER, field, Type)                                                                \
    ((in)->kind_case = COL__PLAN__INSTRUCTION__KIND_##UPPER,                                                 \
     (in)->field = COL_NEW((m)->arena, Col__Plan__##Type), col__plan__##field##__init((in)->field),          \
     (in)->field)

static inline void maker_output(plan_maker *m, const char *name, col_plan_view *view)
{
    col_plan_output *output = COL_NEW(m->arena, col_plan_output);
    col__plan__output__init(output);
    output->name = maker_text(m, name);
    output->view = view;
    col_vec_push(m->arena, &m->outputs, output);
}

/* The instructions and outputs so far become a program. */
static inline void maker_program(plan_maker *m, const char *name)
{
    col_plan_program *p = COL_NEW(m->arena, col_plan_program);
    col__plan__program__init(p);
    p->name = maker_text(m, name);
    p->n_instructions = m->instructions.len;
    p->instructions = m->instructions.data;
    p->n_outputs = m->outputs.len;
    p->outputs = m->outputs.data;
    memset(&m->instructions, 0, sizeof m->instructions);
    memset(&m->outputs, 0, sizeof m->outputs);
    col_vec_push(m->arena, &m->programs, p);
}

static inline col_plan *maker_finish(plan_maker *m)
{
    m->plan->arena_bytes = m->at;
    m->plan->n_variables = m->variables.len;
    m->plan->variables = m->variables.data;
    m->plan->n_programs = m->programs.len;
    m->plan->programs = m->programs.data;
    return m->plan;
}

#endif
