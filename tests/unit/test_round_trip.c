/* What is printed after any pass reads back as the same graph: variables, nodes in order with op, phase,
 * scope, group, turn, attributes, operands and types, and outputs. */
#include "tests/unit/unit.h"
#include "frontend/parse.h"

#include "ir/base/file.h"
#include "passes/pass.h"

static void assert_same_value(const col_value *a, const col_value *b, col_value *const *image)
{
    assert_ptr_equal(image[a->id], b);
    assert_true(col_type_equal(a->type, b->type));
}

static void assert_same_node(const col_node *a, const col_node *b, col_value **image)
{
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->phase, b->phase);
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->turn, b->turn);
    assert_string_equal(a->scope, b->scope);
    assert_int_equal(a->operand_count, b->operand_count);
    assert_int_equal(a->result_count, b->result_count);
    assert_int_equal(a->attr_count, b->attr_count);
    for (uint32_t i = 0; i < a->operand_count; i++)
        assert_same_value(col_node_operand(a, i), col_node_operand(b, i), image);
    for (uint32_t i = 0; i < a->attr_count; i++) {
        const col_attr *x = &a->attrs[i], *y = &b->attrs[i];
        assert_int_equal(x->key, y->key);
        assert_true(x->int_value == y->int_value && x->count == y->count);
        assert_memory_equal(&x->float_value, &y->float_value, sizeof x->float_value);
        if (x->count) assert_memory_equal(x->ints, y->ints, sizeof *x->ints * (size_t)x->count);
        if (x->text) assert_string_equal(x->text, y->text);
    }
    for (uint32_t i = 0; i < a->result_count; i++) {
        image[a->results[i].id] = &b->results[i];
        assert_true(col_type_equal(a->results[i].type, b->results[i].type));
    }
}

static void assert_same_graph(const col_graph *a, const col_graph *b, col_arena *arena)
{
    col_value **image = COL_NEW_ARRAY(arena, col_value *, a->next_value_id); /* of a's values in b */
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->settings.len, b->settings.len);
    assert_int_equal(a->vars.len, b->vars.len);
    for (size_t i = 0; i < a->vars.len; i++) {
        const col_var *x = a->vars.data[i], *y = b->vars.data[i];
        assert_string_equal(x->name, y->name);
        assert_true(x->kind == y->kind && x->frozen == y->frozen && col_type_equal(x->type, y->type));
        assert_true(x->init.kind == y->init.kind && x->init.a == y->init.a && x->init.b == y->init.b);
        image[x->value->id] = y->value;
    }
    assert_int_equal(a->node_count, b->node_count);
    const col_node *other = b->first;
    COL_FOR_EACH_NODE (node, a) {
        assert_same_node(node, other, image);
        other = other->next;
    }
    assert_int_equal(a->outputs.len, b->outputs.len);
    for (size_t i = 0; i < a->outputs.len; i++) {
        assert_string_equal(a->outputs.data[i].name, b->outputs.data[i].name);
        assert_same_value(a->outputs.data[i].value, b->outputs.data[i].value, image);
    }
}

static col_status check_round_trip(void *context, const col_pass *pass, const col_graph *graph,
                                   double seconds)
{
    (void)seconds;
    size_t *checked = context;
    col_arena *arena = col_arena_create();
    col_str text = {0}, again = {0};
    col_graph_print(graph, &text);
    col_source source = {pass->name, text.data, text.len};
    col_graph *parsed;
    assert_ok(col_parse_model(&source, NULL, arena, &parsed));
    assert_ok(col_graph_verify(parsed));
    assert_same_graph(graph, parsed, arena);
    /* Numbers are dense now, so a second time the text is equal, too. */
    col_graph_print(parsed, &again);
    col_str_clear(&text);
    source = (col_source){"again", again.data, again.len};
    assert_ok(col_parse_model(&source, NULL, arena, &parsed));
    col_graph_print(parsed, &text);
    assert_string_equal(text.data, again.data);
    col_str_fini(&text);
    col_str_fini(&again);
    col_arena_destroy(arena);
    ++*checked;
    return NULL;
}

static void run_passes(const char *const *names, size_t count, const char *dropout)
{
    static const char path[] = "models/gpt2.ir";
    col_arena *arena = col_arena_create();
    col_source source = {.name = path};
    char *text;
    assert_ok(col_file_read(arena, path, 0, &text, &source.size));
    source.text = text;
    const col_parse_setting settings[] = {{"layers", "2"}, {"heads", "2"},    {"width", "8"},
                                          {"vocab", "11"}, {"context", "16"}, {"dropout", dropout}};
    const col_parse_options options = {
        .settings = settings, .setting_count = COL_COUNT(settings), .batch = 2, .seq = 4};
    col_graph *graph;
    assert_ok(col_parse_model(&source, &options, arena, &graph));
    const col_pass *passes[16];
    for (size_t i = 0; i < count; i++) {
        passes[i] = col_pass_find(names[i]);
        assert_non_null(passes[i]);
    }
    col_pass_options pass_options = col_pass_options_default();
    pass_options.cache_length = 16;
    size_t checked = 0;
    const col_pass_hooks hooks = {&checked, check_round_trip};
    assert_ok(col_passes_run(graph, passes, count, &pass_options, &hooks));
    assert_int_equal(checked, count);
    col_arena_destroy(arena);
}

static void test_training(void **state)
{
    (void)state;
    static const char *const names[] = {"autodiff", "optimizer", "lower", "fold", "cse",     "dce",
                                        "legalize", "cse",       "dce",   "fuse", "schedule"};
    run_passes(names, COL_COUNT(names), "0.1");
    run_passes(names, COL_COUNT(names), "0.0");
}

static void test_generation(void **state)
{
    (void)state;
    static const char *const names[] = {"inference", "kv_cache", "lower", "fold", "cse",     "dce",
                                        "legalize",  "cse",      "dce",   "fuse", "schedule"};
    run_passes(names, COL_COUNT(names), "0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
