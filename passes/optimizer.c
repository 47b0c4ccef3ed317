/* The optimizer step as part of the graph: accumulation, clipping, learning-rate schedule, update.
 *
 * needs     autodiff: outputs "grad.<parameter>"
 * provides  inputs lr, min_lr (f32 scalars), warmup_steps, total_steps (i32 scalars); states
 *           optimizer.step, <p>.adam_m and <p>.adam_v (Adam family, LAMB) or <p>.momentum (SGD, LARS), all zero
 *           at first;
 *           outputs grad_norm and learning_rate; assignments of parameters and states.
 *           With options->accumulate > 1 also optimizer.micro and <p>.grad
 * breaks    the grad.* outputs are gone unless options->keep_gradients; then they are those of the whole
 * step, before clipping
 *
 * With t = optimizer.step, the number of steps done before this one:
 *
 * Accumulation over N micro-batches, in the backward phase, which runs N times before the update phase runs
 * once. The counter optimizer.micro knows which micro-batch this is, so nothing has to be reset:
 *   <p>.grad <- (micro = 0 ? 0 : <p>.grad) + g / N          micro <- (micro + 1) mod N
 *
 * Clipping, as torch.nn.utils.clip_grad_norm_ (clip_norm = 0: none):
 *   grad_norm = sqrt(sum over parameters and elements of g^2)      g <- g min(1, clip_norm / (grad_norm +
 * 1e-6))
 *
 * A step whose grad_norm is infinite or not a number changes no parameter and no state, but for the scale of the
 * loss where scale_loss added one.
 *
 * Learning rate, as nanoGPT's get_lr; constant stays at lr after the warm-up:
 *   t < warmup_steps:  lr (t + 1) / (warmup_steps + 1)
 *   else:              min_lr + c (lr - min_lr), with r = (t - warmup_steps) / (total_steps - warmup_steps)
 *                      cut to [0, 1] and c = (1 + cos(pi r)) / 2 (cosine), 1 - r (linear), (1 - r)^2 (square)
 *
 * Update, as torch.optim (weight decay d on parameters of two and more dimensions, 0 on others):
 *   AdamW  p <- p (1 - lr d)          Adam, SGD  g <- g + d p
 *   Adam*  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
 *          p <- p - lr / (1 - b1^(t+1)) m / (sqrt(v) / sqrt(1 - b2^(t+1)) + eps)
 *   SGD    buf <- momentum buf + g,  p <- p - lr buf
 * and with a trust ratio T of each parameter, as Colossal-AI 0.5 (|x| is the 2-norm; T = 1 where a norm of the
 * fraction's is 0):
 *   LARS   T = min(trust |p| / (|g| + d |p| + eps), 50),  g <- g + d p cut to [-10, 10],
 *          buf <- momentum buf + g,  p <- p - lr T buf                      You et al., arXiv 1708.03888
 *   LAMB   m, v as Adam,  u = m / (sqrt(v) + eps) + d p,  T = |p| / |u|,
 *          p <- p - lr T u                                      You et al., arXiv 1904.00962 (v3: no debiasing)
 *
 * What is a scalar is computed once, so that one elementwise kernel per parameter is left. On a mesh the norms
 * are of whole parameters: partitioning adds the parts up. */
#include "ir/ops/family.h"
#include "passes/scale_loss.h"

#include <math.h>
#include <string.h>

typedef struct trained {
    col_var *var;
    col_value *gradient; /* f32 from the update phase on, and clipped from the update on */
    col_value *squares;  /* of the gradient before clipping, summed */
} trained;

typedef struct state {
    col_graph *graph;
    const col_pass_options *options;
    col_builder b;
    col_diags diags;
    COL_VEC(trained) parameters;
    /* Scalars of the step, f32. */
    col_value *sound; /* bool: the gradient norm is a number */
    col_value *rate;  /* learning rate */
    col_value *clip;  /* factor of all gradients; NULL: none */
    col_value *keep;  /* AdamW: 1 - lr d */
    col_value *pace;  /* Adam family: lr / (1 - b1^(t+1)) */
    col_value *level; /* Adam family: 1 / sqrt(1 - b2^(t+1)) */
} state;

