/* Lets communication go on beside computation: collectives start where their operand is there and are waited
 * for where their result is needed.
 *
 * needs     schedule
 * provides  a `wait` for every collective that has something to compute between its start and its end; units
 *           other than collectives, waits, assignments, views and late ones keep their order
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
 *   late   What only later phases need of a collective's result, as the casts of summed gradients, is computed at the end
 *          of the phase, as far as memory allows (overlap_late.c).
 *   join   Small ones start together (overlap_join.c).
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
#include <math.h>
#include <stdlib.h>

#include "passes/overlap_model.h"

enum { HALVINGS = 4 };           /* of the distance, where memory is short */
static const double AHEAD = 1.5; /* of the seconds that a gather takes, by which it starts early */

/* When the result is needed, by collectives where they start now. */
static uint32_t first_use(const col_overlapper *o, const col_overlap_move *m)
{
    uint32_t first = m->latest;
    for (const uint32_t *r = o->readers[m->node->results[0].id]; *r != COL_OVERLAP_NONE; r++) {
        if (col_overlap_node(o, *r)->op == COL_OP_ASSIGN) continue;
        first = COL_MIN(first, o->move_of[*r] ? o->move_of[*r]->start : *r);
    }
    return first;
}

/* Starts. */

static int by_latest(const void *a, const void *b)
{
    const col_overlap_move *x = *(col_overlap_move *const *)a, *y = *(col_overlap_move *const *)b;
    if (x->latest != y->latest) return x->latest < y->latest ? 1 : -1;
    return x->unit < y->unit ? 1 : -1;
}

/* Gathers are looked at from the last to be needed to the first, each beside those that were chosen before
 * it. `starting` has the seconds of the collectives that start at a boundary. */
static void choose_starts(col_overlapper *o)
{
    double *starting = COL_NEW_ARRAY(o->arena, double, o->units->count + 1);
    col_overlap_move **gathers = COL_NEW_ARRAY(o->arena, col_overlap_move *, o->move_count);
    size_t count = 0;
    for (uint32_t i = 0; i < o->move_count; i++) {
        col_overlap_move *m = &o->moves[i];
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
        col_overlap_move *m = gathers[i];
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

/* The first boundary after `from` with so many seconds of computing before it. */
static uint32_t boundary_at(const col_overlapper *o, uint32_t from, double seconds)
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

static void add_live(col_overlapper *o, uint32_t begin, uint32_t end, int64_t bytes)
{
    for (uint32_t u = begin; u < end; u++) o->live[u] += bytes;
}

/* Adds (or takes away) what the move changes of live bytes. */
static void change_live(col_overlapper *o, const col_overlap_move *m, int sign)
{
    int64_t result = sign * col_overlap_bytes(o, &m->node->results[0]),
            operand = sign * col_overlap_bytes(o, m->operand);
    add_live(o, m->start, m->unit, result);
    add_live(o, m->unit, m->start, -result); /* waits for others */
    if (!m->holds) return;
    if (m->in_place) {
        add_live(o, m->start, m->unit, -operand);
        add_live(o, m->unit, m->start, operand);
        return;
    }
    uint32_t old_end = COL_MAX(m->other_reader, m->unit + 1), end = COL_MAX(m->other_reader, m->wait);
    add_live(o, old_end, end, operand);
    add_live(o, end, old_end, -operand);
}

static bool fits(const col_overlapper *o, const col_overlap_move *m, double limit)
{
    for (uint32_t u = COL_MIN(m->start, m->unit); u < COL_MAX(m->wait, m->unit); u++) {
        if ((double)o->live[u] > limit) return false;
    }
    return true;
}

/* As chosen, or nearer to where the collective stands; false when nothing is left in between. */
static bool settle(col_overlapper *o, col_overlap_move *m, double limit)
{
    bool is_later = m->start > m->unit;
    uint32_t before = is_later ? m->start - m->unit : m->unit - m->start, place = COL_MAX(m->unit, m->start);
    uint32_t behind = m->wait > place + 1 ? m->wait - place - 1 : 0;
    for (int i = 0; i <= HALVINGS; i++) {
        col_overlap_move tried = *m;
        tried.start = is_later ? m->unit + (before >> i) : m->unit - (before >> i);
        tried.wait =
            COL_MIN(COL_MAX(COL_MIN(m->wait, m->unit + 1), tried.start + 1) + (behind >> i), m->latest);
        double beside = o->share * (o->before[tried.wait] - o->before[tried.start]);
        if (COL_MIN(beside, m->seconds) <= o->least && !(m->is_joined && !i)) return false;
        change_live(o, &tried, 1);
        if (fits(o, &tried, limit)) {
            *m = tried;
            return true;
        }
        change_live(o, &tried, -1);
    }
    return false;
}

static void choose_waits(col_overlapper *o, double limit)
{
    col_overlap_move **order = COL_NEW_ARRAY(o->arena, col_overlap_move *, o->move_count);
    double end = 0;
    for (uint32_t i = 0; i < o->move_count; i++) order[i] = &o->moves[i];
    qsort(order, o->move_count, sizeof *order, col_overlap_by_start);
    for (uint32_t i = 0; i < o->move_count; i++) {
        col_overlap_move *m = order[i];
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

static double peak_of(const col_overlapper *o)
{
    int64_t peak = 0;
    for (uint32_t u = 0; u < o->units->count; u++) peak = COL_MAX(peak, o->live[u]);
    return (double)peak;
}

static void overlap(col_overlapper *o, double memory)
{
    col_overlap_model(o);
    if (!o->move_count) return;
    double limit = peak_of(o) * (1 + memory);
    if (col_overlap_sink(o, peak_of(o) * memory)) col_overlap_model(o);
    choose_starts(o);
    col_overlap_join(o);
    choose_waits(o, COL_MAX(limit, peak_of(o)));
    col_overlap_reorder(o);
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
    col_overlapper o = {.graph = graph, .share = 1};
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
    overlap(&o, options->overlap == COL_OVERLAP_ON ? HUGE_VAL : options->overlap_memory);
    col_arena_destroy(o.arena);
    return NULL;
}
