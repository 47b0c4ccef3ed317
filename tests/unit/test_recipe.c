/* Recipes: what they add to a command line, and what is said of wrong ones. */
#include "tests/unit/unit.h"
#include "tests/unit/temporary_folder.h"
#include "frontend/parse.h"
#include "frontend/recipe.h"

#include "ir/base/file.h"

static const col_option table[] = {
    {"set", "KEY=VALUE", "", true}, {"batch", "N", "", false},        {"memory", "SIZE", "", false},
    {"data", "FILE", "", true},     {"optimizer", "NAME", "", false}, {"time-passes", NULL, "", false},
    {"recipe", "FILE", "", false},
};
static const col_option other_table[] = {{"steps", "N", "", false}};

/* Applies the recipe to a command line; the values as "key=value;key=value;" or the message. */
static const char *apply(folder *f, const char *recipe, int argc, char *const *argv, bool *out_fine)
{
    const col_option *const tables[] = {table};
    const col_option *const other_tables[] = {other_table};
    const size_t sizes[] = {COL_COUNT(table)};
    col_arena *a = f->arena;
    const char *path = folder_file(f, "run.yaml");
    assert_ok(col_file_write(path, recipe, strlen(recipe)));
    col_options options;
    assert_ok(col_options_parse(tables, sizes, 1, argc, argv, a, &options));
    col_status status =
        col_recipe_apply(path, other_tables, (size_t[]){COL_COUNT(other_table)}, 1, &options, a);
    *out_fine = !status;
    if (status) {
        assert_int_equal(col_error_code(status), COL_BAD_INPUT);
        const char *message = col_error_message(status), *file = strstr(message, "run.yaml:");
        message = col_arena_strdup(a, file ? file : message);
        col_error_free(status);
        return message;
    }
    col_str out = {0};
    for (size_t i = 0; i < options.positionals.len; i++) {
        const char *model = options.positionals.data[i], *slash = strrchr(model, '/');
        col_str_printf(&out, "%s;", slash ? slash + 1 : model);
    }
    for (size_t i = 0; i < options.values.len; i++)
        col_str_printf(&out, "%s=%s;", options.values.data[i].option->name, options.values.data[i].value);
    const char *text = col_arena_strdup(a, col_str_text(&out));
    col_str_fini(&out);
    return text;
}

static const char *apply_fine(folder *f, const char *recipe, int argc, char *const *argv)
{
    bool fine;
    const char *text = apply(f, recipe, argc, argv, &fine);
    if (!fine) fail_msg("%s", text);
    return text;
}

static void test_merge(void **state)
{
    folder *f = *state;
    const char *recipe = "# a run\nmodel: gpt2.ir\nset: { layers: 48, width: 1600 }\nbatch: 8\nsteps: 10\n"
                         "data: [a.txt, 'b c.txt']\ntime-passes: true\n";
    assert_string_equal(apply_fine(f, recipe, 0, NULL),
                        "gpt2.ir;set=layers=48;set=width=1600;batch=8;data=a.txt;data=b c.txt;time-passes=;");
    char *const argv[] = {"mine.ir", "--batch", "2", "--set", "layers=2", "--data", "x.txt"};
    assert_string_equal(apply_fine(f, recipe, 7, argv),
                        "mine.ir;set=layers=48;set=width=1600;batch=2;set=layers=2;data=x.txt;time-passes=;");
    assert_string_equal(apply_fine(f, "time-passes: false\ndata: one\nmemory: 40GiB\n", 0, NULL),
                        "data=one;memory=40GiB;");
    assert_string_equal(apply_fine(f, "set: {}\n", 0, NULL), "");
}

