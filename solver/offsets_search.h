/* Inside of the exact offsets search: its state, and the bounds that offsets_bounds.c keeps on it. The
 * formulation and the argument for both stand at the head of offsets_search.c. */
#ifndef COL_SOLVER_OFFSETS_SEARCH_H
#define COL_SOLVER_OFFSETS_SEARCH_H

#include "ir/base/vec.h"
#include "solver/offsets_model.h"

/* Sections [begin, end) that no open item leaves, and their open items q->open[low .. high). */
typedef struct search_part {
    int32_t low, high;
    int32_t begin, end;
} search_part;

typedef struct search_undo {
    int64_t *where;
    int64_t value;
} search_undo;

typedef struct search {
    const offsets_model *model;
    int64_t capacity; /* C: ends of sizes stay within it */
    int64_t ceiling;  /* C rounded up to the grain: ends of pads stay within it */
    int64_t *offsets; /* [count], of the placed items */

    /* The state. `set` keeps the old values on the trail. */
    int64_t *earliest; /* [count] e_j, of the open items */
    int64_t *floor;    /* [sections] f_s */
    int64_t *top;      /* [sections] t_s */
    int64_t *rest;     /* [sections] r_s */
    bool *placed;      /* [count] */
    uint32_t *open;    /* [count], a permutation; parts are ranges of it */

    /* Of the open items of a section: min e_j + pad_j, whose it is (-1: none), and the second least. */
    int64_t *first_end, *first_ender, *second_end;

    uint32_t
        *members; /* items of section s, open or placed: members[members_begin[s] .. members_begin[s + 1]) */
    size_t *members_begin;
    int32_t *queue; /* [sections] ring of sections to look at */
    bool *queued;   /* [sections] */
    int32_t queue_end, queue_len;
    int64_t raises; /* by the third rule that this fixpoint may still make */

    COL_VEC(search_undo) trail;
    col_arena *scratch;
} search;

static inline void search_set(search *q, int64_t *where, int64_t value)
{
    search_undo entry = {where, *where};
    col_vec_push(q->scratch, &q->trail, entry);
    *where = value;
}

/* Raises e and f to their fixpoint (or near it, offsets_bounds.c) after the floors or the open items of sections
 * [begin, end) changed.
 * False: no answer extends this state. */
bool search_tighten(search *q, int32_t begin, int32_t end);

#endif
