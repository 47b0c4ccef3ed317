/* What a plan says of itself besides its programs: the model that it was made of, how it was compiled, and
 * what is in memory when. */
#ifndef COL_FRONTEND_DESCRIBE_H
#define COL_FRONTEND_DESCRIBE_H

#include "frontend/compile.h"
#include "ir/units.h"
#include "passes/memory.h"
#include "passes/recompute.h"
#include "passes/shard.h"
#include "passes/shard_log.h"

/* Fills in what the plan is for: machine, mesh, micro-batches; and predicts the seconds of its instructions.
 */
void col_describe_machine(const col_compile_options *options, const col_graph *graph, col_arena *arena,
                          col_plan *plan);

/* The record of what is computed again; `kind` as --checkpoint has it. */
Col__Plan__Recompute *col_describe_recompute(const char *kind, const col_recompute_answer *answer,
                                             col_arena *arena);

/* Fills in the rest of the plan's head, of a plan whose programs are emitted. `graph` is that of its first
 * program, `source` the model's text; what is not copied into `arena` must live as long as the plan. */
void col_describe_plan(const col_compile_options *options, const col_source *source, const col_graph *graph,
                       col_arena *arena, col_plan *plan);

/* The memory report of a program whose memory is planned. `starts` counts the instructions before each unit,
 * as col_emit_program gives them; `state_bytes` is the size of the plan's variables. */
Col__Plan__MemoryReport *col_describe_memory(const char *program, const col_graph *graph,
                                             const col_units *units, const col_memory *memory,
                                             const uint32_t *starts, uint64_t state_bytes, col_arena *arena);

/* The strategy log of the program that was split (describe_sharding.c); refers to the log's graph. */
Col__Plan__Sharding *col_describe_sharding(const char *program, col_plan_kind kind, const col_shard_log *log,
                                           const col_shard_report *report, col_arena *arena);

#endif
