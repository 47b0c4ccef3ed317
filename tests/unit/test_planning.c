/* Legalizing, scheduling and memory planning keep their promises on whole models: each promise is checked
 * from the graph itself, not from what the pass thought. */
#include "tests/unit/unit.h"

#include "codegen/emit.h"
#include "frontend/parse.h"
#include "ir/einsum.h"
#include "ir/view.h"
#include "passes/memory.h"
#include "passes/pass.h"

static const char mlp[] = "model mlp(batch = 5, width = 7)\n"
                          "input x : f32[batch, width]\n"
                          "input labels : i32[batch]\n"
                          "h = gelu_tanh(linear(x, 3 * width) @ fc1)\n"
                          "h = layer_norm(h) @ ln\n"
                          "output loss = cross_entropy(linear(h, 3) @ fc2, labels)\n";

static const char attention[] =
    "model tiny(batch = 2, seq = 12, width = 16, vocab = 19)\n"
    "input input_ids, labels : i32[batch, seq]\n"
    "param wte.weight : f32[vocab, width] ~ normal(0, 0.02)\n"
    "x = embedding(wte.weight, input_ids)\n"
    "for i in 0..3 {\n"
    "  q, k, v = split(linear(layer_norm(x) @ h.{i}.ln, 3 * width) @ h.{i}.qkv, parts = 3, axis = -1)\n"
    "  y = attention(q, k, v, heads = 2, causal = true, rate = 0.1)\n"
    "  x = x + dropout(linear(y, width) @ h.{i}.proj, 0.1) @ h.{i}\n"
    "}\n"
    "logits = einsum(x, wte.weight, equation = \"btc,vc->btv\")\n"
    "output loss = cross_entropy(logits, labels)\n";

/* Operands that no product can read in place: a result in another order, an inner letter with a hole, a
 * letter alone. */
static const char odd[] = "model odd(n = 6)\n"
                          "param a : f32[4, n, 5] ~ normal(0, 1)\n"
                          "param b : f32[5, n, 3, 4] ~ normal(0, 1)\n"
                          "y = einsum(a, b, equation = \"abc,cbde->eda\")\n"
                          "z = einsum(transpose(a, perm = [2, 0, 1]), b, equation = \"cab,cbde->dab\")\n"
                          "output loss = sum(y * y, axes = [0, 1, 2]) + sum(z, axes = [0, 1, 2])\n";

static const char *const models[] = {mlp, attention, odd};

static const char *const until_fuse[] = {"autodiff", "optimizer", "lower", "fold", "cse",
                                         "dce",      "legalize",  "cse",   "dce",  "fuse"};

static col_graph *compile_to(const char *text, const char *last, int64_t accumulate, col_arena *arena)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){"model.ir", text, strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    col_pass_options options = col_pass_options_default();
    options.accumulate = accumulate;
    for (size_t i = 0; i < COL_COUNT(until_fuse); i++) {
        const col_pass *pass = col_pass_find(until_fuse[i]);
        assert_ok(col_passes_run(graph, &pass, 1, &options, NULL));
        if (!strcmp(last, until_fuse[i])) return graph;
    }
    const col_pass *schedule = col_pass_find("schedule");
    assert_ok(col_passes_run(graph, &schedule, 1, &options, NULL));
    return graph;
}

static void products_read_their_operands_in_place(void **state)
{
    (void)state;
    for (size_t m = 0; m < COL_COUNT(models); m++) {
        col_arena *arena = col_arena_create();
        const col_graph *graph = compile_to(models[m], "legalize", 1, arena);
        int products = 0;
        COL_FOR_EACH_NODE (node, graph) {
            if (node->op != COL_OP_EINSUM) continue;
            col_einsum e = col_einsum_of(node);
            char order[3 * COL_MAX_RANK + 3];
            snprintf(order, sizeof order, "%s%s%s", e.batch, e.rows, e.columns);
            assert_string_equal(order, e.result);
            assert_string_equal(e.first_only, "");
            assert_string_equal(e.second_only, "");
            for (uint32_t i = 0; i < 2; i++) {
                col_view view = col_view_of(col_node_operand(node, i));
                int64_t size[2], stride[2];
                assert_true(col_einsum_merge(&e, e.operands[i], view.strides, i ? e.columns : e.rows,
                                             &size[0], &stride[0]));
                assert_true(col_einsum_merge(&e, e.operands[i], view.strides, e.inner, &size[1], &stride[1]));
                assert_true(size[0] == 1 || size[1] == 1 || stride[0] == 1 || stride[1] == 1);
            }
            products++;
        }
        assert_true(products >= 2);
        col_arena_destroy(arena);
    }
}

