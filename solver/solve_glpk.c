/* The only file that knows GLPK.
 *
 * The relaxation is solved by the dual simplex from the basis at hand: rows that come later (lazy rows) leave
 * that basis dual feasible, so each round costs few pivots. Lazy rows are looked for at every relaxation and
 * once more at the answer: the tree drops the rows of a subproblem with it, so a row that was made in one
 * subtree is offered again in another from the model, which keeps them all.
 *
 * What can go wrong in GLPK and what becomes of it:
 *   singular or ill-conditioned basis, failed factorisation, instability  ->  again from the standard basis
 *                                                            with the primal, then with presolving
 *   its internal checks call abort                     ->  the error hook jumps out; COL_INTERNAL with its
 * text it prints                                           ->  the terminal hook swallows all */
#include "solver/lp.h"

#include <glpk.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static const double ROW_TOLERANCE = 1e-6; /* relative violation at which a row is generated */
static const double DEFAULT_GAP = 1e-9;

typedef struct solver {
    col_lp *lp;
    const col_lp_limits *limits;
    double start, deadline;
    glp_prob *problem;
    double *x;      /* [variables] the point looked at */
    double *trial;  /* [variables] a heuristic's point */
    int *columns;   /* [variables + 1] scratch for a row, from 1 */
    double *values; /* [variables + 1] */
    double *best;   /* [variables] */
    bool has_best, start_offered;
    int32_t cutoff_row; /* of the problem, 0: none. It comes after the rows that the model had at the start */
    size_t root_rows;   /* rows of the model that are in the problem outside of the tree */
    double bound;
    int64_t nodes;
    char said[512]; /* what GLPK printed first */
    jmp_buf escape;
} solver;

static int hear(void *info, const char *text)
{
    solver *s = info;
    if (!s->said[0]) snprintf(s->said, sizeof s->said, "%s", text);
    return 1;
}

static void jump_out(void *info)
{
    solver *s = info;
    longjmp(s->escape, 1);
}

static int milliseconds_left(const solver *s)
{
    if (s->limits->seconds <= 0) return INT_MAX;
    double left = (s->deadline - col_solve_clock()) * 1e3;
    return left < 1 ? 1 : left > 1e9 ? 1000000000 : (int)left;
}

static bool out_of_time(const solver *s)
{
    return s->limits->seconds > 0 && col_solve_clock() >= s->deadline;
}

/* ---- the model in GLPK ---- */

static int bound_type(double lower, double upper)
{
    if (isinf(lower)) return isinf(upper) ? GLP_FR : GLP_UP;
    if (isinf(upper)) return GLP_LO;
    return lower == upper ? GLP_FX : GLP_DB;
}

static void push_row(solver *s, glp_prob *problem, const col_lp_row *row)
{
    int i = glp_add_rows(problem, 1);
    const col_lp_entry *entries = s->lp->entries.data + row->begin;
    for (size_t k = 0; k < row->count; k++) {
        s->columns[k + 1] = entries[k].variable + 1;
        s->values[k + 1] = entries[k].value;
    }
    glp_set_row_bnds(problem, i, bound_type(row->lower, row->upper), row->lower, row->upper);
    glp_set_mat_row(problem, i, (int)row->count, s->columns, s->values);
}

static void push_cutoff(solver *s)
{
    int count = 0;
    for (size_t j = 0; j < s->lp->variables.len; j++) {
        if (s->lp->variables.data[j].objective == 0) continue;
        s->columns[++count] = (int)j + 1;
        s->values[count] = s->lp->variables.data[j].objective;
    }
    s->cutoff_row = glp_add_rows(s->problem, 1);
    glp_set_row_bnds(s->problem, s->cutoff_row, GLP_UP, 0, s->limits->cutoff - s->lp->constant);
    glp_set_mat_row(s->problem, s->cutoff_row, count, s->columns, s->values);
}

static void load(solver *s)
{
    const col_lp *lp = s->lp;
    s->problem = glp_create_prob();
    glp_set_obj_dir(s->problem, GLP_MIN);
    glp_set_obj_coef(s->problem, 0, lp->constant);
    if (lp->variables.len) glp_add_cols(s->problem, (int)lp->variables.len);
    for (size_t j = 0; j < lp->variables.len; j++) {
        const col_lp_variable *v = &lp->variables.data[j];
        double lower = v->integer ? ceil(v->lower - 1e-9) : v->lower;
        double upper = v->integer ? floor(v->upper + 1e-9) : v->upper;
        glp_set_col_bnds(s->problem, (int)j + 1, bound_type(lower, upper), lower, upper);
        glp_set_obj_coef(s->problem, (int)j + 1, v->objective);
        if (v->integer) glp_set_col_kind(s->problem, (int)j + 1, GLP_IV);
    }
    for (size_t i = 0; i < lp->rows.len; i++) push_row(s, s->problem, &lp->rows.data[i]);
    s->root_rows = lp->rows.len;
    if (s->limits->has_cutoff) push_cutoff(s);
}

