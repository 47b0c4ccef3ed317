/* A graph problem of `colc solve checkpoint`:
 *
 * {"nodes": [{"name", "kind": "forward" | "backward" | "state", "seconds", "bytes", "temp_bytes",
 *             "operands": [names], "output": true | false}, ...], "memory"}
 *
 * What each means is in solver/checkpoint_graph.h. kind (forward), temp_bytes (0), operands (none), output
 * (false), memory and the seconds of a state may be left out. The base order is the file's; a node that comes
 * before its operands waits until they have come. */
#include "frontend/solve_checkpoint.h"

#include "ir/base/map.h"
#include "solver/checkpoint_graph.h"

#include <inttypes.h>
#include <string.h>

enum { NODES_MOST = 10000 };

/* A node as the file has it; indices are places in the file. */
typedef struct file_node {
    const char *name;
    col_checkpoint_node node; /* operands by place in the file */
    uint32_t *operands;
    bool placed;
} file_node;

typedef struct graph_reader {
    const checkpoint_reader *r;
    file_node *nodes;
    uint32_t count;
    col_map *by_name; /* file_node */
    uint32_t *order;  /* by place in the base order: place in the file */
} graph_reader;

/* ---- reading ---- */

static col_status read_kind(const graph_reader *g, const json_t *object, const char *where,
                            col_checkpoint_kind *out)
{
    static const char *const kinds[] = {"forward", "backward", "state"};
    const json_t *value = json_object_get(object, "kind");
    *out = COL_CHECKPOINT_NODE_FORWARD;
    for (size_t k = 0; value && k < COL_COUNT(kinds); k++) {
        if (!json_is_string(value) || strcmp(json_string_value(value), kinds[k])) continue;
        *out = (col_checkpoint_kind)k;
        return NULL;
    }
    return value ? checkpoint_fault(g->r, where, "kind", "must be forward, backward or state") : NULL;
}

static col_status read_name(graph_reader *g, const json_t *object, const char *where, file_node *out)
{
    const json_t *name = json_object_get(object, "name");
    if (!json_is_string(name))
        return checkpoint_fault(g->r, where, "name", name ? "must be a string" : "is missing");
    out->name = col_arena_strdup(g->r->arena, json_string_value(name));
    if (!col_map_set(g->by_name, out->name, out)) return NULL;
    return checkpoint_fault(g->r, where, "name",
                            col_arena_printf(g->r->arena, "'%s' is another node's, too", out->name));
}

static col_status read_node(graph_reader *g, const json_t *object, uint32_t index)
{
    static const char *const known[] = {"name",       "kind",     "seconds", "bytes",
                                        "temp_bytes", "operands", "output"};
    const uint64_t none = 0;
    const double no_time = 0;
    file_node *out = &g->nodes[index];
    const char *where = col_arena_printf(g->r->arena, "nodes[%" PRIu32 "].", index);
    if (!json_is_object(object))
        return checkpoint_fault(g->r, "", col_arena_printf(g->r->arena, "nodes[%" PRIu32 "]", index),
                                "must be an object");
    COL_TRY(checkpoint_keys(g->r, object, where, known, COL_COUNT(known)));
    COL_TRY(read_name(g, object, where, out));
    COL_TRY(read_kind(g, object, where, &out->node.kind));
    bool is_state = out->node.kind == COL_CHECKPOINT_NODE_STATE;
    COL_TRY(
        checkpoint_seconds(g->r, object, where, "seconds", is_state ? &no_time : NULL, &out->node.seconds));
    COL_TRY(checkpoint_bytes(g->r, object, where, "bytes", NULL, &out->node.bytes));
    COL_TRY(checkpoint_bytes(g->r, object, where, "temp_bytes", &none, &out->node.temp_bytes));
    const json_t *output = json_object_get(object, "output");
    if (output && !json_is_boolean(output))
        return checkpoint_fault(g->r, where, "output", "must be true or false");
    out->node.output = json_is_true(output);
    return NULL;
}

