/* Recomputation on a chain: checks, playing of schedules, and the order in which the methods are called. */
#include "solver/checkpoint_chain.h"

#include <inttypes.h>
#include <math.h>

static const double DEFAULT_SECONDS = 5, DEFAULT_GAP = 0.01;
static const int64_t BYTES_MAX = (int64_t)1 << 60;
enum { FIRST_SLOTS = 250, FINE_SLOTS = 1000, MOST_SLOTS = 8000, STAGE_LIMIT = 1000 };

const char *col_checkpoint_action_name(col_checkpoint_action action)
{
    static const char *const names[] = {"forward", "forward_keep", "forward_save", "backward"};
    COL_ASSERT((size_t)action < COL_COUNT(names));
    return names[action];
}

/* ---- checks ---- */

static uint64_t output_of(const col_checkpoint_chain *chain, size_t stage)
{
    return stage + 1 < chain->count ? chain->stages[stage + 1].input_bytes : chain->output_bytes;
}

static col_status check_stage(const col_checkpoint_chain *chain, size_t i, uint64_t *total)
{
    const col_checkpoint_stage *s = &chain->stages[i];
    double times[] = {s->forward_seconds, s->backward_seconds};
    for (size_t k = 0; k < COL_COUNT(times); k++) {
        if (!(times[k] >= 0) || times[k] > 1e12) {
            return col_error_make(COL_BAD_INPUT, "stage %zu: a time of %g seconds; give one from 0 to 1e12",
                                  i, times[k]);
        }
    }
    uint64_t sizes[] = {s->input_bytes, s->saved_bytes, s->gradient_bytes, s->forward_temp_bytes,
                        s->backward_temp_bytes};
    for (size_t k = 0; k < COL_COUNT(sizes); k++) {
        if (sizes[k] > (uint64_t)BYTES_MAX - *total) {
            return col_error_make(COL_BAD_INPUT,
                                  "stage %zu: sizes add up to more than 2^60 bytes; give smaller ones", i);
        }
        *total += sizes[k];
    }
    if (s->saved_bytes < output_of(chain, i)) {
        return col_error_make(COL_BAD_INPUT,
                              "stage %zu: it saves %" PRIu64 " bytes, less than its output of %" PRIu64
                              "; saved bytes include the output",
                              i, s->saved_bytes, output_of(chain, i));
    }
    return NULL;
}

static col_status check_chain(const col_checkpoint_chain *chain)
{
    if (chain->count == 0) return col_error_make(COL_BAD_INPUT, "the chain has no stage");
    if (chain->count > STAGE_LIMIT) {
        return col_error_make(COL_BAD_INPUT, "the chain has %zu stages, the most is %d; merge neighbours",
                              chain->count, STAGE_LIMIT);
    }
    uint64_t total = 0, ends[] = {chain->output_bytes, chain->output_gradient_bytes};
    for (size_t k = 0; k < COL_COUNT(ends); k++) {
        if (ends[k] > (uint64_t)BYTES_MAX - total) {
            return col_error_make(COL_BAD_INPUT, "the output is larger than 2^60 bytes; give a smaller one");
        }
        total += ends[k];
    }
    for (size_t i = 0; i < chain->count; i++) COL_TRY(check_stage(chain, i, &total));
    return NULL;
}

/* ---- playing ---- */

/* What is in memory while a schedule is played. `loose` counts a_i outside of saved sets. */
typedef struct player {
    const col_checkpoint_chain *chain;
    bool *loose; /* [count + 1] a_i is there on its own */
    bool *saved; /* [count] A_{i+1} is there */
    uint64_t bytes, peak;
    size_t gradient; /* d of this index is there */
} player;

static uint64_t activation_bytes(const col_checkpoint_chain *chain, size_t i)
{
    return i < chain->count ? chain->stages[i].input_bytes : chain->output_bytes;
}

static uint64_t gradient_bytes(const col_checkpoint_chain *chain, size_t i)
{
    return i < chain->count ? chain->stages[i].gradient_bytes : chain->output_gradient_bytes;
}

static void drop_loose(player *p, size_t i)
{
    if (!p->loose[i]) return;
    p->loose[i] = false;
    p->bytes -= activation_bytes(p->chain, i);
}

static const char *play_forward(player *p, col_checkpoint_action action, size_t i)
{
    const col_checkpoint_stage *s = &p->chain->stages[i];
    if (!p->loose[i] && !(i > 0 && p->saved[i - 1])) return "its input is not there";
    if (p->saved[i] || p->loose[i + 1]) return "its output is there already";
    bool save = action == COL_CHECKPOINT_FORWARD_SAVE;
    p->bytes += save ? s->saved_bytes : activation_bytes(p->chain, i + 1);
    p->peak = COL_MAX(p->peak, p->bytes + s->forward_temp_bytes);
    if (save)
        p->saved[i] = true;
    else
        p->loose[i + 1] = true;
    if (action == COL_CHECKPOINT_FORWARD) drop_loose(p, i);
    return NULL;
}

