/* One small node of every op: what the tests over the whole op table walk. */
#ifndef COL_UNIT_SAMPLES_H
#define COL_UNIT_SAMPLES_H

#include "ir/builder.h"

typedef struct sample {
    col_op op;
    const char *types; /* of the operands: "f32[2, 3] i32[2]" */
    col_attr attrs[6];
    uint32_t attr_count;
    uint32_t plain_operands; /* bit set: floating point, but without a gradient */
    uint32_t plain_results;  /* bit set: no gradient flows through this result */
} sample;

extern const sample samples[];
extern const size_t sample_count;

/* The types in the text; returns their number. */
uint32_t sample_types(const char *text, col_type out[64]);
/* A graph of the sample's node alone; its operands are parameters "x0", "x1" and on where floating point and
 * not plain, else inputs. */
col_node *sample_build(const sample *s, col_arena *arena);

#endif
