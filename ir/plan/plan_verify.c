#include "ir/plan/plan_verify.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static col_status bad(const char *where, const char *name, const char *what)
{
    return col_error_make(COL_BAD_INPUT, "%s '%s': %s", where, name, what);
}

/* One past the last byte that the view touches; false on overflow or a malformed view. */
static bool view_end(const col_plan_view *view, uint64_t *out_end)
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

static col_status check_view(const col_plan *plan, const col_plan_view *view, const char *name)
{
    uint64_t end;
    if (!view_end(view, &end)) return bad("instruction", name, "malformed view");
    if (end > plan->arena_bytes) return bad("instruction", name, "a view reaches outside the arena");
    return NULL;
}

static bool same_dims(const col_plan_view *a, const col_plan_view *b, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (a->dims[i] != b->dims[i]) return false;
    }
    return true;
}

static bool matmul_is_sound(const col_plan_instruction *in)
{
    if (in->n_reads != 2 || in->n_writes != 1) return false;
    const col_plan_view *a = in->reads[0], *b = in->reads[1], *c = in->writes[0];
    size_t rank = a->n_dims;
    if (rank < 2 || b->n_dims != rank || c->n_dims != rank) return false;
    if (a->dtype != b->dtype || !same_dims(a, b, 0, rank - 2) || !same_dims(a, c, 0, rank - 2)) return false;
    return a->dims[rank - 1] == b->dims[rank - 2] && a->dims[rank - 2] == c->dims[rank - 2] &&
           b->dims[rank - 1] == c->dims[rank - 1];
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

static bool same_shape(const col_plan_view *a, const col_plan_view *b)
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
    if (!same_shape(out, q) || lse->n_dims != 3 || lse->dtype != COL__PLAN__DTYPE__F32) return false;
    if (lse->dims[0] != q->dims[0] || lse->dims[1] != q->dims[2] || lse->dims[2] != q->dims[1]) return false;
    if (how->backward && (!same_shape(in->reads[5], q) || !same_shape(in->writes[0], q) ||
                          !same_shape(in->writes[1], k) || !same_shape(in->writes[2], v))) {
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
           is_i32_scalar(in->reads[3]) && same_shape(in->writes[0], in->reads[0]);
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

/* Meshes. */

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

static bool is_row_major(const col_plan_view *view)
{
    int64_t stride = 1;
    for (size_t i = view->n_dims; i-- > 0;) {
        if (view->dims[i] > 1 && view->strides[i] != stride) return false;
        if (__builtin_mul_overflow(stride, view->dims[i], &stride)) return false;
    }
    return true;
}

static bool is_apart(const col_plan_view *a, const col_plan_view *b)
{
    uint64_t a_end, b_end;
    return view_end(a, &a_end) && view_end(b, &b_end) && (a_end <= b->offset || b_end <= a->offset);
}

static bool collective_is_sound(const col_plan *plan, const col_plan_instruction *in)
{
    const Col__Plan__Collective *how = in->collective;
    int64_t n = group_size(plan, how->n_axes, how->axes);
    if (!n || in->n_reads != 1 || in->n_writes != 1) return false;
    const col_plan_view *from = in->reads[0], *to = in->writes[0];
    bool in_place = how->kind == COL__PLAN__COLLECTIVE_KIND__ALL_REDUCE && from->offset == to->offset;
    if (!is_row_major(from) || !is_row_major(to) || !(in_place || is_apart(from, to))) return false;
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
    return is_times(from, to, how->dim, n) && same_but(from, to, how->dim, -1) && is_apart(from, to);
}

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

static bool convolution_is_sound(const col_plan_instruction *in)
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
    if (!is_row_major(x) || !is_row_major(w) || !is_row_major(y)) return false;
    int64_t groups = how->groups;
    if (groups < 1 || x->dims[1] % groups || x->dims[1] / groups != w->dims[1] || w->dims[0] % groups)
        return false;
    return x->dims[0] == y->dims[0] && w->dims[0] == y->dims[1] &&
           window_fits(how->window, rank - 2, x->dims + 2, w->dims + 2, y->dims + 2, true);
}

static bool pool_is_sound(const col_plan_instruction *in)
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
    if (!is_row_major(x) || !is_row_major(y)) return false;
    if (in->n_reads == 2 && (!same_shape(in->reads[0], x) || !is_row_major(in->reads[0]))) return false;
    return how->n_kernel == x->n_dims - 2 &&
           window_fits(how->window, how->n_kernel, x->dims + 2, how->kernel, y->dims + 2, false);
}

