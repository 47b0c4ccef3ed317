/* The plan as a whole: mesh, variables, programs, logs. Instructions are for plan_verify_ops.c. */
#include "ir/plan/plan_verify.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "ir/plan/plan_verify_ops.h"

static col_status check_mesh(const col_plan *plan)
{
    int64_t size = 1;
    bool sound = plan->n_mesh <= COL_MESH_RANK;
    for (size_t i = 0; sound && i < plan->n_mesh; i++) {
        sound = plan->mesh[i] >= 1 && !__builtin_mul_overflow(size, plan->mesh[i], &size) &&
                size <= COL_PLAN_MOST_RANKS;
    }
    return sound ? NULL : col_error_make(COL_BAD_INPUT, "its mesh is malformed");
}

/* Variables. */

typedef struct extent {
    uint64_t begin, end;
    const char *name;
} extent;

static int by_begin(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the names in place. */
static col_status check_unique(const char *what, const char **names, size_t count)
{
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++) {
        if (!*names[i]) return col_verify_bad(what, "", "has no name");
        if (i && !strcmp(names[i - 1], names[i])) return col_verify_bad(what, names[i], "stands twice");
    }
    return NULL;
}

/* Elements of a shape; false when it is malformed. */
static bool count_elements(size_t rank, const int64_t *dims, int64_t *out_count)
{
    *out_count = 1;
    if (rank > COL_PLAN_MAX_RANK) return false;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 1 || __builtin_mul_overflow(*out_count, dims[i], out_count)) return false;
    }
    return *out_count <= INT64_MAX / (int64_t)sizeof(double);
}

/* `out_dims`: the shape of the block that a rank holds, of rank `out_rank`. */
static col_status check_layout(const col_plan *plan, const col_plan_variable *v, int *out_rank,
                               int64_t *out_dims)
{
    col_layout layout = col_layout_whole();
    col_mesh mesh = col_plan_mesh(plan);
    int rank;
    const int64_t *dims = col_plan_cut_dims(v, &rank);
    if (*v->layout && !col_layout_parse(v->layout, rank, mesh.rank, &layout))
        return col_verify_bad("variable", v->name, "has a malformed layout");
    if (layout.partial || !col_layout_fits(&layout, &mesh, rank, dims))
        return col_verify_bad("variable", v->name, "has a layout that does not fit its shape");
    col_layout_local(&layout, &mesh, rank, dims, out_dims);
    *out_rank = rank;
    if (strcmp(v->name, COL_PLAN_COORDINATE)) return NULL;
    bool fits = v->kind == COL__PLAN__VARIABLE_KIND__INPUT && v->dtype == COL__PLAN__DTYPE__I32 &&
                v->n_dims == 1 && v->dims[0] == COL_MAX(mesh.rank, 1) && !col_layout_axes(&layout);
    return fits ? NULL : col_verify_bad("variable", v->name, "is not an i32 for each axis of the mesh");
}

static col_status check_variable(const col_plan *plan, const col_plan_variable *v, extent *out_extent)
{
    int64_t strides[COL_PLAN_MAX_RANK] = {0}, dims[COL_PLAN_MAX_RANK], count, cut_count;
    int rank = 0;
    if (!count_elements(v->n_dims, v->dims, &count) ||
        !count_elements(v->n_cut_dims, v->cut_dims, &cut_count) || (v->n_cut_dims && cut_count != count)) {
        return col_verify_bad("variable", v->name, "has a malformed shape");
    }
    COL_TRY(check_layout(plan, v, &rank, dims));
    int64_t stride = 1;
    for (int i = rank; i-- > 0; stride *= dims[i]) strides[i] = stride;
    col_plan_view view = COL__PLAN__VIEW__INIT;
    view.offset = v->offset;
    view.dtype = v->dtype;
    view.n_dims = view.n_strides = (size_t)rank;
    view.dims = dims;
    view.strides = strides;
    uint64_t end;
    if (!col_verify_view_end(&view, &end)) return col_verify_bad("variable", v->name, "is malformed");
    if (end > plan->state_bytes)
        return col_verify_bad("variable", v->name, "reaches outside the state part of the arena");
    bool is_integer = v->dtype == COL__PLAN__DTYPE__I32 || v->dtype == COL__PLAN__DTYPE__I64;
    if (v->index_bound < 0 || (v->index_bound && !is_integer))
        return col_verify_bad("variable", v->name, "holds indices that are no integers");
    *out_extent = (extent){v->offset, end, v->name};
    return NULL;
}

