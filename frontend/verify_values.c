#include "frontend/verify.h"

#include <math.h>
#include <string.h>

#include "ir/base/philox.h"

/* What an integer may be, from how the graph uses it. */
typedef struct range {
    int64_t limit; /* below this; INT64_MAX: nothing is known */
    bool has_ignored;
    int64_t ignored; /* a label that stands for none */
} range;

static int64_t dim(const col_value *value, int axis)
{
    return value->type.shape.dims[axis < 0 ? axis + value->type.shape.rank : axis];
}

static void narrow(range *r, int64_t limit)
{
    r->limit = COL_MIN(r->limit, COL_MAX(limit, 1));
}

static void find_range(const col_value *value, range *out)
{
    COL_FOR_EACH_USE (use, value) {
        const col_node *node = use->user;
        const col_value *first = col_node_operand(node, 0);
        bool passes = col_op_info_of(node->op)->op_class == COL_CLASS_VIEW || node->op == COL_OP_COPY ||
                      (node->op == COL_OP_CAST && col_dtype_is_integer(node->results[0].type.dtype));
        if ((node->op == COL_OP_EMBEDDING || node->op == COL_OP_SCATTER_ADD) && use->index == 1) {
            narrow(out, dim(first, 0));
        } else if (node->op == COL_OP_CROSS_ENTROPY && use->index == 1) {
            narrow(out, dim(first, -1));
            out->has_ignored = true;
            out->ignored = col_node_int(node, COL_ATTR_IGNORE_INDEX);
        } else if (node->op == COL_OP_UPDATE_SLICE && use->index == 2) {
            int axis = 0;
            COL_ASSERT(col_shape_axis(first->type.shape, col_node_int(node, COL_ATTR_AXIS), &axis));
            narrow(out, dim(first, axis) - dim(col_node_operand(node, 1), axis) + 1);
        } else if (node->op == COL_OP_ATTENTION_CACHED && use->index == 3) {
            narrow(out, dim(col_node_operand(node, 1), 1) - dim(first, 1) + 1);
        } else if (node->op == COL_OP_POSITION_IDS) { /* counts on from here */
            range counted = {.limit = INT64_MAX};
            find_range(&node->results[0], &counted);
            if (counted.limit != INT64_MAX) narrow(out, counted.limit - dim(&node->results[0], -1) + 1);
        } else if (passes) {
            for (uint32_t i = 0; i < node->result_count; i++) find_range(&node->results[i], out);
        }
    }
}

/* Scalars that passes/optimizer.c reads: the middle of a cosine decay after a warm-up. */
static bool fill_named(const col_var *var, double *data)
{
    static const struct {
        const char *name;
        double value;
    } known[] = {{"lr", 0.1},          {"min_lr", 0.01},       {"warmup_steps", 5},
                 {"total_steps", 100}, {"optimizer.step", 10}, {"optimizer.loss_scale", 1024}};
    if (var->type.shape.rank) return false;
    for (size_t i = 0; i < COL_COUNT(known); i++) {
        if (strcmp(var->name, known[i].name)) continue;
        data[0] = known[i].value;
        return true;
    }
    return false;
}

typedef struct stream {
    uint64_t seed;
    uint32_t salt;
} stream;

static double uniform(const stream *s, uint32_t step, int64_t index)
{
    return col_philox_at(s->seed, step, s->salt, (uint64_t)index);
}

static double normal(const stream *s, int64_t index)
{
    return sqrt(-2 * log(uniform(s, 1, index) + 0x1p-25)) *
           cos(2 * 3.14159265358979323846 * uniform(s, 2, index));
}

static double integer(const col_var *var, const range *r, const stream *s, int64_t index)
{
    if (var->kind == COL_VAR_STATE) return 0; /* counters */
    if (r->has_ignored && uniform(s, 1, index) < 0.125) return (double)r->ignored;
    return floor(uniform(s, 0, index) * (double)(r->limit == INT64_MAX ? 4 : r->limit));
}

/* A parameter starts as the model says, moved a little so that zeros and ones matter too. States are positive
 * and about a hundredth: a second moment of this size divides well. */
static double real(const col_var *var, const stream *s, int64_t index)
{
    double u = uniform(s, 0, index), moved = 0.02 * (2 * u - 1);
    if (var->kind == COL_VAR_INPUT) return 2 * u - 1;
    if (var->kind == COL_VAR_STATE) return 0.01 * (0.25 + u);
    switch (var->init.kind) {
    case COL_INIT_CONSTANT: return var->init.a + moved;
    case COL_INIT_NORMAL: return var->init.a + var->init.b * normal(s, index) + moved;
    case COL_INIT_UNIFORM: return var->init.a + (var->init.b - var->init.a) * uniform(s, 1, index) + moved;
    default: return moved;
    }
}

void col_verify_fill(const col_var *var, int64_t seed, double *data)
{
    if (fill_named(var, data)) return;
    stream s = {(uint64_t)seed, (uint32_t)col_hash_bytes(var->name, strlen(var->name), 1)};
    range r = {.limit = INT64_MAX};
    find_range(var->value, &r);
    int64_t count = col_shape_numel(var->type.shape);
    for (int64_t i = 0; i < count; i++) {
        if (var->type.dtype == COL_BOOL)
            data[i] = uniform(&s, 0, i) < 0.5;
        else if (col_dtype_is_integer(var->type.dtype))
            data[i] = integer(var, &r, &s, i);
        else
            data[i] = var->type.dtype == COL_F64 ? real(var, &s, i) : (float)real(var, &s, i);
    }
}
