/* Twins of the chain solver that work on one kind of schedule: the chain is cut into blocks; a block is one
 * stage that is saved, or a run of stages of which only the input is kept and which is computed again, with
 * all saved, when its backward comes. The last block is always saved: dropping it would win nothing. */
#include "solver/checkpoint_chain.h"

#include <math.h>
#include <string.h>

/* Blocks as marks: begins[s] a block starts at stage s; drops[s] the block of stage s is recomputed. */
typedef struct blocks {
    int32_t count;
    bool *begins, *drops;
} blocks;

static void emit_block_backward(const blocks *b, int32_t s, int32_t end, col_arena *arena,
                                col_checkpoint_schedule *out)
{
    if (b->drops[s]) {
        for (int32_t i = s; i < end; i++) chain_emit(arena, out, COL_CHECKPOINT_FORWARD_SAVE, i);
    }
    for (int32_t i = end - 1; i >= s; i--) chain_emit(arena, out, COL_CHECKPOINT_BACKWARD, i);
}

static void emit_blocks(const blocks *b, col_arena *arena, col_checkpoint_schedule *out)
{
    out->ops.len = 0;
    for (int32_t s = 0; s < b->count; s++) {
        if (!b->drops[s])
            chain_emit(arena, out, COL_CHECKPOINT_FORWARD_SAVE, s);
        else
            chain_emit(arena, out, b->begins[s] ? COL_CHECKPOINT_FORWARD_KEEP : COL_CHECKPOINT_FORWARD, s);
    }
    for (int32_t s = b->count - 1, end = b->count; s >= 0; s--) {
        if (!b->begins[s]) continue;
        emit_block_backward(b, s, end, arena, out);
        end = s;
    }
}

static void play(const col_checkpoint_chain *chain, const blocks *b, col_arena *arena,
                 col_checkpoint_schedule *out)
{
    emit_blocks(b, arena, out);
    col_status status = col_checkpoint_play(chain, out);
    if (status) COL_PANIC("recomputation: %s", col_error_message(status));
}

/* One more stage to recompute: stage s alone, or joined to the recomputed block before it. */
typedef struct move {
    int32_t stage;
    bool joined;
} move;

static void apply(blocks *b, move m)
{
    b->drops[m.stage] = true;
    b->begins[m.stage] = !m.joined;
}

static void revert(blocks *b, move m, bool dropped, bool began)
{
    b->drops[m.stage] = dropped;
    b->begins[m.stage] = began;
}

/* The bytes that stay from forward to backward: what is freed when the peak does not move yet. */
static double kept_bytes(const col_checkpoint_chain *chain, const blocks *b)
{
    double sum = 0;
    for (int32_t s = 0; s < b->count; s++) {
        if (!b->drops[s])
            sum += (double)chain->stages[s].saved_bytes;
        else if (b->begins[s] && s > 0 && b->drops[s - 1])
            sum += (double)chain->stages[s].input_bytes;
    }
    return sum;
}

/* The move that frees most bytes of peak (or else of what is kept) per second added; false if none frees any.
 */
static bool best_move(const col_checkpoint_chain *chain, blocks *b, const col_checkpoint_schedule *now,
                      col_arena *arena, col_checkpoint_schedule *trial, move *out)
{
    double best = 0, kept = kept_bytes(chain, b);
    for (int32_t s = 0; s + 1 < b->count; s++) {
        for (int joined = 0; joined < 2; joined++) {
            move m = {s, joined};
            if (joined && (s == 0 || !b->drops[s - 1])) continue;
            if (b->drops[s] && (!joined || !b->begins[s])) continue;
            bool dropped = b->drops[s], began = b->begins[s];
            apply(b, m);
            play(chain, b, arena, trial);
            double peak_gain = (double)now->peak - (double)trial->peak,
                   kept_gain = kept - kept_bytes(chain, b);
            double seconds = fmax(trial->seconds - now->seconds, 1e-12 * now->seconds + 1e-30);
            revert(b, m, dropped, began);
            if (peak_gain < 0) continue;
            double score = (peak_gain + 1e-3 * fmax(kept_gain, 0)) / seconds;
            if (score <= best) continue;
            best = score;
            *out = m;
        }
    }
    return best > 0;
}

static blocks make_blocks(const col_checkpoint_chain *chain, col_arena *arena)
{
    blocks b = {.count = (int32_t)chain->count,
                .begins = COL_NEW_ARRAY(arena, bool, chain->count),
                .drops = COL_NEW_ARRAY(arena, bool, chain->count)};
    memset(b.begins, true, chain->count);
    return b;
}

bool col_checkpoint_greedy(const col_checkpoint_chain *chain, col_arena *arena, col_checkpoint_schedule *out)
{
    blocks b = make_blocks(chain, arena);
    col_checkpoint_schedule trial = {0};
    move m;
    play(chain, &b, arena, out);
    while (chain->memory && out->peak > chain->memory && best_move(chain, &b, out, arena, &trial, &m)) {
        apply(&b, m);
        play(chain, &b, arena, out);
    }
    return !chain->memory || out->peak <= chain->memory;
}

void col_checkpoint_sqrt(const col_checkpoint_chain *chain, col_arena *arena, col_checkpoint_schedule *out)
{
    blocks b = make_blocks(chain, arena);
    int32_t runs = (int32_t)ceil(sqrt((double)b.count));
    for (int32_t s = 0; s < b.count; s++) {
        int32_t run = (int32_t)((int64_t)s * runs / b.count);
        bool begins = s == 0 || (int32_t)((int64_t)(s - 1) * runs / b.count) != run;
        b.drops[s] = run < runs - 1;
        b.begins[s] = begins || !b.drops[s];
    }
    play(chain, &b, arena, out);
}
