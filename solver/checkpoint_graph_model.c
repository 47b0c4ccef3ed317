/* The integer programme of recomputation on a graph, for GLPK (solver/lp.h).
 *
 * Turn k is all that happens after the base run of node k - 1 up to that of node k: some nodes v < k run
 * again, in base order, then node k. K is the last node that runs; turn K + 1 is the end. L_v is the last
 * turn in which v can be wanted; c_v its seconds, m_v its bytes, w_v its temporary bytes.
 *
 *   R[v,k] in {0, 1}   v runs again in turn k          v forward, v < k <= min(L_v, K); 0 where k is a state
 *   S[v,k] in [0, 1]   v is there when turn k begins   v < k <= L_v
 *
 *   minimise   sum c_v + sum c_v R[v,k]
 *   so that    S[v,k+1] <= S[v,k] + R[v,k]                what is there stays or is made again
 *              R[v,k] <= S[u,k] + R[u,k]                  operands u of v
 *              1 <= S[u,k] + R[u,k]                       operands u of node k; outputs u in turn K
 *              S[v,k] + R[v,k] <= 1
 *              sum over v of m_v p[v,k,j] + w_j R[j,k] <= M     for every run j of turn k
 *
 * where p[v,k,j] tells whether v lies in memory while j runs (R[k,k] = 1):
 *
 *   v > j      S[v,k]                                                it waits for its users
 *   v <= j     max(S[v,k+1], R[i,k] for users i >= j of v, R[v,k] if v = j)
 *
 * Each choice of one element of every maximum gives a valid row; all of them together are exact. They are
 * made lazily: the worst run of a turn, with the largest elements. S need not be integer: with R integer the
 * least S that the rows allow is, and memory only grows with S. So the programme is exact for all schedules
 * of checkpoint_graph.h (those of Checkmate, Jain et al., MLSys 2020, whose memory rows need a product of
 * decisions for every operand of every run; these need none).
 *
 * The same rows with M as the objective give the least memory. */
#include "solver/checkpoint_graph_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_A_ROUND = 40 };
static const double VIOLATION = 1e-6; /* of the memory, at which a row is made */

typedef struct element {
    int32_t variable; /* -1: the constant */
    double value;     /* at the point looked at */
} element;

typedef struct model {
    const col_checkpoint_graph *graph;
    int32_t n, final; /* nodes; K */
    int32_t *last;    /* [n] L_v */
    int32_t *r, *s;   /* first variable of R[v, .] and S[v, .], so that [v,k] is at r[v] + k; NONE: none */
    int32_t *r_end, *s_end; /* last turn of each */
    int32_t peak;           /* the variable M, where it is the objective; else -1 */
    double memory;          /* in units */
    double unit;            /* bytes */
    col_lp *lp;
    element *now, *start; /* [n] scratch of the rows: p for v <= j and for v > j */
    col_arena *arena;
    policy_scratch scratch;
    col_checkpoint_runs runs; /* of a heuristic's point */
    const double *x;          /* the point it starts from */
    double threshold;
} model;

static const int32_t NONE = INT32_MIN;

static bool runs_again(const model *m, int32_t v)
{
    return m->graph->nodes[v].kind == COL_CHECKPOINT_NODE_FORWARD;
}

static bool is_state(const model *m, int32_t v)
{
    return m->graph->nodes[v].kind == COL_CHECKPOINT_NODE_STATE;
}

static int32_t r_of(const model *m, int32_t v, int32_t turn)
{
    return m->r[v] != NONE && turn > v && turn <= m->r_end[v] ? m->r[v] + turn : -1;
}

static int32_t s_of(const model *m, int32_t v, int32_t turn)
{
    return m->s[v] != NONE && turn > v && turn <= m->s_end[v] ? m->s[v] + turn : -1;
}