static void read_point(solver *s, glp_prob *problem)
{
    for (size_t j = 0; j < s->lp->variables.len; j++) s->x[j] = glp_get_col_prim(problem, (int)j + 1);
}

/* ---- lazy rows ---- */

static bool is_violated(const col_lp *lp, size_t row, const double *x)
{
    const col_lp_row *r = &lp->rows.data[row];
    double activity = col_lp_activity(lp, (int32_t)row, x);
    return activity < r->lower - ROW_TOLERANCE * (1 + fabs(r->lower)) ||
           activity > r->upper + ROW_TOLERANCE * (1 + fabs(r->upper));
}

static bool is_integral(const col_lp *lp, const double *x)
{
    for (size_t j = 0; j < lp->variables.len; j++) {
        if (lp->variables.data[j].integer && fabs(x[j] - nearbyint(x[j])) > 1e-6) return false;
    }
    return true;
}

/* Whether the caller has rows that x violates; they are in the model then. */
static bool ask_rows(solver *s, const double *x, bool integral)
{
    size_t before = s->lp->rows.len;
    if (s->limits->lazy) s->limits->lazy(s->limits->context, s->lp, x, integral);
    return s->lp->rows.len > before;
}

/* Adds the rows that x violates to the problem of a subtree: those of the model that it lacks, else new ones.
 */
static bool add_to_tree(solver *s, glp_prob *problem, const double *x)
{
    bool added = false;
    for (size_t i = s->root_rows; i < s->lp->rows.len; i++) {
        if (!is_violated(s->lp, i, x)) continue;
        push_row(s, problem, &s->lp->rows.data[i]);
        added = true;
    }
    size_t before = s->lp->rows.len;
    if (added || !ask_rows(s, x, is_integral(s->lp, x))) return added;
    for (size_t i = before; i < s->lp->rows.len; i++) push_row(s, problem, &s->lp->rows.data[i]);
    return true;
}

/* Brings all rows of the model to the problem outside of the tree. */
static void add_to_root(solver *s)
{
    for (; s->root_rows < s->lp->rows.len; s->root_rows++) {
        push_row(s, s->problem, &s->lp->rows.data[s->root_rows]);
    }
}

/* ---- the relaxation ---- */

static int run_simplex(solver *s, int method, bool presolve)
{
    glp_smcp options;
    glp_init_smcp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.meth = method;
    options.presolve = presolve ? GLP_ON : GLP_OFF;
    options.tm_lim = milliseconds_left(s);
    return glp_simplex(s->problem, &options);
}

/* COL_SOLVE_OPTIMAL, or what else became of the relaxation; `unbounded` as in the solution. */
static col_solve_status solve_relaxation(solver *s, bool *unbounded)
{
    int code = run_simplex(s, GLP_DUALP, false);
    if (code != 0 && code != GLP_ETMLIM) {
        glp_std_basis(s->problem);
        code = run_simplex(s, GLP_PRIMAL, false);
    }
    if (code != 0 && code != GLP_ETMLIM) {
        code = run_simplex(s, GLP_PRIMAL, true);
        if (code == GLP_ENOPFS) return COL_SOLVE_INFEASIBLE;
    }
    int status = glp_get_status(s->problem);
    *unbounded = status == GLP_UNBND;
    if (code == 0 && status == GLP_OPT) return COL_SOLVE_OPTIMAL;
    if (code == 0 && status == GLP_NOFEAS) return COL_SOLVE_INFEASIBLE;
    return COL_SOLVE_LIMIT;
}

/* Relaxation and lazy rows in turn, until no row is violated. Rows made here stay for good. */
static col_solve_status solve_root(solver *s, bool *unbounded)
{
    for (;;) {
        col_solve_status status = solve_relaxation(s, unbounded);
        if (status != COL_SOLVE_OPTIMAL) return status;
        s->bound = fmax(s->bound, glp_get_obj_val(s->problem));
        read_point(s, s->problem);
        if (!ask_rows(s, s->x, is_integral(s->lp, s->x))) return COL_SOLVE_OPTIMAL;
        add_to_root(s);
        if (out_of_time(s)) return COL_SOLVE_LIMIT;
    }
}

