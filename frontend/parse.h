/* The text frontend: a model's text to a graph. docs/ir.md describes the language.
 *
 * parse.c     the entry: checks, limits, final numbering
 * lex.c       characters to tokens
 * syntax*.c   tokens to a tree
 * settings.c  hyperparameters                     declare.c         variables and types
 * elaborate.c statements and scopes               expr.c, number.c  expressions
 * call.c      ops and blocks                      module.c          the table of modules with parameters */
#ifndef COL_FRONTEND_PARSE_H
#define COL_FRONTEND_PARSE_H

#include "ir/base/diag.h"
#include "ir/graph.h"

/* One `--set key=value`. */
typedef struct col_parse_setting {
    const char *key, *value;
} col_parse_setting;

typedef struct col_parse_options {
    const col_parse_setting *settings; /* a later one of the same key wins */
    size_t setting_count;
    int64_t batch, seq;  /* the hyperparameters of these names; 0: as the model has them */
    size_t value_limit;  /* tensors that a model may make; 0: COL_PARSE_VALUES */
    uint64_t step_limit; /* statements and expressions run; 0: COL_PARSE_STEPS */
} col_parse_options;

enum {
    COL_PARSE_VALUES = 1 << 20,
    COL_PARSE_STEPS = 64 << 20,
    COL_PARSE_BYTES = 256 << 20 /* of text */
};

/* Parses the model, runs its blocks and loops, and gives the graph. The graph lives in `arena`; its places
 * point to `source`, which must live as long. `options` may be NULL. Every fault that was found is in the one
 * COL_BAD_INPUT error, each with place, source line and caret. */
COL_MUST_USE col_status col_parse_model(const col_source *source, const col_parse_options *options,
                                        col_arena *arena, col_graph **out_graph);

#endif
