/* Checks of a graph and playing of schedules, without anything of the solver's: what it says is what counts.
 */
#include "solver/checkpoint_graph.h"

#include <inttypes.h>
#include <string.h>

typedef struct player {
    const col_checkpoint_graph *graph;
    const col_checkpoint_runs *runs;
    uint32_t *owner; /* by node: its latest run so far, UINT32_MAX: none */
    uint64_t bytes, peak;
} player;

static const uint32_t NONE = UINT32_MAX;

/* Whether a run of `node` is right here, given the latest runs; else what is wrong. */
static const char *check_run(const player *p, uint32_t node, uint32_t *base)
{
    const col_checkpoint_node *n = &p->graph->nodes[node];
    if (n->kind == COL_CHECKPOINT_NODE_STATE) return "a state never runs";
    for (uint32_t i = 0; i < n->operand_count; i++) {
        uint32_t v = n->operands[i];
        if (p->graph->nodes[v].kind != COL_CHECKPOINT_NODE_STATE && p->owner[v] == NONE)
            return "an operand has not run";
    }
    if (p->owner[node] != NONE) return n->kind == COL_CHECKPOINT_NODE_FORWARD ? NULL : "it has run already";
    while (p->graph->nodes[*base].kind == COL_CHECKPOINT_NODE_STATE) ++*base;
    if (*base != node) return "a node before it has not run";
    ++*base;
    return NULL;
}

/* By run: the last run that uses its value, itself if none does. */
static col_status find_uses(player *p, uint32_t *last)
{
    uint32_t base = 0;
    for (uint32_t i = 0; i < p->runs->nodes.len; i++) {
        uint32_t node = p->runs->nodes.data[i];
        const char *wrong = node < p->graph->count ? check_run(p, node, &base) : "there is no such node";
        if (wrong)
            return col_error_make(COL_INTERNAL, "run %" PRIu32 ", node %" PRIu32 ": %s", i, node, wrong);
        const col_checkpoint_node *n = &p->graph->nodes[node];
        for (uint32_t k = 0; k < n->operand_count; k++) {
            if (p->owner[n->operands[k]] != NONE) last[p->owner[n->operands[k]]] = i;
        }
        p->owner[node] = i;
        last[i] = i;
    }
    for (uint32_t v = 0; v < p->graph->count; v++) {
        const col_checkpoint_node *n = &p->graph->nodes[v];
        if (n->kind == COL_CHECKPOINT_NODE_STATE) continue;
        if (p->owner[v] == NONE) return col_error_make(COL_INTERNAL, "node %" PRIu32 " never runs", v);
        if (n->output) last[p->owner[v]] = (uint32_t)p->runs->nodes.len - 1;
    }
    return NULL;
}

col_status col_checkpoint_graph_play(const col_checkpoint_graph *graph, col_checkpoint_runs *runs)
{
    col_arena *scratch = col_arena_create();
    size_t count = runs->nodes.len;
    player p = {.graph = graph, .runs = runs, .owner = COL_NEW_ARRAY(scratch, uint32_t, graph->count)};
    memset(p.owner, 0xff, graph->count * sizeof *p.owner);
    uint32_t *last = COL_NEW_ARRAY(scratch, uint32_t, count + 1);
    uint64_t *freed = COL_NEW_ARRAY(scratch, uint64_t, count + 1); /* after a run */
    col_status status = find_uses(&p, last);
    for (size_t v = 0; v < graph->count; v++) {
        if (graph->nodes[v].kind == COL_CHECKPOINT_NODE_STATE) p.bytes += graph->nodes[v].bytes;
    }
    p.peak = p.bytes;
    runs->seconds = 0;
    for (size_t i = 0; i < count && !status; i++) {
        const col_checkpoint_node *n = &graph->nodes[runs->nodes.data[i]];
        p.bytes += n->bytes;
        freed[last[i]] += n->bytes;
        p.peak = COL_MAX(p.peak, p.bytes + n->temp_bytes);
        p.bytes -= freed[i];
        runs->seconds += n->seconds;
    }
    runs->peak = p.peak;
    col_arena_destroy(scratch);
    return status;
}