/* LARS, as Colossal-AI. */
static const double most_trust = 50, most_gradient = 10;

/* A variable that the step adds; the name is taken only by a model that uses ours. NULL after a fault. */
static col_var *add_var(state *s, col_var_kind kind, const char *name, col_dtype dtype, col_shape shape)
{
    const col_var *taken = col_graph_find_var(s->graph, name);
    if (taken) {
        col_diag_add(&s->diags, taken->loc, "the name '%s' belongs to the optimizer; rename this variable",
                     name);
        return NULL;
    }
    return col_graph_add_var(s->graph, kind, name, col_type_make(dtype, shape), (col_init){0}, (col_loc){0});
}

static col_value *scalar_input(state *s, const char *name, col_dtype dtype)
{
    col_var *var = add_var(s, COL_VAR_INPUT, name, dtype, (col_shape){0});
    return var ? var->value : NULL;
}

static col_var *parameter_state(state *s, const trained *p, const char *what)
{
    const char *name = col_arena_printf(s->graph->arena, "%s.%s", p->var->name, what);
    col_var *var = add_var(s, COL_VAR_STATE, name, COL_F32, p->var->type.shape);
    if (var) var->stored = p->var->stored;
    return var;
}

/* Takes the "grad.<parameter>" outputs out of the graph. */
static void take_gradients(state *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->graph->outputs.len; i++) {
        col_output output = s->graph->outputs.data[i];
        col_var *var =
            strncmp(output.name, "grad.", 5) ? NULL : col_graph_find_var(s->graph, output.name + 5);
        if (var)
            col_vec_push(s->graph->arena, &s->parameters, ((trained){.var = var, .gradient = output.value}));
        else
            s->graph->outputs.data[kept++] = output;
    }
    s->graph->outputs.len = kept;
}

static void accumulate(state *s)
{
    int64_t n = s->options->accumulate;
    col_builder *b = &s->b;
    col_var *counter = add_var(s, COL_VAR_STATE, "optimizer.micro", COL_I32, (col_shape){0});
    if (!counter) return;
    col_value *micro = counter->value;
    col_value *first = col_build_binary(b, COL_OP_EQ, micro, op_like(b, 0, micro));
    for (size_t i = 0; i < s->parameters.len; i++) {
        trained *p = &s->parameters.data[i];
        col_var *sum = parameter_state(s, p, "grad");
        if (!sum) continue;
        b->scope = p->var->name;
        col_value *before = col_build_where(b, first, op_like(b, 0, sum->value), sum->value);
        p->gradient = op_add(b, before, op_scale(b, op_wide(b, p->gradient), 1 / (double)n));
        col_build_assign(b, sum, p->gradient);
    }
    b->scope = "optimizer";
    col_value *last = col_build_binary(b, COL_OP_EQ, micro, op_like(b, (double)(n - 1), micro));
    col_build_assign(b, counter, col_build_where(b, last, op_like(b, 0, micro), op_shift(b, micro, 1)));
}

static col_value *sum_squares(col_builder *b, col_value *x)
{
    return col_build_sum_to(b, op_mul(b, x, x), (col_shape){0});
}

static void clip(state *s)
{
    col_builder *b = &s->b;
    col_value *squares = NULL;
    for (size_t i = 0; i < s->parameters.len; i++) {
        trained *p = &s->parameters.data[i];
        b->scope = p->var->name;
        p->gradient = col_build_cast(b, p->gradient, COL_F32);
        p->squares = sum_squares(b, p->gradient);
        squares = squares ? op_add(b, squares, p->squares) : p->squares;
    }
    b->scope = "optimizer";
    col_value *norm = col_build_unary(b, COL_OP_SQRT, squares);
    col_graph_add_output(s->graph, "grad_norm", norm, (col_loc){0});
    s->sound = col_build_binary(&s->b, COL_OP_LT, norm, col_build_scalar(&s->b, INFINITY, COL_F32));
    if (s->options->clip_norm > 0) {
        col_value *ratio = op_div(b, op_like(b, s->options->clip_norm, norm), op_shift(b, norm, 1e-6));
        s->clip = col_build_binary(b, COL_OP_MINIMUM, ratio, op_like(b, 1, norm));
    }
}