int64_t graph_model_variables(const col_checkpoint_graph *graph)
{
    col_arena *scratch = col_arena_create();
    int32_t *last = policy_last_turns(graph, scratch), final = policy_final(graph);
    int64_t count = 0;
    for (int32_t v = 0; v < (int32_t)graph->count; v++) {
        if (graph->nodes[v].kind == COL_CHECKPOINT_NODE_STATE) continue;
        count += COL_MIN(last[v], final) - COL_MIN(v, final);
        if (graph->nodes[v].kind == COL_CHECKPOINT_NODE_FORWARD) count += COL_MIN(last[v], final) - v;
    }
    col_arena_destroy(scratch);
    return count;
}

static void add_variables(model *m)
{
    for (int32_t v = 0; v < m->n; v++) {
        m->r[v] = m->s[v] = NONE;
        if (is_state(m, v)) continue;
        int32_t end = COL_MIN(m->last[v], m->final);
        m->s_end[v] = m->r_end[v] = end;
        if (end <= v) continue;
        m->s[v] = (int32_t)m->lp->variables.len - (v + 1);
        for (int32_t k = v + 1; k <= end; k++) col_lp_add_variable(m->lp, 0, 1, 0, false, NULL);
        if (!runs_again(m, v)) continue;
        double cost = m->peak < 0 ? m->graph->nodes[v].seconds : 0;
        m->r[v] = (int32_t)m->lp->variables.len - (v + 1);
        for (int32_t k = v + 1; k <= end; k++)
            col_lp_add_variable(m->lp, 0, !is_state(m, k), cost, true, NULL);
    }
}

static void add_row(model *m, double lower, double upper, int32_t a, double x, int32_t b, double y, int32_t c,
                    double z)
{
    col_lp_entry entries[3];
    size_t count = 0;
    if (a >= 0) entries[count++] = (col_lp_entry){a, x};
    if (b >= 0) entries[count++] = (col_lp_entry){b, y};
    if (c >= 0) entries[count++] = (col_lp_entry){c, z};
    col_lp_add_row(m->lp, lower, upper, entries, count, NULL);
}

/* 1 <= S[u,k] + R[u,k], which also says that u is not made again where it is there. */
static void want(model *m, int32_t u, int32_t turn)
{
    add_row(m, 1, 1, s_of(m, u, turn), 1, r_of(m, u, turn), 1, -1, 0);
}

static void add_turn(model *m, int32_t k, uint8_t *wanted)
{
    const col_checkpoint_node *node = &m->graph->nodes[k];
    memset(wanted, 0, (size_t)m->n);
    for (uint32_t i = 0; i < node->operand_count; i++) wanted[node->operands[i]] = 1;
    for (int32_t v = 0; v < k; v++) {
        if (is_state(m, v)) continue;
        int32_t s = s_of(m, v, k), r = r_of(m, v, k), next = s_of(m, v, k + 1);
        if (wanted[v] || (k == m->final && m->graph->nodes[v].output))
            want(m, v, k);
        else if (s >= 0 && r >= 0)
            add_row(m, -INFINITY, 1, s, 1, r, 1, -1, 0);
        if (next >= 0) add_row(m, -INFINITY, 0, next, 1, s, -1, r, -1);
        if (r < 0) continue;
        for (uint32_t i = 0; i < m->graph->nodes[v].operand_count; i++) {
            int32_t u = (int32_t)m->graph->nodes[v].operands[i];
            if (!is_state(m, u)) add_row(m, -INFINITY, 0, r, 1, s_of(m, u, k), -1, r_of(m, u, k), -1);
        }
    }
}

