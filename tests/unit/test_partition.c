/* Partitioned training steps against the step of one device: random strategies for every unit, random layouts
 * of variables and of values that wait, on several meshes, all in fp64. The multi-rank evaluation also checks
 * that copies of a tensor are equal on all ranks that have one. */
#include "tests/unit/unit.h"
#include "frontend/parse.h"

#include "ir/base/file.h"
#include "ir/evaluate.h"
#include "passes/partition.h"
#include "passes/pass.h"
#include "passes/shard.h"
#include "tests/unit/random_layout.h"

#include <math.h>

typedef struct model {
    const char *name;
    const char *text; /* NULL: models/gpt2.ir */
    const char *sizes[8];
} model;

static const char mlp_text[] =
    "model mlp(batch = 8, width = 8, classes = 4)\n"
    "input x : f32[batch, width]\ninput labels : i32[batch]\n"
    "h = gelu_tanh(linear(layer_norm(x) @ ln, 4 * width) @ fc1)\n"
    "h = dropout(relu(linear(h, 2 * width) @ fc2), 0.2)\n"
    "logits = linear(h, classes) @ fc3\n"
    "output logits = logits\noutput largest = max(softmax(logits, axis = -1), axes = [0])\n"
    "output loss = cross_entropy(logits, labels)\n";

/* Shapes without a pattern: concat, pad, slice, split, positions, minima and sums over everything. */
static const char views_text[] =
    "model views(batch = 8, width = 8, classes = 4)\n"
    "input x : f32[batch, width]\ninput labels : i32[batch]\n"
    "param w : f32[width, 3 * width] ~ normal(0, 0.5)\n"
    "param table : f32[2 * width, width] ~ normal(0, 1)\n"
    "a, b, c = split(einsum(x, w, equation = \"bi,ij->bj\"), parts = 3, axis = 1)\n"
    "d = concat(a * sigmoid(b), transpose(reshape(c, shape = [width, batch]), perm = [1, 0]), axis = 1)\n"
    "e = pad(slice(d, starts = [0, 2], stops = [batch, width + 2]), low = [0, 1], high = [0, 1])\n"
    "p = embedding(table, position_ids(shape = [batch])) + embedding(table, labels)\n"
    "f = softmax(linear(e, width, bias = 0) @ fc + p, axis = 0)\n"
    "g = reshape(broadcast(f, shape = [2, batch, width]), shape = [2 * batch, width / 2, 2])\n"
    "output f = f\noutput least = min(g, axes = [1])\noutput all = sum(g, axes = [0, 1, 2])\n"
    "output loss = cross_entropy(linear(f, classes) @ head, labels) + mean(g * g, axes = [0, 1, "
    "2])\n";

static const char conv_text[] =
    "model conv(batch = 4, width = 4, classes = 4)\n"
    "input x : f32[batch, width, 6, 6]\ninput labels : i32[batch]\n"
    "param w1, w2 : f32[2 * width, width, 3, 3] ~ normal(0, 0.3)\n"
    "param scale, shift : f32[2 * width] ~ ones\nstate mean, variance : f32[2 * width]\n"
    "h = conv(x, w1, low = [1, 1], high = [1, 1])\n"
    "h, centre, deviation, next_mean, next_variance = batch_norm(h, scale, shift, mean, variance)\n"
    "assign(next_mean, variable = \"mean\")\nassign(next_variance, variable = \"variance\")\n"
    "h = max_pool(relu(h), kernel = [2, 2], strides = [2, 2])\n"
    "h = conv(h, w2, low = [1, 1], high = [1, 1], strides = [2, 2], groups = 2)\n"
    "h = reshape(avg_pool(h, kernel = [2, 2], strides = [1, 1]), shape = [batch, 2 * width])\n"
    "output loss = cross_entropy(linear(h, classes) @ head, labels)\n";

enum { SIZES = 2 };

static const model models[][SIZES] = {
    {{"mlp", mlp_text, {0}}, {"mlp", mlp_text, {"batch=6", "width=6", "classes=3"}}},
    {{"gpt2",
      NULL,
      {"layers=2", "width=16", "heads=4", "vocab=64", "context=16", "dropout=0.1", "batch=4", "seq=8"}},
     {"gpt2",
      NULL,
      {"layers=2", "width=24", "heads=3", "vocab=66", "context=12", "dropout=0.1", "batch=3", "seq=6"}}},
};

