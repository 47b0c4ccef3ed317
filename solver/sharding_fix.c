/* The dual bound in exact arithmetic, and what it rules out.
 *
 * All numbers of the reparametrisation (sharding_dual.c) are rounded to multiples of 2^-f; any rounding of
 * what was moved and of the multipliers leaves a valid reparametrisation, so the bound computed from them in
 * integers is exact. With slack = cut - bound (in these multiples), an assignment that costs less than the cut
 * cannot use a strategy p of node i with
 *
 *     star_i(p) = d_i(p) + sum over edges e = (i, j) of A_e,i(p) >= slack,
 *     d_i(p)    = theta_i(p) - min theta_i,
 *     A_e,i(p)  = min_q (r'_e(p, q) + d_j(q)) - min r'_e
 *
 * since the star around i is minimised exactly and all else is bounded by its minimum; nor a pair (p, q) where
 * star_i(p) with x_j = q in place of the minimum over q passes the slack. */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAMBDA_BITS = 20 };
typedef __int128 wide;

typedef struct exact {
    int shift;       /* f */
    int64_t unit;    /* 2^f */
    int64_t **moved; /* [arc] */
    wide *theta;     /* [offset[n]] less the least of the node */
    wide bound;      /* scaled */
    int64_t *edge_least;
} exact;

/* What was moved may be anything: where the prices of memory drive it beyond 2^60, it stops there, and products
 * with the unit fit 64 bits. */
static double within_range(double moved)
{
    return fmax(-0x1p60, fmin(0x1p60, moved));
}

static exact exact_make(col_arena *arena, const dual *d)
{
    const model *m = d->m;
    const core *g = m->g;
    double largest = 1;
    for (int32_t e = 0; e < g->edge_count; e++) {
        size_t size = (size_t)g->k[g->u[e]] * (size_t)g->k[g->v[e]];
        for (size_t j = 0; j < size; j++)
            if (g->table[e][j] < INF) largest = fmax(largest, fabs((double)g->table[e][j]));
    }
    for (int32_t i = 0; i < m->n; i++)
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++)
            for (int32_t p = 0; p < m->k[i]; p++) largest = fmax(largest, fabs(within_range(d->moved[y][p])));
    exact x = {.shift = COL_MAX(0, COL_MIN(20, 58 - ilogb(largest)))};
    x.unit = (int64_t)1 << x.shift;
    double scale = (double)x.unit;
    x.moved = COL_NEW_ARRAY(arena, int64_t *, m->first_arc[m->n]);
    x.theta = COL_NEW_ARRAY(arena, wide, m->offset[m->n]);
    x.edge_least = COL_NEW_ARRAY(arena, int64_t, g->edge_count);

    /* Multipliers in units of 2^-(f + LAMBDA_BITS), at least 0. */
    double lambda_scale = ldexp(scale, LAMBDA_BITS);
    wide *prefix = COL_NEW_ARRAY(arena, wide, g->time_count + 1), room = 0;
    for (int32_t t = 0; t < g->time_count; t++) {
        double scaled = fmin(d->lambda[t] * lambda_scale, 0x1p62);
        int64_t lambda = scaled > 0 ? (int64_t)scaled : 0;
        prefix[t + 1] = prefix[t] + lambda;
        room += (wide)lambda * g->room[t];
    }
    x.bound = (wide)g->constant * x.unit - ((room + ((1 << LAMBDA_BITS) - 1)) >> LAMBDA_BITS);

    for (int32_t i = 0; i < m->n; i++) {
        wide *theta = x.theta + m->offset[i];
        for (int32_t p = 0; p < m->k[i]; p++) {
            wide use = 0;
            for (int32_t j = m->first_item[i]; j < m->first_item[i + 1]; j++)
                use += (prefix[g->items[j].upper] - prefix[g->items[j].lower]) * g->items[j].use[p];
            theta[p] = (wide)g->cost[i][p] * x.unit + (use >> LAMBDA_BITS);
        }
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            x.moved[y] = COL_NEW_ARRAY(arena, int64_t, m->k[i]);
            for (int32_t p = 0; p < m->k[i]; p++) {
                x.moved[y][p] = (int64_t)(within_range(d->moved[y][p]) * scale);
                theta[p] -= x.moved[y][p];
            }
        }
        wide least = theta[0];
        for (int32_t p = 1; p < m->k[i]; p++) least = COL_MIN(least, theta[p]);
        for (int32_t p = 0; p < m->k[i]; p++) theta[p] -= least;
        x.bound += least;
    }
    for (int32_t i = 0; i < m->n; i++) {
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            const arc *a = &m->arcs[y];
            if (a->other < i) continue;
            const int64_t *table = g->table[a->edge], *here = x.moved[y], *there = x.moved[m->twin[y]];
            int64_t least = INT64_MAX;
            for (int32_t p = 0; p < m->k[i]; p++) {
                for (int32_t q = 0; q < m->k[a->other]; q++, table++) {
                    if (*table >= INF) continue;
                    least = COL_MIN(least, *table * x.unit + here[p] + there[q]);
                }
            }
            COL_ASSERT(least < INT64_MAX); /* arc consistency left a finite pair */
            x.edge_least[a->edge] = least;
            x.bound += least;
        }
    }
    return x;
}

