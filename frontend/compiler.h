/* Inside frontend/compile*.c and frontend/fit*.c: a compilation on its way. Its programs are read once
 * (compile.c), prepared for each limit of the sharding solver (compile_prepare.c), and finished for each way of
 * computing values again (compile_finish.c). */
#ifndef COL_FRONTEND_COMPILER_H
#define COL_FRONTEND_COMPILER_H

#include "codegen/emit.h"
#include "frontend/compile.h"
#include "frontend/variables.h"
#include "passes/memory.h"
#include "passes/recompute.h"
#include "passes/shard.h"

typedef COL_VEC(Col__Plan__PassTime *) col_pass_times;

typedef struct col_program {
    const char *name;
    col_pass_options options;
    col_graph *whole; /* of the model; on a mesh in units, in their order, and only read from then on */
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
    col_arena *arena; /* of what is being made */
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
    size_t split_count; /* of them, when they were last prepared */
    const col_source *source;
    col_variables noted, variables; /* as the model shows them; those of the programs that are prepared */
    col_pass_times times, read_times, prepared_times; /* so far; when programs were read; and then prepared */
    const char *program_name;                         /* of the passes that are running */
    /* Of the first program: the sharding is that of this row, and not solved for; NULL: it is. */
    const col_shard_report *rows;
    int row;
    bool is_rough;     /* only the step's seconds are of interest: neither log nor tight memory */
    bool is_searching; /* nothing is printed, dumped or stopped at: plans are tried */
} col_compiler;

/* Passes, and what can be seen of them. */
void col_compiler_record_time(col_compiler *c, const char *name, double seconds);
COL_MUST_USE col_status col_compiler_dump_graph(col_compiler *c, const char *pass, const col_graph *graph);
bool col_compiler_stops_after(const col_compiler *c, const char *pass);
/* Runs the named passes in order; `*out_stopped` tells that --stop-after's was among them. */
COL_MUST_USE col_status col_compiler_run_passes(col_compiler *c, col_graph *graph, const char *const *names,
                                                size_t count, const col_pass_options *options,
                                                bool *out_stopped);

/* Makes what kernels are made of, from the graphs of all programs as they were read: on a mesh split, with the limits
 * of the sharding solver, and as often as wanted; once for a single device. `*out_stopped`: --stop-after ended it. */
COL_MUST_USE col_status col_compiler_prepare(col_compiler *c, bool *out_stopped);
/* Inputs of the programs of generation have different shapes, so they get the program's name. */
void col_compiler_name_inputs(col_program *program, col_arena *arena);
/* From there on all but the code: the plan then has its memory and its predicted times. May be called again,
 * with other answers of what is computed again. Both put all they make into the compiler's arena of then; what is
 * finished refers to what was prepared, and that to what was read. */
COL_MUST_USE col_status col_compiler_finish(col_compiler *c, bool *out_stopped);
/* The code of what was finished. */
COL_MUST_USE col_status col_compiler_generate(col_compiler *c);

/* Prepares and finishes so that the plan takes no more than the memory of the options, as fast as can be
 * found. COL_INFEASIBLE names the least memory in which a plan was found: asked for, it will be found
 * again. */
COL_MUST_USE col_status col_fit(col_compiler *c, bool *out_stopped);

#endif
