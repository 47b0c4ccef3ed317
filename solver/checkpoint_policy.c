/* Schedules from decisions; see the header. */
#include "solver/checkpoint_policy.h"

#include <string.h>

void policy_scratch_init(policy_scratch *p, const col_checkpoint_graph *graph, col_arena *arena)
{
    size_t n = graph->count;
    *p = (policy_scratch){.last_run = COL_NEW_ARRAY(arena, int32_t, n),
                          .wanted = COL_NEW_ARRAY(arena, uint8_t, n),
                          .stack = COL_NEW_ARRAY(arena, uint32_t, n),
                          .position = COL_NEW_ARRAY(arena, uint32_t, n)};
}

int32_t policy_final(const col_checkpoint_graph *graph)
{
    int32_t last = (int32_t)graph->count - 1;
    while (graph->nodes[last].kind == COL_CHECKPOINT_NODE_STATE) last--;
    return last;
}

static bool is_there(const col_checkpoint_graph *graph, policy_crosses *crosses, const void *context,
                     const policy_scratch *p, uint32_t v, int32_t turn)
{
    if (graph->nodes[v].kind != COL_CHECKPOINT_NODE_FORWARD || p->last_run[v] == turn) return true;
    return crosses(context, v, p->last_run[v], turn);
}

/* A turn on its way. */
typedef struct builder {
    const col_checkpoint_graph *graph;
    policy_crosses *crosses;
    const void *context;
    policy_scratch *p;
    int32_t turn;
    uint32_t depth, lowest; /* of the stack; first node that is wanted */
} builder;

static void want_value(builder *b, uint32_t v)
{
    if (b->p->wanted[v] || is_there(b->graph, b->crosses, b->context, b->p, v, b->turn)) return;
    b->p->wanted[v] = 1;
    b->p->stack[b->depth++] = v;
    b->lowest = COL_MIN(b->lowest, v);
}

static void want_operands(builder *b, uint32_t v)
{
    const col_checkpoint_node *node = &b->graph->nodes[v];
    for (uint32_t i = 0; i < node->operand_count; i++) want_value(b, node->operands[i]);
}

/* Marks what must run again before node `turn`, the operands of what runs again included, and outputs before
 * the last. Returns the lowest node marked. */
static uint32_t want(builder *b, int32_t turn, bool is_final)
{
    b->turn = turn;
    b->depth = 0;
    b->lowest = (uint32_t)turn;
    want_operands(b, (uint32_t)turn);
    for (uint32_t v = 0; is_final && v < (uint32_t)turn; v++) {
        if (b->graph->nodes[v].output) want_value(b, v);
    }
    while (b->depth) want_operands(b, b->p->stack[--b->depth]);
    return b->lowest;
}

static void run(policy_scratch *p, uint32_t v, int32_t turn, col_arena *arena, col_checkpoint_runs *out)
{
    p->last_run[v] = turn;
    p->wanted[v] = 0;
    col_vec_push(arena, &out->nodes, v);
}

void policy_build(const col_checkpoint_graph *graph, policy_crosses *crosses, const void *context,
                  policy_scratch *p, col_arena *arena, col_checkpoint_runs *out)
{
    builder b = {.graph = graph, .crosses = crosses, .context = context, .p = p};
    int32_t final = policy_final(graph);
    out->nodes.len = 0;
    for (int32_t turn = 0; turn <= final; turn++) {
        if (graph->nodes[turn].kind == COL_CHECKPOINT_NODE_STATE) continue;
        for (uint32_t v = want(&b, turn, turn == final); v < (uint32_t)turn; v++) {
            if (p->wanted[v]) run(p, v, turn, arena, out);
        }
        run(p, (uint32_t)turn, turn, arena, out);
    }
}

/* Time of a run: its index among the runs. */
void policy_measure(const col_checkpoint_graph *graph, policy_scratch *p, col_arena *arena,
                    col_checkpoint_runs *runs)
{
    size_t count = runs->nodes.len;
    while (p->last_use.len < count + 1) col_vec_push(arena, &p->last_use, 0);
    while (p->live.len < count + 1) col_vec_push(arena, &p->live, 0);
    memset(p->live.data, 0, (count + 1) * sizeof *p->live.data);
    int64_t state = 0;
    for (size_t v = 0; v < graph->count; v++) {
        if (graph->nodes[v].kind == COL_CHECKPOINT_NODE_STATE) state += (int64_t)graph->nodes[v].bytes;
    }
    runs->seconds = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t v = runs->nodes.data[i];
        const col_checkpoint_node *node = &graph->nodes[v];
        for (uint32_t k = 0; k < node->operand_count; k++) {
            uint32_t u = node->operands[k];
            if (graph->nodes[u].kind != COL_CHECKPOINT_NODE_STATE) p->last_use.data[p->position[u]] = i;
        }
        p->position[v] = i;
        p->last_use.data[i] = i;
        runs->seconds += node->seconds;
    }
    for (size_t v = 0; v < graph->count; v++) {
        if (graph->nodes[v].output && graph->nodes[v].kind != COL_CHECKPOINT_NODE_STATE)
            p->last_use.data[p->position[v]] = (uint32_t)(count - 1);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t bytes = (int64_t)graph->nodes[runs->nodes.data[i]].bytes;
        p->live.data[i] += bytes;
        p->live.data[p->last_use.data[i] + 1] -= bytes;
    }
    int64_t live = state, peak = state;
    for (size_t i = 0; i < count; i++) {
        live += p->live.data[i];
        p->live.data[i] = live + (int64_t)graph->nodes[runs->nodes.data[i]].temp_bytes;
        peak = COL_MAX(peak, p->live.data[i]);
    }
    runs->peak = (uint64_t)peak;
}

int32_t *policy_last_turns(const col_checkpoint_graph *graph, col_arena *arena)
{
    int32_t final = policy_final(graph), *last = COL_NEW_ARRAY(arena, int32_t, graph->count);
    for (int32_t v = 0; v < (int32_t)graph->count; v++) last[v] = graph->nodes[v].output ? final + 1 : v;
    for (int32_t u = final; u >= 0; u--) {
        bool again = graph->nodes[u].kind == COL_CHECKPOINT_NODE_FORWARD;
        int32_t until = again ? COL_MIN(last[u], final) : u;
        for (uint32_t i = 0; i < graph->nodes[u].operand_count; i++) {
            uint32_t v = graph->nodes[u].operands[i];
            last[v] = COL_MAX(last[v], until);
        }
    }
    return last;
}