/* Figures that nothing runs by, but that reports rely on: finite, and no less than 0. */
static bool are_amounts(size_t count, const double *list)
{
    for (size_t i = 0; i < count; i++) {
        if (!(list[i] >= 0 && list[i] <= DBL_MAX)) return false;
    }
    return true;
}

static col_status check_kernel(const col_plan *plan, const col_plan_instruction *in)
{
    if (in->kernel->object >= plan->n_objects)
        return bad("instruction", in->name, "names a code object that is not there");
    if (!*in->kernel->symbol || in->kernel->range < 0)
        return bad("instruction", in->name, "malformed kernel");
    if (in->kernel->blocks < 0 || in->kernel->blocks > INT32_MAX ||
        in->kernel->threads > COL_PLAN_BLOCK_THREADS)
        return bad("instruction", in->name, "has a grid that no GPU takes");
    return NULL;
}

static col_status check_instruction(const col_plan *plan, const col_plan_instruction *in)
{
    for (size_t i = 0; i < in->n_reads; i++) COL_TRY(check_view(plan, in->reads[i], in->name));
    for (size_t i = 0; i < in->n_writes; i++) COL_TRY(check_view(plan, in->writes[i], in->name));
    double amounts[] = {in->flops, in->bytes, in->seconds};
    if (!are_amounts(COL_COUNT(amounts), amounts)) return bad("instruction", in->name, "has malformed costs");
    bool sound = false;
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return check_kernel(plan, in);
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: sound = matmul_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION: sound = attention_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: sound = attention_cached_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_SCATTER_ADD: sound = scatter_add_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_UPDATE_SLICE: sound = update_slice_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: sound = convolution_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_POOL: sound = pool_is_sound(in); break;
    case COL__PLAN__INSTRUCTION__KIND_COPY:
        sound = in->n_reads == 1 && in->n_writes == 1 && same_shape(in->reads[0], in->writes[0]);
        break;
    case COL__PLAN__INSTRUCTION__KIND_FILL: sound = in->n_reads == 0 && in->n_writes == 1; break;
    case COL__PLAN__INSTRUCTION__KIND_COLLECTIVE: sound = collective_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_SHARD: sound = shard_is_sound(plan, in); break;
    case COL__PLAN__INSTRUCTION__KIND_WAIT: /* the rest is for check_started */
        sound = in->n_reads == 1 && in->n_writes == 1;
        break;
    case COL__PLAN__INSTRUCTION__KIND__NOT_SET:
    default: return bad("instruction", in->name, "of a kind that this version does not know");
    }
    return sound ? NULL : bad("instruction", in->name, "its views do not fit its kind");
}

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
        if (!*names[i]) return bad(what, "", "has no name");
        if (i && !strcmp(names[i - 1], names[i])) return bad(what, names[i], "stands twice");
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
        return bad("variable", v->name, "has a malformed layout");
    if (layout.partial || !col_layout_fits(&layout, &mesh, rank, dims))
        return bad("variable", v->name, "has a layout that does not fit its shape");
    col_layout_local(&layout, &mesh, rank, dims, out_dims);
    *out_rank = rank;
    if (strcmp(v->name, COL_PLAN_COORDINATE)) return NULL;
    bool fits = v->kind == COL__PLAN__VARIABLE_KIND__INPUT && v->dtype == COL__PLAN__DTYPE__I32 &&
                v->n_dims == 1 && v->dims[0] == COL_MAX(mesh.rank, 1) && !col_layout_axes(&layout);
    return fits ? NULL : bad("variable", v->name, "is not an i32 for each axis of the mesh");
}