static model *make_model(const col_checkpoint_graph *graph, bool minimise_peak, col_arena *arena)
{
    model *m = COL_NEW(arena, model);
    size_t n = graph->count;
    *m = (model){.graph = graph,
                 .n = (int32_t)n,
                 .final = policy_final(graph),
                 .last = policy_last_turns(graph, arena),
                 .r = COL_NEW_ARRAY(arena, int32_t, n),
                 .s = COL_NEW_ARRAY(arena, int32_t, n),
                 .r_end = COL_NEW_ARRAY(arena, int32_t, n),
                 .s_end = COL_NEW_ARRAY(arena, int32_t, n),
                 .peak = -1,
                 .lp = col_lp_create(arena),
                 .now = COL_NEW_ARRAY(arena, element, n),
                 .start = COL_NEW_ARRAY(arena, element, n),
                 .arena = arena};
    policy_scratch_init(&m->scratch, graph, arena);
    uint64_t largest = 1;
    for (size_t v = 0; v < n; v++) largest = COL_MAX(largest, graph->nodes[v].bytes);
    m->unit = (double)largest;
    m->memory = (double)graph->memory / m->unit;
    if (minimise_peak) m->peak = col_lp_add_variable(m->lp, 0, INFINITY, 1, false, NULL);
    for (size_t v = 0; v < n && !minimise_peak; v++) m->lp->constant += graph->nodes[v].seconds;
    add_variables(m);
    uint8_t *wanted = COL_NEW_ARRAY(arena, uint8_t, n);
    for (int32_t k = 0; k <= m->final; k++) add_turn(m, k, wanted);
    return m;
}

/* ---- memory rows ---- */

static element constant(double value)
{
    return (element){-1, value};
}

static element at_point(int32_t variable, const double *x)
{
    return variable < 0 ? constant(0) : (element){variable, x[variable]};
}

static void raise(element *to, element by)
{
    if (by.value > to->value) *to = by;
}

/* Elements at the end of turn k: what stays. Returns the units of the values that are there then. */
static double begin_turn(model *m, int32_t k, const double *x)
{
    double sum = 0;
    for (int32_t v = 0; v <= k; v++) {
        bool stays = m->graph->nodes[v].output && k == m->final;
        if (is_state(m, v) || stays)
            m->now[v] = constant(1);
        else
            m->now[v] = at_point(s_of(m, v, k + 1), x);
        m->start[v] = v < k ? at_point(s_of(m, v, k), x) : constant(0);
        if (is_state(m, v)) m->start[v] = constant(1);
        sum += m->now[v].value * (double)m->graph->nodes[v].bytes / m->unit;
    }
    /* States that come later in the order are there all the same. */
    for (int32_t v = k + 1; v < m->n; v++) {
        if (is_state(m, v)) sum += (double)m->graph->nodes[v].bytes / m->unit;
    }
    return sum;
}

/* Brings the elements from after run j of turn k to while it runs; `own` is R[j,k]. Returns the change of the
 * sum. */
static double enter_run(model *m, int32_t j, element own)
{
    const col_checkpoint_node *node = &m->graph->nodes[j];
    double change = 0;
    for (uint32_t i = 0; i <= node->operand_count; i++) {
        uint32_t v = i < node->operand_count ? node->operands[i] : (uint32_t)j;
        double before = m->now[v].value;
        raise(&m->now[v], own);
        change += (m->now[v].value - before) * (double)m->graph->nodes[v].bytes / m->unit;
    }
    return change;
}

/* The run of turn k with most memory at x, and how much. With `until` >= 0 it stops at that run, with the
 * elements as they are there. */
static double worst_run(model *m, int32_t k, const double *x, int32_t until, int32_t *out_run)
{
    double sum = begin_turn(m, k, x), worst = 0;
    for (int32_t j = k; j >= 0; j--) {
        int32_t r = r_of(m, j, k);
        bool runs = j == k || r >= 0;
        element own = j == k ? constant(1) : at_point(r, x);
        if (runs && !is_state(m, j)) {
            sum += enter_run(m, j, own);
            double need = sum + own.value * (double)m->graph->nodes[j].temp_bytes / m->unit;
            if (need > worst) {
                worst = need;
                *out_run = j;
            }
        }
        if (j == until) break;
        if (is_state(m, j)) continue;
        sum += (m->start[j].value - m->now[j].value) * (double)m->graph->nodes[j].bytes / m->unit;
    }
    return worst;
}

