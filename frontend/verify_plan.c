#include "frontend/verify.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ir/evaluate.h"
#include "runtime/session.h"

enum { PATIENCE = 300 }; /* seconds that a rank waits for another, beside the time of the reference */

/* What was compared. */
typedef struct comparison {
    const char *kind, *name;
    col_type type;
    double difference, largest; /* absolute: of the two, of the reference */
} comparison;

typedef struct checker {
    const col_verify_options *options;
    col_session *session, *gradients; /* `gradients`: NULL without a plan of its own */
    const col_plan *plan;
    col_arena *arena; /* of the comparisons */
    COL_VEC(comparison) comparisons;
    size_t failures;
} checker;

/* Bytes of a tensor and the doubles of the reference. */

static bool is_supported(col_dtype dtype)
{
    return dtype != COL_F16 && dtype != COL_BF16;
}

static void to_bytes(col_tensor tensor, void *out)
{
    int64_t count = col_shape_numel(tensor.type.shape);
    for (int64_t i = 0; i < count; i++) {
        double x = tensor.data[i];
        switch (tensor.type.dtype) {
        case COL_F32: ((float *)out)[i] = (float)x; break;
        case COL_F64: ((double *)out)[i] = x; break;
        case COL_I32: ((int32_t *)out)[i] = (int32_t)x; break;
        case COL_I64: ((int64_t *)out)[i] = (int64_t)x; break;
        case COL_I8: ((int8_t *)out)[i] = (int8_t)x; break;
        case COL_I16: ((int16_t *)out)[i] = (int16_t)x; break;
        case COL_U16: ((uint16_t *)out)[i] = (uint16_t)x; break;
        case COL_U32: ((uint32_t *)out)[i] = (uint32_t)x; break;
        case COL_U64: ((uint64_t *)out)[i] = (uint64_t)x; break;
        default: ((uint8_t *)out)[i] = (uint8_t)x; break;
        }
    }
}

static double from_bytes(col_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case COL_F32: return ((const float *)data)[i];
    case COL_F64: return ((const double *)data)[i];
    case COL_I32: return ((const int32_t *)data)[i];
    case COL_I64: return (double)((const int64_t *)data)[i];
    case COL_I8: return ((const int8_t *)data)[i];
    case COL_I16: return ((const int16_t *)data)[i];
    case COL_U16: return ((const uint16_t *)data)[i];
    case COL_U32: return ((const uint32_t *)data)[i];
    case COL_U64: return (double)((const uint64_t *)data)[i];
    default: return ((const uint8_t *)data)[i];
    }
}

static size_t bytes_of(col_type type)
{
    return (size_t)col_type_bytes(type);
}

static void *allocate(size_t bytes)
{
    void *data = malloc(COL_MAX(bytes, 1));
    if (!data) col_out_of_memory(bytes);
    return data;
}

static col_status write_variable(col_session *session, const col_var *var, col_tensor value)
{
    if (!session || !col_plan_find_variable(col_session_plan(session), var->name))
        return NULL; /* the plan has no use for it */
    if (!is_supported(var->type.dtype)) {
        return col_error_make(COL_BAD_INPUT, "'%s': tensors of type %s cannot be verified", var->name,
                              col_dtype_name(var->type.dtype));
    }
    void *data = allocate(bytes_of(var->type));
    to_bytes(value, data);
    col_status status = col_session_write(session, var->name, data, bytes_of(var->type));
    free(data);
    return status;
}

/* Comparing. */

static void compare(checker *c, const char *kind, const char *name, col_tensor reference, const void *data)
{
    comparison result = {kind, col_arena_strdup(c->arena, name), reference.type, 0, 0};
    int64_t count = col_shape_numel(reference.type.shape);
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs(from_bytes(reference.type.dtype, data, i) - reference.data[i]);
        if (!(difference <= result.difference)) result.difference = difference; /* NaN stays */
        if (isnan(result.difference)) break;
        result.largest = fmax(result.largest, fabs(reference.data[i]));
    }
    col_vec_push(c->arena, &c->comparisons, result);
}

static const char *output_kind(const char *name)
{
    return strncmp(name, "grad.", 5) ? "output" : "gradient";
}

static bool has_output(const col_session *session, const char *program, const char *name)
{
    return session && col_plan_find_output(col_plan_find_program(col_session_plan(session), program), name);
}

