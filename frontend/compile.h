/* The compilation of a model into a plan: which programs a use needs, and the way of each from text to
 * instructions. */
#ifndef COL_FRONTEND_COMPILE_H
#define COL_FRONTEND_COMPILE_H

#include "frontend/parse.h"
#include "ir/base/options.h"
#include "ir/plan/plan.h"
#include "passes/cost.h"
#include "passes/pass.h"

/* What the plan is for. */
typedef enum col_use {
    COL_USE_TRAIN, /* programs "step" and "eval"; with accumulation "micro", run for all micro-batches but the
                      last */
    COL_USE_FORWARD,  /* program "forward": every output */
    COL_USE_GENERATE, /* programs "prefill" and "decode" */
} col_use;

typedef struct col_compile_options {
    const char *model_path;
    const col_source *source; /* the model's text; NULL: read `model_path` */
    const col_options *given; /* the plan records those that its programs depend on; NULL: none */
    col_use use;
    col_parse_options parse;
    col_pass_options passes;
    const char *optimizer_name;
    col_machine machine;       /* that times are predicted for, as one rank of the mesh has it */
    col_mesh mesh;             /* rank 0: a single device */
    double memory_bytes;       /* that a device may use; 0: no limit */
    double solve_seconds;      /* that the sharding solver may take for a program */
    const char *plan_name;     /* how to split over the mesh: "auto", "zero1", ... */
    const char *checkpoint;    /* what is recomputed in backward: "auto", "none", "all", "sqrt" */
    const char *print_after;   /* name of a pass, "parse" or "all"; NULL: none */
    const char *stop_after;    /* NULL: run to the end */
    const char *dump_dir;      /* graph after every pass, kernels, LLVM IR; NULL: none */
    bool is_cuda;              /* compile for a GPU */
    const char *gpu_processor; /* codegen/ptx.h; NULL: its default */
    const char *cpu_features;  /* codegen/x86.h; NULL: this machine's */
    const char *const
        *fed; /* forward: names of the inputs that will be given; outputs that need others are left out */
    size_t fed_count; /* 0: all inputs */
    bool time_passes;
    int threads;
} col_compile_options;

/* The table of options that every command which compiles takes. */
extern const col_option col_compile_option_table[];
extern const size_t col_compile_option_count;

/* Whether the option is one of that table. */
bool col_compile_has_option(const col_option *option);

/* Generation makes programs of one sample, of 64 tokens and of one: refuses --batch and --seq, which could
 * not be honoured. Before the recipe's options are added, which may be there for training. */
COL_MUST_USE col_status col_compile_refuse_sizes(const col_options *options);

/* Adds the options of --recipe, if there is one; before positional arguments are read, since a recipe may
 * name the model. */
COL_MUST_USE col_status col_compile_recipe(col_options *options, col_arena *arena);
/* Reads the options. Texts live in `arena`. */
COL_MUST_USE col_status col_compile_options_read(const col_options *options, col_arena *arena,
                                                 col_compile_options *out);

/* The option --for and its reading: training for a model with a loss, otherwise forward. */
extern const col_option col_compile_use_option;
COL_MUST_USE col_status col_compile_use_read(const col_options *options, col_arena *arena,
                                             col_compile_options *out);

/* Writes the use and the options into the plan, and reads them back: then they refer to the plan. */
void col_compile_options_record(const col_compile_options *options, col_arena *arena, col_plan *plan);
COL_MUST_USE col_status col_compile_options_of_plan(const col_plan *plan, col_arena *arena,
                                                    col_compile_options *out);

/* Compiles. The plan and all it refers to live in `arena`. `*out_plan` is NULL when --stop-after ended it
 * early. */
COL_MUST_USE col_status col_compile(const col_compile_options *options, col_arena *arena,
                                    col_plan **out_plan);

/* Parses the model of the options for a use and gives the graph before any pass. For generation `seq` is the
 * number of new tokens. */
COL_MUST_USE col_status col_compile_parse(const col_compile_options *options, int64_t batch, int64_t seq,
                                          col_arena *arena, col_graph **out_graph);

/* One program of a use as its graph was before lowering: composites whole, nothing fused or scheduled. */
typedef struct col_compile_graph {
    const char *name;
    col_graph *graph;
} col_compile_graph;
enum { COL_COMPILE_PROGRAMS = 4 };

/* The graphs of the programs that col_compile makes, in its order. `out` has room for COL_COMPILE_PROGRAMS.
 */
COL_MUST_USE col_status col_compile_graphs(const col_compile_options *options, col_arena *arena,
                                           col_compile_graph *out, size_t *out_count);

#endif
