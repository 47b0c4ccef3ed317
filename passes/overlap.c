/* Lets communication go on beside computation: collectives start where their operand is there and are waited
 * for where their result is needed.
 *
 * needs     schedule
 * provides  a `wait` for every collective that has something to compute between its start and its end; units
 *           other than collectives, waits, assignments and views keep their order
 * breaks    nothing; runs last
 *
 * A program runs on two clocks (ir/plan/plan_clocks.h): units that compute one after another, and a stream of
 * collectives in the order of their starts. Where a collective could start and where it has to end follows
 * from data flow within its phase; where it does start and end is chosen so that it takes little memory for
 * as long as it takes time:
 *
 *   start  What makes a tensor larger (a gather) as late as lets it end in time, counted back from its first
 *          user over the seconds of the units in between and of the collectives that start there. All else
 *          as soon as its operand is there: it frees memory, or takes none.
 *   wait   Where the result is first used. If the operand has to stay for the collective alone, as soon as
 *          the collective should have ended, with as much time again to spare.
 *
 * Live bytes per unit are kept up to date on the way. A collective whose operand and result would raise their
 * peak by more than is allowed starts later and is waited for earlier, by half the distance at a time; one
 * with nothing left in between, or less than starting an instruction costs, stays as it was. An all-reduce
 * whose operand nobody else reads writes over it.
 *
 * Overlap never takes longer than taking turns, by this model: at any time the rank computes, or the stream
 * runs at its full speed. */
#include "passes/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ops/collective.h"
#include "ir/units.h"
#include "ir/view.h"
#include "ir/work.h"

enum { HALVINGS = 4 };           /* of the distance, where memory is short */
static const double AHEAD = 1.5; /* of the seconds that a gather takes, by which it starts early */

/* Times are boundaries: k is before unit k, in the order that the schedule left. */
typedef struct move {
    col_node *node;
    uint32_t unit;            /* where it stands */
    uint32_t earliest;        /* that it may start */
    uint32_t latest;          /* that it has to end */
    uint32_t start, wait;     /* chosen; earliest <= start < wait <= latest */
    double seconds;           /* at full speed */
    const col_value *operand; /* what its bytes are of */
    uint32_t other_reader;    /* the last unit beside this that reads the operand, plus one; 0: none */
    bool grows, in_place;
    bool is_assigned; /* the result goes into a variable */
    bool holds;       /* the operand's bytes are not kept by anything else */
    bool is_started;
} move;

typedef struct overlapper {
    col_graph *graph;
    col_arena *arena;
    col_units *units;
    const col_machine *machine; /* NULL: a unit of time is a byte */
    double share;               /* of a collective's speed, while the rank computes */
    double least;               /* seconds that must be hidden */
    uint32_t phase_end[COL_PHASE_COUNT];
    uint32_t **readers; /* by value id, units in order; ended by NONE */
    uint32_t *assigner; /* by variable: the unit that assigns it, or NONE */
    bool *is_output;    /* by value id, of bases */
    double *before;     /* by boundary: seconds of computing before it */
    int64_t *live;      /* by unit: bytes */
    move *moves;        /* in the order of units */
    uint32_t move_count;
    move **move_of; /* by unit; NULL: no collective */
} overlapper;

enum { NONE = UINT32_MAX };

static const col_unit *unit_at(const overlapper *o, uint32_t u)
{
    return &o->units->units[u];
}

static const col_node *node_at(const overlapper *o, uint32_t u)
{
    return unit_at(o, u)->nodes[0];
}

static bool is_virtual_view(const col_unit *unit)
{
    return !unit->write_count && col_op_info_of(unit->nodes[0]->op)->op_class == COL_CLASS_VIEW;
}

static bool communicates(const col_node *node)
{
    return col_node_is_collective(node) && node->op != COL_OP_SHARD;
}

/* Seconds. */