static const char *const meshes[] = {"2", "4", "2x2", "2x2x2", "3", "1x2"};

static col_graph *parse(const model *m, col_arena *arena)
{
    static const char path[] = "models/gpt2.ir";
    col_parse_setting settings[8];
    col_parse_options options = {.settings = settings};
    for (; options.setting_count < COL_COUNT(m->sizes) && m->sizes[options.setting_count];
         options.setting_count++) {
        char *key = col_arena_strdup(arena, m->sizes[options.setting_count]), *sign = strchr(key, '=');
        *sign = '\0';
        settings[options.setting_count] = (col_parse_setting){key, sign + 1};
    }
    col_source source = {.name = m->name, .text = m->text};
    if (m->text) {
        source.size = strlen(m->text);
    } else {
        char *text;
        assert_ok(col_file_read(arena, path, 0, &text, &source.size));
        source.text = text;
    }
    col_graph *graph;
    assert_ok(col_parse_model(&source, &options, arena, &graph));
    return graph;
}

static void run_passes(col_graph *graph, const char *const *names, size_t count, unit_random *r)
{
    col_pass_options options = col_pass_options_default();
    options.clip_norm = random_chance(r, 0.5) ? 0.7 : 0;
    options.weight_decay = 0.1;
    options.keep_gradients = random_chance(r, 0.3);
    if (random_chance(r, 0.2)) options.optimizer = COL_OPTIMIZER_SGD;
    const col_pass *passes[16];
    for (size_t i = 0; i < count; i++) {
        passes[i] = col_pass_find(names[i]);
        assert_non_null(passes[i]);
    }
    assert_ok(col_passes_run(graph, passes, count, &options, NULL));
}

/* A random sharding. */

static col_strategy random_strategy(unit_random *r, const col_factors *f, const col_mesh *mesh)
{
    col_strategy s = col_strategy_replicated();
    shuffle(r, mesh->rank, s.order);
    int count = col_factors_count(f);
    for (int a = 0; a < mesh->rank && count; a++) {
        for (int tries = 0; tries < 4 && s.factor[a] < 0 && random_chance(r, 0.9); tries++) {
            s.factor[a] = (int8_t)random_int(r, 0, count - 1);
            if (!col_strategy_is_valid(f, &s, mesh)) s.factor[a] = -1;
        }
    }
    assert_true(col_strategy_is_valid(f, &s, mesh));
    return s;
}

/* Axes over which the value is partial outside its unit. */
static uint32_t partial_axes(const col_sharding *s, const col_value *value)
{
    uint32_t unit = s->units->by_node[value->producer->id];
    COL_FOR_EACH_USE (use, value) {
        if (s->units->by_node[use->user->id] == unit) return 0;
    }
    return col_factors_result_layout(s->factors[unit], &s->strategies[unit], value).partial;
}

static void random_stop(unit_random *r, col_sharding *s, const col_value *value, uint32_t partial)
{
    s->has_stop[value->id] = random_chance(r, 0.3);
    s->stops[value->id] = random_layout(r, &s->mesh, value->type.shape, partial);
}

static col_sharding *random_sharding(unit_random *r, const col_graph *graph, const char *mesh,
                                     const col_machine *machine, col_arena *arena)
{
    col_sharding *s = COL_NEW(arena, col_sharding);
    assert_true(col_mesh_parse(mesh, &s->mesh));
    s->machine = machine;
    s->units = col_units_of(graph, arena);
    s->factors = COL_NEW_ARRAY(arena, col_factors *, s->units->count);
    s->strategies = COL_NEW_ARRAY(arena, col_strategy, s->units->count);
    s->variables = COL_NEW_ARRAY(arena, col_layout, graph->vars.len);
    s->stops = COL_NEW_ARRAY(arena, col_layout, graph->next_value_id);
    s->has_stop = COL_NEW_ARRAY(arena, bool, graph->next_value_id);
    for (uint32_t u = 0; u < s->units->count; u++) {
        const col_unit *unit = &s->units->units[u];
        s->factors[u] = col_factors_of((const col_node *const *)unit->nodes, unit->node_count, arena);
        s->strategies[u] = random_strategy(r, s->factors[u], &s->mesh);
    }
    for (size_t i = 0; i < graph->vars.len; i++) {
        const col_value *value = graph->vars.data[i]->value;
        s->variables[i] = random_layout(r, &s->mesh, value->type.shape, 0);
        random_stop(r, s, value, 0);
    }
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->result_count; i++)
            random_stop(r, s, &node->results[i], partial_axes(s, &node->results[i]));
    }
    return s;
}

