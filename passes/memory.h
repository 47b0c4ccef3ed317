/* Memory planning: where every tensor of a program lies in the device's one arena. */
#ifndef COL_PASSES_MEMORY_H
#define COL_PASSES_MEMORY_H

#include "ir/units.h"

/* What the planner must know of generated kernels; asked after strides are fixed. */
typedef struct col_memory_rules {
    void *context;
    /* Whether the unit may write `output` over the bytes of `input`, which it reads. */
    bool (*in_place)(void *context, const col_unit *unit, const col_value *input, const col_value *output);
    bool roughly; /* offsets may take more memory than need be: they are not searched for */
} col_memory_rules;

/* A tensor's time and place, for the report. */
typedef struct col_memory_buffer {
    const col_value *first_value; /* the value that the buffer was made for */
    uint64_t offset, bytes;       /* in the arena */
    uint32_t first,
        last; /* units that write it first and touch it last; `last` is the unit count for outputs */
} col_memory_buffer;

typedef struct col_memory {
    col_placement *placements; /* by value id */
    col_memory_buffer *buffers;
    uint32_t buffer_count;
    uint64_t temporary_bytes; /* size of the temporaries' part */
    uint64_t live_bound;      /* largest sum of live temporaries: no placement does better */
    uint32_t peak_unit;       /* a unit at which live_bound is reached */
} col_memory;

/* Fixes the strides of every value that has bytes: row-major, but for parts of a concat that can be written
 * straight into its result and, if asked for, convolutions' values (passes/channels_last.h). Kernels may be built
 * once this is done. `memory` is filled in. */
void col_memory_fix_strides(const col_graph *graph, const col_units *units, bool channels_last,
                            col_arena *arena, col_memory *memory);

/* Gives every such value an offset. `variable_offsets` are by variable index; temporaries start at `base` (a
 * multiple of 64). Reuses bytes in place where the rules allow, and writes assigned values straight into
 * their variable where no later unit reads the old value. Needs a scheduled graph. Live temporaries at one
 * unit are its reads, its writes and all that waits. */
COL_MUST_USE col_status col_memory_assign(const col_graph *graph, const col_units *units,
                                          const col_memory_rules *rules, const uint64_t *variable_offsets,
                                          uint64_t base, col_arena *arena, col_memory *memory);

#endif
