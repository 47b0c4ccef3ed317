/* Passes: graph to graph. One pass, one file, one public function of that name; passes/pipeline.c is the
 * ordered table. Each pass file opens with what it needs, provides and breaks. */
#ifndef COL_PASSES_PASS_H
#define COL_PASSES_PASS_H

#include "ir/builder.h"
#include "passes/cost.h"

typedef enum col_optimizer {
    COL_OPTIMIZER_ADAMW,
    COL_OPTIMIZER_ADAM,
    COL_OPTIMIZER_SGD,
    COL_OPTIMIZER_LARS,
    COL_OPTIMIZER_LAMB
} col_optimizer;

typedef enum col_lr_schedule { COL_LR_CONSTANT, COL_LR_LINEAR, COL_LR_COSINE, COL_LR_SQUARE } col_lr_schedule;

typedef enum col_overlap {
    COL_OVERLAP_AUTO, /* where the machine can, within `overlap_memory` */
    COL_OVERLAP_ON,   /* wherever something can be computed meanwhile */
    COL_OVERLAP_OFF
} col_overlap;

/* The loop nests in which reductions run, by node id; NULL: any will do. A nest says in which order a reduction
 * adds. */
typedef struct col_nests {
    const struct col_domain **of; /* ir/group.h */
    uint32_t count;
} col_nests;

/* What the user asked of the compilation; passes read it and never change it. */
typedef struct col_pass_options {
    col_optimizer optimizer;
    col_lr_schedule lr_schedule; /* after a linear warm-up of `warmup_steps` */
    double beta1, beta2, eps;    /* Adam family and LAMB; PyTorch's meaning and defaults: 0.9, 0.999, 1e-8 */
    double momentum;             /* SGD and LARS */
    double trust;                /* LARS: of the ratio of norms; `eps` is added to its denominator */
    double weight_decay;         /* of parameters of rank 2 and more; 0: none */
    double clip_norm;            /* global gradient norm; 0: no clipping */
    int64_t accumulate;          /* micro-batches per step */
    int64_t cache_length;        /* positions that a key-value cache holds */
    col_dtype precision;         /* that products compute in: f32, or bf16 or f16 with f32 beside it */
    bool wide_products; /* the device's products take f32 alone: operands are rounded to `precision` */
    double init_scale, growth_factor,
        backoff_factor;         /* of the loss, with f16: torch.amp.GradScaler's, whose */
    int64_t growth_interval;    /* defaults are 65536, 2, 0.5 and 2000 */
    int64_t few_results;        /* reductions to fewer, ... */
    int64_t few_rows;           /* ... or fewer where they are of rows, ... */
    int64_t many_elements;      /* ... of more elements each, ... */
    int64_t many_rows;          /* ... or more rows where they are columns, are cut into two levels */
    int64_t row_bytes;          /* of a row that are reduced at once; longer ones are cut; 0: none are */
    int64_t loss_chunks;        /* that the loss runs in, at most; 0: as many as pay */
    bool channels_last;         /* convolutions of 16 bits compute on tensors that lie [n, spatial..., c] */
    const col_nests *nests;     /* that `fuse` keeps to; NULL: it chooses all of them */
    bool keep_gradients;        /* leave "grad.<parameter>" outputs in the graph */
    const col_machine *machine; /* that the program is for; NULL: none in particular */
    col_overlap overlap;        /* of communication with computation */
    double overlap_memory;      /* share of the peak of temporaries by which it may raise that */
} col_pass_options;

/* What is compiled for where the user asks for nothing: AdamW with the values above, one micro-batch. */
col_pass_options col_pass_options_default(void);

/* A pass returns COL_BAD_INPUT only for a model that it cannot take (say, no loss to differentiate), with the
 * place. */
typedef col_status (*col_pass_fn)(col_graph *graph, const col_pass_options *options);

typedef struct col_pass {
    const char *name;
    const char *summary; /* one line, for --help */
    col_pass_fn run;
} col_pass;

/* passes/pipeline.c: every pass by name, in the order of a full compilation. */
const col_pass *col_passes(size_t *out_count);
const col_pass *col_pass_find(const char *name); /* NULL when there is none */

/* Called around every pass: dumping, timing. */
typedef struct col_pass_hooks {
    void *context;
    /* After the pass and its verification; `seconds` excludes both. Returning an error stops the pipeline. */
    col_status (*after)(void *context, const col_pass *pass, const col_graph *graph, double seconds);
} col_pass_hooks;

