/* The neutral linear model: building, evaluating, writing. */
#include "solver/lp.h"

#include "ir/base/file.h"
#include "ir/base/str.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

col_lp *col_lp_create(col_arena *arena)
{
    col_lp *lp = COL_NEW(arena, col_lp);
    lp->arena = arena;
    return lp;
}

int32_t col_lp_add_variable(col_lp *lp, double lower, double upper, double objective, bool integer,
                            const char *name)
{
    COL_ASSERT(lower <= upper && isfinite(objective) && lower < INFINITY && upper > -INFINITY);
    COL_ASSERT(lp->variables.len < INT32_MAX);
    col_lp_variable variable = {lower, upper, objective, integer, name, 0};
    col_vec_push(lp->arena, &lp->variables, variable);
    return (int32_t)lp->variables.len - 1;
}

int32_t col_lp_add_row(col_lp *lp, double lower, double upper, const col_lp_entry *entries, size_t count,
                       const char *name)
{
    COL_ASSERT(lower <= upper && lower < INFINITY && upper > -INFINITY && lp->rows.len < INT32_MAX);
    col_lp_row row = {lower, upper, lp->entries.len, 0, name};
    for (size_t k = 0; k < count; k++) {
        COL_ASSERT(entries[k].variable >= 0 && (size_t)entries[k].variable < lp->variables.len);
        COL_ASSERT(isfinite(entries[k].value));
        col_lp_variable *variable = &lp->variables.data[entries[k].variable];
        if (variable->last_entry > row.begin) {
            lp->entries.data[variable->last_entry - 1].value += entries[k].value;
            continue;
        }
        col_vec_push(lp->arena, &lp->entries, entries[k]);
        variable->last_entry = lp->entries.len;
    }
    row.count = lp->entries.len - row.begin;
    col_vec_push(lp->arena, &lp->rows, row);
    return (int32_t)lp->rows.len - 1;
}

double col_lp_objective(const col_lp *lp, const double *x)
{
    double sum = lp->constant;
    for (size_t j = 0; j < lp->variables.len; j++) sum += lp->variables.data[j].objective * x[j];
    return sum;
}

double col_lp_activity(const col_lp *lp, int32_t row, const double *x)
{
    const col_lp_row *r = &lp->rows.data[row];
    const col_lp_entry *entries = lp->entries.data + r->begin;
    double sum = 0;
    for (size_t k = 0; k < r->count; k++) sum += entries[k].value * x[entries[k].variable];
    return sum;
}

static double outside(double lower, double value, double upper)
{
    double below = isinf(lower) ? 0 : (lower - value) / (1 + fabs(lower));
    double above = isinf(upper) ? 0 : (value - upper) / (1 + fabs(upper));
    return fmax(fmax(below, above), 0);
}

double col_lp_violation(const col_lp *lp, const double *x)
{
    double worst = 0;
    for (size_t j = 0; j < lp->variables.len; j++) {
        const col_lp_variable *v = &lp->variables.data[j];
        worst = fmax(worst, outside(v->lower, x[j], v->upper));
        if (v->integer) worst = fmax(worst, fabs(x[j] - nearbyint(x[j])));
    }
    for (size_t i = 0; i < lp->rows.len; i++) {
        double activity = col_lp_activity(lp, (int32_t)i, x);
        worst = fmax(worst, outside(lp->rows.data[i].lower, activity, lp->rows.data[i].upper));
    }
    return worst;
}

/* Names in LP format are letters, digits and some signs, and do not look like numbers. */
static void append_name(col_str *out, const char *name, char kind, size_t index)
{
    if (!name || !isalpha((unsigned char)name[0]) || name[0] == 'e' || name[0] == 'E') {
        col_str_printf(out, "%c%zu", kind, index);
        if (name) col_str_append(out, "_");
    }
    for (const char *c = name ? name : ""; *c; c++) {
        bool plain = isalnum((unsigned char)*c) || strchr("_.", *c);
        col_str_append_bytes(out, plain ? c : "_", 1);
    }
}

static void append_term(col_str *out, const col_lp *lp, double value, size_t variable)
{
    col_str_printf(out, "\n   %c %.17g ", value < 0 ? '-' : '+', fabs(value));
    append_name(out, lp->variables.data[variable].name, 'x', variable);
}

static void append_row(col_str *out, const col_lp *lp, size_t index, const char *suffix, const char *relation,
                       double bound)
{
    const col_lp_row *row = &lp->rows.data[index];
    col_str_append(out, " ");
    append_name(out, row->name, 'r', index);
    col_str_printf(out, "%s:", suffix);
    for (size_t k = 0; k < row->count; k++) {
        const col_lp_entry *entry = &lp->entries.data[row->begin + k];
        append_term(out, lp, entry->value, (size_t)entry->variable);
    }
    if (row->count == 0) append_term(out, lp, 0, 0);
    col_str_printf(out, "\n   %s %.17g\n", relation, bound);
}

static void append_bounds(col_str *out, const col_lp *lp, size_t index)
{
    const col_lp_variable *v = &lp->variables.data[index];
    if (v->lower == 0 && isinf(v->upper)) return; /* the format's default */
    col_str_append(out, " ");
    if (isinf(v->lower) && isinf(v->upper)) {
        append_name(out, v->name, 'x', index);
        col_str_append(out, " free\n");
        return;
    }
    if (isinf(v->lower))
        col_str_append(out, "-inf <= ");
    else
        col_str_printf(out, "%.17g <= ", v->lower);
    append_name(out, v->name, 'x', index);
    if (!isinf(v->upper)) col_str_printf(out, " <= %.17g", v->upper);
    col_str_append(out, "\n");
}

col_status col_lp_dump(const col_lp *lp, const char *path)
{
    col_str out = {0};
    col_str_printf(&out, "\\ %zu variables, %zu rows; constant %.17g\nMinimize\n obj:", lp->variables.len,
                   lp->rows.len, lp->constant);
    for (size_t j = 0; j < lp->variables.len; j++) {
        if (lp->variables.data[j].objective != 0) append_term(&out, lp, lp->variables.data[j].objective, j);
    }
    col_str_append(&out, "\nSubject To\n");
    for (size_t i = 0; i < lp->rows.len; i++) {
        const col_lp_row *row = &lp->rows.data[i];
        if (row->lower == row->upper) {
            append_row(&out, lp, i, "", "=", row->lower);
            continue;
        }
        bool both = !isinf(row->lower) && !isinf(row->upper);
        if (!isinf(row->lower)) append_row(&out, lp, i, both ? "_lower" : "", ">=", row->lower);
        if (!isinf(row->upper)) append_row(&out, lp, i, both ? "_upper" : "", "<=", row->upper);
    }
    col_str_append(&out, "Bounds\n");
    for (size_t j = 0; j < lp->variables.len; j++) append_bounds(&out, lp, j);
    col_str_append(&out, "Generals\n");
    for (size_t j = 0; j < lp->variables.len; j++) {
        if (!lp->variables.data[j].integer) continue;
        col_str_append(&out, " ");
        append_name(&out, lp->variables.data[j].name, 'x', j);
        col_str_append(&out, "\n");
    }
    col_str_append(&out, "End\n");
    col_status status = col_file_write(path, out.data, out.len);
    col_str_fini(&out);
    return status;
}