static void a_transposed_product_is_made_in_order(void **state)
{
    (void)state;
    static const char text[] = "model swapped(n = 6)\n"
                               "param a : f32[4, n] ~ normal(0, 1)\n"
                               "param b : f32[4, 5] ~ normal(0, 1)\n"
                               "y = einsum(a, b, equation = \"kn,km->mn\")\n"
                               "output loss = sum(y * y, axes = [0, 1])\n";
    col_arena *arena = col_arena_create();
    const col_graph *graph = compile_to(text, "legalize", 1, arena);
    int products = 0;
    COL_FOR_EACH_NODE (node, graph) {
        assert_true(node->op != COL_OP_TRANSPOSE && node->op != COL_OP_COPY);
        products += node->op == COL_OP_EINSUM;
    }
    assert_int_equal(products, 3);
    col_arena_destroy(arena);
}

/* Longest sums over an axis with columns behind it, and over the last axis, once the pass has run. */
static void find_longest_sums(const char *text, int64_t *out_columns, int64_t *out_rows)
{
    col_arena *arena = col_arena_create();
    col_source source = {"model.ir", text, strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(&source, NULL, arena, &graph));
    col_pass_options options = col_pass_options_default();
    options.few_results = options.few_rows = 512;
    options.many_elements = 4096;
    options.many_rows = 512;
    const col_pass *legalize = col_pass_find("legalize");
    assert_ok(col_passes_run(graph, &legalize, 1, &options, NULL));
    *out_columns = *out_rows = 0;
    COL_FOR_EACH_NODE (node, graph) {
        int count;
        if (node->op != COL_OP_SUM) continue;
        col_shape shape = col_node_operand(node, 0)->type.shape;
        const int64_t *axes = col_node_ints(node, COL_ATTR_AXES, &count);
        int64_t *longest = axes[count - 1] == shape.rank - 1 ? out_rows : out_columns, length = 1;
        for (int i = 0; i < count; i++) length *= shape.dims[axes[i]];
        *longest = COL_MAX(*longest, length);
    }
    col_arena_destroy(arena);
}

static void few_long_columns_are_cut(void **state)
{
    (void)state;
    int64_t columns, rows;
    find_longest_sums("model m(n = 8)\nparam a : f32[4096, n] ~ normal(0, 1)\n"
                      "output loss = sum(a, axes = [0])\n",
                      &columns, &rows);
    assert_int_equal(columns, 64); /* 64 parts of 64 rows: 512 sums at once */
    find_longest_sums("model m(n = 8)\nparam a : f32[4, 1024, n] ~ normal(0, 1)\n"
                      "output loss = sum(a, axes = [0, 1])\n",
                      &columns, &rows);
    assert_int_equal(columns, 64);
    find_longest_sums("model m(n = 8)\nparam a : f32[n, 4096] ~ normal(0, 1)\n"
                      "output loss = sum(a, axes = [1])\n",
                      &columns, &rows);
    assert_int_equal(rows, 4096); /* a row is shared by the threads of a block */
}

static void groups_are_contiguous_and_assignments_wait(void **state)
{
    (void)state;
    for (size_t m = 0; m < COL_COUNT(models); m++) {
        col_arena *arena = col_arena_create();
        const col_graph *graph = compile_to(models[m], "schedule", 1, arena);
        uint8_t *closed = COL_NEW_ARRAY(arena, uint8_t, graph->next_node_id);
        bool *assigned = COL_NEW_ARRAY(arena, bool, graph->vars.len);
        int32_t open = -1;
        COL_FOR_EACH_NODE (node, graph) {
            if (node->group != open) {
                if (open >= 0) closed[open] = 1;
                open = node->group;
                if (open >= 0) assert_false(closed[open]);
            }
            for (uint32_t i = 0; i < node->operand_count; i++) {
                const col_var *var = col_view_of(col_node_operand(node, i)).base->var;
                if (var) assert_false(assigned[var->index]);
            }
            if (node->op == COL_OP_ASSIGN) {
                assigned[col_graph_find_var(graph, col_node_text(node, COL_ATTR_VARIABLE))->index] = true;
            }
        }
        col_arena_destroy(arena);
    }
}

typedef struct planned {
    col_arena *arena;
    col_graph *graph;
    col_units *units;
    const col_kernel **kernels;
    col_memory memory;
    uint64_t *variables, base;
} planned;

static bool in_place(void *context, const col_unit *unit, const col_value *input, const col_value *output)
{
    const planned *p = context;
    return col_emit_in_place(p->kernels[unit - p->units->units], input, output);
}