static col_status compare_outputs(checker *c, const col_graph *graph, const char *program,
                                  const col_evaluation *reference)
{
    for (size_t i = 0; i < graph->outputs.len; i++) {
        const char *name = graph->outputs.data[i].name;
        col_session *session = has_output(c->session, program, name) ? c->session : c->gradients;
        if (!has_output(session, program, name)) continue; /* left out because an input was not to be given */
        size_t bytes = bytes_of(reference->outputs[i].type);
        void *data = allocate(bytes);
        col_status status = col_session_output(session, program, name, data, bytes);
        if (!status) compare(c, output_kind(name), name, reference->outputs[i], data);
        free(data);
        COL_TRY(status);
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

static bool is_assigned(const col_graph *graph, const char *name)
{
    COL_FOR_EACH_NODE (node, graph) {
        if (node->op == COL_OP_ASSIGN && !strcmp(col_node_text(node, COL_ATTR_VARIABLE), name)) return true;
    }
    return false;
}

static col_status compare_variables(checker *c, const col_graph *graph, const col_tensor *vars)
{
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (var->kind == COL_VAR_INPUT || !col_plan_find_variable(c->plan, var->name)) continue;
        const char *kind = var->kind == COL_VAR_PARAM      ? "parameter"
                           : ends_with(var->name, ".grad") ? "gradient"
                                                           : "state";
        void *data = allocate(bytes_of(var->type));
        col_status status = col_session_read(c->session, var->name, data, bytes_of(var->type));
        if (!status) compare(c, kind, var->name, vars[i], data);
        free(data);
        COL_TRY(status);
        /* What the program does not write is listed only where it is no longer what it was. */
        if (!is_assigned(graph, var->name) && c->comparisons.data[c->comparisons.len - 1].difference == 0) {
            c->comparisons.len--;
        }
    }
    return NULL;
}

/* A gradient that is zero in exact arithmetic is rounding noise in the plan, 1e-7 of the largest gradient:
 * below a hundredth of that one, differences are measured against the hundredth. */
static double scale_of(const checker *c, const comparison *x)
{
    double most = 0;
    if (strcmp(x->kind, "gradient")) return x->largest;
    for (size_t i = 0; i < c->comparisons.len; i++) {
        const comparison *other = &c->comparisons.data[i];
        if (!strcmp(other->kind, "gradient")) most = fmax(most, other->largest);
    }
    return fmax(x->largest, 1e-2 * most);
}

static void print_comparisons(checker *c, const char *program)
{
    double worst = 0;
    const char *where = NULL;
    printf("\nprogram %s against the fp64 reference: largest difference, relative to the tensor's largest "
           "element\n",
           program);
    for (size_t i = 0; i < c->comparisons.len; i++) {
        const comparison *x = &c->comparisons.data[i];
        double scale = scale_of(c, x), relative = x->difference == 0 ? 0 : x->difference / scale;
        bool bad = !(relative <= c->options->tolerance);
        col_str type = {0};
        col_type_print(x->type, &type);
        printf("  %-9s  %-44s %-22s %9.1e%s\n", x->kind, x->name, col_str_text(&type), relative,
               bad ? "  WRONG" : "");
        col_str_fini(&type);
        c->failures += bad;
        if (where && !(relative > worst) && !isnan(relative)) continue;
        worst = relative;
        where = x->name;
    }
    if (where)
        printf("  %zu tensors; worst %.1e (%s), tolerance %.0e\n", c->comparisons.len, worst, where,
               c->options->tolerance);
    c->comparisons.len = 0;
}

/* Running. */

/* All variables get their numbers for the first run; later ones, of further micro-batches, only inputs. */
static col_status fill(checker *c, const col_graph *graph, int64_t run, col_tensor *vars)
{
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        if (run && var->kind != COL_VAR_INPUT) continue;
        col_verify_fill(var, c->options->seed + run, vars[i].data);
        COL_TRY(write_variable(c->session, var, vars[i]));
        COL_TRY(write_variable(c->gradients, var, vars[i]));
    }
    return NULL;
}

/* A program that has run, and its reference. */
typedef struct judged {
    checker *checker;
    const col_compile_graph *program;
    const col_evaluation *reference;
    const col_tensor *vars;
} judged;

