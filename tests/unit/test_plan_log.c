/* The plan's verifier on the strategy log and on figures of the report: a sound log is taken, and each with
 * one fault is refused, so that whatever prints a plan gets numbers and layouts. */
#include "tests/unit/unit.h"

#include <math.h>

#include "ir/plan/plan_verify.h"
#include "tests/cts/plan_maker.h"

typedef struct subject {
    plan_maker maker;
    Col__Plan__Sharding *log;
    Col__Plan__OpStrategy *op;
    Col__Plan__EdgeLog *edge;
    Col__Plan__Alternative *row;
    col_plan_instruction *in;
    Col__Plan__Setting *setting;
} subject;

#define NEW(Type, init, out)                                                                                 \
    do {                                                                                                     \
        (out) = COL_NEW(arena, Type);                                                                        \
        init(out);                                                                                           \
    } while (0)
#define LIST_OF(item) col_arena_copy(arena, &(item), sizeof(item))

static subject make(col_arena *arena)
{
    subject s = {.maker = maker_start(arena, "cpu", "train")};
    col_plan *plan = s.maker.plan;
    plan->n_mesh = 2;
    plan->mesh = col_arena_copy(arena, (int64_t[]){2, 2}, 2 * sizeof(int64_t));
    col_plan_view *view = maker_view(&s.maker, COL__PLAN__DTYPE__F32, 1, (int64_t[]){4});
    s.in = maker_instruction(&s.maker, "zero", 0, NULL, 1, &view);
    (void)MAKER_KIND(&s.maker, s.in, FILL, fill, Fill);
    NEW(Col__Plan__Setting, col__plan__setting__init, s.setting);
    s.setting->name = (char *)(uintptr_t) "rate";
    s.setting->value_case = COL__PLAN__SETTING__VALUE_FLOAT_VALUE;
    plan->source->n_settings = 1;
    plan->source->settings = LIST_OF(s.setting);
    NEW(Col__Plan__Sharding, col__plan__sharding__init, s.log);
    NEW(Col__Plan__OpStrategy, col__plan__op_strategy__init, s.op);
    NEW(Col__Plan__EdgeLog, col__plan__edge_log__init, s.edge);
    NEW(Col__Plan__Alternative, col__plan__alternative__init, s.row);
    s.edge->from_layout = (char *)(uintptr_t) "S0R+P1";
    s.edge->to_layout = (char *)(uintptr_t) "S0R";
    s.log->program = (char *)(uintptr_t) "step";
    s.log->n_ops = s.log->n_edges = s.log->n_alternatives = 1;
    s.log->ops = LIST_OF(s.op);
    s.log->edges = LIST_OF(s.edge);
    s.log->alternatives = LIST_OF(s.row);
    plan->sharding = s.log;
    return s;
}

static col_status verify(subject *s)
{
    maker_program(&s->maker, "step");
    return col_plan_verify(maker_finish(&s->maker));
}

#define REFUSE(change, words)                                                                                \
    do {                                                                                                     \
        subject s = make(arena);                                                                             \
        change;                                                                                              \
        assert_fails(verify(&s), COL_BAD_INPUT, words);                                                      \
    } while (0)
#define TEXT(text) ((char *)(uintptr_t)(text))

static void logs_are_checked(void **state)
{
    (void)state;
    col_arena *arena = col_arena_create();
    subject sound = make(arena);
    assert_ok(verify(&sound));
    REFUSE(s.log->program = TEXT("eval"), "'eval': is malformed");
    REFUSE(s.log->objective = NAN, "is malformed");
    REFUSE(s.log->bound = -1, "is malformed");
    REFUSE(s.log->rows = -1, "is malformed");
    REFUSE(s.log->peak_bytes = UINT64_MAX, "is malformed");
    REFUSE(s.op->compute_seconds = INFINITY, "strategy of op");
    REFUSE(s.op->phase = 3, "strategy of op");
    REFUSE(s.edge->bytes = -4, "logged edge");
    REFUSE(s.edge->to_layout = TEXT("S2R"), "logged edge");
    REFUSE(s.edge->to_layout = TEXT("S00R"), "logged edge");
    REFUSE(s.edge->from_layout = TEXT("whole"), "logged edge");
    REFUSE(s.edge->from_layout = TEXT("RRRRRRRRR"), "logged edge");
    REFUSE(s.row->seconds = NAN, "alternative plan");
    REFUSE(s.in->seconds = NAN, "costs");
    REFUSE(s.in->flops = -1, "costs");
    REFUSE(s.setting->float_value = INFINITY, "no number");
    REFUSE(s.maker.plan->compile_seconds = -1, "no number");
    col_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logs_are_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