static col_status read_operands(graph_reader *g, const json_t *object, uint32_t index)
{
    const json_t *list = json_object_get(object, "operands");
    const char *where = col_arena_printf(g->r->arena, "nodes[%" PRIu32 "].", index);
    if (list && !json_is_array(list))
        return checkpoint_fault(g->r, where, "operands", "must be a list of names");
    file_node *out = &g->nodes[index];
    out->node.operand_count = (uint32_t)json_array_size(list);
    out->operands = COL_NEW_ARRAY(g->r->arena, uint32_t, out->node.operand_count + 1);
    for (uint32_t i = 0; i < out->node.operand_count; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const file_node *operand = name ? col_map_get(g->by_name, name) : NULL;
        if (!operand)
            return checkpoint_fault(
                g->r, where, "operands",
                name ? col_arena_printf(g->r->arena, "there is no node '%s'; give the name of one", name)
                     : "must be a list of names");
        out->operands[i] = (uint32_t)(operand - g->nodes);
    }
    return NULL;
}

/* ---- the base order ---- */

static bool is_ready(const graph_reader *g, const file_node *node)
{
    for (uint32_t i = 0; i < node->node.operand_count; i++) {
        if (!g->nodes[node->operands[i]].placed) return false;
    }
    return true;
}

/* Nodes that are left have operands that are left: following these leads into a circle. */
static col_status name_circle(const graph_reader *g)
{
    uint32_t at = 0;
    col_str text = {0};
    while (g->nodes[at].placed) at++;
    bool *seen = COL_NEW_ARRAY(g->r->arena, bool, g->count);
    for (uint32_t first = UINT32_MAX; at != first;) {
        if (seen[at] && first == UINT32_MAX) {
            first = at;
            col_str_printf(&text, "'%s'", g->nodes[at].name);
        } else if (first != UINT32_MAX) {
            col_str_printf(&text, " needs '%s'", g->nodes[at].name);
        }
        seen[at] = true;
        const file_node *node = &g->nodes[at];
        uint32_t i = 0;
        while (g->nodes[node->operands[i]].placed) i++;
        at = node->operands[i];
    }
    col_status status = checkpoint_fault(
        g->r, "", "nodes",
        col_arena_printf(g->r->arena, "the graph has a circle: %s needs '%s'; a step has none", text.data,
                         g->nodes[at].name));
    col_str_fini(&text);
    return status;
}

static col_status sort_nodes(graph_reader *g)
{
    uint32_t done = 0;
    g->order = COL_NEW_ARRAY(g->r->arena, uint32_t, g->count + 1);
    for (uint32_t before = UINT32_MAX; done != before && done < g->count;) {
        before = done;
        for (uint32_t v = 0; v < g->count; v++) {
            file_node *node = &g->nodes[v];
            if (node->placed || !is_ready(g, node)) continue;
            node->placed = true;
            g->order[done++] = v;
        }
    }
    return done < g->count ? name_circle(g) : NULL;
}

static col_status read_graph(const checkpoint_request *request, const json_t *root, graph_reader *g,
                             col_checkpoint_graph *out)
{
    static const char *const known[] = {"nodes", "memory"};
    col_arena *arena = request->reader.arena;
    *g = (graph_reader){.r = &request->reader, .by_name = col_map_create(arena)};
    COL_TRY(checkpoint_keys(g->r, root, "", known, COL_COUNT(known)));
    const json_t *list = json_object_get(root, "nodes");
    if (!json_is_array(list)) return checkpoint_fault(g->r, "", "nodes", "must be a list");
    if (json_array_size(list) > NODES_MOST)
        return checkpoint_fault(g->r, "", "nodes",
                                col_arena_printf(arena, "are %zu, the most is %d; merge neighbours",
                                                 json_array_size(list), NODES_MOST));
    g->count = (uint32_t)json_array_size(list);
    g->nodes = COL_NEW_ARRAY(arena, file_node, g->count + 1);
    for (uint32_t v = 0; v < g->count; v++) COL_TRY(read_node(g, json_array_get(list, v), v));
    for (uint32_t v = 0; v < g->count; v++) COL_TRY(read_operands(g, json_array_get(list, v), v));
    COL_TRY(sort_nodes(g));
    uint32_t *place = COL_NEW_ARRAY(arena, uint32_t, g->count + 1);
    col_checkpoint_node *nodes = COL_NEW_ARRAY(arena, col_checkpoint_node, g->count + 1);
    for (uint32_t k = 0; k < g->count; k++) {
        file_node *from = &g->nodes[g->order[k]];
        place[g->order[k]] = k;
        for (uint32_t i = 0; i < from->node.operand_count; i++) from->operands[i] = place[from->operands[i]];
        nodes[k] = from->node;
        nodes[k].operands = from->operands;
    }
    *out = (col_checkpoint_graph){.count = g->count, .nodes = nodes};
    return checkpoint_memory(request, root, &out->memory);
}