static col_status judge(void *context)
{
    const judged *j = context;
    const col_graph *graph = j->program->graph;
    COL_TRY(compare_outputs(j->checker, graph, j->program->name, j->reference));
    COL_TRY(compare_variables(j->checker, graph, j->vars));
    print_comparisons(j->checker, j->program->name);
    return NULL;
}

static col_status check_program(checker *c, const col_compile_graph *program)
{
    const col_graph *graph = program->graph;
    bool trains = !strcmp(program->name, "step");
    int64_t runs = trains ? COL_MAX(c->plan->accumulate, 1) : 1;
    col_arena *scratch = col_arena_create();
    col_tensor *vars = col_evaluate_vars(graph, scratch);
    col_evaluation evaluation = {0};
    col_status status = NULL;
    for (int64_t run = 0; !status && run < runs; run++) {
        bool last = run + 1 == runs;
        col_evaluate_options how = {.last_phase = last ? COL_PHASE_UPDATE : COL_PHASE_BACKWARD};
        status = fill(c, graph, run, vars);
        if (!status) status = col_session_run(c->session, last ? program->name : "micro");
        if (!status && trains && c->gradients)
            status = col_session_run(c->gradients, last ? program->name : "micro");
        if (!status && col_session_leads(c->session))
            status = col_evaluate(graph, &how, vars, scratch, &evaluation);
    }
    judged judged = {c, program, &evaluation, vars};
    if (!status) status = col_session_lead(c->session, judge, &judged);
    col_arena_destroy(scratch);
    return status;
}

/* Refuses what would take too long or too much memory: that of the reference, and half as much for the plan.
 */
static col_status check_cost(const col_compile_options *compile, const col_verify_options *options,
                             const col_compile_graph *graphs, size_t count)
{
    char time[COL_HUMAN_SIZE], limit[COL_HUMAN_SIZE], bytes[COL_HUMAN_SIZE], memory[COL_HUMAN_SIZE];
    double seconds = 0, most = 0, physical = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < count; i++) {
        col_verify_cost cost = col_verify_estimate(graphs[i].graph);
        seconds += cost.seconds * (strcmp(graphs[i].name, "step") ? 1 : (double)compile->passes.accumulate);
        most = COL_MAX(most, 1.5 * cost.bytes);
    }
    col_format_seconds(time, seconds);
    col_format_bytes(bytes, most);
    static const char remedy[] =
        "verify a smaller model of the same kind, say with --set layers=2 --batch 1 --seq 32";
    if (most > physical) {
        return col_error_make(COL_BAD_INPUT,
                              "to verify this model takes about %s, and this machine has %s; %s", bytes,
                              col_format_bytes(memory, physical), remedy);
    }
    if (seconds > options->time_limit) {
        return col_error_make(COL_BAD_INPUT,
                              "the fp64 reference would take about %s, more than --time-limit %s; %s", time,
                              col_format_seconds(limit, options->time_limit), remedy);
    }
    if (seconds > 20) fprintf(stderr, "colc: the fp64 reference will take about %s and %s\n", time, bytes);
    return NULL;
}

col_status col_verify_plan(const char *plan_path, const char *gradients_path,
                           const col_compile_options *compile, const col_verify_options *options,
                           size_t *out_failures, bool *out_leads)
{
    col_compile_graph graphs[COL_COMPILE_PROGRAMS];
    size_t count = 0;
    checker c = {.options = options, .arena = col_arena_create()};
    /* Other ranks wait while this one walks. */
    col_session_options how = {.transport = "local", .timeout = options->time_limit + PATIENCE};
    col_status status = col_compile_graphs(compile, c.arena, graphs, &count);
    if (!status) status = check_cost(compile, options, graphs, count);
    *out_leads = true;
    if (!status) status = col_session_open(plan_path, &how, &c.session);
    if (!status) c.plan = col_session_plan(c.session);
    if (!status) *out_leads = col_session_leads(c.session);
    how.beside = c.session;
    if (!status && gradients_path) status = col_session_open(gradients_path, &how, &c.gradients);
    for (size_t i = 0; !status && i < count; i++) status = check_program(&c, &graphs[i]);
    *out_failures = c.failures;
    status = col_session_end(c.gradients, status);
    status = col_session_end(c.session, status);
    col_arena_destroy(c.arena);
    return status;
}