static const char *play_backward(player *p, size_t i)
{
    const col_checkpoint_stage *s = &p->chain->stages[i];
    if (p->gradient != i + 1) return "the gradient of its output is not there";
    if (!p->saved[i]) return "its saved set is not there";
    if (!p->loose[i] && !(i > 0 && p->saved[i - 1])) return "its input is not there";
    p->bytes += gradient_bytes(p->chain, i);
    p->peak = COL_MAX(p->peak, p->bytes + s->backward_temp_bytes);
    p->bytes -= s->saved_bytes + gradient_bytes(p->chain, i + 1);
    p->saved[i] = false;
    p->gradient = i;
    drop_loose(p, i);
    return NULL;
}

col_status col_checkpoint_play(const col_checkpoint_chain *chain, col_checkpoint_schedule *schedule)
{
    col_arena *scratch = col_arena_create();
    player p = {.chain = chain,
                .loose = COL_NEW_ARRAY(scratch, bool, chain->count + 1),
                .saved = COL_NEW_ARRAY(scratch, bool, chain->count),
                .bytes = chain->stages[0].input_bytes + chain->output_gradient_bytes,
                .gradient = chain->count};
    p.loose[0] = true;
    p.peak = p.bytes;
    schedule->seconds = 0;
    col_status status = NULL;
    for (size_t k = 0; k < schedule->ops.len && !status; k++) {
        col_checkpoint_op op = schedule->ops.data[k];
        const char *wrong = "there is no such stage";
        if (op.stage < chain->count && op.action == COL_CHECKPOINT_BACKWARD)
            wrong = play_backward(&p, op.stage);
        else if (op.stage < chain->count)
            wrong = play_forward(&p, op.action, op.stage);
        if (wrong) {
            status = col_error_make(COL_INTERNAL, "operation %zu, %s of stage %u: %s", k,
                                    col_checkpoint_action_name(op.action), op.stage, wrong);
            break;
        }
        const col_checkpoint_stage *s = &chain->stages[op.stage];
        schedule->seconds += op.action == COL_CHECKPOINT_BACKWARD ? s->backward_seconds : s->forward_seconds;
    }
    if (!status && p.gradient != 0)
        status = col_error_make(COL_INTERNAL, "the schedule ends before the first backward");
    schedule->peak = p.peak;
    col_arena_destroy(scratch);
    return status;
}

/* ---- needs of a stage, in the units of the memory programme ---- */

int64_t chain_save_need(const chain_sizes *c, int32_t s, int32_t t)
{
    const col_checkpoint_stage *stage = &c->chain->stages[s];
    int64_t forward = c->d[t + 1] + c->saved[s] + (int64_t)stage->forward_temp_bytes;
    int64_t backward = c->d[s + 1] + c->d[s] + c->saved[s] + (int64_t)stage->backward_temp_bytes;
    return COL_MAX(forward, backward);
}

int64_t chain_forward_need(const chain_sizes *c, int32_t s, int32_t t, bool first)
{
    int64_t input = first ? 0 : c->a[s];
    return c->d[t + 1] + input + c->a[s + 1] + (int64_t)c->chain->stages[s].forward_temp_bytes;
}

void chain_emit(col_arena *arena, col_checkpoint_schedule *schedule, col_checkpoint_action action,
                int32_t stage)
{
    col_checkpoint_op op = {action, (uint32_t)stage};
    col_vec_push(arena, &schedule->ops, op);
}

void chain_emit_forwards(col_arena *arena, col_checkpoint_schedule *schedule, int32_t s, int32_t split)
{
    chain_emit(arena, schedule, COL_CHECKPOINT_FORWARD_KEEP, s);
    for (int32_t i = s + 1; i < split; i++) chain_emit(arena, schedule, COL_CHECKPOINT_FORWARD, i);
}

/* ---- solving ---- */

static chain_sizes measure(const col_checkpoint_chain *chain, col_arena *arena)
{
    size_t n = chain->count;
    chain_sizes c = {.chain = chain,
                     .count = (int32_t)n,
                     .a = COL_NEW_ARRAY(arena, int64_t, n + 1),
                     .d = COL_NEW_ARRAY(arena, int64_t, n + 1),
                     .saved = COL_NEW_ARRAY(arena, int64_t, n),
                     .forward = COL_NEW_ARRAY(arena, double, n + 1)};
    for (size_t i = 0; i <= n; i++) {
        c.a[i] = (int64_t)activation_bytes(chain, i);
        c.d[i] = (int64_t)gradient_bytes(chain, i);
        if (i == n) break;
        c.saved[i] = (int64_t)chain->stages[i].saved_bytes;
        c.forward[i + 1] = c.forward[i] + chain->stages[i].forward_seconds;
    }
    return c;
}