static double compute_seconds(const overlapper *o, const col_unit *unit)
{
    const col_node *node = unit->nodes[0];
    if (!unit->write_count || communicates(node) || node->op == COL_OP_WAIT) return 0;
    double flops = 0, bytes = 0;
    for (uint32_t i = 0; i < unit->node_count; i++) flops += col_node_work(unit->nodes[i]).flops;
    for (uint32_t i = 0; i < unit->read_count; i++) bytes += (double)col_type_bytes(unit->reads[i]->type);
    for (uint32_t i = 0; i < unit->write_count; i++) bytes += (double)col_type_bytes(unit->writes[i]->type);
    return o->machine
               ? col_cost_seconds(o->machine, col_cost_class_of(col_node_work(node).kind), flops, bytes)
               : bytes;
}

static double collective_seconds(const overlapper *o, const col_node *node)
{
    double bytes = (double)col_type_bytes(col_node_operand(node, 0)->type);
    int count;
    const int64_t *list = col_node_ints(node, COL_ATTR_MESH_AXES, &count);
    col_axes axes = {.count = (uint8_t)count};
    for (int i = 0; i < count; i++) axes.axis[i] = (uint8_t)list[i];
    if (!o->machine) return bytes;
    switch (node->op) {
    case COL_OP_SEND_RECEIVE: return col_cost_send(o->machine, &o->graph->mesh, &axes, bytes);
    case COL_OP_ALL_REDUCE:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_REDUCE, &axes, bytes);
    case COL_OP_ALL_GATHER:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_GATHER, &axes, bytes);
    case COL_OP_ALL_TO_ALL:
        return col_cost_collective(o->machine, &o->graph->mesh, COL_ALL_TO_ALL, &axes, bytes);
    default: return col_cost_collective(o->machine, &o->graph->mesh, COL_REDUCE_SCATTER, &axes, bytes);
    }
}

/* What there is. */

static void find_readers(overlapper *o)
{
    uint32_t *counts = COL_NEW_ARRAY(o->arena, uint32_t, o->graph->next_value_id);
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (uint32_t i = 0; i < unit_at(o, u)->read_count; i++) counts[unit_at(o, u)->reads[i]->id]++;
    }
    o->readers = COL_NEW_ARRAY(o->arena, uint32_t *, o->graph->next_value_id);
    for (uint32_t id = 0; id < o->graph->next_value_id; id++) {
        o->readers[id] = COL_NEW_ARRAY(o->arena, uint32_t, counts[id] + 1);
        o->readers[id][counts[id]] = NONE;
        counts[id] = 0;
    }
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (uint32_t i = 0; i < unit_at(o, u)->read_count; i++) {
            uint32_t id = unit_at(o, u)->reads[i]->id;
            o->readers[id][counts[id]++] = u;
        }
    }
}

static void find_phases(overlapper *o)
{
    for (uint32_t u = 0; u < o->units->count; u++) {
        for (int p = (int)node_at(o, u)->phase; p < COL_PHASE_COUNT; p++) o->phase_end[p] = u + 1;
    }
}

static uint32_t phase_start(const overlapper *o, col_phase phase)
{
    return phase ? o->phase_end[phase - 1] : 0;
}

/* Bytes of a value of its own: none of a variable's, nor where it is written straight into one. */
static int64_t own_bytes(const overlapper *o, const col_value *value)
{
    if (value->var) return 0;
    for (const uint32_t *u = o->readers[value->id]; *u != NONE; u++) {
        if (node_at(o, *u)->op == COL_OP_ASSIGN) return 0;
    }
    return col_type_bytes(value->type);
}

static void add_live(overlapper *o, uint32_t begin, uint32_t end, int64_t bytes)
{
    for (uint32_t u = begin; u < end; u++) o->live[u] += bytes;
}

static uint32_t last_reader(const overlapper *o, const col_value *value, uint32_t except)
{
    uint32_t last = 0; /* plus one */
    for (const uint32_t *u = o->readers[value->id]; *u != NONE; u++) {
        if (*u != except) last = *u + 1;
    }
    return last;
}

/* Bytes that a kernel writes over operands that die in it, and that are no second buffer therefore: what
 * memory planning does where the kernel's indices allow it, which is most often. */
