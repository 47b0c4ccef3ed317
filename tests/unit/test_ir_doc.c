/* docs/ir.md against the code: the rows of its op table, its modules, functions and grammar are those that
 * the code has, and its first example parses. */
#include "tests/unit/unit.h"
#include "frontend/elaborate.h"

#include "ir/base/file.h"

typedef struct doc {
    col_arena *arena;
    char *text;
} doc;

static int set_up(void **state)
{
    doc *d = calloc(1, sizeof *d);
    d->arena = col_arena_create();
    size_t size;
    assert_ok(col_file_read(d->arena, "docs/ir.md", 0, &d->text, &size));
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    doc *d = *state;
    col_arena_destroy(d->arena);
    free(d);
    return 0;
}

static void expect(const doc *d, const char *part)
{
    if (!strstr(d->text, part)) fail_msg("docs/ir.md lacks: %s", part);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    while ((text = strstr(text, part))) text++, count++;
    return count;
}

/* "| `softmax` | 1 | 1 | `axis` |", attributes in any order within required and optional ones. */
static void test_ops(void **state)
{
    const doc *d = *state;
    for (int op = 0; op < COL_OP_COUNT; op++) {
        const col_op_info *info = col_op_info_of((col_op)op);
        col_str row = {0}, got = {0};
        col_str_printf(&row, "\n| `%s` | %d", info->name, info->operands_min);
        if (info->operands_max != info->operands_min) col_str_printf(&row, "–%d", info->operands_max);
        if (info->results < 0)
            col_str_append(&row, " | `parts` | ");
        else
            col_str_printf(&row, " | %d | ", info->results);
        expect(d, row.data);
        const char *at = strstr(d->text, row.data) + row.len, *end = strstr(at, " |");
        col_str_append_bytes(&got, at, (size_t)(end - at));
        size_t names = 0;
        for (int key = 0; key < COL_ATTR_COUNT; key++) {
            uint64_t bit = UINT64_C(1) << key;
            const char *name = col_attr_name((col_attr_key)key);
            bool optional = info->optional_attrs & bit, has = optional || (info->required_attrs & bit);
            const char *spelt = col_arena_printf(d->arena, optional ? "[`%s`]" : "`%s`", name);
            if (has != (strstr(col_str_text(&got), spelt) != NULL))
                fail_msg("docs/ir.md: attribute %s of %s", spelt, info->name);
            names += has;
        }
        assert_int_equal(count_of(col_str_text(&got), "`"), 2 * names);
        col_str_fini(&row);
        col_str_fini(&got);
    }
    const char *ops = strstr(d->text, "\n## Ops"), *next = strstr(ops + 1, "\n## ");
    const char *section = col_arena_strndup(d->arena, ops, (size_t)(next - ops));
    assert_int_equal(count_of(section, "\n| `"), COL_OP_COUNT);
}

static void test_modules(void **state)
{
    const doc *d = *state;
    const char *name;
    size_t count = 0;
    for (; (name = col_module_name(count)); count++)
        expect(d, col_arena_printf(d->arena, "\n| `%s` |",
                                   col_module_signature(col_module_find(name), d->arena)));
    const char *modules = strstr(d->text, "\n## Modules"), *next = strstr(modules + 1, "\n## ");
    assert_int_equal(count_of(col_arena_strndup(d->arena, modules, (size_t)(next - modules)), "\n| `"),
                     count);
    for (int i = 0; (name = col_number_function_name(i)); i++)
        expect(d, col_arena_printf(d->arena, " `%s`", name));
}

/* Every line of the grammar in frontend/syntax.h is in the document. */
static void test_grammar(void **state)
{
    const doc *d = *state;
    char *header;
    size_t header_size;
    assert_ok(col_file_read(d->arena, "frontend/syntax.h", 0, &header, &header_size));
    size_t at = (size_t)(strstr(header, " *   file ") - header), lines = 0;
    for (; !strncmp(header + at, " *   ", 5); lines++) {
        size_t size = strcspn(header + at, "\n");
        expect(d, col_arena_printf(d->arena, "\n    %.*s\n", (int)size - 5, header + at + 5));
        at += size + 1;
    }
    assert_in_range(lines, 20, 40);
}

static void test_limits_and_words(void **state)
{
    const doc *d = *state;
    static const char *const words[] = {"`true`", "`false`", "`inf`",        "`nan`",
                                        "zeros",  "ones",    "dim(x, axis)", "rank(x)"};
    for (size_t i = 0; i < COL_COUNT(words); i++) expect(d, words[i]);
    for (int i = 0; i < COL_DTYPE_COUNT; i++) expect(d, col_dtype_name((col_dtype)i));
    assert_int_equal(COL_PARSE_VALUES, 1048576);
    expect(d, "1 048 576 tensors");
    assert_int_equal(COL_PARSE_STEPS, 67108864);
    expect(d, "67 108 864 steps");
    assert_int_equal(COL_PARSE_BYTES >> 20, 256);
    expect(d, "a text of 256 MiB");
    assert_int_equal(COL_EXPR_HEIGHT, 256);
    assert_int_equal(COL_BODY_DEPTH, 64);
    assert_int_equal(COL_PATH_LIMIT, 1024);
    assert_int_equal(COL_LIST_LENGTH, 4096);
}

static void test_first_example(void **state)
{
    const doc *d = *state;
    const char *start = strstr(d->text, "    # Two layers"), *end = strstr(start, "\n\n");
    assert_true(start && end);
    col_source source = {"docs/ir.md", start, (size_t)(end - start)};
    col_graph *graph;
    assert_ok(col_parse_model(&source, NULL, d->arena, &graph));
    const col_var *var = col_graph_find_var(graph, "fc1.weight");
    assert_true(var && var->type.shape.dims[0] == 784 && var->type.shape.dims[1] == 256);
    assert_non_null(col_graph_find_output(graph, "loss"));
}

int main(void)
{
#define DOC_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DOC_TEST(test_ops),           DOC_TEST(test_modules),
        DOC_TEST(test_grammar),       DOC_TEST(test_limits_and_words),
        DOC_TEST(test_first_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