/* ---- writing ---- */

static json_t *schedule_json(const graph_reader *g, const col_checkpoint_runs *runs)
{
    json_t *list = json_array();
    bool *begun = COL_NEW_ARRAY(g->r->arena, bool, g->count + 1);
    for (size_t i = 0; i < runs->nodes.len; i++) {
        uint32_t v = runs->nodes.data[i];
        json_t *entry = json_pack("{s:s}", "node", g->nodes[g->order[v]].name);
        if (begun[v]) json_object_set_new(entry, "again", json_true());
        begun[v] = true;
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *answer_json(const graph_reader *g, const col_checkpoint_graph *graph,
                           const col_checkpoint_graph_solution *s)
{
    json_t *root = json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:I, s:i, s:i}", "status", col_solve_status_name(s->status),
        "objective", s->runs.seconds, "bound", s->bound, "gap", s->gap, "seconds", s->seconds, "peak",
        (json_int_t)s->runs.peak, "memory", (json_int_t)graph->memory, "keep_seconds", s->keep_seconds,
        "keep_memory", (json_int_t)s->keep_memory, "variables", (int)s->variables, "rows", (int)s->rows);
    if (s->least_memory) {
        json_object_set_new(root, "least_memory", json_integer((json_int_t)s->least_memory));
        json_object_set_new(root, "least_memory_bound", json_integer((json_int_t)s->least_memory_bound));
    }
    json_object_set_new(root, "schedule", schedule_json(g, &s->runs));
    return root;
}

/* ---- solving ---- */

/* Puts a twin's schedule in the place of the solver's; the bound stays. */
static void use_twin(const checkpoint_request *request, const col_checkpoint_graph *graph,
                     col_checkpoint_graph_solution *s)
{
    col_checkpoint_runs runs = {0};
    if (request->method == CHECKPOINT_GREEDY)
        (void)col_checkpoint_graph_greedy(graph, request->reader.arena, &runs);
    else if (request->method == CHECKPOINT_SQRT)
        col_checkpoint_graph_sqrt(graph, request->reader.arena, &runs);
    else
        col_checkpoint_graph_keep(graph, request->reader.arena, &runs);
    s->runs = runs;
    bool fits = !graph->memory || runs.peak <= graph->memory;
    s->gap = runs.seconds > 0 ? (runs.seconds - s->bound) / runs.seconds : 0;
    if (s->status != COL_SOLVE_INFEASIBLE) s->status = fits ? COL_SOLVE_FEASIBLE : COL_SOLVE_LIMIT;
}

col_status checkpoint_solve_graph_json(const checkpoint_request *request, const json_t *root)
{
    graph_reader g;
    col_checkpoint_graph graph;
    col_checkpoint_graph_solution s;
    const char *path = request->reader.path;
    COL_TRY(read_graph(request, root, &g, &graph));
    COL_TRY(col_error_annotate(
        col_checkpoint_solve_graph(&graph, &request->limits, request->reader.arena, &s), "%s", path));
    uint64_t known = s.least_memory ? s.least_memory : s.runs.peak;
    if (request->method != CHECKPOINT_OPTIMAL) use_twin(request, &graph, &s);
    COL_TRY(checkpoint_write(request, answer_json(&g, &graph, &s)));
    if (!graph.memory || s.runs.peak <= graph.memory) return NULL;
    return col_error_make(
        COL_INFEASIBLE,
        "%s: %s schedule takes %" PRIu64 " bytes and does not fit a memory of %" PRIu64
        " bytes; the smallest memory known to do is %" PRIu64 " bytes (proved: no less than %" PRIu64 ")",
        path, request->method == CHECKPOINT_OPTIMAL ? "the least" : checkpoint_method_name(request->method),
        s.runs.peak, graph.memory, known, s.least_memory_bound);
}