static void keep_everything(const col_checkpoint_chain *chain, col_arena *arena, col_checkpoint_schedule *out)
{
    int32_t n = (int32_t)chain->count;
    for (int32_t i = 0; i < n; i++) chain_emit(arena, out, COL_CHECKPOINT_FORWARD_SAVE, i);
    for (int32_t i = n - 1; i >= 0; i--) chain_emit(arena, out, COL_CHECKPOINT_BACKWARD, i);
}

/* Slots to start with: enough that an activation of ordinary size is at least one, within reason. Rounded
 * down to none, it would be free to keep, and the bound worth nothing. */
static int32_t first_slots(const chain_sizes *c, int64_t memory)
{
    int32_t slots = FIRST_SLOTS;
    for (int32_t s = 1; s < c->count; s++) {
        int64_t wanted = c->a[s] > 0 ? memory / c->a[s] * 4 / 3 + 1 : 0;
        if (wanted > slots && wanted <= FINE_SLOTS) slots = (int32_t)wanted;
    }
    return slots;
}

/* Finer and finer slots until the gap is met or time runs out; the best schedule and bound of all stay. */
static void refine(const chain_sizes *c, const col_checkpoint_limits *limits, double start, col_arena *arena,
                   col_checkpoint_solution *s)
{
    double seconds = limits->seconds > 0 ? limits->seconds : DEFAULT_SECONDS;
    double gap = limits->gap > 0 ? limits->gap : DEFAULT_GAP;
    int64_t memory = (int64_t)c->chain->memory - c->a[0];
    for (int32_t slots = first_slots(c, memory); slots <= MOST_SLOTS; slots *= 2) {
        col_arena *scratch = col_arena_create();
        double before = col_solve_clock();
        chain_answer answer = {0};
        chain_solve_slots(c, memory, slots, limits->threads > 0 ? limits->threads : 2, scratch, &answer);
        s->bound = fmax(s->bound, answer.bound);
        if (answer.found && answer.schedule.seconds < s->schedule.seconds) {
            s->schedule = answer.schedule;
            s->schedule.ops.data = col_arena_copy(arena, answer.schedule.ops.data,
                                                  answer.schedule.ops.len * sizeof *answer.schedule.ops.data);
            s->schedule.ops.cap = s->schedule.ops.len;
        }
        col_arena_destroy(scratch);
        double now = col_solve_clock();
        /* Twice the slots take about twice as long. */
        if (s->schedule.seconds - s->bound <= gap * s->schedule.seconds) break;
        if (now - start + 2.2 * (now - before) > seconds) break;
    }
}

col_status col_checkpoint_solve_chain(const col_checkpoint_chain *chain, const col_checkpoint_limits *limits,
                                      col_arena *arena, col_checkpoint_solution *out_solution)
{
    double start = col_solve_clock();
    COL_TRY(check_chain(chain));
    col_checkpoint_solution *s = out_solution;
    *s = (col_checkpoint_solution){0};
    chain_sizes c = measure(chain, arena);
    col_checkpoint_schedule keep = {0}, least = {0};
    keep_everything(chain, arena, &keep);
    COL_TRY(col_checkpoint_play(chain, &keep));
    int64_t least_memory = c.a[0] + chain_least_memory(&c, arena, &least);
    COL_TRY(col_checkpoint_play(chain, &least));
    COL_ASSERT((int64_t)least.peak == least_memory);
    s->keep_seconds = s->bound = keep.seconds;
    s->keep_memory = keep.peak;
    s->least_memory = least.peak;
    bool fits = !chain->memory || least.peak <= chain->memory;
    s->schedule = !chain->memory || keep.peak <= chain->memory ? keep : least;
    if (fits && s->schedule.peak != keep.peak) {
        col_checkpoint_schedule greedy = {0};
        if (col_checkpoint_greedy(chain, arena, &greedy) && greedy.seconds < s->schedule.seconds)
            s->schedule = greedy;
        refine(&c, limits, start, arena, s);
    }
    double gap = limits->gap > 0 ? limits->gap : DEFAULT_GAP;
    s->bound = fmin(s->bound, s->schedule.seconds);
    s->gap = s->schedule.seconds > 0 ? (s->schedule.seconds - s->bound) / s->schedule.seconds : 0;
    s->status = !fits ? COL_SOLVE_INFEASIBLE : s->gap <= gap ? COL_SOLVE_OPTIMAL : COL_SOLVE_FEASIBLE;
    s->seconds = col_solve_clock() - start;
    return NULL;
}
