/* One instruction at a time: its views lie in the arena, and their number, ranks, dims and dtypes are those that its
 * kind wants. */
#include "ir/plan/plan_verify_ops.h"

#include <float.h>
#include <string.h>

col_status col_verify_bad(const char *where, const char *name, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s '%s': %s", where, name, what);
}

bool col_verify_view_end(const col_plan_view *view, uint64_t *out_end)
{
    size_t element = col_plan_dtype_size(view->dtype);
    if (!element || view->n_dims > COL_PLAN_MAX_RANK || view->n_dims != view->n_strides) return false;
    if (view->offset % element) return false;
    uint64_t last = 0; /* elements */
    for (size_t i = 0; i < view->n_dims; i++) {
        uint64_t reach;
        if (view->dims[i] < 1 || view->strides[i] < 0) return false;
        if (__builtin_mul_overflow((uint64_t)view->dims[i] - 1, (uint64_t)view->strides[i], &reach))
            return false;
        if (__builtin_add_overflow(last, reach, &last)) return false;
    }
    uint64_t bytes;
    if (__builtin_mul_overflow(last + 1, element, &bytes) || last + 1 == 0) return false;
    return !__builtin_add_overflow(view->offset, bytes, out_end);
}

col_status col_verify_view(const col_plan *plan, const col_plan_view *view, const char *name)
{
    uint64_t end;
    if (!col_verify_view_end(view, &end)) return col_verify_bad("instruction", name, "malformed view");
    if (end > plan->arena_bytes)
        return col_verify_bad("instruction", name, "a view reaches outside the arena");
    return NULL;
}

static bool same_dims(const col_plan_view *a, const col_plan_view *b, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (a->dims[i] != b->dims[i]) return false;
    }
    return true;
}

/* Of a product whose result is c. */
static bool epilogue_is_sound(const col_plan_instruction *in, const col_plan_view *c)
{
    Col__Plan__Epilogue epilogue = in->matmul->epilogue;
    size_t most = epilogue == COL__PLAN__EPILOGUE__BIAS_GELU ? 2 : 1;
    if (epilogue == COL__PLAN__EPILOGUE__NO_EPILOGUE) return in->n_reads == 2 && in->n_writes == 1;
    if (in->n_reads != 3 || in->n_writes < 1 || in->n_writes > most || c->n_dims != 2) return false;
    if (in->matmul->accumulate || (in->n_writes == 2 && !col_verify_same_shape(in->writes[1], c)))
        return false;
    const col_plan_view *third = in->reads[2];
    switch (epilogue) {
    case COL__PLAN__EPILOGUE__BIAS:
    case COL__PLAN__EPILOGUE__BIAS_GELU:
        return third->n_dims == 1 && third->dtype == c->dtype && third->dims[0] == c->dims[1] &&
               (third->strides[0] == 1 || third->dims[0] == 1);
    case COL__PLAN__EPILOGUE__GELU_SLOPE: return col_verify_same_shape(third, c);
    default: return false;
    }
}

static bool matmul_is_sound(const col_plan_instruction *in)
{
    if (in->n_reads < 2 || in->n_writes < 1) return false;
    const col_plan_view *a = in->reads[0], *b = in->reads[1], *c = in->writes[0];
    size_t rank = a->n_dims;
    if (rank < 2 || b->n_dims != rank || c->n_dims != rank) return false;
    if (a->dtype != b->dtype || !same_dims(a, b, 0, rank - 2) || !same_dims(a, c, 0, rank - 2)) return false;
    return a->dims[rank - 1] == b->dims[rank - 2] && a->dims[rank - 2] == c->dims[rank - 2] &&
           b->dims[rank - 1] == c->dims[rank - 1] && epilogue_is_sound(in, c);
}

/* q [b, t, h, d], k and v [b, s, h, d] */
static bool heads_agree(const col_plan_view *q, const col_plan_view *k, const col_plan_view *v)
{
    if (q->n_dims != 4 || k->n_dims != 4 || v->n_dims != 4) return false;
    return same_dims(k, v, 0, 4) && q->dims[0] == k->dims[0] && same_dims(q, k, 2, 4);
}