static void add_memory_row(model *m, int32_t k, int32_t j, const double *x)
{
    col_lp_entry *entries = COL_NEW_ARRAY(m->arena, col_lp_entry, m->n + 2);
    size_t count = 0;
    int32_t ignored;
    double fixed = 0, bytes;
    (void)worst_run(m, k, x, j, &ignored);
    for (int32_t v = 0; v < m->n; v++) {
        element e = v > k ? constant(is_state(m, v)) : v > j ? m->start[v] : m->now[v];
        bytes = (double)m->graph->nodes[v].bytes / m->unit;
        if (e.variable < 0)
            fixed += bytes * e.value;
        else if (bytes > 0)
            entries[count++] = (col_lp_entry){e.variable, bytes};
    }
    bytes = (double)m->graph->nodes[j].temp_bytes / m->unit;
    if (j == k)
        fixed += bytes;
    else if (bytes > 0)
        entries[count++] = (col_lp_entry){r_of(m, j, k), bytes};
    if (m->peak >= 0) entries[count++] = (col_lp_entry){m->peak, -1};
    col_lp_add_row(m->lp, -INFINITY, (m->peak >= 0 ? 0 : m->memory) - fixed, entries, count, NULL);
}

typedef struct violation {
    int32_t turn, run;
    double by;
} violation;

static int by_most(const void *a, const void *b)
{
    double x = ((const violation *)a)->by, y = ((const violation *)b)->by;
    return x > y ? -1 : x < y;
}

static void add_violated(void *context, col_lp *lp, const double *x, bool integral)
{
    model *m = context;
    (void)lp, (void)integral;
    double memory = m->peak >= 0 ? x[m->peak] : m->memory;
    violation *list = COL_NEW_ARRAY(m->arena, violation, m->final + 1);
    size_t count = 0;
    for (int32_t k = 0; k <= m->final; k++) {
        if (is_state(m, k)) continue;
        violation found = {.turn = k};
        found.by = worst_run(m, k, x, -1, &found.run) - memory;
        if (found.by > VIOLATION * (1 + memory)) list[count++] = found;
    }
    qsort(list, count, sizeof *list, by_most);
    for (size_t i = 0; i < COL_MIN(count, (size_t)ROWS_A_ROUND); i++)
        add_memory_row(m, list[i].turn, list[i].run, x);
}

/* ---- points and schedules ---- */

/* The point of a schedule; false where it does something that the programme has no variable for. */
static bool point_of(model *m, const col_checkpoint_runs *runs, double *x)
{
    memset(x, 0, m->lp->variables.len * sizeof *x);
    int32_t *made = m->scratch.last_run, turn = 0;
    bool right = true, *begun = COL_NEW_ARRAY(m->arena, bool, m->n);
    size_t *end = COL_NEW_ARRAY(m->arena, size_t, m->n + 1); /* by turn: its base run */
    for (size_t i = 0; i < runs->nodes.len; i++) {
        uint32_t v = runs->nodes.data[i];
        if (!begun[v]) end[v] = i;
        begun[v] = true;
    }
    for (size_t i = 0; i < runs->nodes.len && right; i++) {
        int32_t v = (int32_t)runs->nodes.data[i];
        while (is_state(m, turn) || i > end[turn]) turn++;
        const col_checkpoint_node *node = &m->graph->nodes[v];
        for (uint32_t u = 0; u < node->operand_count; u++) {
            int32_t o = (int32_t)node->operands[u];
            for (int32_t k = is_state(m, o) ? turn : made[o] + 1; k <= turn && !is_state(m, o); k++) {
                right = right && s_of(m, o, k) >= 0;
                if (right) x[s_of(m, o, k)] = 1;
            }
        }
        made[v] = turn;
        int32_t r = r_of(m, v, turn);
        right = right && (v == turn || r >= 0);
        if (right && v != turn) x[r] = 1;
    }
    for (int32_t v = 0; v < m->n && right; v++) {
        if (!m->graph->nodes[v].output || is_state(m, v)) continue;
        for (int32_t k = made[v] + 1; k <= m->final; k++) x[s_of(m, v, k)] = 1;
    }
    if (m->peak >= 0) x[m->peak] = (double)runs->peak / m->unit;
    return right;
}