/* The part of lr - min_lr that is left, `r` of the way from the end of the warm-up to the last step. */
static col_value *decay_left(state *s, col_value *r)
{
    col_builder *b = &s->b;
    col_value *rest = op_complement(b, r);
    if (s->options->lr_schedule == COL_LR_LINEAR) return rest;
    if (s->options->lr_schedule == COL_LR_SQUARE) return op_mul(b, rest, rest);
    return op_shift(b, op_scale(b, col_build_unary(b, COL_OP_COS, op_scale(b, r, M_PI)), 0.5), 0.5);
}

static void schedule_rate(state *s, col_value *step)
{
    col_builder *b = &s->b;
    col_value *rate = scalar_input(s, "lr", COL_F32), *floor = scalar_input(s, "min_lr", COL_F32);
    col_value *warmup = scalar_input(s, "warmup_steps", COL_I32);
    col_value *total = scalar_input(s, "total_steps", COL_I32);
    if (s->diags.total) return;
    col_value *t = col_build_cast(b, step, COL_F32), *start = col_build_cast(b, warmup, COL_F32);
    col_value *rising = op_mul(b, rate, op_div(b, op_shift(b, t, 1), op_shift(b, start, 1)));
    col_value *settled = rate;
    if (s->options->lr_schedule != COL_LR_CONSTANT) {
        col_value *span = op_sub(b, col_build_cast(b, total, COL_F32), start);
        col_value *r =
            op_div(b, op_sub(b, t, start), col_build_binary(b, COL_OP_MAXIMUM, span, op_like(b, 1, t)));
        r = col_build_binary(b, COL_OP_MINIMUM, col_build_binary(b, COL_OP_MAXIMUM, r, op_like(b, 0, r)),
                             op_like(b, 1, r));
        settled = op_add(b, floor, op_mul(b, decay_left(s, r), op_sub(b, rate, floor)));
    }
    s->rate = col_build_where(b, col_build_binary(b, COL_OP_LT, step, warmup), rising, settled);
    col_graph_add_output(s->graph, "learning_rate", s->rate, (col_loc){0});
}

/* 1 - beta^steps, for f32 `steps`. With x = steps log(beta), 1 - exp(x) cancels near x = 0, where
 * beta = 0.999 begins: there the series -x (1 + x/2 (1 + x/3 (1 + x/4 (1 + x/5)))) is exact to rounding. */
static col_value *bias_correction(state *s, double beta, col_value *steps)
{
    col_builder *b = &s->b;
    if (beta == 0) return op_like(b, 1, steps);
    col_value *x = op_scale(b, steps, log(beta)), *series = op_like(b, 1, x);
    for (int i = 5; i >= 2; i--) series = op_shift(b, op_mul(b, op_scale(b, x, 1.0 / i), series), 1);
    series = op_neg(b, op_mul(b, x, series));
    col_value *near = col_build_binary(b, COL_OP_GT, x, op_like(b, -0.05, x));
    return col_build_where(b, near, series, op_complement(b, op_exp(b, x)));
}

/* old factor + new (1 - factor) */
static col_value *average(col_builder *b, col_value *old, col_value *new, double factor)
{
    return op_add(b, op_scale(b, old, factor), op_scale(b, new, 1 - factor));
}

/* A step whose gradient norm is infinite or not a number changes nothing, so that the run can be looked into.
 */
static void assign_if_sound(state *s, col_var *var, col_value *value)
{
    col_build_assign(&s->b, var, col_build_where(&s->b, s->sound, value, var->value));
}