static void test_faults(void **state)
{
    folder *f = *state;
    static const char *const cases[][2] = {
        {"", "run.yaml:1:1: error: a recipe is empty"},
        {"# nothing\n", "run.yaml:2:1: error: a recipe is empty"},
        {"batch: 8\noptimiser: adamw\n", "run.yaml:2:1: error: unknown key 'optimiser'; did you mean "
                                         "'optimizer'?\n    optimiser: adamw\n    ^"},
        {"batch: 8\nzzzzzz: {a: [1]}\nmemory: 1\n", "run.yaml:2:1: error: unknown key 'zzzzzz'; keys are"},
        {"batch: 8\nbatch: 9\n", "run.yaml:2:1: error: 'batch' is given twice"},
        {"set: {a: 1, a: 2}\n", "run.yaml:1:13: error: 'a' is given twice"},
        {"set: layers\n", "run.yaml:1:6: error: set: hyperparameters are wanted"},
        {"set: {a: [1]}\n", "run.yaml:1:10: error: a: a single value is wanted"},
        {"batch: [1, 2]\n", "run.yaml:1:8: error: batch: a single value is wanted"},
        {"batch:\n", "run.yaml:1:7: error: batch: a value is missing"},
        {"time-passes: maybe\n", "run.yaml:1:14: error: time-passes: true or false is wanted"},
        {"recipe: other.yaml\n", "run.yaml:1:1: error: a recipe cannot name another"},
        {"model: {a: b}\n", "run.yaml:1:8: error: model: a single value is wanted"},
        {"- a\n- b\n", "run.yaml:1:1: error: a recipe is a list of 'key: value' lines"},
        {"batch: b: c\n", "run.yaml:1:9: error: this is not YAML"},
        {"batch: 8\n  memory: 9\n", "run.yaml:2:"},
        {"batch: &x 8\nmemory: *x\n", "run.yaml:2:9: error: memory: aliases are not read"},
        {"batch: 8\n---\nbatch: 9\n", "run.yaml:2:1: error: a recipe is one document"},
        {"[[[[[[", "run.yaml:"},
        {"batch: \"\\0\"\n", "run.yaml:1:8: error: batch: a value is missing"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        bool fine;
        const char *message = apply(f, cases[i][0], 0, NULL, &fine);
        if (fine || strncmp(message, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("case %zu: %s", i, message);
    }
}

/* What models/recipes says: the model is there, takes the settings, and has as many parameters as its reference:
 * torchvision's, and transformers' for the sizes that were published. */
static void test_shipped_recipes(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int64_t parameters;
    } recipes[] = {
        {"models/recipes/gpt2_nano.yaml", 1853760},
        {"models/recipes/gpt2_124m.yaml", 124439808},
        {"models/recipes/gpt2_355m.yaml", 354823168},
        {"models/recipes/gpt2_774m.yaml", 774030080},
        {"models/recipes/gpt2_1558m.yaml", 1557611200},
        {"models/recipes/resnet18.yaml", 11689512},
        {"models/recipes/resnet50.yaml", 25557032},
        {"models/recipes/resnet152.yaml", 60192808},
        {"models/recipes/resnet18_cifar10.yaml", 11173962},
        {"models/recipes/resnet18_lars.yaml", 11181642},
        {"models/recipes/resnet18_lamb.yaml", 11181642},
        {"models/recipes/resnet_nano.yaml", 78002},
        {"models/recipes/gpt3_175b.yaml", 174604836864},
        {"models/recipes/opt_nano.yaml", 644608},
        {"models/recipes/opt_125m.yaml", 125239296},
        {"models/recipes/opt_350m.yaml", 331196416},
        {"models/recipes/opt_1.3b.yaml", 1315758080},
        {"models/recipes/opt_2.7b.yaml", 2651596800},
        {"models/recipes/opt_6.7b.yaml", 6658473984},
        {"models/recipes/opt_13b.yaml", 12853473280},
        {"models/recipes/opt_30b.yaml", 29974540288},
        {"models/recipes/opt_66b.yaml", 65719701504},
        {"models/recipes/opt_175b.yaml", 174604468224},
        {"models/recipes/bert_nano.yaml", 451202},
        {"models/recipes/bert_tutorial.yaml", 4764864},
        {"models/recipes/bert_base.yaml", 109514298},
        {"models/recipes/bert_large.yaml", 335174458},
        {"models/recipes/bert_large_lamb.yaml", 335174458},
        {"models/recipes/vit_nano.yaml", 114698},
        {"models/recipes/vit_tutorial.yaml", 655242},
        {"models/recipes/vit_cifar10.yaml", 2693578},
        {"models/recipes/vit_base.yaml", 86567656},
        {"models/recipes/vit_large.yaml", 304326632},
    };
    static const char *const names[] = {"set",      "batch",     "seq",       "accumulate",  "optimizer",
                                        "beta2",    "schedule",  "tokenizer", "lr",          "warmup",
                                        "steps",    "val-every", "clip",      "val-batches", "weight-decay",
                                        "momentum", "min-lr",    "eps"};
    col_option options_of_all[COL_COUNT(names)];
    for (size_t i = 0; i < COL_COUNT(names); i++)
        options_of_all[i] = (col_option){names[i], "X", "", !strcmp(names[i], "set")};
    const col_option *const tables[] = {options_of_all};
    for (size_t i = 0; i < COL_COUNT(recipes); i++) {
        col_arena *a = col_arena_create();
        col_options options;
        assert_ok(col_options_parse(tables, (size_t[]){COL_COUNT(names)}, 1, 0, NULL, a, &options));
        assert_ok(col_recipe_apply(recipes[i].path, NULL, NULL, 0, &options, a));
        assert_int_equal(options.positionals.len, 1);
        col_source source = {.name = options.positionals.data[0]};
        char *text;
        assert_ok(col_file_read(a, source.name, 0, &text, &source.size));
        source.text = text;
        col_parse_setting settings[16];
        col_parse_options parse = {.settings = settings};
        for (size_t v = 0; v < options.values.len; v++) {
            if (strcmp(options.values.data[v].option->name, "set")) continue;
            char *key = col_arena_strdup(a, options.values.data[v].value), *equals = strchr(key, '=');
            *equals = '\0';
            settings[parse.setting_count++] = (col_parse_setting){key, equals + 1};
        }
        col_graph *graph;
        assert_ok(col_parse_model(&source, &parse, a, &graph));
        int64_t elements = 0;
        for (size_t v = 0; v < graph->vars.len; v++) {
            if (graph->vars.data[v]->kind == COL_VAR_PARAM)
                elements += col_shape_numel(graph->vars.data[v]->type.shape);
        }
        assert_int_equal(elements, recipes[i].parameters);
        col_arena_destroy(a);
    }
}

static void test_all_faults_at_once(void **state)
{
    folder *f = *state;
    bool fine;
    const char *message = apply(f, "bach: 1\nbatch: 2\nmemry: 3\nbatch: 4\n", 0, NULL, &fine);
    assert_false(fine);
    assert_non_null(strstr(message, "'bach'"));
    assert_non_null(strstr(message, "'memry'"));
    assert_non_null(strstr(message, "'batch' is given twice"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_merge),
        FOLDER_TEST(test_faults),
        FOLDER_TEST(test_all_faults_at_once),
        cmocka_unit_test(test_shipped_recipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
