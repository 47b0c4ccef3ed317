/* Models that a test writes as text, and what they come to for numbers that repeat. */
#ifndef COL_TESTS_UNIT_MODEL_TEXT_H
#define COL_TESTS_UNIT_MODEL_TEXT_H

#include "tests/unit/unit.h"

#include <string.h>

#include "frontend/parse.h"
#include "ir/evaluate.h"
#include "tests/unit/random.h"

/* In the arena, as the text is. */
static inline col_graph *model_of(col_arena *arena, const char *text)
{
    col_source *source = COL_NEW(arena, col_source);
    *source = (col_source){.name = "m.ir", .text = text, .size = strlen(text)};
    col_graph *graph;
    assert_ok(col_parse_model(source, NULL, arena, &graph));
    return graph;
}

/* The outputs for variables of whole multiples of `unit`, up to 8 of them: the same numbers for a variable, whatever
 * dimensions it has. */
static inline const col_tensor *outputs_of(const col_graph *graph, double unit, col_arena *arena)
{
    col_tensor *vars = col_evaluate_vars(graph, arena);
    for (size_t v = 0; v < graph->vars.len; v++) {
        unit_random r = {v};
        for (int64_t i = 0; i < col_shape_numel(vars[v].type.shape); i++)
            vars[v].data[i] = (double)random_int(&r, -8, 8) * unit;
    }
    col_evaluation out;
    assert_ok(col_evaluate(graph, NULL, vars, arena, &out));
    return out.outputs;
}

#endif