static bool is_rng(const col_plan_view *view)
{
    return view->dtype == COL__PLAN__DTYPE__I64 && view->n_dims == 1 && view->dims[0] == 2 &&
           view->strides[0] == 1;
}

static bool is_i64_scalar(const col_plan_view *view)
{
    return view->n_dims == 0 && view->dtype == COL__PLAN__DTYPE__I64;
}

bool col_verify_same_shape(const col_plan_view *a, const col_plan_view *b)
{
    return a->n_dims == b->n_dims && a->dtype == b->dtype && same_dims(a, b, 0, a->n_dims);
}

static bool attention_is_sound(const col_plan_instruction *in)
{
    const Col__Plan__Attention *how = in->attention;
    size_t fixed = how->backward ? 6 : 3;
    if (!(how->rate >= 0 && how->rate < 1)) return false;
    size_t first = fixed + (how->masked ? 1 : 0) + (how->rate > 0 ? 1 : 0); /* where `first` stands */
    if (in->n_reads != first + (how->heads > 0 ? 1 : 0)) return false;
    if (in->n_writes != (how->backward ? 3u : 2u)) return false;
    const col_plan_view *q = in->reads[0], *k = in->reads[1], *v = in->reads[2];
    if (!heads_agree(q, k, v)) return false;
    const col_plan_view *out = how->backward ? in->reads[3] : in->writes[0];
    const col_plan_view *lse = how->backward ? in->reads[4] : in->writes[1];
    if (!col_verify_same_shape(out, q) || lse->n_dims != 3 || lse->dtype != COL__PLAN__DTYPE__F32)
        return false;
    if (lse->dims[0] != q->dims[0] || lse->dims[1] != q->dims[2] || lse->dims[2] != q->dims[1]) return false;
    if (how->backward &&
        (!col_verify_same_shape(in->reads[5], q) || !col_verify_same_shape(in->writes[0], q) ||
         !col_verify_same_shape(in->writes[1], k) || !col_verify_same_shape(in->writes[2], v))) {
        return false;
    }
    if (how->masked) {
        const col_plan_view *mask = in->reads[fixed];
        if (mask->n_dims != 4 || mask->dims[0] != q->dims[0] || mask->dims[1] != q->dims[2] ||
            mask->dims[2] != q->dims[1] || mask->dims[3] != k->dims[1]) {
            return false;
        }
    }
    if (how->heads && (how->rate == 0 || how->heads < q->dims[2] || !is_i64_scalar(in->reads[first])))
        return false;
    return how->rate == 0 || is_rng(in->reads[first - 1]);
}

static bool is_i32_scalar(const col_plan_view *view)
{
    return view->n_dims == 0 && view->dtype == COL__PLAN__DTYPE__I32;
}

static bool attention_cached_is_sound(const col_plan_instruction *in)
{
    return in->n_reads == 4 && in->n_writes == 1 && heads_agree(in->reads[0], in->reads[1], in->reads[2]) &&
           is_i32_scalar(in->reads[3]) && col_verify_same_shape(in->writes[0], in->reads[0]);
}

static bool scatter_add_is_sound(const col_plan_instruction *in)
{
    if (in->n_reads != 2 || in->n_writes != 1) return false;
    const col_plan_view *ids = in->reads[0], *updates = in->reads[1], *base = in->writes[0];
    return ids->dtype == COL__PLAN__DTYPE__I32 && base->n_dims == 2 && updates->n_dims == ids->n_dims + 1 &&
           same_dims(ids, updates, 0, ids->n_dims) && updates->dims[ids->n_dims] == base->dims[1] &&
           updates->dtype == base->dtype;
}