/* Runs the passes in order; after each, the graph is verified (a broken graph is an internal bug, reported
 * with the pass's name and the faults on the printed graph). */
COL_MUST_USE col_status col_passes_run(col_graph *graph, const col_pass *const *passes, size_t count,
                                       const col_pass_options *options, const col_pass_hooks *hooks);

/* Turns off dropout. */
COL_MUST_USE col_status col_pass_inference(col_graph *graph, const col_pass_options *options);
/* Keeps keys and values of earlier positions in states, for generation. */
COL_MUST_USE col_status col_pass_kv_cache(col_graph *graph, const col_pass_options *options);
/* Gives a dimension that is split into parts later on a dimension for the parts, so that a mesh can split it.
 */
COL_MUST_USE col_status col_pass_unmerge(col_graph *graph, const col_pass_options *options);
/* Lets products and attention compute in 16 bits. */
COL_MUST_USE col_status col_pass_precision(col_graph *graph, const col_pass_options *options);
/* Makes channels of the positions that a first convolution's strides skip. */
COL_MUST_USE col_status col_pass_space_to_depth(col_graph *graph, const col_pass_options *options);
/* Reverse-mode differentiation of output `loss` with respect to every parameter that is not frozen.
 * Adds outputs "grad.<parameter>". */
COL_MUST_USE col_status col_pass_autodiff(col_graph *graph, const col_pass_options *options);
/* Scales the loss and divides the gradients by the scale, which adapts to them; with f16 alone. */
COL_MUST_USE col_status col_pass_scale_loss(col_graph *graph, const col_pass_options *options);
/* Leaves out of sums what sums to zero: the gradients of keys over their positions. */
COL_MUST_USE col_status col_pass_vanish(col_graph *graph, const col_pass_options *options);
/* Turns "grad.<parameter>" outputs into the update of parameters and optimizer state. */
COL_MUST_USE col_status col_pass_optimizer(col_graph *graph, const col_pass_options *options);
/* Replaces composite ops by primitives. */
COL_MUST_USE col_status col_pass_lower(col_graph *graph, const col_pass_options *options);
/* Algebraic identities and evaluation of what is constant. */
COL_MUST_USE col_status col_pass_fold(col_graph *graph, const col_pass_options *options);
/* Merges nodes that compute the same. */
COL_MUST_USE col_status col_pass_cse(col_graph *graph, const col_pass_options *options);
/* Removes nodes that nothing needs. */
COL_MUST_USE col_status col_pass_dce(col_graph *graph, const col_pass_options *options);
/* Runs the loss in chunks of rows, one after another. */
COL_MUST_USE col_status col_pass_chunk(col_graph *graph, const col_pass_options *options);
/* Joins small all-reduces into few. */
enum {
    COL_BUCKET_LARGE = 1 << 20, /* bytes of a sum that is not worth a copy */
    COL_BUCKET_MEMBERS = 64,    /* at most: parts that a concat takes */
};
COL_MUST_USE col_status col_pass_bucket(col_graph *graph, const col_pass_options *options);
/* Splits reductions that would run on one core, and inserts the copies that kernels need for operands whose
 * strides they cannot take. */
COL_MUST_USE col_status col_pass_legalize(col_graph *graph, const col_pass_options *options);
/* Gives products the bias, the GELU or the slope of GELU that follows them. */
COL_MUST_USE col_status col_pass_epilogue(col_graph *graph, const col_pass_options *options);
/* Computes all that it can again in the backward phase, from what the blocks of the forward phase begin with:
 * passes/recompute.h, which also chooses by a memory limit. */
COL_MUST_USE col_status col_pass_recompute(col_graph *graph, const col_pass_options *options);
/* Assigns `group` to the nodes that become one kernel. */
COL_MUST_USE col_status col_pass_fuse(col_graph *graph, const col_pass_options *options);
/* Orders the nodes, groups together, to lower the peak of live bytes. */
COL_MUST_USE col_status col_pass_schedule(col_graph *graph, const col_pass_options *options);
/* Starts collectives early and waits for them late, so that they run while the rank computes. */
COL_MUST_USE col_status col_pass_overlap(col_graph *graph, const col_pass_options *options);
/* Whether that pass does anything with these options. */
bool col_overlaps(const col_pass_options *options);

#endif