static col_status check_variables(const col_plan *plan, extent *extents, const char **names)
{
    for (size_t i = 0; i < plan->n_variables; i++) {
        COL_TRY(check_variable(plan, plan->variables[i], &extents[i]));
        names[i] = plan->variables[i]->name;
    }
    qsort(extents, plan->n_variables, sizeof *extents, by_begin);
    for (size_t i = 1; i < plan->n_variables; i++) {
        if (extents[i].begin < extents[i - 1].end)
            return col_verify_bad("variable", extents[i].name, "overlaps another");
    }
    return check_unique("variable", names, plan->n_variables);
}

/* Programs. */

/* Whether an instruction leaves alone what a collective that is going on reads and writes. */
static bool leaves_alone(const col_plan_instruction *in, const col_plan_instruction *started)
{
    for (size_t i = 0; i < in->n_reads; i++) {
        if (!col_verify_apart(in->reads[i], started->writes[0])) return false;
    }
    for (size_t i = 0; i < in->n_writes; i++) {
        if (!col_verify_apart(in->writes[i], started->writes[0]) ||
            !col_verify_apart(in->writes[i], started->reads[0]))
            return false;
    }
    return true;
}

static bool same_place(const col_plan_view *a, const col_plan_view *b)
{
    return a->offset == b->offset && col_verify_row_major(a) && col_verify_same_shape(a, b);
}

/* Closes what instruction `in` waits for: the collective is open, and the wait's view is what it writes. */
static bool close_started(const col_plan_program *program, const col_plan_instruction *in, uint32_t *open,
                          size_t *count)
{
    for (size_t k = 0; k < *count; k++) {
        if (open[k] != in->wait->start) continue;
        const col_plan_instruction *started = program->instructions[open[k]];
        open[k] = open[--*count];
        return started->phase == in->phase && same_place(in->reads[0], started->writes[0]) &&
               same_place(in->writes[0], started->writes[0]);
    }
    return false;
}

/* Every started collective is waited for once, and until then nothing touches what it works on. */
static col_status check_started(const col_plan_program *program)
{
    size_t count = 0;
    uint32_t *open = calloc(program->n_instructions + 1, sizeof *open);
    if (!open) col_out_of_memory((program->n_instructions + 1) * sizeof *open);
    const char *wrong = NULL;
    size_t i = 0;
    for (; i < program->n_instructions && !wrong; i++) {
        const col_plan_instruction *in = program->instructions[i];
        bool waits = in->kind_case == COL__PLAN__INSTRUCTION__KIND_WAIT;
        if (waits && !close_started(program, in, open, &count))
            wrong = "waits for what no instruction before it has started";
        for (size_t k = 0; k < count && !wrong; k++) {
            if (!leaves_alone(in, program->instructions[open[k]]))
                wrong = "touches what a collective that was started still works on";
        }
        if (in->kind_case == COL__PLAN__INSTRUCTION__KIND_COLLECTIVE && in->collective->started)
            open[count++] = (uint32_t)i;
    }
    if (!wrong && count) {
        wrong = "is started and never waited for";
        i = open[0] + 1;
    }
    free(open);
    return wrong ? col_verify_bad("instruction", program->instructions[i - 1]->name, wrong) : NULL;
}

static col_status check_program(const col_plan *plan, const col_plan_program *program)
{
    for (size_t i = 0; i < program->n_instructions; i++)
        COL_TRY(col_verify_instruction(plan, program->instructions[i]));
    COL_TRY(check_started(program));
    const char **names = calloc(program->n_outputs + 1, sizeof *names);
    if (!names) col_out_of_memory((program->n_outputs + 1) * sizeof *names);
    col_status status = NULL;
    for (size_t i = 0; i < program->n_outputs && !status; i++) {
        names[i] = program->outputs[i]->name;
        if (!program->outputs[i]->view)
            status = col_verify_bad("output", names[i], "has no view");
        else
            status = col_verify_view(plan, program->outputs[i]->view, names[i]);
    }
    if (!status) status = check_unique("output", names, program->n_outputs);
    free(names);
    return status;
}

/* Logs and figures. */

/* A layout of a tensor of any rank. */
static bool is_layout(const col_plan *plan, const char *text)
{
    col_layout layout;
    int rank = 0;
    for (const char *at = text; *at && *at != '+'; at++) rank += *at == 'S' || *at == 'R';
    return rank <= COL_PLAN_MAX_RANK && col_layout_parse(text, rank, (int)plan->n_mesh, &layout);
}

