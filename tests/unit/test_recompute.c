/* What is computed again: the rewriting keeps every result, and drops what it says; the solver's choice equals
 * that of trying all of them. */
#include "tests/unit/unit.h"

#include <string.h>

#include "frontend/machine.h"
#include "frontend/parse.h"
#include "ir/evaluate.h"
#include "passes/recompute_model.h"

static const char mlp[] =
    "model mlp(batch = 6, width = 8)\n"
    "input x : f32[batch, width]\n"
    "input labels : i32[batch]\n"
    "for i in 0..3 { x = dropout(gelu_tanh(linear(x, 2 * width) @ a.{i}), 0.2) @ d.{i}\n"
    "  x = x + layer_norm(tanh(linear(x, 2 * width) @ b.{i})) @ ln.{i} }\n"
    "output loss = cross_entropy(linear(x, 3) @ head, labels)\n";

static const char chain[] = "model chain(batch = 4096)\n"
                            "input x : f32[batch, 16]\n"
                            "param w : f32[16, 16] ~ normal(0, 1)\n"
                            "h = tanh(matmul(x, w))\n"
                            "h = tanh(matmul(h, w))\n"
                            "h = tanh(matmul(h, w))\n"
                            "h = tanh(matmul(h, w))\n"
                            "h = tanh(matmul(h, w))\n"
                            "h = tanh(matmul(h, w))\n"
                            "output loss = sum(h, axes = [0, 1])\n";

static col_graph *training(const char *text, col_arena *arena)
{
    static const char *const names[] = {"autodiff", "lower", "fold", "cse", "dce", "legalize", "cse", "dce"};
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){"model.ir", text, strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    col_pass_options options = col_pass_options_default();
    for (size_t i = 0; i < COL_COUNT(names); i++) {
        const col_pass *pass = col_pass_find(names[i]);
        assert_ok(col_passes_run(graph, &pass, 1, &options, NULL));
    }
    return graph;
}

/* Reproducible values that make no two parameters alike. */
static col_tensor *make_vars(const col_graph *graph, col_arena *arena)
{
    col_tensor *vars = col_evaluate_vars(graph, arena);
    uint32_t state = 1;
    for (size_t v = 0; v < graph->vars.len; v++) {
        if (graph->vars.data[v]->type.dtype != COL_F32) continue;
        int64_t count = col_shape_numel(graph->vars.data[v]->type.shape);
        for (int64_t i = 0; i < count; i++) {
            state = state * 1664525u + 1013904223u;
            ((float *)vars[v].data)[i] = (float)(state >> 8) / (1 << 24) - 0.5F;
        }
    }
    return vars;
}

static void assert_same_results(const col_graph *a, const col_graph *b, col_arena *arena)
{
    col_evaluation of_a, of_b;
    assert_ok(col_evaluate(a, NULL, make_vars(a, arena), arena, &of_a));
    assert_ok(col_evaluate(b, NULL, make_vars(b, arena), arena, &of_b));
    assert_int_equal(a->outputs.len, b->outputs.len);
    for (size_t i = 0; i < a->outputs.len; i++) {
        size_t size = (size_t)col_type_bytes(a->outputs.data[i].value->type);
        assert_memory_equal(of_a.outputs[i].data, of_b.outputs[i].data, size);
    }
}

static int count_copies(const col_graph *graph)
{
    int copies = 0;
    COL_FOR_EACH_NODE (node, graph) copies += node->turn > 0;
    return copies;
}

/* However much is computed again, and in whatever groups, results stay as they are: dropout draws the same. */
static void results_stay(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_graph *graph = training(mlp, arena);
    col_recompute_model *model = col_recompute_model_create(graph, NULL, 1, arena);
    assert_true(col_recompute_blocks(model) >= 3);
    for (int32_t joined = 0; joined <= 3; joined++) {
        col_recompute_answer all;
        col_recompute_all(model, joined, arena, &all);
        col_graph *again = col_graph_clone(graph, arena);
        col_nests nests;
        col_recompute_apply(again, &all.plan, &nests);
        assert_int_equal(nests.count, again->next_node_id);
        assert_ok(col_graph_verify(again));
        assert_true(count_copies(again) > 0);
        assert_same_results(graph, again, arena);
        /* Fused and ordered, too. */
        col_pass_options options = col_pass_options_default();
        options.nests = &nests;
        assert_ok(col_pass_fuse(again, &options));
        assert_ok(col_pass_schedule(again, &options));
        assert_ok(col_graph_verify(again));
        assert_same_results(graph, again, arena);
    }
    col_arena_destroy(arena);
}

