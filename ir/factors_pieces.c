/* Pieces of dimensions, cut and united (see factors_model.h).
 *
 * A dimension starts as one *piece*. Relations unite pieces and cut them: that [12] is [3, 4] in row-major
 * order cuts the 12 into an outer 3 and an inner 4, wherever it stands. Pieces are a forest of trees under
 * union-find: a root that was cut has two children, of smaller sizes, and the leaves below a dimension's
 * piece, outermost first, are its run. The leaves that are left in the end are the factors, those apart that
 * can never be split.
 *
 * Two runs of one product are joined from the outside in. The outermost sizes p and q have their outermost
 * gcd(p, q) parts in common: both are cut there, and the cut parts united. Where p and q are coprime (3
 * against 2 in [3, 4] and [2, 6]) nothing can be said before the products of both meet again, and all pieces
 * up to there are whole. */
#include "ir/base/divisor.h"
#include "ir/factors_model.h"

int col_pieces_add(col_factors *f, int64_t size, bool whole)
{
    int at = (int)f->pieces.len;
    col_factor_piece p = {.size = size, .parent = at, .outer = -1, .inner = -1, .factor = -1, .whole = whole};
    col_vec_push(f->arena, &f->pieces, p);
    return at;
}

static int root_of(const col_factors *f, int at)
{
    col_factor_piece *pieces = f->pieces.data;
    while (pieces[at].parent != at) at = pieces[at].parent = pieces[pieces[at].parent].parent;
    return at;
}

col_factor_walk col_pieces_walk(const col_factors *f, const col_factor_tensor *t, int from, int to)
{
    col_factor_walk w = {.count = 0};
    for (int d = to - 1; d >= from; d--) {
        int at = f->dims.data[t->first + (size_t)d].piece;
        if (at >= 0) w.pending[w.count++] = at;
    }
    return w;
}

int col_pieces_next(const col_factors *f, col_factor_walk *w)
{
    if (!w->count) return -1;
    int at = root_of(f, w->pending[--w->count]);
    while (f->pieces.data[at].outer >= 0) {
        COL_ASSERT(w->count < COL_FACTOR_PENDING);
        w->pending[w->count++] = f->pieces.data[at].inner;
        at = root_of(f, f->pieces.data[at].outer);
    }
    return at;
}

/* The outermost part, of `size`, of a leaf just met. The rest is what the walk meets next. */
static int cut(col_factors *f, col_factor_walk *w, int leaf, int64_t size)
{
    int64_t whole = f->pieces.data[leaf].size;
    if (whole == size) return leaf;
    int outer = col_pieces_add(f, size, f->pieces.data[leaf].whole);
    int inner = col_pieces_add(f, whole / size, f->pieces.data[leaf].whole);
    f->pieces.data[leaf].outer = outer;
    f->pieces.data[leaf].inner = inner;
    w->pending[w->count++] = inner;
    return outer;
}

static void unite(col_factors *f, int a, int b)
{
    f->pieces.data[b].parent = a;
    f->pieces.data[a].whole |= f->pieces.data[b].whole;
}

/* From leaves a and b on, which have no common part, to where both walks have covered the same product. */
static void pass_over(col_factors *f, col_factor_walk *x, int a, col_factor_walk *y, int b)
{
    int64_t p = f->pieces.data[a].size, q = f->pieces.data[b].size;
    f->pieces.data[a].whole = f->pieces.data[b].whole = true;
    while (p != q) {
        int next = col_pieces_next(f, p < q ? x : y);
        COL_ASSERT(next >= 0);
        f->pieces.data[next].whole = true;
        *(p < q ? &p : &q) *= f->pieces.data[next].size;
    }
}

void col_pieces_join(col_factors *f, col_factor_walk *x, col_factor_walk *y)
{
    for (;;) {
        int a = col_pieces_next(f, x), b = col_pieces_next(f, y);
        COL_ASSERT((a < 0) == (b < 0));
        if (a < 0) return;
        if (a == b) continue;
        int64_t common = col_common_divisor(f->pieces.data[a].size, f->pieces.data[b].size);
        if (common == 1) {
            pass_over(f, x, a, y, b);
            continue;
        }
        a = cut(f, x, a, common);
        b = cut(f, y, b, common);
        unite(f, a, b);
    }
}

int col_pieces_outermost(const col_factors *f, int at)
{
    col_factor_walk w = {.pending = {at}, .count = 1};
    return col_pieces_next(f, &w);
}