static col_status check_variable(const col_plan *plan, const col_plan_variable *v, extent *out_extent)
{
    int64_t strides[COL_PLAN_MAX_RANK] = {0}, dims[COL_PLAN_MAX_RANK], count, cut_count;
    int rank = 0;
    if (!count_elements(v->n_dims, v->dims, &count) ||
        !count_elements(v->n_cut_dims, v->cut_dims, &cut_count) || (v->n_cut_dims && cut_count != count)) {
        return bad("variable", v->name, "has a malformed shape");
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
    if (!view_end(&view, &end)) return bad("variable", v->name, "is malformed");
    if (end > plan->state_bytes)
        return bad("variable", v->name, "reaches outside the state part of the arena");
    bool is_integer = v->dtype == COL__PLAN__DTYPE__I32 || v->dtype == COL__PLAN__DTYPE__I64;
    if (v->index_bound < 0 || (v->index_bound && !is_integer))
        return bad("variable", v->name, "holds indices that are no integers");
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
            return bad("variable", extents[i].name, "overlaps another");
    }
    return check_unique("variable", names, plan->n_variables);
}

/* Whether an instruction leaves alone what a collective that is going on reads and writes. */
static bool leaves_alone(const col_plan_instruction *in, const col_plan_instruction *started)
{
    for (size_t i = 0; i < in->n_reads; i++) {
        if (!is_apart(in->reads[i], started->writes[0])) return false;
    }
    for (size_t i = 0; i < in->n_writes; i++) {
        if (!is_apart(in->writes[i], started->writes[0]) || !is_apart(in->writes[i], started->reads[0]))
            return false;
    }
    return true;
}

static bool same_place(const col_plan_view *a, const col_plan_view *b)
{
    return a->offset == b->offset && is_row_major(a) && same_shape(a, b);
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
    return wrong ? bad("instruction", program->instructions[i - 1]->name, wrong) : NULL;
}

static col_status check_program(const col_plan *plan, const col_plan_program *program)
{
    for (size_t i = 0; i < program->n_instructions; i++)
        COL_TRY(check_instruction(plan, program->instructions[i]));
    COL_TRY(check_started(program));
    const char **names = calloc(program->n_outputs + 1, sizeof *names);
    if (!names) col_out_of_memory((program->n_outputs + 1) * sizeof *names);
    col_status status = NULL;
    for (size_t i = 0; i < program->n_outputs && !status; i++) {
        names[i] = program->outputs[i]->name;
        if (!program->outputs[i]->view)
            status = bad("output", names[i], "has no view");
        else
            status = check_view(plan, program->outputs[i]->view, names[i]);
    }
    if (!status) status = check_unique("output", names, program->n_outputs);
    free(names);
    return status;
}

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
    bool sound = are_amounts(COL_COUNT(figures), figures) && col_plan_find_program(plan, s->program);
    sound = sound && s->variables >= 0 && s->rows >= 0 && s->nodes >= 0 && s->edge_count >= 0 &&
            s->strategies >= 0 && s->peak_bytes <= INT64_MAX;
    if (!sound) return bad("strategy log of program", s->program, "is malformed");
    for (size_t i = 0; i < s->n_ops; i++) {
        const Col__Plan__OpStrategy *op = s->ops[i];
        double amounts[] = {op->compute_seconds, op->communication_seconds, op->communication_bytes};
        if (!are_amounts(COL_COUNT(amounts), amounts) || op->phase > 2 || op->memory_bytes > INT64_MAX)
            return bad("strategy of op", op->name, "is malformed");
    }
    for (size_t i = 0; i < s->n_edges; i++) {
        const Col__Plan__EdgeLog *edge = s->edges[i];
        double amounts[] = {edge->bytes, edge->seconds};
        bool fits = is_layout(plan, edge->from_layout) && is_layout(plan, edge->to_layout);
        if (!fits || !are_amounts(COL_COUNT(amounts), amounts) || edge->phase > 2)
            return bad("logged edge from", edge->from, "is malformed");
    }
    for (size_t i = 0; i < s->n_alternatives; i++) {
        const Col__Plan__Alternative *a = s->alternatives[i];
        double amounts[] = {a->seconds, a->compute_seconds, a->communication_seconds};
        if (!are_amounts(COL_COUNT(amounts), amounts) || a->peak_bytes > INT64_MAX)
            return bad("alternative plan", a->plan, "is malformed");
    }
    return NULL;
}

static col_status check_figures(const col_plan *plan)
{
    double amounts[] = {plan->model_flops, plan->compile_seconds, plan->overlap};
    bool sound = are_amounts(COL_COUNT(amounts), amounts) && plan->overlap <= 1;
    for (size_t i = 0; i < plan->n_passes; i++) sound &= are_amounts(1, &plan->passes[i]->seconds);
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