static planned *plan_memory(const char *text, int64_t accumulate)
{
    col_arena *arena = col_arena_create();
    planned *p = COL_NEW(arena, planned);
    p->arena = arena;
    p->graph = compile_to(text, "schedule", accumulate, arena);
    p->units = col_units_of(p->graph, arena);
    col_memory_fix_strides(p->graph, p->units, false, arena, &p->memory);
    col_emitter emitter = {.arena = arena};
    p->kernels = col_emit_kernels(&emitter, p->units, p->memory.placements);
    p->variables = COL_NEW_ARRAY(arena, uint64_t, p->graph->vars.len);
    for (size_t i = 0; i < p->graph->vars.len; i++) {
        p->variables[i] = p->base;
        p->base += ((uint64_t)col_type_bytes(p->graph->vars.data[i]->type) + 63) / 64 * 64;
    }
    col_memory_rules rules = {p, in_place, false};
    assert_ok(col_memory_assign(p->graph, p->units, &rules, p->variables, p->base, arena, &p->memory));
    return p;
}

/* Runs the schedule over the arena's bytes: a unit's writes stamp them with the value that they now hold, and
 * every read must find its own value's stamp. Wrong reuse of any kind (two live buffers at one place, an
 * operand overwritten too early, a variable written before its last read) shows as a foreign stamp. */
static void no_value_is_overwritten_before_its_last_read(void **state)
{
    (void)state;
    for (size_t m = 0; m < 2 * COL_COUNT(models); m++) {
        planned *p = plan_memory(models[m / 2], m % 2 ? 3 : 1);
        uint64_t bytes = p->base + p->memory.temporary_bytes;
        uint32_t *stamps = COL_NEW_ARRAY(p->arena, uint32_t, bytes / 4 + 1);
        for (size_t i = 0; i < p->graph->vars.len; i++) {
            const col_value *value = p->graph->vars.data[i]->value;
            for (int64_t at = 0; at < col_type_bytes(value->type) / 4; at++)
                stamps[p->variables[i] / 4 + (uint64_t)at] = value->id + 1;
        }
        for (uint32_t u = 0; u < p->units->count; u++) {
            const col_unit *unit = &p->units->units[u];
            for (uint32_t i = 0; i < unit->read_count; i++) {
                const col_value *value = unit->reads[i];
                const col_placement *place = &p->memory.placements[value->id];
                assert_true(place->placed);
                if (place->is_part) continue; /* read by the concat that it is a part of */
                for (int64_t at = 0; at < col_type_bytes(value->type) / 4; at++) {
                    assert_int_equal(stamps[place->offset / 4 + (uint64_t)at], value->id + 1);
                }
            }
            for (uint32_t i = 0; i < unit->write_count; i++) {
                const col_value *value = unit->writes[i];
                const col_placement *place = &p->memory.placements[value->id];
                assert_true(place->placed);
                assert_true(place->offset + (uint64_t)col_type_bytes(value->type) <= bytes || place->is_part);
                if (place->is_part) continue;
                for (int64_t at = 0; at < col_type_bytes(value->type) / 4; at++) {
                    stamps[place->offset / 4 + (uint64_t)at] = value->id + 1;
                }
            }
        }
        assert_true(p->memory.temporary_bytes >= p->memory.live_bound);
        assert_true((double)p->memory.temporary_bytes <= 1.1 * (double)p->memory.live_bound);
        col_arena_destroy(p->arena);
    }
}

/* Parameters and optimizer state are updated where they are: no copy of a whole state is made. */
static void updates_happen_in_place(void **state)
{
    (void)state;
    planned *p = plan_memory(attention, 1);
    int assigned = 0, in_variable = 0;
    COL_FOR_EACH_NODE (node, p->graph) {
        if (node->op != COL_OP_ASSIGN) continue;
        const col_var *var = col_graph_find_var(p->graph, col_node_text(node, COL_ATTR_VARIABLE));
        assigned++;
        in_variable += p->memory.placements[col_node_operand(node, 0)->id].offset == p->variables[var->index];
    }
    assert_int_equal(in_variable, assigned);
    assert_int_equal(assigned, 3 * 19 + 1); /* weights, two moments, the step counter */
    col_arena_destroy(p->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_read_their_operands_in_place),
        cmocka_unit_test(a_transposed_product_is_made_in_order),
        cmocka_unit_test(few_long_columns_are_cut),
        cmocka_unit_test(groups_are_contiguous_and_assignments_wait),
        cmocka_unit_test(no_value_is_overwritten_before_its_last_read),
        cmocka_unit_test(updates_happen_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
