#include "frontend/verify.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "frontend/shrink.h"
#include "passes/autodiff.h"
#include "passes/gradcheck.h"

enum { SAMPLES = 16, MODEL_SAMPLES = 4, LARGE = 512 };

/* One kind of node: all nodes with the same signature and the same demand. */
typedef struct kind {
    const col_node *node; /* the one that is probed: the smallest */
    double work;
    size_t count;
    bool *wanted, *used;
} kind;

typedef struct checker {
    const col_verify_options *options;
    col_arena *arena;
    size_t failures;
} checker;

static double work_of(const col_node *node)
{
    double work = 0;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        work += (double)col_shape_numel(col_node_operand(node, i)->type.shape);
    }
    return work;
}

/* The kinds of the forward graph, in the order in which they first appear. */
static col_map *find_kinds(const col_graph *graph, col_arena *arena)
{
    const bool *active = col_autodiff_active(graph, arena);
    col_map *kinds = col_map_create(arena);
    COL_FOR_EACH_NODE (node, graph) {
        bool *wanted = COL_NEW_ARRAY(arena, bool, node->operand_count);
        bool *used = COL_NEW_ARRAY(arena, bool, node->result_count);
        if (!col_gradcheck_demand(node, active, wanted, used)) continue;
        col_str key = {0};
        col_str_append(&key, col_shrink_signature(node, arena));
        for (uint32_t i = 0; i < node->operand_count; i++) col_str_append(&key, wanted[i] ? "W" : "-");
        for (uint32_t i = 0; i < node->result_count; i++) col_str_append(&key, used[i] ? "U" : "-");
        kind *k = col_map_get(kinds, col_str_text(&key));
        if (!k) {
            k = COL_NEW(arena, kind);
            k->work = INFINITY;
            col_map_set(kinds, col_str_text(&key), k);
        }
        col_str_fini(&key);
        k->count++;
        if (work_of(node) >= k->work) continue;
        *k = (kind){node, work_of(node), k->count, wanted, used};
    }
    return kinds;
}

static void describe(const col_node *node, col_str *out)
{
    col_str_append(out, col_op_info_of(node->op)->name);
    const col_attr *equation = col_node_attr(node, COL_ATTR_EQUATION);
    if (equation) col_str_printf(out, " %s", equation->text);
    for (uint32_t i = 0; i < node->operand_count; i++) {
        col_str_append(out, i ? ", " : " ");
        col_type_print(col_node_operand(node, i)->type, out);
    }
}

static void print_check(checker *c, const char *what, size_t count, const col_gradcheck *check)
{
    bool bad = !(check->worst <= COL_GRADCHECK_TOLERANCE);
    char times[32] = "";
    if (count) snprintf(times, sizeof times, "x %zu", count);
    printf("  %-64s %6s %6lld elements %10.1e%s\n", what, times, (long long)check->checked, check->worst,
           bad ? "  WRONG" : "");
    if (!bad) return;
    printf("    operand %u, element %lld: analytic %.9g, numeric %.9g\n", check->worst_variable,
           (long long)check->worst_element, check->analytic, check->numeric);
    c->failures++;
}

static col_status check_kind(checker *c, const kind *k)
{
    col_gradcheck check = {0};
    /* Of a model whose sizes are written out, the op is made small; one that has sizes of its own is sampled.
     */
    const col_node *node = k->work < LARGE ? k->node : col_shrink_node(k->node, c->arena);
    int64_t samples = work_of(node) < 1e5 ? SAMPLES : work_of(node) < 1e6 ? 4 : 1;
    col_str text = {0};
    describe(node, &text);
    col_status status =
        col_gradcheck_node(node, k->wanted, k->used, samples, (uint64_t)c->options->seed, &check);
    if (!status) print_check(c, col_str_text(&text), k->count, &check);
    status = col_error_annotate(status, "checking '%s'", col_str_text(&text));
    col_str_fini(&text);
    return status;
}

/* The chain of all ops: the gradient of every parameter of the small model. Parameters are about 1, not as
 * they are initialised: near 0 a layer norm bends too fast for the differences. */
static col_status check_model(checker *c, col_graph *graph)
{
    col_pass_options options = col_pass_options_default();
    col_gradcheck check = {0};
    COL_TRY(col_pass_autodiff(graph, &options));
    col_tensor *vars = col_evaluate_vars(graph, c->arena);
    col_gradcheck_fill(graph, (uint64_t)c->options->seed, false, vars);
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_var *var = graph->vars.data[i];
        /* States may be variances, which are positive. */
        bool is_free = col_dtype_is_float(var->type.dtype) && var->kind != COL_VAR_STATE;
        if (!is_free) col_verify_fill(var, c->options->seed, vars[i].data);
    }
    COL_TRY(col_gradcheck_graph(graph, vars, MODEL_SAMPLES, (uint64_t)c->options->seed, &check));
    if (check.checked) print_check(c, "the whole model", 0, &check);
    return NULL;
}

static double graph_work(const col_graph *graph)
{
    return col_verify_estimate(graph).seconds * (double)graph->vars.len * 2 * MODEL_SAMPLES;
}

col_status col_verify_gradients(const col_source *source, const col_parse_options *parse,
                                const col_verify_options *options, size_t *out_failures)
{
    checker c = {.options = options, .arena = col_arena_create()};
    col_graph *graph;
    const char *settings;
    col_status status = col_shrink_parse(source, parse, c.arena, &graph, &settings);
    if (!status) {
        col_map *kinds = find_kinds(graph, c.arena);
        printf("gradients of %zu distinct ops, fp64 against central differences%s%s\n", kinds->len,
               *settings ? ", at " : "", settings);
        for (size_t i = 0; !status && i < kinds->len; i++) status = check_kind(&c, kinds->entries[i].value);
        if (!status && graph_work(graph) < options->time_limit) status = check_model(&c, graph);
    }
    *out_failures = c.failures;
    col_arena_destroy(c.arena);
    return status;
}
