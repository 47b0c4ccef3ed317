/* Space to depth: a convolution with strides over few channels becomes one without strides over more. With stride s,
 * k taps and padding l on an axis, l' = ceil(l / s) s the padding as whole strides, f = l' - l taps of 0 before the
 * others, and k' = ceil((k + f) / s):
 *
 *   position s p + r of the padded input  becomes  channel r, position p      (r < s)
 *   tap      s j + r of the kernel        becomes  channel r, tap j           (0 from k on)
 *
 *   y[i] = sum_t x[s i - l + t] w[t] = sum_{j,r} x'[r, i + j] w'[r, j]
 *
 * The first convolution of a network reads three channels, of which tensor cores, whose operands are runs of channels,
 * make nothing: with a stride of 2 on two axes and a channel of zeros they get 16 (the "conv0 space-to-depth" of
 * MLPerf's ResNet submissions).
 *
 * needs     precision; no gradients yet
 * provides  convolutions of 16 bits and few channels without strides, where the strides divide the input
 * breaks    nothing; the images are rearranged in the kernel that casts them */
#include "ir/window.h"
#include "passes/channels_last.h"
#include "passes/pass.h"

enum { FEW = 8, MOST_AXES = 3 };

/* An axis: `front` and `back` zeros around it make `parts` runs of `stride`. */
typedef struct axis {
    int64_t front, back, parts, stride;
} axis;

/* [a, c, spatial...] with `channels` channels. */
typedef struct folding {
    int rank;
    int64_t channels;
    axis images[MOST_AXES], filters[MOST_AXES];
} folding;

static col_value *pad(col_builder *b, col_value *x, const int64_t *low, const int64_t *high)
{
    int rank = x->type.shape.rank;
    col_attr attrs[] = {col_attr_ints(COL_ATTR_LOW, rank, low), col_attr_ints(COL_ATTR_HIGH, rank, high)};
    return &col_build(b, COL_OP_PAD, 1, &x, COL_COUNT(attrs), attrs)->results[0];
}

/* [a, c, parts, stride, ...] of a tensor whose sizes the strides divide. */
static col_value *cut(col_builder *b, col_value *x, const folding *f, const axis *axes)
{
    col_shape shape = x->type.shape, to = {.rank = 2 + 2 * f->rank, .dims = {shape.dims[0], shape.dims[1]}};
    for (int i = 0; i < f->rank; i++) {
        to.dims[2 + 2 * i] = shape.dims[2 + i] / axes[i].stride;
        to.dims[3 + 2 * i] = axes[i].stride;
    }
    return col_build_reshape(b, x, to);
}

/* [a, c, parts, stride, ...] to [a, stride..., c, parts...], the first of which but a are channels. */
static col_value *fold(col_builder *b, col_value *x, const folding *f)
{
    col_shape shape = x->type.shape, joined = {.rank = 2 + f->rank, .dims = {shape.dims[0], shape.dims[1]}};
    int64_t order[COL_MAX_RANK] = {0};
    order[1 + f->rank] = 1;
    for (int i = 0; i < f->rank; i++) {
        order[1 + i] = 3 + 2 * i;
        order[2 + f->rank + i] = 2 + 2 * i;
        joined.dims[1] *= shape.dims[3 + 2 * i];
        joined.dims[2 + i] = shape.dims[2 + 2 * i];
    }
    return col_build_reshape(b, col_build_transpose(b, x, order), joined);
}

/* What a cast to 16 bits is made of. */
static col_value *uncast(col_value *x)
{
    return x->producer && x->producer->op == COL_OP_CAST ? col_node_operand(x->producer, 0) : x;
}

/* Zeros in whole strides: a kernel finds each element of the result without a padded copy between. */
static col_value *fold_images(col_builder *b, col_value *x, const folding *f)
{
    int64_t low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    high[1] = f->channels - x->type.shape.dims[1];
    for (int i = 0; i < f->rank; i++) {
        low[2 + 2 * i] = f->images[i].front / f->images[i].stride;
        high[2 + 2 * i] = f->images[i].back / f->images[i].stride;
    }
    return col_build_cast(b, fold(b, pad(b, cut(b, uncast(x), f, f->images), low, high), f), x->type.dtype);
}

static col_value *fold_filters(col_builder *b, col_value *w, const folding *f)
{
    int64_t low[COL_MAX_RANK] = {0}, high[COL_MAX_RANK] = {0};
    high[1] = f->channels - w->type.shape.dims[1];
    for (int i = 0; i < f->rank; i++) {
        low[2 + i] = f->filters[i].front;
        high[2 + i] = f->filters[i].back;
    }
    return col_build_cast(b, fold(b, cut(b, pad(b, uncast(w), low, high), f, f->filters), f), w->type.dtype);
}

/* False where it does not help, or cannot be done. */
static bool plan(const col_node *node, folding *f)
{
    if (node->op != COL_OP_CONV || !col_conv_wants_channels_last(node)) return false;
    col_window w = col_window_of(node);
    int64_t folded = 1;
    f->rank = w.rank;
    f->channels = col_node_operand(node, 0)->type.shape.dims[1];
    if (w.groups != 1 || f->channels >= FEW || w.rank > MOST_AXES) return false;
    for (int i = 0; i < w.rank; i++) {
        int64_t s = w.stride[i], front = (w.low[i] + s - 1) / s * s, first = front - w.low[i];
        int64_t taps = (w.kernel[i] + first + s - 1) / s;
        f->images[i] = (axis){front, 0, w.out[i] - 1 + taps, s};
        f->images[i].back = f->images[i].parts * s - front - w.size[i];
        f->filters[i] = (axis){first, taps * s - first - w.kernel[i], taps, s};
        if (w.dilation[i] != 1 || w.size[i] % s || f->images[i].back < 0) return false;
        folded *= s;
    }
    if (folded == 1 || folded > FEW) return false;
    while (f->channels * folded % FEW) f->channels++;
    return true;
}

col_status col_pass_space_to_depth(col_graph *graph, const col_pass_options *options)
{
    col_builder b = {.graph = graph};
    if (!options->channels_last) return NULL;
    COL_FOR_EACH_NODE_SAFE (node, graph) {
        folding f;
        if (!plan(node, &f)) continue;
        col_builder_at(&b, node);
        col_value *operands[] = {fold_images(&b, col_node_operand(node, 0), &f),
                                 fold_filters(&b, col_node_operand(node, 1), &f)};
        col_value *made = &col_build(&b, COL_OP_CONV, 2, operands, 0, NULL)->results[0];
        col_value_replace(graph, &node->results[0], made);
        col_graph_remove(node);
    }
    return NULL;
}
