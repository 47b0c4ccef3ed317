/* Inside frontend/compile.c and frontend/fit.c: a compilation on its way. */
#ifndef COL_FRONTEND_COMPILER_H
#define COL_FRONTEND_COMPILER_H

#include "codegen/emit.h"
#include "frontend/compile.h"
#include "frontend/variables.h"
#include "passes/memory.h"
#include "passes/recompute.h"
#include "passes/shard.h"

typedef struct col_program {
    const char *name;
    col_graph *legal; /* as kernels can be made of it; the same for every try at its memory */
    const col_recompute_answer *again; /* what is computed again in its backward phase; NULL: nothing */
    double again_seconds;              /* that it took to decide so */
    col_graph *graph;
    col_units *units;
    const col_kernel **kernels;
    col_memory memory;
    col_shard_report shard; /* of a program that was split */
} col_program;

typedef struct col_compiler {
    const col_compile_options *options;
    col_arena *arena;
    col_plan *plan;
    col_emitter emitter;
    bool graphs_only;        /* stop before lowering */
    int64_t sharding_bytes;  /* that the sharding solver may use of a device; 0: no limit */
    int sharding_threads;    /* 0: as the solver likes */
    col_plan_kind plan_kind; /* whose strategies a split may use */
    const col_shard_report
        *beside; /* of plan auto, while plans that are forced by name are tried for it; else NULL */
    col_program programs[COL_COMPILE_PROGRAMS];
    size_t program_count;
    const col_source *source;
    col_variables variables;
    col_map *settled; /* layouts of variables that an earlier program chose, by name */
    COL_VEC(Col__Plan__PassTime *) times;
    size_t prepared_times;    /* of col_compiler_prepare */
    const char *program_name; /* of the passes that are running */
    bool is_searching;        /* nothing is printed, dumped or stopped at: plans are tried */
} col_compiler;

/* Makes the graphs of all programs, split where there is a mesh, up to what kernels are made of. Starts anew
 * each time, with the limits of the sharding solver. `*out_stopped`: --stop-after ended it. */
COL_MUST_USE col_status col_compiler_prepare(col_compiler *c, bool *out_stopped);
/* From there on all but the code: the plan then has its memory and its predicted times. May be called again,
 * with other answers of what is computed again. */
COL_MUST_USE col_status col_compiler_finish(col_compiler *c, bool *out_stopped);

/* Prepares and finishes so that the plan takes no more than the memory of the options, as fast as can be
 * found. COL_INFEASIBLE names the least memory in which a plan was found: asked for, it will be found
 * again. */
COL_MUST_USE col_status col_fit(col_compiler *c, bool *out_stopped);

#endif
