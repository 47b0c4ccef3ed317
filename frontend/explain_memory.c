#include "frontend/explain.h"

#include <stdlib.h>

#include "frontend/report.h"
#include "ir/units.h"

enum { COLUMNS = 72, ROWS = 10, LARGEST_SHOWN = 16 };

/* What the buffer takes in the arena. */
static uint64_t placed_bytes(const Col__Plan__LiveBuffer *b)
{
    return (uint64_t)col_plan_padded((int64_t)b->bytes);
}

/* Adds each buffer where it begins and takes it away where it ends. */
uint64_t *col_explain_live_bytes(const Col__Plan__MemoryReport *m, size_t count, col_arena *arena)
{
    uint64_t *live = COL_NEW_ARRAY(arena, uint64_t, count + 2);
    for (size_t i = 0; i < m->n_buffers; i++) {
        const Col__Plan__LiveBuffer *b = m->buffers[i];
        live[COL_MIN((size_t)b->first, count)] += placed_bytes(b);
        live[COL_MIN((size_t)b->last, count) + 1] -= placed_bytes(b);
    }
    for (size_t i = 1; i <= count; i++) live[i] += live[i - 1];
    return live;
}

/* The largest live bytes among the instructions of one column. */
static uint64_t column_peak(const uint64_t *live, size_t count, size_t columns, size_t column)
{
    uint64_t most = 0;
    for (size_t i = column * count / columns; i < (column + 1) * count / columns; i++)
        most = COL_MAX(most, live[i]);
    return most;
}

static void print_chart(const uint64_t *live, size_t count, col_plan_instruction *const *list, col_str *out)
{
    static const char phases[] = {'f', 'b', 'u'};
    size_t columns = COL_MIN(count, (size_t)COLUMNS);
    uint64_t most = 1;
    for (size_t i = 0; i < count; i++) most = COL_MAX(most, live[i]);
    for (int row = ROWS; row >= 1; row--) {
        char label[COL_HUMAN_SIZE] = "";
        if (row == ROWS || row == ROWS / 2) col_format_bytes(label, (double)most * row / ROWS);
        col_str_printf(out, "  %10s |", label);
        for (size_t c = 0; c < columns; c++) {
            /* A column reaches a row when it passes the row's middle. */
            bool reaches =
                2.0 * ROWS * (double)column_peak(live, count, columns, c) > (2.0 * row - 1) * (double)most;
            col_str_append(out, reaches ? "#" : " ");
        }
        while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
        col_str_append(out, "\n");
    }
    col_str_printf(out, "  %10s |", "phase");
    for (size_t c = 0; c < columns; c++) {
        uint32_t phase = list[c * count / columns]->phase;
        col_str_append_bytes(out, phase < sizeof phases ? &phases[phase] : "?", 1);
    }
    col_str_append(out, "\n");
}

static int by_size(const void *a, const void *b)
{
    const Col__Plan__LiveBuffer *x = *(Col__Plan__LiveBuffer *const *)a,
                                *y = *(Col__Plan__LiveBuffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void print_largest(const Col__Plan__MemoryReport *m, size_t peak, size_t count,
                          col_plan_instruction *const *list, col_arena *arena, col_str *out)
{
    Col__Plan__LiveBuffer **here = COL_NEW_ARRAY(arena, Col__Plan__LiveBuffer *, m->n_buffers);
    size_t n = 0;
    uint64_t rest = 0;
    for (size_t i = 0; i < m->n_buffers; i++) {
        if (m->buffers[i]->first <= peak && peak <= m->buffers[i]->last) here[n++] = m->buffers[i];
    }
    qsort(here, n, sizeof(Col__Plan__LiveBuffer *), by_size);
    col_str_printf(out, "\n  %-36s %10s   %s\n", "live at the peak", "bytes", "from -> last use");
    for (size_t i = 0; i < n; i++) {
        char bytes[COL_HUMAN_SIZE];
        const Col__Plan__LiveBuffer *b = here[i];
        if (i >= LARGEST_SHOWN) {
            rest += b->bytes;
            continue;
        }
        const char *last = b->last < count ? list[b->last]->name : "the end (output)";
        col_str_printf(out, "  %-36s %10s   %u -> %u %s\n", b->name,
                       col_format_bytes(bytes, (double)b->bytes), b->first, b->last, last);
    }
    char bytes[COL_HUMAN_SIZE];
    if (rest)
        col_str_printf(out, "  and %zu smaller %*s %10s\n", n - LARGEST_SHOWN, 24, "",
                       col_format_bytes(bytes, (double)rest));
}

void col_explain_memory(const col_plan *plan, const Col__Plan__MemoryReport *m, col_str *out)
{
    char peak[COL_HUMAN_SIZE], placed[COL_HUMAN_SIZE], state[COL_HUMAN_SIZE];
    const col_plan_program *program = col_plan_find_program(plan, m->program);
    size_t count = program ? program->n_instructions : 0;
    col_plan_instruction *const *list = program ? program->instructions : NULL;
    col_arena *arena = col_arena_create();
    col_str_printf(out, "\nmemory of %s: state and inputs %s; temporaries %s, at most %s live", m->program,
                   col_format_bytes(state, (double)m->state_bytes),
                   col_format_bytes(placed, (double)m->temporary_bytes),
                   col_format_bytes(peak, (double)m->live_bound));
    if (count && m->n_buffers) {
        size_t at = COL_MIN((size_t)m->peak_instruction, count - 1);
        col_str_printf(out, " (instruction %zu, %s)\n\n", at, list[at]->name);
        print_chart(col_explain_live_bytes(m, count, arena), count, list, out);
        print_largest(m, at, count, list, arena, out);
    } else {
        col_str_append(out, "\n");
    }
    col_arena_destroy(arena);
}