/* A value that the plan drops has no reader in the backward phase but copies of its own. */
static void dropped_is_dropped(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_graph *graph = training(mlp, arena);
    col_recompute_model *model = col_recompute_model_create(graph, NULL, 1, arena);
    col_recompute_answer all;
    col_recompute_all(model, 1, arena, &all);
    col_recompute_apply(graph, &all.plan, NULL);
    int dropped = 0;
    COL_FOR_EACH_NODE (node, graph) {
        if (node->phase != COL_PHASE_FORWARD || all.plan.forward[node->id] <= 0) continue;
        dropped++;
        for (uint32_t i = 0; i < node->result_count; i++) {
            COL_FOR_EACH_USE (use, &node->results[i]) assert_int_equal(use->user->phase, COL_PHASE_FORWARD);
        }
    }
    assert_true(dropped > 3);
    col_arena_destroy(arena);
}

/* Copies do not merge with what they repeat, nor with copies of other turns. */
static void copies_stay(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_graph *graph = training(mlp, arena);
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_recompute(graph, &options));
    int copies = count_copies(graph);
    assert_true(copies > 0);
    assert_ok(col_pass_cse(graph, &options));
    assert_int_equal(count_copies(graph), copies);
    col_arena_destroy(arena);
}

/* A copy as it prints, and reads back. */
static void prints(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_graph *graph = training(mlp, arena), *parsed;
    col_pass_options options = col_pass_options_default();
    assert_ok(col_pass_recompute(graph, &options));
    col_str text = {0};
    col_graph_print(graph, &text);
    const char *backward = strstr(col_str_text(&text), "phase backward");
    assert_non_null(backward);
    assert_non_null(strstr(backward, "equation=\"bc,cn->bn\", turn=3) @ b.2"));
    col_source source = {"printed", text.data, text.len};
    assert_ok(col_parse_model(&source, NULL, arena, &parsed));
    assert_int_equal(count_copies(parsed), count_copies(graph));
    col_str_fini(&text);
    col_arena_destroy(arena);
}

/* All choices. */

typedef struct search {
    const col_recompute_model *m;
    const recompute_turns *t;
    int64_t memory;
    int32_t choice[16]; /* by item: KEEP, ASKED (none), or a turn */
    int64_t best;       /* cost; INT64_MAX: nothing fits */
    int64_t least_peak;
} search;

/* Whether an item that is needed from `turn` on is there. */
static bool is_there(const search *s, int32_t item, int32_t turn)
{
    int32_t how = s->choice[item];
    return how == COL_RECOMPUTE_KEEP || (how > 0 && how <= turn);
}

static bool is_sound(const search *s)
{
    for (size_t i = 0; i < s->m->items.len; i++) {
        const recompute_item *item = &s->m->items.data[i];
        if (item->first_backward >= 0 &&
            !is_there(s, (int32_t)i, recompute_turn_at(s->t, item->first_backward)))
            return false;
        for (size_t r = 0; r < item->reads.len && s->choice[i] > 0; r++) {
            if (!is_there(s, item->reads.data[r], s->choice[i])) return false;
        }
    }
    return true;
}

/* Bytes at the peak over the units alone, every item being there until its last direct reader: what any
 * bookkeeping of times inside the turns can only add to. */
static int64_t floor_of(const search *s)
{
    int64_t peak = 0;
    for (int32_t u = 0; u < (int32_t)s->m->units->count; u++) {
        int64_t live = s->m->other_bytes[u];
        int32_t turn = recompute_turn_at(s->t, u);
        for (size_t i = 0; i < s->m->items.len; i++) {
            const recompute_item *x = &s->m->items.data[i];
            bool forward = u >= x->unit && u < x->last_forward + !x->reused_forward;
            bool later = u > x->last_forward && u < x->last_backward + !x->reused_backward &&
                         is_there(s, (int32_t)i, turn);
            if (forward || later) live += x->bytes;
        }
        peak = COL_MAX(peak, live);
    }
    return peak;
}