/* Links of several speeds, so that ways over either axis are taken. */
static col_machine random_machine(unit_random *r)
{
    col_machine m = {.name = "test"};
    for (int a = 0; a < COL_MESH_RANK; a++) {
        m.links[a].latency = 1e-9;
        for (int k = 0; k < COL_COLLECTIVE_COUNT; k++)
            m.links[a].bandwidth[k] = 1e9 * (double)random_int(r, 1, 20);
    }
    return m;
}

/* Values of variables. */

static double random_number(unit_random *r, const col_var *var, int64_t element)
{
    if (!strcmp(var->name, "rng")) return element ? 3 : 1234;
    if (!strcmp(var->name, "labels") && random_chance(r, 0.1)) return 1;
    if (!col_dtype_is_float(var->type.dtype)) return (double)random_int(r, 0, 2);
    double uniform = (double)random_int(r, 0, 1 << 20) / (1 << 20);
    return var->kind == COL_VAR_STATE ? 0.1 + uniform : 2 * uniform - 1;
}

static col_tensor *random_vars(unit_random *r, const col_graph *graph, col_arena *arena)
{
    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (size_t i = 0; i < graph->vars.len; i++) {
        for (int64_t j = 0; j < col_shape_numel(vars[i].type.shape); j++)
            vars[i].data[j] = random_number(r, graph->vars.data[i], j);
    }
    return vars;
}

/* The tensors of a partitioned graph's variables: those of the whole graph, and the coordinate. */
static col_tensor *copy_vars(const col_graph *part, const col_tensor *vars, size_t count, col_arena *arena)
{
    col_tensor *copy = COL_NEW_ARRAY(arena, col_tensor, part->vars.len);
    for (size_t i = 0; i < part->vars.len; i++) {
        const col_var *var = part->vars.data[i];
        size_t numel = (size_t)col_shape_numel(var->whole);
        copy[i].type = col_type_make(var->type.dtype, var->whole);
        copy[i].data = COL_NEW_ARRAY(arena, double, numel + 1);
        if (i < count) memcpy(copy[i].data, vars[i].data, numel * sizeof(double));
    }
    return copy;
}

static void assert_close(const char *what, const char *name, const col_tensor *got,
                         const col_tensor *expected, const char *problem)
{
    double scale = 0;
    assert_true(col_type_equal(got->type, expected->type));
    for (int64_t i = 0; i < col_shape_numel(got->type.shape); i++) {
        assert_true(isfinite(expected->data[i]));
        scale = fmax(scale, fabs(expected->data[i]));
    }
    for (int64_t i = 0; i < col_shape_numel(got->type.shape); i++) {
        if (!(fabs(got->data[i] - expected->data[i]) <= 1e-9 * scale))
            fail_msg("%s: %s '%s'[%d] is %.12g instead of %.12g", problem, what, name, (int)i, got->data[i],
                     expected->data[i]);
    }
}

/* A training step on one device: what goes in and what comes out. */
typedef struct step {
    col_arena *arena;
    col_graph *graph;
    const col_tensor *vars, *after, *outputs;
} step;

static step make_step(const model *m, unit_random *r)
{
    static const char *const names[] = {"autodiff", "optimizer", "lower", "fold",
                                        "cse",      "dce",       "fuse",  "schedule"};
    step s = {.arena = col_arena_create()};
    s.graph = parse(m, s.arena);
    run_passes(s.graph, names, COL_COUNT(names), r);
    s.vars = random_vars(r, s.graph, s.arena);
    s.after = copy_vars(s.graph, s.vars, s.graph->vars.len, s.arena);
    col_evaluation expected;
    assert_ok(col_evaluate(s.graph, NULL, s.after, s.arena, &expected));
    s.outputs = expected.outputs;
    return s;
}