static bool update_slice_is_sound(const col_plan_instruction *in)
{
    if (in->n_reads != 2 || in->n_writes != 1) return false;
    const col_plan_view *update = in->reads[0], *base = in->writes[0];
    int axis = in->update_slice->axis;
    if (!is_i32_scalar(in->reads[1]) || update->n_dims != base->n_dims || update->dtype != base->dtype)
        return false;
    if (axis < 0 || (size_t)axis >= base->n_dims || update->dims[axis] > base->dims[axis]) return false;
    return same_dims(update, base, 0, (size_t)axis) &&
           same_dims(update, base, (size_t)axis + 1, base->n_dims);
}

/* Collectives. */

/* The ranks of a group; 0 when an axis is not of the mesh or stands twice. */
static int64_t group_size(const col_plan *plan, size_t count, const uint32_t *axes)
{
    int64_t size = count ? 1 : 0;
    uint32_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (axes[i] >= plan->n_mesh || seen >> axes[i] & 1) return 0;
        seen |= UINT32_C(1) << axes[i];
        size *= plan->mesh[axes[i]];
    }
    return size;
}

/* Dimension `dim` of `a` is n times that of `b`. */
static bool is_times(const col_plan_view *a, const col_plan_view *b, int32_t dim, int64_t n)
{
    int64_t product;
    if (dim < 0 || (size_t)dim >= a->n_dims || a->n_dims != b->n_dims) return false;
    return !__builtin_mul_overflow(b->dims[dim], n, &product) && product == a->dims[dim];
}

/* All dimensions but two are equal. */
static bool same_but(const col_plan_view *a, const col_plan_view *b, int32_t dim, int32_t other)
{
    if (a->dtype != b->dtype || a->n_dims != b->n_dims) return false;
    for (size_t i = 0; i < a->n_dims; i++) {
        if ((int64_t)i != dim && (int64_t)i != other && a->dims[i] != b->dims[i]) return false;
    }
    return true;
}

bool col_verify_row_major(const col_plan_view *view)
{
    int64_t stride = 1;
    for (size_t i = view->n_dims; i-- > 0;) {
        if (view->dims[i] > 1 && view->strides[i] != stride) return false;
        if (__builtin_mul_overflow(stride, view->dims[i], &stride)) return false;
    }
    return true;
}

bool col_verify_apart(const col_plan_view *a, const col_plan_view *b)
{
    uint64_t a_end, b_end;
    return col_verify_view_end(a, &a_end) && col_verify_view_end(b, &b_end) &&
           (a_end <= b->offset || b_end <= a->offset);
}

static bool collective_is_sound(const col_plan *plan, const col_plan_instruction *in)
{
    const Col__Plan__Collective *how = in->collective;
    int64_t n = group_size(plan, how->n_axes, how->axes);
    if (!n || in->n_reads != 1 || in->n_writes != 1) return false;
    const col_plan_view *from = in->reads[0], *to = in->writes[0];
    bool in_place = how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE && from->offset == to->offset;
    if (!col_verify_row_major(from) || !col_verify_row_major(to) || !(in_place || col_verify_apart(from, to)))
        return false;
    bool reduces = how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE ||
                   how->kind == COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER;
    if (reduces &&
        (from->dtype > COL__PLAN__DTYPE__I64 || (unsigned)how->reduce > COL__PLAN__REDUCE_KIND__MIN)) {
        return false;
    }
    uint64_t bytes = (uint64_t)col_plan_numel(from->n_dims, from->dims) * col_plan_dtype_size(from->dtype);
    if (!col_plan_collective_bytes(how, n, bytes, &bytes) || bytes != how->bytes) return false;
    switch (how->kind) {
    case COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE: return same_but(from, to, -1, -1);
    case COL__PLAN__COLLECTIVE_KIND__ALL_GATHER:
        return is_times(to, from, how->dim, n) && same_but(from, to, how->dim, -1);
    case COL__PLAN__COLLECTIVE_KIND__REDUCE_SCATTER:
        return is_times(from, to, how->dim, n) && same_but(from, to, how->dim, -1);
    case COL__PLAN__COLLECTIVE_KIND__ALL_TO_ALL:
        return how->dim != how->from_dim && is_times(from, to, how->dim, n) &&
               is_times(to, from, how->from_dim, n) && same_but(from, to, how->dim, how->from_dim);
    case COL__PLAN__COLLECTIVE_KIND__BROADCAST: return how->root < n && same_but(from, to, -1, -1);
    case COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE:
        return how->shift && how->shift >= -COL_PLAN_MOST_RANKS && how->shift <= COL_PLAN_MOST_RANKS &&
               same_but(from, to, -1, -1);
    default: return false;
    }
}