static int64_t bytes_in_place(const overlapper *o, uint32_t u)
{
    const col_unit *unit = unit_at(o, u);
    int64_t bytes = 0;
    uint32_t next = 0;
    if (unit->nodes[0]->group < 0) return 0;
    for (uint32_t i = 0; i < unit->write_count && next < unit->read_count; i++) {
        int64_t size = own_bytes(o, unit->writes[i]);
        for (; next < unit->read_count; next++) {
            const col_value *read = unit->reads[next];
            bool dies = last_reader(o, read, NONE) == u + 1 && !o->is_output[read->id];
            if (!dies || own_bytes(o, read) != size) continue;
            bytes += size;
            next++;
            break;
        }
    }
    return bytes;
}

static void measure(overlapper *o)
{
    uint32_t count = o->units->count;
    int64_t *change = COL_NEW_ARRAY(o->arena, int64_t, count + 1), live = 0;
    o->before = COL_NEW_ARRAY(o->arena, double, count + 1);
    o->live = COL_NEW_ARRAY(o->arena, int64_t, count);
    for (uint32_t u = 0; u < count; u++) {
        const col_unit *unit = unit_at(o, u);
        o->before[u + 1] = o->before[u] + compute_seconds(o, unit);
        for (uint32_t i = 0; i < unit->write_count; i++) {
            const col_value *value = unit->writes[i];
            uint32_t end = COL_MAX(last_reader(o, value, NONE), u + 1);
            int64_t bytes = own_bytes(o, value);
            change[u] += bytes;
            change[o->is_output[value->id] ? count : end] -= bytes;
        }
    }
    for (uint32_t u = 0; u < count; u++) {
        live += change[u];
        o->live[u] = live - bytes_in_place(o, u);
    }
}

/* Collectives that may move. */

static bool may_be_in_place(const overlapper *o, const move *m)
{
    const col_value *result = &m->node->results[0];
    return m->node->op == COL_OP_ALL_REDUCE && !m->is_assigned && m->holds && !m->other_reader &&
           col_type_bytes(m->operand->type) == col_type_bytes(result->type) && m->operand->producer &&
           !o->is_output[m->operand->id];
}

static move describe(const overlapper *o, uint32_t u)
{
    col_node *node = unit_at(o, u)->nodes[0];
    const col_value *result = &node->results[0];
    move m = {.node = node, .unit = u, .start = u, .wait = u + 1, .operand = unit_at(o, u)->reads[0]};
    m.seconds = collective_seconds(o, node);
    m.grows = own_bytes(o, result) > col_type_bytes(col_node_operand(node, 0)->type);
    m.other_reader = last_reader(o, m.operand, u);
    m.holds = own_bytes(o, m.operand) > 0 && !o->is_output[m.operand->id];
    m.earliest = phase_start(o, node->phase);
    m.latest = o->phase_end[node->phase];
    if (m.operand->producer)
        m.earliest = COL_MAX(m.earliest, o->units->by_node[m.operand->producer->id] + 1);
    else if (o->assigner[m.operand->var->index] != NONE)
        m.latest = COL_MIN(m.latest, o->assigner[m.operand->var->index]);
    for (const uint32_t *r = o->readers[result->id]; *r != NONE; r++) {
        const col_node *reader = node_at(o, *r);
        if (reader->op != COL_OP_ASSIGN) continue;
        /* Straight into the variable, so after all that read its old value. */
        const col_var *var = col_graph_find_var(o->graph, col_node_text(reader, COL_ATTR_VARIABLE));
        uint32_t last = last_reader(o, var->value, u);
        m.is_assigned = last <= u;
        if (m.is_assigned) m.earliest = COL_MAX(m.earliest, last);
        if (var->value == m.operand) m.latest = u + 1;
    }
    m.in_place = may_be_in_place(o, &m);
    return m;
}

static void find_moves(overlapper *o)
{
    uint32_t count = o->units->count;
    o->moves = COL_NEW_ARRAY(o->arena, move, count);
    o->move_of = COL_NEW_ARRAY(o->arena, move *, count);
    for (uint32_t u = 0; u < count; u++) {
        const col_node *node = node_at(o, u);
        if (!communicates(node) || col_collective_wait(node)) continue;
        move *m = &o->moves[o->move_count++];
        *m = describe(o, u);
        o->move_of[u] = m;
        /* In place already, if it takes turns: two buffers were counted at one unit. */
        if (m->in_place) o->live[u] -= own_bytes(o, m->operand);
    }
}