/* ---- the tree ---- */

static void offer(solver *s, glp_tree *tree, const double *x)
{
    for (size_t j = 0; j < s->lp->variables.len; j++) s->values[j + 1] = x[j];
    glp_ios_heur_sol(tree, s->values);
}

/* Rounds a point of the caller's; whether it then meets the model and no new row is violated. */
static bool accept_point(solver *s, double *x)
{
    for (size_t j = 0; j < s->lp->variables.len; j++) {
        if (s->lp->variables.data[j].integer) x[j] = nearbyint(x[j]);
    }
    if (col_lp_violation(s->lp, x) > ROW_TOLERANCE) return false;
    if (s->limits->has_cutoff && col_lp_objective(s->lp, x) > s->limits->cutoff) return false;
    return !ask_rows(s, x, true);
}

static void keep_best(solver *s, const double *x)
{
    if (s->has_best && col_lp_objective(s->lp, s->best) <= col_lp_objective(s->lp, x)) return;
    memcpy(s->best, x, s->lp->variables.len * sizeof *s->best);
    s->has_best = true;
}

static void take_start(solver *s)
{
    if (!s->limits->start) return;
    memcpy(s->trial, s->limits->start, s->lp->variables.len * sizeof *s->trial);
    if (accept_point(s, s->trial)) keep_best(s, s->trial);
}

static void on_event(glp_tree *tree, void *info)
{
    solver *s = info;
    glp_prob *problem = glp_ios_get_prob(tree);
    int best_node = glp_ios_best_node(tree);
    if (best_node) {
        double bound = glp_ios_node_bound(tree, best_node);
        if (isfinite(bound) && fabs(bound) < 1e300) s->bound = fmax(s->bound, bound);
    }
    switch (glp_ios_reason(tree)) {
    case GLP_ISELECT: s->nodes++; break;
    case GLP_IROWGEN:
        if (glp_get_status(problem) != GLP_OPT) break;
        read_point(s, problem);
        (void)add_to_tree(s, problem, s->x);
        break;
    case GLP_IHEUR:
        if (s->has_best && !s->start_offered) {
            s->start_offered = true;
            offer(s, tree, s->best);
        } else if (s->limits->heuristic) {
            read_point(s, problem);
            if (!s->limits->heuristic(s->limits->context, s->lp, s->x, s->trial)) break;
            if (accept_point(s, s->trial)) offer(s, tree, s->trial);
        }
        break;
    default: break;
    }
}

/* Branch and bound from the optimal root basis. Takes over the answer; returns true if nothing more is to do,
 * false if the answer violated a row that is in the model now. */
static bool solve_tree(solver *s, col_solve_status *status)
{
    glp_iocp options;
    glp_init_iocp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.tm_lim = milliseconds_left(s);
    options.mip_gap = s->limits->gap > 0 ? s->limits->gap : DEFAULT_GAP;
    options.cb_func = on_event;
    options.cb_info = s;
    double root_bound = s->bound;
    int code = glp_intopt(s->problem, &options);
    int mip = glp_mip_status(s->problem);
    *status = COL_SOLVE_LIMIT;
    bool complete = code == 0 && (mip == GLP_OPT || mip == GLP_NOFEAS);
    if (complete && mip == GLP_NOFEAS) *status = COL_SOLVE_INFEASIBLE;
    if (mip != GLP_OPT && mip != GLP_FEAS) return true;
    for (size_t j = 0; j < s->lp->variables.len; j++) {
        double value = glp_mip_col_val(s->problem, (int)j + 1);
        s->x[j] = s->lp->variables.data[j].integer ? nearbyint(value) : value;
    }
    while ((int)s->root_rows + (s->cutoff_row > 0) < glp_get_num_rows(s->problem)) {
        int last[] = {0, glp_get_num_rows(s->problem)};
        glp_del_rows(s->problem, 1, last);
    }
    bool violated = false;
    for (size_t i = s->root_rows; i < s->lp->rows.len && !violated; i++)
        violated = is_violated(s->lp, i, s->x);
    if (violated || ask_rows(s, s->x, true)) {
        add_to_root(s);
        s->bound = root_bound;
        return false;
    }
    keep_best(s, s->x);
    *status = complete || code == GLP_EMIPGAP ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
    if (complete) s->bound = col_lp_objective(s->lp, s->best);
    return true;
}

