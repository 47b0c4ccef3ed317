/* Dynamic loss scaling, for gradients that pass through f16: the backward phase starts from a scale S in place of
 * 1, so that small gradients do not become zero in 16 bits, and what reaches the optimizer is divided by S.
 *
 * needs     autodiff: the first node of the backward phase is the constant 1 of the loss's type that
 *           differentiation starts from; outputs grad.<parameter>
 * provides  states optimizer.loss_scale (f32, init_scale at first) and optimizer.growth_tracker (i32, 0); an output
 *           loss_scale, the S of this step; the outputs grad.<parameter> are f32 and unscaled. The output loss is
 *           as it was
 * breaks    nothing; `optimizer` assigns the states (col_loss_scale_update), since only it knows whether all
 *           gradients are finite. Does nothing unless products compute in f16
 *
 * The rule is that of torch.amp.GradScaler, with n = optimizer.growth_tracker:
 *   a gradient is infinite or not a number:   S <- max(S backoff_factor, 1),  n <- 0, and the step is skipped
 *   else n + 1 = growth_interval:             S <- S growth_factor if that is finite,  n <- 0
 *   else:                                     n <- n + 1
 * but for the floor 1: a gradient that is not finite there is not the scale's fault, and the trainer says so.
 *
 * Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740, section 3.2. */
#include "passes/scale_loss.h"

#include "ir/ops/family.h"
#include "passes/pass.h"

#include <float.h>
#include <string.h>

static const double LEAST_SCALE = 1;

static const char scale_name[] = "optimizer.loss_scale", tracker_name[] = "optimizer.growth_tracker";

/* The constant that differentiation starts from; NULL where there is none. */
static col_value *find_seed(const col_graph *graph)
{
    const col_value *loss = col_graph_find_output(graph, "loss");
    col_node *node = graph->first;
    while (node && node->phase != COL_PHASE_BACKWARD) node = node->next;
    if (!loss || !node || node->op != COL_OP_CONSTANT || node->results[0].type.shape.rank ||
        col_node_float(node, COL_ATTR_VALUE) != 1 || !col_type_equal(node->results[0].type, loss->type))
        return NULL;
    return &node->results[0];
}

static col_status add_state(col_graph *graph, const char *name, col_dtype dtype, col_init init, col_var **out)
{
    const col_var *taken = col_graph_find_var(graph, name);
    if (taken) {
        col_diags diags = {.arena = graph->arena};
        col_diag_add(&diags, taken->loc, "the name '%s' belongs to the loss's scaling; rename this variable",
                     name);
        return col_diags_status(&diags);
    }
    *out = col_graph_add_var(graph, COL_VAR_STATE, name, col_type_make(dtype, (col_shape){0}), init,
                             (col_loc){0});
    return NULL;
}

col_status col_pass_scale_loss(col_graph *graph, const col_pass_options *options)
{
    if (options->precision != COL_F16) return NULL;
    col_value *seed = find_seed(graph);
    col_var *scale, *tracker;
    if (!seed) {
        return col_error_make(COL_BAD_INPUT,
                              "the model '%s' has no gradients to scale; run the pass 'autodiff' before "
                              "'scale_loss'",
                              graph->name);
    }
    COL_TRY(
        add_state(graph, scale_name, COL_F32, (col_init){COL_INIT_CONSTANT, options->init_scale, 0}, &scale));
    COL_TRY(add_state(graph, tracker_name, COL_I32, (col_init){0}, &tracker));
    col_builder b = {.graph = graph};
    col_builder_at(&b, seed->producer);
    b.scope = "loss_scale";
    col_value *start = col_build_cast(&b, scale->value, seed->type.dtype);
    col_value *inverse = op_div(&b, op_like(&b, 1, scale->value), scale->value);
    col_value_replace(graph, seed, start);
    col_graph_remove(seed->producer);
    b.before = NULL;
    for (size_t i = 0; i < graph->outputs.len; i++) {
        col_output *output = &graph->outputs.data[i];
        if (strncmp(output->name, "grad.", 5)) continue;
        b.scope = output->name + 5;
        output->value = op_mul(&b, op_wide(&b, output->value), inverse);
    }
    col_graph_add_output(graph, "loss_scale", scale->value, (col_loc){0});
    return NULL;
}

void col_loss_scale_update(col_builder *b, const col_pass_options *options, col_value *sound)
{
    col_var *scale = col_graph_find_var(b->graph, scale_name);
    col_var *tracker = col_graph_find_var(b->graph, tracker_name);
    if (options->precision != COL_F16 || !scale || !tracker) return;
    col_value *S = scale->value, *next = op_shift(b, tracker->value, 1);
    col_value *is_due =
        col_build_binary(b, COL_OP_GE, next, op_like(b, (double)options->growth_interval, next));
    col_value *grown = op_scale(b, S, options->growth_factor);
    col_value *finite = col_build_binary(b, COL_OP_LE, grown, op_like(b, FLT_MAX, grown));
    col_value *lowered = op_scale(b, S, options->backoff_factor);
    lowered = col_build_binary(b, COL_OP_MAXIMUM, lowered, op_like(b, LEAST_SCALE, lowered));
    grown = col_build_where(b, col_build_binary(b, COL_OP_AND, is_due, finite), grown, S);
    next = col_build_where(b, is_due, op_like(b, 0, next), next);
    col_build_assign(b, scale, col_build_where(b, sound, grown, lowered));
    col_build_assign(b, tracker, col_build_where(b, sound, next, op_like(b, 0, next)));
}
