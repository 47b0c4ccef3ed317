/* The plan in memory: protobuf-c's structs under our names. See plan.proto for every field. */
#ifndef COL_PLAN_PLAN_H
#define COL_PLAN_PLAN_H

#include "ir/base/layout.h"
#include "ir/plan/plan.pb-c.h"

typedef Col__Plan__Plan col_plan;
typedef Col__Plan__Program col_plan_program;
typedef Col__Plan__Instruction col_plan_instruction;
typedef Col__Plan__View col_plan_view;
typedef Col__Plan__Variable col_plan_variable;
typedef Col__Plan__Output col_plan_output;

enum { COL_PLAN_VERSION = 1, COL_PLAN_MAX_RANK = COL_MAX_RANK, COL_PLAN_MOST_RANKS = 1 << 20 };
enum { COL_PLAN_BLOCK_THREADS = 1024 }; /* of a GPU, at most */

/* The input that holds a rank's coordinates in the mesh, where a plan has it. */
#define COL_PLAN_COORDINATE "mesh.coordinate"

/* NULL when the plan has no such thing. */
const col_plan_program *col_plan_find_program(const col_plan *plan, const char *name);
const col_plan_variable *col_plan_find_variable(const col_plan *plan, const char *name);
const col_plan_output *col_plan_find_output(const col_plan_program *program, const char *name);

size_t col_plan_dtype_size(Col__Plan__Dtype dtype); /* bytes; 0 for a number that is no dtype */
const char *col_plan_dtype_name(Col__Plan__Dtype dtype);
int64_t col_plan_numel(size_t rank, const int64_t *dims);
/* Bytes of the whole tensor, row-major. */
uint64_t col_plan_variable_bytes(const col_plan_variable *variable);

/* Of a plan that the verifier has passed. A plan for one device has the mesh of rank 0. */
col_mesh col_plan_mesh(const col_plan *plan);
/* The shape that the variable's layout is of. */
const int64_t *col_plan_cut_dims(const col_plan_variable *variable, int *out_rank);
col_layout col_plan_layout(const col_plan *plan, const col_plan_variable *variable);
/* Bytes of the block of a variable that one rank holds. */
uint64_t col_plan_local_bytes(const col_plan *plan, const col_plan_variable *variable);

enum { COL_PLAN_COLLECTIVE_KINDS = COL__PLAN__COLLECTIVE_KIND__SEND_RECEIVE + 1 };

/* "all-reduce" */
const char *col_plan_collective_name(Col__Plan__CollectiveKind kind);
/* Bytes that a group of n sends, all together, for `bytes` on each rank before the collective: all-reduce
 * 2 (n-1) B, all-gather n (n-1) B, reduce-scatter, all-to-all and broadcast (n-1) B, send-receive B for each
 * member that has a partner to send to. False when that is no uint64. */
bool col_plan_collective_bytes(const Col__Plan__Collective *collective, int64_t n, uint64_t bytes,
                               uint64_t *out_bytes);
/* Bytes that all ranks of the mesh send in a collective: a whole number; and each rank, on average. */
double col_plan_total_bytes(const col_plan *plan, const Col__Plan__Collective *collective);
double col_plan_sent_bytes(const col_plan *plan, const Col__Plan__Collective *collective);
/* Whether instruction i of the program may run together with the one before it, as one operation with one start: both
 * are collectives that are started, over the same axes, and neither exchanges in pairs. */
bool col_plan_joins(const col_plan_program *program, size_t i);

#endif
