#include "ir/plan/plan.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [COL__PLAN__DTYPE__F32] = {"f32", 4}, [COL__PLAN__DTYPE__F64] = {"f64", 8},
    [COL__PLAN__DTYPE__F16] = {"f16", 2}, [COL__PLAN__DTYPE__BF16] = {"bf16", 2},
    [COL__PLAN__DTYPE__I32] = {"i32", 4}, [COL__PLAN__DTYPE__I64] = {"i64", 8},
    [COL__PLAN__DTYPE__U8] = {"u8", 1},   [COL__PLAN__DTYPE__BOOL] = {"bool", 1},
    [COL__PLAN__DTYPE__I8] = {"i8", 1},   [COL__PLAN__DTYPE__I16] = {"i16", 2},
    [COL__PLAN__DTYPE__U16] = {"u16", 2}, [COL__PLAN__DTYPE__U32] = {"u32", 4},
    [COL__PLAN__DTYPE__U64] = {"u64", 8},
};

size_t col_plan_dtype_size(Col__Plan__Dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].size : 0;
}

const char *col_plan_dtype_name(Col__Plan__Dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof *dtypes ? dtypes[dtype].name : "?";
}

int64_t col_plan_numel(size_t rank, const int64_t *dims)
{
    int64_t numel = 1;
    for (size_t i = 0; i < rank; i++) numel *= dims[i];
    return numel;
}

uint64_t col_plan_variable_bytes(const col_plan_variable *variable)
{
    return (uint64_t)col_plan_numel(variable->n_dims, variable->dims) * col_plan_dtype_size(variable->dtype);
}

col_mesh col_plan_mesh(const col_plan *plan)
{
    col_mesh mesh = {.rank = (int)plan->n_mesh};
    COL_ASSERT(plan->n_mesh <= COL_MESH_RANK);
    for (int i = 0; i < mesh.rank; i++) mesh.dims[i] = plan->mesh[i];
    return mesh;
}

const int64_t *col_plan_cut_dims(const col_plan_variable *variable, int *out_rank)
{
    bool own = variable->n_cut_dims > 0;
    *out_rank = (int)(own ? variable->n_cut_dims : variable->n_dims);
    return own ? variable->cut_dims : variable->dims;
}

col_layout col_plan_layout(const col_plan *plan, const col_plan_variable *variable)
{
    col_layout layout = col_layout_whole();
    int rank;
    col_plan_cut_dims(variable, &rank);
    if (*variable->layout) COL_ASSERT(col_layout_parse(variable->layout, rank, (int)plan->n_mesh, &layout));
    return layout;
}

uint64_t col_plan_local_bytes(const col_plan *plan, const col_plan_variable *variable)
{
    col_mesh mesh = col_plan_mesh(plan);
    col_layout layout = col_plan_layout(plan, variable);
    uint64_t bytes = col_plan_variable_bytes(variable);
    for (int d = 0; d < COL_PLAN_MAX_RANK; d++) bytes /= (uint64_t)col_layout_parts(&layout, &mesh, d);
    return bytes;
}

const char *col_plan_collective_name(Col__Plan__CollectiveKind kind)
{
    static const char *const names[] = {"all-reduce", "all-gather", "reduce-scatter",
                                        "all-to-all", "broadcast",  "send-receive"};
    return (size_t)kind < COL_COUNT(names) ? names[kind] : "?";
}

bool col_plan_collective_bytes(const Col__Plan__Collective *how, int64_t n, uint64_t bytes,
                               uint64_t *out_bytes)
{
    uint64_t times = (uint64_t)n - 1;
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE) times *= 2;
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_GATHER) times *= (uint64_t)n;
    if (how->kind == COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE) {
        uint64_t distance = how->shift < 0 ? -(uint64_t)how->shift : (uint64_t)how->shift;
        times = (uint64_t)n - COL_MIN(distance, (uint64_t)n);
    }
    return !__builtin_mul_overflow(times, bytes, out_bytes);
}

double col_plan_total_bytes(const col_plan *plan, const Col__Plan__Collective *collective)
{
    col_mesh mesh = col_plan_mesh(plan);
    int64_t members = 1;
    for (size_t i = 0; i < collective->n_axes; i++) members *= mesh.dims[collective->axes[i]];
    return (double)collective->bytes * (double)(col_mesh_size(&mesh) / members);
}

double col_plan_sent_bytes(const col_plan *plan, const Col__Plan__Collective *collective)
{
    col_mesh mesh = col_plan_mesh(plan);
    return col_plan_total_bytes(plan, collective) / (double)col_mesh_size(&mesh);
}

/* NULL where it is no collective that may join others. */
static const Col__Plan__Collective *sociable(const col_plan_instruction *in)
{
    if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_COLLECTIVE || !in->collective->started) return NULL;
    switch (in->collective->kind) {
    case COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE:
    case COL__PLAN__COLLECTIVE_KIND__ALL_GATHER:
    case COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER: return in->collective;
    default: return NULL;
    }
}

bool col_plan_joins(const col_plan_program *program, size_t i)
{
    const Col__Plan__Collective *b = sociable(program->instructions[i]),
                                *a = i && b ? sociable(program->instructions[i - 1]) : NULL;
    return a && a->n_axes == b->n_axes && !memcmp(a->axes, b->axes, a->n_axes * sizeof *a->axes);
}

const col_plan_program *col_plan_find_program(const col_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_programs; i++) {
        if (!strcmp(plan->programs[i]->name, name)) return plan->programs[i];
    }
    return NULL;
}

const col_plan_variable *col_plan_find_variable(const col_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_variables; i++) {
        if (!strcmp(plan->variables[i]->name, name)) return plan->variables[i];
    }
    return NULL;
}

const col_plan_output *col_plan_find_output(const col_plan_program *program, const char *name)
{
    for (size_t i = 0; i < program->n_outputs; i++) {
        if (!strcmp(program->outputs[i]->name, name)) return program->outputs[i];
    }
    return NULL;
}