/* Moves Adam's moments on. False after a fault. */
static bool move_moments(state *s, const trained *p, col_value **out_mean, col_value **out_square)
{
    col_builder *b = &s->b;
    col_var *m = parameter_state(s, p, "adam_m"), *v = parameter_state(s, p, "adam_v");
    if (!m || !v) return false;
    *out_mean = average(b, m->value, p->gradient, s->options->beta1);
    *out_square = average(b, v->value, op_mul(b, p->gradient, p->gradient), s->options->beta2);
    assign_if_sound(s, m, *out_mean);
    assign_if_sound(s, v, *out_square);
    return true;
}

/* momentum buf + gradient, which becomes the buffer. NULL after a fault. */
static col_value *move_buffer(state *s, const trained *p, col_value *gradient)
{
    col_builder *b = &s->b;
    if (s->options->momentum == 0) return gradient;
    col_var *buffer = parameter_state(s, p, "momentum");
    if (!buffer) return NULL;
    gradient = op_add(b, op_scale(b, buffer->value, s->options->momentum), gradient);
    assign_if_sound(s, buffer, gradient);
    return gradient;
}

static col_value *decayed(state *s, const trained *p, col_value *weights, double decay)
{
    return decay == 0 ? p->gradient : op_add(&s->b, p->gradient, op_scale(&s->b, weights, decay));
}

static col_value *adam_update(state *s, trained *p, col_value *weights, double decay)
{
    col_builder *b = &s->b;
    col_value *mean, *square;
    if (s->options->optimizer == COL_OPTIMIZER_ADAM)
        p->gradient = decayed(s, p, weights, decay);
    else if (decay != 0)
        weights = op_mul(b, weights, s->keep);
    if (!move_moments(s, p, &mean, &square)) return NULL;
    col_value *deviation = op_mul(b, col_build_unary(b, COL_OP_SQRT, square), s->level);
    col_value *move = op_div(b, mean, op_shift(b, deviation, s->options->eps));
    return op_sub(b, weights, op_mul(b, move, s->pace));
}

static col_value *sgd_update(state *s, trained *p, col_value *weights, double decay)
{
    col_value *move = move_buffer(s, p, decayed(s, p, weights, decay));
    return move ? op_sub(&s->b, weights, op_mul(&s->b, move, s->rate)) : NULL;
}

/* Where both norms are above 0 the ratio, else 1. */
static col_value *trusted(col_builder *b, col_value *one, col_value *other, col_value *ratio)
{
    col_value *first = col_build_binary(b, COL_OP_GT, one, op_like(b, 0, one));
    col_value *second = col_build_binary(b, COL_OP_GT, other, op_like(b, 0, other));
    return col_build_where(b, col_build_binary(b, COL_OP_AND, first, second), ratio, op_like(b, 1, ratio));
}

static col_value *lars_update(state *s, trained *p, col_value *weights, double decay)
{
    col_builder *b = &s->b;
    col_value *size = col_build_unary(b, COL_OP_SQRT, sum_squares(b, weights));
    col_value *slope = col_build_unary(b, COL_OP_SQRT, p->squares);
    if (s->clip) slope = op_mul(b, slope, s->clip);
    col_value *against = op_shift(b, op_add(b, slope, op_scale(b, size, decay)), s->options->eps);
    col_value *trust = op_div(b, op_scale(b, size, s->options->trust), against);
    trust = trusted(b, size, slope, trust);
    trust = col_build_binary(b, COL_OP_MINIMUM, trust, op_like(b, most_trust, trust));
    col_value *gradient = decayed(s, p, weights, decay);
    gradient = col_build_binary(b, COL_OP_MINIMUM, gradient, op_like(b, most_gradient, gradient));
    gradient = col_build_binary(b, COL_OP_MAXIMUM, gradient, op_like(b, -most_gradient, gradient));
    col_value *move = move_buffer(s, p, gradient);
    return move ? op_sub(b, weights, op_mul(b, move, op_mul(b, s->rate, trust))) : NULL;
}

