#include "passes/gradcheck.h"

#include "ir/base/philox.h"
#include "passes/autodiff.h"
#include "passes/pass.h"

#include <float.h>
#include <math.h>
#include <string.h>

static col_status loss_at(const col_graph *graph, const col_tensor *vars, double *out_loss)
{
    static const col_evaluate_options forward = {.last_phase = COL_PHASE_FORWARD};
    col_arena *arena = col_arena_create();
    col_evaluation evaluation;
    col_status status = col_evaluate(graph, &forward, vars, arena, &evaluation);
    *out_loss = NAN;
    for (size_t i = 0; !status && i < graph->outputs.len; i++) {
        if (!strcmp(graph->outputs.data[i].name, "loss")) *out_loss = evaluation.outputs[i].data[0];
    }
    col_arena_destroy(arena);
    return status;
}

/* Variables whose data may be changed: assignments of the graph and the differences write here. */
static col_tensor *copy_vars(const col_graph *graph, const col_tensor *vars, col_arena *arena)
{
    col_tensor *copies = col_evaluate_vars(graph, arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        memcpy(copies[i].data, vars[i].data, sizeof(double) * (size_t)col_shape_numel(vars[i].type.shape));
    }
    return copies;
}

/* The central difference of the loss at one element. */
static col_status difference(const col_graph *graph, const col_tensor *vars, double step, double *x,
                             double *out)
{
    double middle = *x, h = step * fmax(1, fabs(middle)), above, below;
    *x = middle + h;
    COL_TRY(loss_at(graph, vars, &above));
    *x = middle - h;
    COL_TRY(loss_at(graph, vars, &below));
    *x = middle;
    *out = (above - below) / (2 * h);
    return NULL;
}

static col_status check_variable(const col_graph *graph, const col_var *var, col_tensor gradient,
                                 double noise, const col_tensor *vars, int64_t samples, uint64_t seed,
                                 col_gradcheck *out)
{
    int64_t count = col_shape_numel(gradient.type.shape);
    int64_t checks = samples && samples < count ? samples : count;
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(gradient.data[i]));
    for (int64_t i = 0; i < checks; i++) {
        /* One element of each of `checks` equal runs. */
        int64_t length = count / checks;
        int64_t offset = (int64_t)(col_philox_at(seed, 0, var->index, (uint64_t)i) * (double)length);
        int64_t at = i * length + offset;
        double analytic = gradient.data[at], numeric;
        COL_TRY(difference(graph, vars, 1e-5, &vars[var->index].data[at], &numeric));
        double sum = fabs(analytic) + fabs(numeric) + 1e-3 * largest + noise;
        double error = sum == 0 ? 0 : fabs(analytic - numeric) / sum;
        if (error > COL_GRADCHECK_TOLERANCE) {
            /* A difference that a shorter step does not confirm is no derivative: there is a kink between. */
            double nearer;
            COL_TRY(difference(graph, vars, 3e-6, &vars[var->index].data[at], &nearer));
            if (fabs(numeric - nearer) > COL_GRADCHECK_TOLERANCE * sum) continue;
            /* A difference errs by the square of its step, much where the loss is curved (a batch norm of two
             * elements); of two steps one can tell what it would be without (Richardson, 1911). */
            double none = (nearer - 0.09 * numeric) / (1 - 0.09);
            if (fabs(analytic - none) < fabs(analytic - numeric)) numeric = none;
            error = fabs(analytic - numeric) / sum;
        }
        if (out->checked++ && (error <= out->worst || isnan(out->worst))) continue;
        out->worst = error;
        out->worst_variable = var->index;
        out->worst_element = at;
        out->analytic = analytic;
        out->numeric = numeric;
    }
    return NULL;
}

/* How far rounding may move the loss, which, or what cancels in it, is about 1 or more: sums are taken in
 * order, so a tensor of n elements is summed to within n units of the last place. Over a step of 1e-5 that is
 * the noise of a difference. */
static double loss_noise(const col_graph *graph, double loss)
{
    int64_t longest = 16;
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->result_count && node->phase == COL_PHASE_FORWARD; i++) {
            longest = COL_MAX(longest, col_shape_numel(node->results[i].type.shape));
        }
    }
    return DBL_EPSILON / 2 * (double)longest * fmax(fabs(loss), 1);
}

col_status col_gradcheck_graph(const col_graph *graph, const col_tensor *vars, int64_t samples, uint64_t seed,
                               col_gradcheck *out)
{
    static const col_evaluate_options backward = {.last_phase = COL_PHASE_BACKWARD};
    col_arena *arena = col_arena_create();
    col_evaluation evaluation;
    *out = (col_gradcheck){0};
    col_status status = col_evaluate(graph, &backward, copy_vars(graph, vars, arena), arena, &evaluation);
    col_tensor *moving = copy_vars(graph, vars, arena);
    double loss = 0;
    if (!status) status = loss_at(graph, moving, &loss);
    double noise = loss_noise(graph, loss) / 1e-5 / COL_GRADCHECK_TOLERANCE;
    for (size_t i = 0; !status && i < graph->outputs.len; i++) {
        const char *name = graph->outputs.data[i].name;
        const col_var *var = strncmp(name, "grad.", 5) ? NULL : col_graph_find_var(graph, name + 5);
        if (!var) continue;
        status = check_variable(graph, var, evaluation.outputs[i], noise, moving, samples, seed, out);
    }
    col_arena_destroy(arena);
    return status;
}