static void try_all(search *s, size_t i)
{
    if (i == s->m->items.len) {
        if (!is_sound(s)) return;
        int64_t cost = s->m->cost, peak = floor_of(s);
        for (size_t k = 0; k < i; k++) cost += s->choice[k] > 0 ? s->m->items.data[k].cost : 0;
        s->least_peak = COL_MIN(s->least_peak, peak);
        if (peak <= s->memory && cost < s->best) s->best = cost;
        return;
    }
    const recompute_item *x = &s->m->items.data[i];
    int32_t latest = recompute_latest_turn(s->m, s->t, (int32_t)i);
    s->choice[i] = COL_RECOMPUTE_KEEP;
    try_all(s, i + 1);
    if (x->must_keep) return;
    s->choice[i] = COL_RECOMPUTE_ASKED;
    if (x->first_backward < 0) try_all(s, i + 1);
    for (int32_t turn = COL_MAX(latest - 1, 1); turn <= latest; turn++) {
        s->choice[i] = turn;
        try_all(s, i + 1);
    }
}

/* What times inside a turn may add: the values of two neighbouring groups. */
static int64_t inside_turns(const col_recompute_model *m, const recompute_turns *t)
{
    int64_t most = 0;
    for (int32_t g = 0; g < t->group_count; g++) {
        int64_t bytes = 0;
        for (size_t i = 0; i < m->items.len; i++) {
            if (t->group_of[i] == g || t->group_of[i] == g + 1) bytes += m->items.data[i].bytes;
        }
        most = COL_MAX(most, bytes);
    }
    return most;
}

/* The solver's answers are sound and fit, and cost what the best of all choices does: no less than with the
 * memory between units alone, no more than with what turns may add taken off. */
static void equals_all_choices(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    col_machine machine;
    col_mesh single = {0};
    assert_ok(col_machine_read("models/machines/h200x4.yaml", &machine));
    col_machine_links(&machine, &single);
    col_graph *graph = training(chain, arena);
    col_recompute_model *model = col_recompute_model_create(graph, &machine, 1, arena);
    assert_true(model->items.len <= 16);
    int64_t keep = col_recompute_keep_peak(model);
    int tried = 0, bounded = 0, dearer = 0;
    for (int percent = 200; percent >= 50; percent -= 10) {
        search s = {.m = model,
                    .t = recompute_turns_make(model, 1, arena),
                    .memory = keep / 100 * percent,
                    .best = INT64_MAX,
                    .least_peak = INT64_MAX};
        try_all(&s, 0);
        search less = s;
        less.memory -= inside_turns(model, s.t);
        less.best = INT64_MAX;
        try_all(&less, 0);
        col_recompute_limits limits = {.memory = s.memory, .joined = 1};
        col_recompute_answer answer;
        assert_ok(col_recompute_solve(model, &limits, arena, &answer));
        if (answer.status == COL_SOLVE_INFEASIBLE) {
            assert_true(less.best == INT64_MAX);
            continue;
        }
        assert_int_equal(answer.status, COL_SOLVE_OPTIMAL);
        assert_true(answer.peak <= s.memory);
        for (size_t i = 0; i < model->items.len; i++)
            s.choice[i] = answer.plan.forward[model->items.data[i].node->id];
        assert_true(is_sound(&s));
        assert_true(floor_of(&s) <= answer.peak);
        int64_t cost = (int64_t)(answer.seconds * 1e9 + 0.5);
        assert_true(cost >= s.best && cost <= less.best);
        tried++;
        bounded += less.best < INT64_MAX;
        dearer += answer.again > 0;
    }
    assert_true(tried > 5 && bounded > 0 && dearer > 1);
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_stay), cmocka_unit_test(dropped_is_dropped), cmocka_unit_test(copies_stay),
        cmocka_unit_test(prints),       cmocka_unit_test(equals_all_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