static col_status check_sharding(const col_plan *plan)
{
    const Col__Plan__Sharding *s = plan->sharding;
    if (!s) return NULL;
    double figures[] = {s->objective, s->bound, s->gap, s->seconds};
    bool sound = col_verify_amounts(COL_COUNT(figures), figures) && col_plan_find_program(plan, s->program);
    sound = sound && s->variables >= 0 && s->rows >= 0 && s->nodes >= 0 && s->edge_count >= 0 &&
            s->strategies >= 0 && s->peak_bytes <= INT64_MAX;
    if (!sound) return col_verify_bad("strategy log of program", s->program, "is malformed");
    for (size_t i = 0; i < s->n_ops; i++) {
        const Col__Plan__OpStrategy *op = s->ops[i];
        double amounts[] = {op->compute_seconds, op->communication_seconds, op->communication_bytes};
        if (!col_verify_amounts(COL_COUNT(amounts), amounts) || op->phase > 2 || op->memory_bytes > INT64_MAX)
            return col_verify_bad("strategy of op", op->name, "is malformed");
    }
    for (size_t i = 0; i < s->n_edges; i++) {
        const Col__Plan__EdgeLog *edge = s->edges[i];
        double amounts[] = {edge->bytes, edge->seconds};
        bool fits = is_layout(plan, edge->from_layout) && is_layout(plan, edge->to_layout);
        if (!fits || !col_verify_amounts(COL_COUNT(amounts), amounts) || edge->phase > 2)
            return col_verify_bad("logged edge from", edge->from, "is malformed");
    }
    for (size_t i = 0; i < s->n_alternatives; i++) {
        const Col__Plan__Alternative *a = s->alternatives[i];
        double amounts[] = {a->seconds, a->compute_seconds, a->communication_seconds};
        if (!col_verify_amounts(COL_COUNT(amounts), amounts) || a->peak_bytes > INT64_MAX)
            return col_verify_bad("alternative plan", a->plan, "is malformed");
    }
    return NULL;
}

static col_status check_figures(const col_plan *plan)
{
    double amounts[] = {plan->model_flops, plan->compile_seconds, plan->overlap};
    bool sound = col_verify_amounts(COL_COUNT(amounts), amounts) && plan->overlap <= 1;
    for (size_t i = 0; i < plan->n_passes; i++) sound &= col_verify_amounts(1, &plan->passes[i]->seconds);
    for (size_t i = 0; i < plan->source->n_settings; i++) {
        const Col__Plan__Setting *s = plan->source->settings[i];
        bool is_float = s->value_case == COL__PLAN__SETTING__VALUE_FLOAT_VALUE;
        sound &= !is_float || (s->float_value >= -DBL_MAX && s->float_value <= DBL_MAX);
    }
    return sound ? NULL : col_error_make(COL_BAD_INPUT, "a figure of its report is no number");
}

col_status col_plan_verify(const col_plan *plan)
{
    if (plan->version != COL_PLAN_VERSION)
        return col_error_make(COL_BAD_INPUT, "version %u is not known", plan->version);
    if (plan->state_bytes > plan->arena_bytes)
        return col_error_make(COL_BAD_INPUT, "the state part exceeds the arena");
    if (plan->accumulate < 0 || plan->accumulate > INT32_MAX)
        return col_error_make(COL_BAD_INPUT, "a step has %lld micro-batches", (long long)plan->accumulate);
    COL_TRY(check_mesh(plan));
    if (!plan->source) return col_error_make(COL_BAD_INPUT, "it has no source");
    COL_TRY(check_figures(plan));
    if (!plan->n_programs) return col_error_make(COL_BAD_INPUT, "it has no program");
    extent *extents = calloc(plan->n_variables + 1, sizeof *extents);
    const char **names = calloc(COL_MAX(plan->n_variables, plan->n_programs) + 1, sizeof *names);
    if (!extents || !names) col_out_of_memory((plan->n_variables + 1) * sizeof *extents);
    col_status status = check_variables(plan, extents, names);
    for (size_t i = 0; i < plan->n_programs && !status; i++) {
        names[i] = plan->programs[i]->name;
        status = check_program(plan, plan->programs[i]);
    }
    if (!status) status = check_unique("program", names, plan->n_programs);
    if (!status) status = check_sharding(plan);
    free(names);
    free(extents);
    return status;
}