/* When the result is needed, by collectives where they start now. */
static uint32_t first_use(const overlapper *o, const move *m)
{
    uint32_t first = m->latest;
    for (const uint32_t *r = o->readers[m->node->results[0].id]; *r != NONE; r++) {
        if (node_at(o, *r)->op == COL_OP_ASSIGN) continue;
        first = COL_MIN(first, o->move_of[*r] ? o->move_of[*r]->start : *r);
    }
    return first;
}

/* Starts. */

static int by_latest(const void *a, const void *b)
{
    const move *x = *(move *const *)a, *y = *(move *const *)b;
    if (x->latest != y->latest) return x->latest < y->latest ? 1 : -1;
    return x->unit < y->unit ? 1 : -1;
}

/* Gathers are looked at from the last to be needed to the first, each beside those that were chosen before
 * it. `starting` has the seconds of the collectives that start at a boundary. */
static void choose_starts(overlapper *o)
{
    double *starting = COL_NEW_ARRAY(o->arena, double, o->units->count + 1);
    move **gathers = COL_NEW_ARRAY(o->arena, move *, o->move_count);
    size_t count = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        move *m = &o->moves[i];
        if (m->grows) {
            gathers[count++] = m;
            continue;
        }
        m->start = m->earliest;
        starting[m->start] += m->seconds;
    }
    for (size_t i = 0; i < count; i++) gathers[i]->latest = first_use(o, gathers[i]);
    qsort(gathers, count, sizeof *gathers, by_latest);
    for (size_t i = 0; i < count; i++) {
        move *m = gathers[i];
        m->latest = first_use(o, m);
        double need = AHEAD * m->seconds;
        uint32_t k = COL_MIN(m->latest - 1, m->unit);
        for (; k > m->earliest; k--) {
            if (o->share * (o->before[m->latest] - o->before[k]) >= need) break;
            need += starting[k];
        }
        m->start = k;
        starting[k] += m->seconds;
    }
    for (uint32_t i = 0; i < o->move_count; i++) o->moves[i].latest = first_use(o, &o->moves[i]);
}

/* Waits and memory. */

static int by_start(const void *a, const void *b)
{
    const move *x = *(move *const *)a, *y = *(move *const *)b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->unit < y->unit ? -1 : 1;
}