/* By the programme's own R. */
static void runs_of(const model *m, const double *x, col_arena *arena, col_checkpoint_runs *out)
{
    *out = (col_checkpoint_runs){0};
    for (int32_t k = 0; k <= m->final; k++) {
        if (is_state(m, k)) continue;
        for (int32_t v = 0; v < k; v++) {
            int32_t r = r_of(m, v, k);
            if (r >= 0 && x[r] > 0.5) col_vec_push(arena, &out->nodes, (uint32_t)v);
        }
        col_vec_push(arena, &out->nodes, (uint32_t)k);
    }
}

/* Rounds S: what is there by more than the threshold stays. */
static bool crosses(const void *context, uint32_t node, int32_t made, int32_t turn)
{
    const model *m = context;
    for (int32_t k = made + 1; k <= turn; k++) {
        int32_t s = s_of(m, (int32_t)node, k);
        if (s < 0 || m->x[s] <= m->threshold) return false;
    }
    return true;
}

/* The best of some roundings that fits. */
static bool round_point(void *context, const col_lp *lp, const double *x, double *out)
{
    static const double thresholds[] = {0.05, 0.3, 0.5, 0.7, 0.95};
    model *m = context;
    double best = INFINITY;
    m->x = x;
    for (size_t i = 0; i < COL_COUNT(thresholds); i++) {
        m->threshold = thresholds[i];
        policy_build(m->graph, crosses, m, &m->scratch, m->arena, &m->runs);
        policy_measure(m->graph, &m->scratch, m->arena, &m->runs);
        double value = m->peak >= 0 ? (double)m->runs.peak : m->runs.seconds;
        bool fits = m->peak >= 0 || m->runs.peak <= m->graph->memory;
        if (!fits || value >= best) continue;
        double *point = COL_NEW_ARRAY(m->arena, double, lp->variables.len);
        if (!point_of(m, &m->runs, point)) continue;
        memcpy(out, point, lp->variables.len * sizeof *out);
        best = value;
    }
    return best < INFINITY;
}

/* ---- solving ---- */

col_status graph_model_solve(const col_checkpoint_graph *graph, bool minimise_peak,
                             const col_checkpoint_runs *start, double seconds, double gap, col_arena *arena,
                             col_lp_solution *out_solution, col_checkpoint_runs *out_runs)
{
    col_arena *scratch = col_arena_create();
    *out_runs = (col_checkpoint_runs){0};
    model *m = make_model(graph, minimise_peak, scratch);
    double *point = COL_NEW_ARRAY(scratch, double, m->lp->variables.len + 1);
    bool has_start = (minimise_peak || start->peak <= graph->memory) && point_of(m, start, point);
    col_lp_limits limits = {.seconds = seconds,
                            .gap = gap,
                            .start = has_start ? point : NULL,
                            .lazy = add_violated,
                            .heuristic = round_point,
                            .context = m};
    col_status status = col_lp_solve(m->lp, &limits, scratch, out_solution);
    if (!status && out_solution->x) {
        runs_of(m, out_solution->x, arena, out_runs);
        status = col_checkpoint_graph_play(graph, out_runs);
    }
    out_solution->variables = (int32_t)m->lp->variables.len;
    out_solution->rows = (int32_t)m->lp->rows.len;
    out_solution->bound *= minimise_peak ? m->unit : 1;
    out_solution->x = out_solution->duals = NULL; /* they go with the scratch */
    col_arena_destroy(scratch);
    return status;
}