/* ceil(bound / 2^f): the optimum is a whole number. */
static int64_t round_bound(wide bound, int shift)
{
    wide up = (bound + (((wide)1 << shift) - 1)) >> shift;
    return up > INF ? INF : up < -INF ? -INF : (int64_t)up;
}

int64_t sharding_dual_bound(const dual *d)
{
    col_arena *scratch = col_arena_create();
    exact x = exact_make(scratch, d);
    int64_t bound = round_bound(x.bound, x.shift);
    col_arena_destroy(scratch);
    return bound;
}

int64_t sharding_dual_fix(const dual *d, core *g, changes *c, int64_t cut, size_t *out_ruled_out)
{
    const model *m = d->m;
    col_arena *scratch = col_arena_create();
    exact x = exact_make(scratch, d);
    int64_t bound = round_bound(x.bound, x.shift);
    wide slack = (wide)cut * x.unit - x.bound;
    size_t count = 0;
    /* A_e,i(p) per arc, and stars. */
    wide **side = COL_NEW_ARRAY(scratch, wide *, m->first_arc[m->n]);
    wide *star = col_arena_copy(scratch, x.theta, sizeof(wide) * (size_t)m->offset[m->n]);
    const wide most = (wide)1 << 100;
    for (int32_t i = 0; i < m->n; i++) {
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            const arc *a = &m->arcs[y];
            int32_t j = a->other, k = m->k[i], kq = m->k[j];
            const wide *dj = x.theta + m->offset[j];
            const int64_t *here = x.moved[y], *there = x.moved[m->twin[y]], *table = m->g->table[a->edge];
            size_t step_p = j > i ? (size_t)kq : 1, step_q = j > i ? 1 : (size_t)k;
            side[y] = COL_NEW_ARRAY(scratch, wide, k);
            for (int32_t p = 0; p < k; p++) {
                wide least = most;
                for (int32_t q = 0; q < kq; q++) {
                    int64_t r = table[(size_t)p * step_p + (size_t)q * step_q];
                    if (r >= INF) continue;
                    wide value = (wide)r * x.unit + here[p] + there[q] + dj[q];
                    least = COL_MIN(least, value);
                }
                side[y][p] = least - x.edge_least[a->edge];
                star[m->offset[i] + p] += side[y][p];
            }
        }
    }
    for (int32_t i = 0; i < m->n; i++) {
        for (int32_t p = 0; p < m->k[i]; p++) {
            if (star[m->offset[i] + p] < slack || !c->alive[i][p]) continue;
            c->alive[i][p] = 0;
            count++;
        }
    }
    for (int32_t i = 0; i < m->n; i++) {
        for (int32_t y = m->first_arc[i]; y < m->first_arc[i + 1]; y++) {
            const arc *a = &m->arcs[y];
            int32_t j = a->other, k = m->k[i], kq = m->k[j];
            if (j < i) continue;
            const wide *di = x.theta + m->offset[i], *dj = x.theta + m->offset[j];
            const int64_t *here = x.moved[y], *there = x.moved[m->twin[y]];
            const wide *near = side[y], *far = side[m->twin[y]];
            int64_t *table = g->table[a->edge];
            for (int32_t p = 0; p < k; p++) {
                wide star_p = star[m->offset[i] + p] - near[p];
                for (int32_t q = 0; q < kq; q++, table++) {
                    if (*table >= INF) continue;
                    wide pair = (wide)*table * x.unit + here[p] + there[q] - x.edge_least[a->edge];
                    wide value = COL_MAX(star_p + dj[q], star[m->offset[j] + q] - far[q] + di[p]) + pair;
                    if (value < slack) continue;
                    *table = INF;
                    count++;
                }
            }
        }
    }
    if (count) c->any = true;
    *out_ruled_out = count;
    col_arena_destroy(scratch);
    return bound;
}