/* The first boundary after `from` with so many seconds of computing before it. */
static uint32_t boundary_at(const overlapper *o, uint32_t from, double seconds)
{
    uint32_t low = from + 1, high = o->units->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (o->before[middle] >= seconds)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Adds (or takes away) what the move changes of live bytes. */
static void change_live(overlapper *o, const move *m, int sign)
{
    int64_t result = sign * own_bytes(o, &m->node->results[0]), operand = sign * own_bytes(o, m->operand);
    add_live(o, m->start, m->unit, result);
    if (!m->holds) return;
    if (m->in_place) {
        add_live(o, m->start, m->unit, -operand);
        return;
    }
    uint32_t old_end = COL_MAX(m->other_reader, m->unit + 1), end = COL_MAX(m->other_reader, m->wait);
    add_live(o, old_end, end, operand);
    add_live(o, end, old_end, -operand);
}

static bool fits(const overlapper *o, const move *m, double limit)
{
    for (uint32_t u = m->start; u < COL_MAX(m->wait, m->unit); u++) {
        if ((double)o->live[u] > limit) return false;
    }
    return true;
}

/* As chosen, or nearer to where the collective stands; false when nothing is left in between. */
static bool settle(overlapper *o, move *m, double limit)
{
    uint32_t before = m->unit - m->start, behind = m->wait > m->unit + 1 ? m->wait - m->unit - 1 : 0;
    for (int i = 0; i <= HALVINGS; i++) {
        move tried = *m;
        tried.start = m->unit - (before >> i);
        tried.wait =
            COL_MIN(COL_MAX(COL_MIN(m->wait, m->unit + 1), tried.start + 1) + (behind >> i), m->latest);
        double beside = o->share * (o->before[tried.wait] - o->before[tried.start]);
        if (COL_MIN(beside, m->seconds) <= o->least) return false;
        change_live(o, &tried, 1);
        if (fits(o, &tried, limit)) {
            *m = tried;
            return true;
        }
        change_live(o, &tried, -1);
    }
    return false;
}

static void choose_waits(overlapper *o, double limit)
{
    move **order = COL_NEW_ARRAY(o->arena, move *, o->move_count);
    double end = 0;
    for (uint32_t i = 0; i < o->move_count; i++) order[i] = &o->moves[i];
    qsort(order, o->move_count, sizeof *order, by_start);
    for (uint32_t i = 0; i < o->move_count; i++) {
        move *m = order[i];
        double begin = COL_MAX(end, o->before[m->start]);
        end = begin + m->seconds / o->share;
        bool is_free = !m->holds || m->in_place || m->other_reader >= m->latest;
        m->wait = is_free ? m->latest : COL_MIN(boundary_at(o, m->start, 2 * end - begin), m->latest);
        m->is_started = settle(o, m, limit);
        if (m->is_started) continue;
        m->start = m->unit;
        m->wait = m->unit + 1;
    }
}

/* The new order. */

typedef struct orderer {
    const overlapper *o;
    bool *is_placed; /* by unit */
    COL_VEC(move *) starts;
    COL_VEC(move *) waits;
} orderer;

/* A unit comes behind all that is placed, after the views that it reads through. */
static void place(orderer *r, uint32_t u)
{
    const col_unit *unit = unit_at(r->o, u);
    if (r->is_placed[u]) return;
    r->is_placed[u] = true;
    for (uint32_t n = 0; n < unit->node_count; n++) {
        for (uint32_t i = 0; i < unit->nodes[n]->operand_count; i++) {
            const col_node *producer = col_node_operand(unit->nodes[n], i)->producer;
            if (!producer || producer->op == COL_OP_WAIT) continue;
            uint32_t maker = r->o->units->by_node[producer->id];
            if (is_virtual_view(unit_at(r->o, maker))) place(r, maker);
        }
    }
    for (uint32_t n = 0; n < unit->node_count; n++) col_graph_move(unit->nodes[n], NULL);
}

/* The wait, and what assigns its result. */
static void place_wait(orderer *r, const move *m)
{
    const overlapper *o = r->o;
    col_node *wait = col_collective_wait(m->node);
    col_graph_move(wait, NULL);
    for (const uint32_t *u = o->readers[m->node->results[0].id]; *u != NONE; u++) {
        if (node_at(o, *u)->op == COL_OP_ASSIGN && *u < m->wait) place(r, *u);
    }
}

/* Whether the unit assigns the result of a collective that has not ended at its boundary. */
static bool assigns_later(const overlapper *o, uint32_t u)
{
    const col_node *node = node_at(o, u);
    if (node->op != COL_OP_ASSIGN) return false;
    const col_node *wait = col_node_operand(node, 0)->producer;
    if (!wait || wait->op != COL_OP_WAIT) return false;
    const move *m = o->move_of[o->units->by_node[col_node_operand(wait, 0)->producer->id]];
    return m && m->is_started && m->wait > u;
}

static void place_views(orderer *r, uint32_t begin, uint32_t end)
{
    for (uint32_t u = begin; u < end; u++) {
        if (is_virtual_view(unit_at(r->o, u))) place(r, u);
    }
}

static int by_wait(const void *a, const void *b)
{
    const move *x = *(move *const *)a, *y = *(move *const *)b;
    if (x->wait != y->wait) return x->wait < y->wait ? -1 : 1;
    return by_start(a, b);
}

/* At a boundary come waits, then starts, then the unit. Views follow their first user, at the latest at the
 * end of their phase. */
static void reorder(const overlapper *o)
{
    orderer r = {.o = o, .is_placed = COL_NEW_ARRAY(o->arena, bool, o->units->count)};
    size_t start = 0, wait = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        if (!o->moves[i].is_started) continue;
        col_vec_push(o->arena, &r.starts, &o->moves[i]);
        col_vec_push(o->arena, &r.waits, &o->moves[i]);
    }
    if (!r.starts.len) return;
    qsort(r.starts.data, r.starts.len, sizeof(move *), by_start);
    qsort(r.waits.data, r.waits.len, sizeof(move *), by_wait);
    for (uint32_t u = 0; u <= o->units->count; u++) {
        for (; wait < r.waits.len && r.waits.data[wait]->wait == u; wait++)
            place_wait(&r, r.waits.data[wait]);
        for (int p = 0; p < COL_PHASE_COUNT; p++) {
            if (o->phase_end[p] == u) place_views(&r, phase_start(o, (col_phase)p), u);
        }
        for (; start < r.starts.len && r.starts.data[start]->start == u; start++)
            place(&r, r.starts.data[start]->unit);
        if (u == o->units->count || is_virtual_view(unit_at(o, u)) || assigns_later(o, u)) continue;
        if (!o->move_of[u] || !o->move_of[u]->is_started) place(&r, u);
    }
}

