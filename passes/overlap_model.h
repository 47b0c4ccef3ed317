/* What overlapping works on: units on two clocks, live bytes, and the collectives that may move (see overlap.c). */
#ifndef COL_PASSES_OVERLAP_MODEL_H
#define COL_PASSES_OVERLAP_MODEL_H

#include "ir/units.h"
#include "passes/pass.h"

enum { COL_OVERLAP_NONE = UINT32_MAX };

/* Times are boundaries: k is before unit k, in the order that the schedule left. */
typedef struct col_overlap_move {
    col_node *node;
    uint32_t unit;            /* where it stands */
    uint32_t earliest;        /* that it may start */
    uint32_t latest;          /* that it has to end */
    uint32_t start, wait;     /* chosen; earliest <= start < wait <= latest */
    double seconds;           /* at full speed */
    double idle;              /* of them, those that pass whatever the size */
    const col_value *operand; /* what its bytes are of */
    uint32_t other_reader;    /* the last unit beside this that reads the operand, plus one; 0: none */
    bool grows, in_place;
    bool is_assigned; /* the result goes into a variable */
    bool holds;       /* the operand's bytes are not kept by anything else */
    bool is_joined;   /* starts with others */
    bool is_started;
} col_overlap_move;

typedef struct col_overlapper {
    col_graph *graph;
    col_arena *arena;
    col_units *units;
    const col_machine *machine; /* NULL: a unit of time is a byte */
    double share;               /* of a collective's speed, while the rank computes */
    double least;               /* seconds that must be hidden */
    uint32_t phase_end[COL_PHASE_COUNT];
    uint32_t **readers;      /* by value id, units in order; ended by COL_OVERLAP_NONE */
    uint32_t *assigner;      /* by variable: the unit that assigns it, or COL_OVERLAP_NONE */
    bool *is_output;         /* by value id, of bases */
    double *before;          /* by boundary: seconds of computing before it */
    int64_t *live;           /* by unit: bytes */
    col_overlap_move *moves; /* in the order of units */
    uint32_t move_count;
    col_overlap_move **move_of; /* by unit; NULL: no collective */
} col_overlapper;

/* Units, seconds, readers, phases, live bytes and moves of a scheduled graph, of which graph, arena, machine, share and
 * least are set; again, where its order has changed. */
void col_overlap_model(col_overlapper *o);

const col_unit *col_overlap_unit(const col_overlapper *o, uint32_t u);
const col_node *col_overlap_node(const col_overlapper *o, uint32_t u);
bool col_overlap_communicates(const col_node *node);
bool col_overlap_is_view(const col_unit *unit); /* that no bytes are written for */
uint32_t col_overlap_phase_start(const col_overlapper *o, col_phase phase);
/* Bytes of a value of its own: none of a variable's, nor where it is written straight into one. */
int64_t col_overlap_bytes(const col_overlapper *o, const col_value *value);

/* overlap_late.c: units that wait for a collective, and that only later phases wait for (casts and blocks of summed
 * gradients), go to the end of their phase, so that the collective is not waited for earlier. What they read is live until
 * then: all of it may take `limit` bytes. Whether any has moved; then the model is to be made again. */
bool col_overlap_sink(const col_overlapper *o, double limit);

/* overlap_join.c: moves whose starts are chosen start together where that pays. */
void col_overlap_join(col_overlapper *o);

/* overlap_order.c: waits are made for the moves that are started, and units come in the order of starts and waits. */
void col_overlap_reorder(const col_overlapper *o);
/* For qsort of pointers to moves: by start, then as they stood. */
int col_overlap_by_start(const void *a, const void *b);

#endif