static bool shard_is_sound(const col_plan *plan, const col_plan_instruction *in)
{
    const Col__Plan__Shard *how = in->shard;
    int64_t n = group_size(plan, how->n_axes, how->axes);
    if (!n || in->n_reads != 1 || in->n_writes != 1) return false;
    const col_plan_view *from = in->reads[0], *to = in->writes[0];
    return is_times(from, to, how->dim, n) && same_but(from, to, how->dim, -1) && col_verify_apart(from, to);
}

/* Windows. */

static bool in_range(size_t count, const int64_t *list, int64_t least)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] < least || list[i] > INT32_MAX) return false;
    }
    return true;
}

/* A window with a number for each of `rank` axes takes `size` to `out` with that kernel. Numbers of 31 bits
 * keep the sums below 2^63. */
static bool window_fits(const Col__Plan__Window *w, size_t rank, const int64_t *size, const int64_t *kernel,
                        const int64_t *out, bool in_padding)
{
    if (!w || w->n_strides != rank || w->n_low != rank || w->n_high != rank || w->n_dilations != rank)
        return false;
    if (!in_range(rank, w->strides, 1) || !in_range(rank, w->low, 0) || !in_range(rank, w->high, 0) ||
        !in_range(rank, w->dilations, 1) || !in_range(rank, size, 1) || !in_range(rank, kernel, 1)) {
        return false;
    }
    for (size_t i = 0; i < rank; i++) {
        int64_t reach = (kernel[i] - 1) * w->dilations[i], padded = size[i] + w->low[i] + w->high[i];
        if (reach + 1 > padded || (padded - reach - 1) / w->strides[i] + 1 != out[i]) return false;
        if (!in_padding && (w->low[i] > reach || w->high[i] > reach || w->dilations[i] > size[i]))
            return false;
    }
    return true;
}

/* [n, c, ...] that lies [n, ..., c]. */
static bool is_channels_last(const col_plan_view *view)
{
    int64_t stride = 1;
    for (size_t i = view->n_dims + 1; i-- > 0;) { /* the channels, then the others from behind */
        size_t d = i == view->n_dims ? 1 : i;
        if (d == 1 && i == 1) continue;
        if (view->dims[d] > 1 && view->strides[d] != stride) return false;
        if (__builtin_mul_overflow(stride, view->dims[d], &stride)) return false;
    }
    return true;
}

/* GPUs alone take channels last. */
static bool is_image(const col_plan *plan, const col_plan_view *view)
{
    return col_verify_row_major(view) || (!strcmp(plan->target, "cuda") && is_channels_last(view));
}

static bool convolution_is_sound(const col_plan *plan, const col_plan_instruction *in)
{
    const Col__Plan__Convolution *how = in->convolution;
    if (in->n_reads != 2 || in->n_writes != 1) return false;
    const col_plan_view *a = in->reads[0], *b = in->reads[1], *c = in->writes[0], *x, *w, *y;
    switch (how->kind) {
    case COL__PLAN__CONVOLUTION_KIND__CONV_FORWARD: x = a, w = b, y = c; break;
    case COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_INPUT: y = a, w = b, x = c; break;
    case COL__PLAN__CONVOLUTION_KIND__CONV_GRAD_WEIGHT: x = a, y = b, w = c; break;
    default: return false;
    }
    size_t rank = x->n_dims;
    if (rank < 3 || w->n_dims != rank || y->n_dims != rank || x->dtype != w->dtype || x->dtype != y->dtype)
        return false;
    if (!is_image(plan, x) || !is_image(plan, w) || !is_image(plan, y)) return false;
    int64_t groups = how->groups;
    if (groups < 1 || x->dims[1] % groups || x->dims[1] / groups != w->dims[1] || w->dims[0] % groups)
        return false;
    return x->dims[0] == y->dims[0] && w->dims[0] == y->dims[1] &&
           window_fits(how->window, rank - 2, x->dims + 2, w->dims + 2, y->dims + 2, true);
}