/* Outside of the scope, so that the other nodes of it keep their names. */
static void add_wait(const overlapper *o, const move *m)
{
    col_builder b = {.graph = o->graph,
                     .before = m->node->next,
                     .phase = m->node->phase,
                     .scope = "",
                     .loc = m->node->loc};
    col_value *result = &m->node->results[0], *operands[] = {result, col_node_operand(m->node, 0)};
    col_node *wait = col_build(&b, COL_OP_WAIT, m->in_place ? 1 : 2, operands, 0, NULL);
    col_value_replace(o->graph, result, &wait->results[0]);
    col_node_set_operand(wait, 0, result);
}

static void overlap(overlapper *o, double memory)
{
    o->is_output = COL_NEW_ARRAY(o->arena, bool, o->graph->next_value_id);
    for (size_t i = 0; i < o->graph->outputs.len; i++)
        o->is_output[col_view_of(o->graph->outputs.data[i].value).base->id] = true;
    o->assigner = COL_NEW_ARRAY(o->arena, uint32_t, o->graph->vars.len);
    memset(o->assigner, 0xff, sizeof *o->assigner * o->graph->vars.len);
    for (uint32_t u = 0; u < o->units->count; u++) {
        const col_node *node = node_at(o, u);
        if (node->op != COL_OP_ASSIGN) continue;
        o->assigner[col_graph_find_var(o->graph, col_node_text(node, COL_ATTR_VARIABLE))->index] = u;
    }
    find_readers(o);
    find_phases(o);
    measure(o);
    find_moves(o);
    if (!o->move_count) return;
    choose_starts(o);
    int64_t peak = 0;
    for (uint32_t u = 0; u < o->units->count; u++) peak = COL_MAX(peak, o->live[u]);
    choose_waits(o, (double)peak * (1 + memory));
    for (uint32_t i = 0; i < o->move_count; i++) {
        if (o->moves[i].is_started) add_wait(o, &o->moves[i]);
    }
    reorder(o);
}

bool col_overlaps(const col_pass_options *options)
{
    bool can = options->machine && options->machine->overlap > 0;
    return options->overlap == COL_OVERLAP_ON || (options->overlap == COL_OVERLAP_AUTO && can);
}

col_status col_pass_overlap(col_graph *graph, const col_pass_options *options)
{
    col_machine machine;
    if (!graph->mesh.rank || !col_overlaps(options)) return NULL;
    overlapper o = {.graph = graph, .share = 1};
    if (options->machine) {
        machine = *options->machine;
        if (col_mesh_size(&graph->mesh) > col_machine_devices(&machine))
            return col_error_make(COL_BAD_INPUT, "the graph's mesh has more ranks than the machine %s",
                                  machine.name);
        col_machine_links(&machine, &graph->mesh);
        o.machine = &machine;
        if (machine.overlap > 0) o.share = machine.overlap;
        if (options->overlap == COL_OVERLAP_AUTO) o.least = machine.overhead;
    }
    o.arena = col_arena_create();
    o.units = col_units_of(graph, o.arena);
    overlap(&o, options->overlap == COL_OVERLAP_ON ? HUGE_VAL : options->overlap_memory);
    col_arena_destroy(o.arena);
    return NULL;
}