static col_value *lamb_update(state *s, trained *p, col_value *weights, double decay)
{
    col_builder *b = &s->b;
    col_value *mean, *square;
    if (!move_moments(s, p, &mean, &square)) return NULL;
    col_value *deviation = col_build_unary(b, COL_OP_SQRT, square);
    col_value *move = op_div(b, mean, op_shift(b, deviation, s->options->eps));
    if (decay != 0) move = op_add(b, move, op_scale(b, weights, decay));
    col_value *size = col_build_unary(b, COL_OP_SQRT, sum_squares(b, weights));
    col_value *stride = col_build_unary(b, COL_OP_SQRT, sum_squares(b, move));
    col_value *trust = trusted(b, size, stride, op_div(b, size, stride));
    return op_sub(b, weights, op_mul(b, move, op_mul(b, s->rate, trust)));
}

static void update_parameter(state *s, trained *p)
{
    static col_value *(*const rules[])(state *, trained *, col_value *, double) = {
        [COL_OPTIMIZER_ADAMW] = adam_update, [COL_OPTIMIZER_ADAM] = adam_update,
        [COL_OPTIMIZER_SGD] = sgd_update,    [COL_OPTIMIZER_LARS] = lars_update,
        [COL_OPTIMIZER_LAMB] = lamb_update,
    };
    col_builder *b = &s->b;
    double decay = p->var->stored.rank >= 2 ? s->options->weight_decay : 0;
    b->scope = p->var->name;
    col_value *weights = col_build_cast(b, p->var->value, COL_F32);
    if (s->clip) p->gradient = op_mul(b, p->gradient, s->clip);
    col_value *updated = rules[s->options->optimizer](s, p, weights, decay);
    if (updated) assign_if_sound(s, p->var, col_build_cast(b, updated, p->var->type.dtype));
}

static void update_all(state *s, col_var *counter)
{
    col_builder *b = &s->b;
    const col_pass_options *o = s->options;
    b->scope = "optimizer";
    col_value *next = op_shift(b, counter->value, 1);
    schedule_rate(s, counter->value);
    if (s->diags.total) return;
    if (o->optimizer == COL_OPTIMIZER_ADAMW && o->weight_decay != 0)
        s->keep = op_complement(b, op_scale(b, s->rate, o->weight_decay));
    if (o->optimizer == COL_OPTIMIZER_ADAMW || o->optimizer == COL_OPTIMIZER_ADAM) {
        col_value *steps = col_build_cast(b, next, COL_F32);
        s->pace = op_div(b, s->rate, bias_correction(s, o->beta1, steps));
        s->level = col_build_unary(b, COL_OP_RSQRT, bias_correction(s, o->beta2, steps));
    }
    assign_if_sound(s, counter, next);
    col_loss_scale_update(b, o, s->sound);
    for (size_t i = 0; i < s->parameters.len; i++) update_parameter(s, &s->parameters.data[i]);
}

col_status col_pass_optimizer(col_graph *graph, const col_pass_options *options)
{
    state s = {.graph = graph, .options = options, .diags = {.arena = graph->arena}};
    take_gradients(&s);
    if (!s.parameters.len) {
        return col_error_make(COL_BAD_INPUT,
                              "the model '%s' has no gradients; run the pass 'autodiff' before 'optimizer'",
                              graph->name);
    }
    COL_ASSERT(options->accumulate >= 1);
    s.b = (col_builder){.graph = graph, .phase = COL_PHASE_BACKWARD, .scope = "optimizer"};
    col_var *counter = add_var(&s, COL_VAR_STATE, "optimizer.step", COL_I32, (col_shape){0});
    if (options->accumulate > 1) accumulate(&s);
    for (size_t i = 0; options->keep_gradients && i < s.parameters.len; i++) {
        const trained *p = &s.parameters.data[i];
        col_graph_add_output(graph, col_arena_printf(graph->arena, "grad.%s", p->var->name), p->gradient,
                             p->var->loc);
    }
    s.b.phase = COL_PHASE_UPDATE;
    if (counter) {
        clip(&s);
        update_all(&s, counter);
    }
    return col_diags_status(&s.diags);
}