static col_value *add_operand(col_graph *graph, const char *what, uint32_t index, col_type type, bool wanted)
{
    const char *name = col_arena_printf(graph->arena, "%s%u", what, index);
    col_var_kind kind = wanted ? COL_VAR_PARAM : COL_VAR_INPUT;
    return col_graph_add_var(graph, kind, name, type, (col_init){0}, (col_loc){0})->value;
}

col_graph *col_gradcheck_probe(const col_node *node, const bool *wanted, const bool *used, col_arena *arena)
{
    col_graph *graph = col_graph_create(arena, col_op_info_of(node->op)->name);
    col_builder b = {.graph = graph, .loc = node->loc};
    col_value **operands = COL_NEW_ARRAY(arena, col_value *, node->operand_count), *loss = NULL;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        operands[i] = add_operand(graph, "x", i, col_node_operand(node, i)->type, wanted[i]);
        /* One value in two slots stays one: x + x is not x + y. */
        for (uint32_t j = 0; j < i; j++) {
            if (col_node_operand(node, j) == col_node_operand(node, i)) operands[i] = operands[j];
        }
    }
    col_node *copy = col_build(&b, node->op, node->operand_count, operands, node->attr_count, node->attrs);
    for (uint32_t i = 0; i < node->result_count; i++) {
        if (!used[i]) continue;
        col_value *result = &copy->results[i];
        col_value *weight = add_operand(graph, "weight", i, result->type, false);
        col_value *weighted = col_build_binary(&b, COL_OP_MUL, result, weight);
        col_value *sum = col_build_sum_to(&b, weighted, (col_shape){0});
        sum = col_build_cast(&b, sum, COL_F64);
        loss = loss ? col_build_binary(&b, COL_OP_ADD, loss, sum) : sum;
    }
    COL_ASSERT(loss);
    col_graph_add_output(graph, "loss", loss, node->loc);
    return graph;
}

void col_gradcheck_fill(const col_graph *probe, uint64_t seed, bool positive, col_tensor *vars)
{
    int64_t limit = INT64_MAX;
    for (int i = 0; probe->vars.len && i < probe->vars.data[0]->type.shape.rank; i++) {
        limit = COL_MIN(limit, probe->vars.data[0]->type.shape.dims[i]);
    }
    if (limit == INT64_MAX) limit = 1;
    for (size_t i = 0; i < probe->vars.len; i++) {
        col_type type = vars[i].type;
        int64_t count = col_shape_numel(type.shape);
        for (int64_t j = 0; j < count; j++) {
            double u = col_philox_at(seed, 1, (uint32_t)i, (uint64_t)j);
            if (type.dtype == COL_BOOL)
                vars[i].data[j] = u < 0.5;
            else if (col_dtype_is_integer(type.dtype))
                vars[i].data[j] = floor(u * (double)limit);
            else if (positive)
                vars[i].data[j] = 0.25 + u;
            else
                vars[i].data[j] = u < 0.5 ? 0.25 + 2 * u : -0.25 - 2 * (u - 0.5);
        }
    }
}

col_status col_gradcheck_node(const col_node *node, const bool *wanted, const bool *used, int64_t samples,
                              uint64_t seed, col_gradcheck *out)
{
    col_arena *arena = col_arena_create();
    col_pass_options options = col_pass_options_default();
    col_graph *probe = col_gradcheck_probe(node, wanted, used, arena);
    col_status status = col_pass_autodiff(probe, &options);
    col_tensor *vars = col_evaluate_vars(probe, arena);
    double loss = 0;
    col_gradcheck_fill(probe, seed, false, vars);
    if (!status) status = loss_at(probe, vars, &loss);
    if (isnan(loss)) col_gradcheck_fill(probe, seed, true, vars);
    if (!status) status = col_gradcheck_graph(probe, vars, samples, seed, out);
    col_arena_destroy(arena);
    return status;
}

bool col_gradcheck_demand(const col_node *node, const bool *active, bool *wanted, bool *used)
{
    bool any_wanted = false, any_used = false;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        wanted[i] = active[col_node_operand(node, i)->id];
        any_wanted |= wanted[i];
    }
    for (uint32_t i = 0; i < node->result_count; i++) {
        const col_value *result = &node->results[i];
        used[i] = false;
        if (!active[result->id]) continue;
        used[i] = col_value_is_output(node->graph, result);
        COL_FOR_EACH_USE (use, result)
            used[i] |= use->user->phase == COL_PHASE_FORWARD && use->user->op != COL_OP_ASSIGN;
        any_used |= used[i];
    }
    return any_wanted && any_used;
}