static void assert_same_step(const step *s, const col_graph *part, const char *problem)
{
    const col_graph *graph = s->graph;
    col_tensor *own = copy_vars(part, s->vars, graph->vars.len, s->arena);
    const col_tensor *got;
    assert_ok(col_evaluate_whole(part, NULL, own, s->arena, &got));
    assert_int_equal(part->outputs.len, graph->outputs.len);
    for (size_t i = 0; i < graph->outputs.len; i++) {
        assert_string_equal(part->outputs.data[i].name, graph->outputs.data[i].name);
        assert_close("output", graph->outputs.data[i].name, &got[i], &s->outputs[i], problem);
    }
    for (size_t i = 0; i < graph->vars.len; i++)
        assert_close("variable", graph->vars.data[i]->name, &own[i], &s->after[i], problem);
}

static void assert_reads_back(const col_graph *graph, col_arena *arena)
{
    col_str text = {0}, again = {0};
    col_graph_print(graph, &text);
    col_source source = {"partitioned", text.data, text.len};
    col_graph *parsed;
    assert_ok(col_parse_model(&source, NULL, arena, &parsed));
    assert_ok(col_graph_verify(parsed));
    assert_int_equal(parsed->node_count, graph->node_count);
    for (size_t i = 0; i < graph->vars.len; i++) {
        assert_true(col_layout_equal(&parsed->vars.data[i]->layout, &graph->vars.data[i]->layout));
        assert_true(col_shape_equal(parsed->vars.data[i]->whole, graph->vars.data[i]->whole));
    }
    /* Dense numbers now: a second time the text is equal, too. */
    col_str_clear(&text);
    col_graph_print(parsed, &text);
    source = (col_source){"again", text.data, text.len};
    assert_ok(col_parse_model(&source, NULL, arena, &parsed));
    col_graph_print(parsed, &again);
    assert_string_equal(text.data, again.data);
    col_str_fini(&text);
    col_str_fini(&again);
}

static void check(const model *m, const char *mesh, uint64_t seed)
{
    static const char *const behind[] = {"fold", "cse", "dce",  "bucket",  "legalize",
                                         "cse",  "dce", "fuse", "schedule"};
    unit_random r = {seed};
    step s = make_step(m, &r);
    const char *problem = col_arena_printf(s.arena, "%s on %s, seed %d", m->name, mesh, (int)seed);
    col_machine machine = random_machine(&r);
    const col_sharding *sharding = random_sharding(&r, s.graph, mesh, &machine, s.arena);
    col_graph *part = col_partition(s.graph, sharding, s.arena, NULL);
    assert_ok(col_graph_verify(part));
    assert_same_step(&s, part, problem);
    assert_reads_back(part, s.arena);
    run_passes(part, behind, COL_COUNT(behind), &r);
    assert_same_step(&s, part, problem);
    col_arena_destroy(s.arena);
}

/* What the solver chooses, under every plan that it knows. Some plans want meshes of a certain rank. */
static void solved_steps_agree(void **unused)
{
    (void)unused;
    static const char *const shapes[] = {"4", "2x2", "2x2x2"};
    for (int plan = 0; plan < COL_PLAN_COUNT; plan++) {
        unit_random r = {(uint64_t)plan};
        step s = make_step(&models[0][0], &r);
        col_machine machine = random_machine(&r);
        machine.traffic = (col_rate){.count = 1, .size = {1}, .rate = {1e12}};
        for (int i = 0; i < COL_COST_COUNT; i++) machine.rates[i][machine.precision] = machine.traffic;
        machine.cores = 1;
        machine.overlap = plan % 2 ? 0 : 0.7;
        col_shard_options options = {.machine = &machine,
                                     .plan = (col_plan_kind)plan,
                                     .accumulate = 1,
                                     .seconds = 5,
                                     .compare = plan == COL_PLAN_AUTO};
        int solved = 0;
        for (size_t i = 0; i < COL_COUNT(shapes); i++) {
            col_sharding sharding;
            col_shard_report report;
            assert_true(col_mesh_parse(shapes[i], &options.mesh));
            if (col_error_ignore(col_shard(s.graph, &options, s.arena, &sharding, &report))) continue;
            for (int j = 1; j < report.plan_count; j++)
                assert_true(report.plans[j].reason || report.plans[j].seconds >= report.plans[0].seconds);
            const char *name = col_plan_kind_name(options.plan);
            col_graph *part = col_partition(s.graph, &sharding, s.arena, NULL);
            assert_ok(col_graph_verify(part));
            assert_same_step(&s, part, col_arena_printf(s.arena, "plan %s on %s", name, shapes[i]));
            solved++;
        }
        assert_true(solved > 0);
        col_arena_destroy(s.arena);
    }
}

