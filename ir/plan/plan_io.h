/* Plan files: a header with size and checksum, then the protobuf message (plan.proto). */
#ifndef COL_PLAN_PLAN_IO_H
#define COL_PLAN_PLAN_IO_H

#include "ir/base/arena.h"
#include "ir/plan/plan.h"

/* Writes the plan atomically. */
COL_MUST_USE col_status col_plan_write(const col_plan *plan, const char *path);

/* Reads and verifies a plan (plan_verify.h). A damaged, truncated, newer or foreign file is COL_BAD_INPUT
 * with the reason. The plan is freed with col_plan_free. */
COL_MUST_USE col_status col_plan_read(const char *path, col_plan **out_plan);
/* The same from memory; `name` is for messages. */
COL_MUST_USE col_status col_plan_parse(const char *name, const void *data, size_t size, col_plan **out_plan);
void col_plan_free(col_plan *plan); /* NULL is fine */

/* Whether the file starts as a plan does: what it is, not whether it is sound. */
bool col_plan_is_file(const char *path);

/* XXH3-64 of the message without the times that compiling took: names what ranks run, and what a checkpoint
 * was made with. Compiling the same again gives the same. */
uint64_t col_plan_hash(const col_plan *plan);

#endif