static bool pool_is_sound(const col_plan *plan, const col_plan_instruction *in)
{
    const Col__Plan__Pool *how = in->pool;
    bool reads_x = !how->backward || how->kind == COL__PLAN__POOL_KIND__POOL_MAX;
    if (how->kind != COL__PLAN__POOL_KIND__POOL_MAX && how->kind != COL__PLAN__POOL_KIND__POOL_AVERAGE)
        return false;
    if (in->n_reads != (reads_x && how->backward ? 2u : 1u) || in->n_writes != 1) return false;
    const col_plan_view *x = how->backward ? in->writes[0] : in->reads[0];
    const col_plan_view *y = how->backward ? in->reads[in->n_reads - 1] : in->writes[0];
    if (x->n_dims < 3 || y->n_dims != x->n_dims || x->dtype != y->dtype || !same_dims(x, y, 0, 2))
        return false;
    if (!is_image(plan, x) || !is_image(plan, y)) return false;
    if (in->n_reads == 2 && (!col_verify_same_shape(in->reads[0], x) || !is_image(plan, in->reads[0])))
        return false;
    return how->n_kernel == x->n_dims - 2 &&
           window_fits(how->window, how->n_kernel, x->dims + 2, how->kernel, y->dims + 2, false);
}

bool col_verify_amounts(size_t count, const double *list)
{
    for (size_t i = 0; i < count; i++) {
        if (!(list[i] >= 0 && list[i] <= DBL_MAX)) return false;
    }
    return true;
}

static col_status check_kernel(const col_plan *plan, const col_plan_instruction *in)
{
    if (in->kernel->object >= plan->n_objects)
        return col_verify_bad("instruction", in->name, "names a code object that is not there");
    if (!*in->kernel->symbol || in->kernel->range < 0)
        return col_verify_bad("instruction", in->name, "malformed kernel");
    if (in->kernel->blocks < 0 || in->kernel->blocks > INT32_MAX ||
        in->kernel->threads > COL_PLAN_BLOCK_THREADS)
        return col_verify_bad("instruction", in->name, "has a grid that no GPU takes");
    return NULL;
}

col_status col_verify_instruction(const col_plan *plan, const col_plan_instruction *in)
{
    for (size_t i = 0; i < in->n_reads; i++) COL_TRY(col_verify_view(plan, in->reads[i], in->name));
    for (size_t i = 0; i < in->n_writes; i++) COL_TRY(col_verify_view(plan, in->writes[i], in->name));
    double amounts[] = {in->flops, in->bytes, in->seconds};
    if (!col_verify_amounts(COL_COUNT(amounts), amounts))
        return col_verify_bad("instruction", in->name, "has malformed costs");
    bool sound = false;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return check_kernel(plan, in);
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: sound = matmul_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION: sound = attention_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: sound = attention_cached_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: sound = scatter_add_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE: sound = update_slice_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: sound = convolution_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_POOL: sound = pool_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_COPY:
        sound = in->n_reads == 1 && in->n_writes == 1 && col_verify_same_shape(in->reads[0], in->writes[0]);
        break;
    case COL__PLAN__INSTRUCTION__KIND_FILL: sound = in->n_reads == 0 && in->n_writes == 1; break;
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE: sound = collective_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_SHARD: sound = shard_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_WAIT: /* the rest is for check_started */
        sound = in->n_reads == 1 && in->n_writes == 1;
        break;
    case COL__PLAN__INSTRUCTION__KIND__NOT_SET:
    default: return col_verify_bad("instruction", in->name, "of a kind that this version does not know");
    }
    return sound ? NULL : col_verify_bad("instruction", in->name, "its views do not fit its kind");
}