static int rounds = 2;

static void check_model(const model sizes[SIZES], int seeds)
{
    for (size_t i = 0; i < COL_COUNT(meshes); i++) {
        const model *m = &sizes[strchr(meshes[i], '3') != NULL];
        for (int k = 0; k < seeds; k++) check(m, meshes[i], (uint64_t)k * 100 + i);
    }
}

static void mlp_steps_agree(void **unused)
{
    (void)unused;
    check_model(models[0], 4 * rounds);
}

static void gpt2_steps_agree(void **unused)
{
    (void)unused;
    check_model(models[1], 2 * rounds);
}

/* Batch norm's statistics are those of the whole batch, pictures are split by sample and by channel. */
static void conv_steps_agree(void **unused)
{
    (void)unused;
    static const model sizes[SIZES] = {{"conv", conv_text, {0}},
                                       {"conv", conv_text, {"batch=6", "width=6", "classes=3"}}};
    check_model(sizes, 2 * rounds);
}

/* A product summed over a split dimension has two users that want it whole. */
static void sums_are_combined_once(void **unused)
{
    (void)unused;
    static const model m = {"product",
                            "model product()\ninput x : f32[4, 8]\ninput w : f32[8, 6]\n"
                            "y = einsum(x, w, equation = \"bc,cn->bn\")\n"
                            "output s = sum(y, axes = [0])\noutput y = y\noutput t = transpose(y)\n",
                            {0}};
    static const col_op reduced[] = {COL_OP_ALL_REDUCE},
                        scattered[] = {COL_OP_REDUCE_SCATTER, COL_OP_ALL_GATHER};
    for (int stop = 0; stop < 2; stop++) {
        col_arena *arena = col_arena_create();
        unit_random r = {1};
        col_machine machine = random_machine(&r);
        col_graph *graph = parse(&m, arena);
        const col_node *product = graph->first;
        col_sharding *s = random_sharding(&r, graph, "2", &machine, arena);
        memset(s->has_stop, 0, graph->next_value_id * sizeof *s->has_stop);
        for (uint32_t u = 0; u < s->units->count; u++) s->strategies[u] = col_strategy_replicated();
        assert_true(col_layout_parse("RS0", 2, 1, &s->variables[0]) &&
                    col_layout_parse("S0R", 2, 1, &s->variables[1]));
        uint32_t unit = s->units->by_node[product->id];
        s->strategies[unit].factor[0] =
            (int8_t)col_factors_of_dim(s->factors[unit], graph->vars.data[0]->value, 1);
        s->has_stop[product->results[0].id] = stop;
        assert_true(col_layout_parse("S0R", 2, 1, &s->stops[product->results[0].id]));
        col_graph *part = col_partition(graph, s, arena, NULL);
        assert_ok(col_graph_verify(part));
        assert_null(col_graph_find_var(part, COL_MESH_COORDINATE)); /* nobody asked where a rank is */
        assert_int_equal(part->vars.len, 2);
        int count = stop ? 2 : 1, i = 0;
        assert_int_equal(part->node_count, graph->node_count + (size_t)count);
        for (const col_node *node = part->first->next; i < count; node = node->next, i++)
            assert_int_equal(node->op, (stop ? scattered : reduced)[i]);
        col_arena_destroy(arena);
    }
}

static void odd_steps_agree(void **unused)
{
    (void)unused;
    static const model sizes[SIZES] = {{"views", views_text, {0}},
                                       {"views", views_text, {"batch=6", "width=6", "classes=3"}}};
    check_model(sizes, 4 * rounds);
}

int main(int argc, char **argv)
{
    if (argc > 1) rounds = atoi(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_combined_once), cmocka_unit_test(mlp_steps_agree),
        cmocka_unit_test(gpt2_steps_agree),       cmocka_unit_test(conv_steps_agree),
        cmocka_unit_test(odd_steps_agree),        cmocka_unit_test(solved_steps_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
