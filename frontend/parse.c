#include "frontend/parse.h"

#include "frontend/elaborate.h"

/* Ids in the order in which the printer writes: variables, then results. So the text of a graph that was just
 * parsed reads back with the same numbers. */
static void number_values(col_graph *graph)
{
    uint32_t value_id = 0, node_id = 0;
    for (size_t i = 0; i < graph->vars.len; i++) graph->vars.data[i]->value->id = value_id++;
    COL_FOR_EACH_NODE (node, graph) {
        node->id = node_id++;
        for (uint32_t i = 0; i < node->result_count; i++) node->results[i].id = value_id++;
    }
    graph->next_value_id = value_id;
    graph->next_node_id = node_id;
}

static col_graph *build_graph(const col_source *source, const col_parse_options *options, col_arena *arena,
                              col_arena *scratch, col_diags *diags)
{
    col_symbols symbols = {.arena = arena, .by_name = col_map_create(scratch)};
    const col_syntax *syntax = col_syntax_parse(source, &symbols, scratch, diags);
    if (diags->total) return NULL;
    col_elab e = {.syntax = syntax,
                  .symbols = &symbols,
                  .scratch = scratch,
                  .bytes_before = col_arena_bytes(arena),
                  .graph = col_graph_create(arena, syntax->name->name),
                  .diags = diags,
                  .options = options,
                  .random_streams = col_map_create(scratch),
                  .salts = col_map_create(scratch),
                  .assigned = col_map_create(scratch),
                  .outputs = col_map_create(scratch)};
    e.graph->mesh = syntax->mesh;
    e.setting_read = COL_NEW_ARRAY(scratch, bool, syntax->setting_count);
    e.b = (col_builder){.graph = e.graph, .scope = "", .diags = diags};
    col_elab_run(&e);
    if (diags->total) return NULL;
    number_values(e.graph);
    return e.graph;
}

col_status col_parse_model(const col_source *source, const col_parse_options *options, col_arena *arena,
                           col_graph **out_graph)
{
    static const col_parse_options none;
    *out_graph = NULL;
    if (source->size > COL_PARSE_BYTES) {
        return col_error_make(COL_BAD_INPUT, "%s: error: this model's text is over %d MiB", source->name,
                              COL_PARSE_BYTES >> 20);
    }
    COL_TRY(col_source_check(source));
    col_arena *scratch = col_arena_create();
    col_diags diags = {.arena = scratch};
    col_graph *graph = build_graph(source, options ? options : &none, arena, scratch, &diags);
    col_status status = col_diags_status(&diags);
    col_arena_destroy(scratch);
    if (!status) *out_graph = graph;
    return status;
}