static bool has_integers(const col_lp *lp)
{
    for (size_t j = 0; j < lp->variables.len; j++) {
        if (lp->variables.data[j].integer) return true;
    }
    return false;
}

/* An integer variable whose bounds hold no integer; GLPK would call its bounds wrong. */
static bool has_empty_domain(const col_lp *lp)
{
    for (size_t j = 0; j < lp->variables.len; j++) {
        const col_lp_variable *v = &lp->variables.data[j];
        if (v->integer && ceil(v->lower - 1e-9) > floor(v->upper + 1e-9)) return true;
    }
    return false;
}

static void keep_root(solver *s, col_arena *arena, col_lp_solution *out)
{
    out->root_bound = glp_get_obj_val(s->problem);
    out->dual_count = (int32_t)s->root_rows;
    out->duals = COL_NEW_ARRAY(arena, double, s->root_rows + 1);
    int skip = 0;
    for (size_t i = 0; i < s->root_rows; i++) {
        if (s->cutoff_row && (int)i + 1 == s->cutoff_row) skip = 1;
        out->duals[i] = glp_get_row_dual(s->problem, (int)i + 1 + skip);
    }
}

static void solve(solver *s, col_arena *arena, col_lp_solution *out)
{
    if (has_empty_domain(s->lp)) {
        out->status = COL_SOLVE_INFEASIBLE;
        return;
    }
    take_start(s);
    load(s);
    bool integers = has_integers(s->lp);
    for (bool finished = false; !finished;) {
        col_solve_status status = solve_root(s, &out->unbounded);
        out->status = status;
        if (status != COL_SOLVE_OPTIMAL) return;
        keep_root(s, arena, out);
        if (!integers) {
            keep_best(s, s->x);
            return;
        }
        finished = solve_tree(s, &out->status);
    }
}

static void report(solver *s, col_arena *arena, col_lp_solution *out)
{
    out->variables = (int32_t)s->lp->variables.len;
    out->rows = (int32_t)s->lp->rows.len;
    out->nodes = s->nodes;
    out->bound = s->bound;
    out->objective = INFINITY;
    out->gap = INFINITY;
    if (s->has_best) {
        if (out->status != COL_SOLVE_OPTIMAL) out->status = COL_SOLVE_FEASIBLE;
        out->x = col_arena_copy(arena, s->best, s->lp->variables.len * sizeof *s->best);
        out->objective = col_lp_objective(s->lp, s->best);
        out->bound = fmin(s->bound, out->objective);
        out->gap = (out->objective - out->bound) / fmax(fabs(out->objective), 1e-12);
    } else if (out->status == COL_SOLVE_INFEASIBLE) {
        out->bound = INFINITY;
    }
    out->seconds = col_solve_clock() - s->start;
}

col_status col_lp_solve(col_lp *lp, const col_lp_limits *limits, col_arena *arena,
                        col_lp_solution *out_solution)
{
    *out_solution = (col_lp_solution){.status = COL_SOLVE_LIMIT, .root_bound = -INFINITY};
    size_t n = lp->variables.len;
    col_arena *scratch = col_arena_create();
    solver *s = COL_NEW(scratch, solver);
    *s = (solver){.lp = lp,
                  .limits = limits,
                  .start = col_solve_clock(),
                  .bound = -INFINITY,
                  .x = COL_NEW_ARRAY(scratch, double, n + 1),
                  .trial = COL_NEW_ARRAY(scratch, double, n + 1),
                  .best = COL_NEW_ARRAY(scratch, double, n + 1),
                  .columns = COL_NEW_ARRAY(scratch, int, n + 1),
                  .values = COL_NEW_ARRAY(scratch, double, n + 1)};
    s->deadline = s->start + limits->seconds;
    col_status status = NULL;
    glp_term_hook(hear, s);
    if (setjmp(s->escape) == 0) {
        glp_error_hook(jump_out, s);
        solve(s, arena, out_solution);
        if (s->problem) glp_delete_prob(s->problem);
        glp_error_hook(NULL, NULL);
        glp_term_hook(NULL, NULL);
        report(s, arena, out_solution);
    } else {
        glp_free_env(); /* GLPK's state is lost with the jump; this also removes both hooks */
        s->said[strcspn(s->said, "\n")] = '\0';
        status = col_error_make(COL_INTERNAL, "GLPK gave up on a program of %zu variables and %zu rows: %s",
                                n, lp->rows.len, s->said);
    }
    col_arena_destroy(scratch);
    return status;
}
