/* The CPU back end's parts. Parallel loops run on OpenMP's threads, which oneDNN uses too, so that the
 * process has one pool. */
#ifndef COL_RUNTIME_CPU_CPU_H
#define COL_RUNTIME_CPU_CPU_H

#include "runtime/hal.h"

/* Calls `body(context, begin, end)` on disjoint ranges that cover [0, range), at most one per thread, none
 * smaller than `grain` unless the whole is. How the range is cut never changes a result. */
typedef void (*cpu_body)(void *context, int64_t begin, int64_t end);
void cpu_parallel_for(int threads, int64_t range, int64_t grain, cpu_body body, void *context);
/* Calls `body(context, i)` for every i in [0, count), each for a thread that has nothing else to do: for few,
 * long pieces. */
void cpu_parallel_each(int threads, int64_t count, void (*body)(void *context, int64_t i), void *context);

/* code.c: the plan's code objects, loaded through the system's loader. */
typedef struct cpu_code cpu_code;
COL_MUST_USE col_status cpu_code_load(const col_plan *plan, cpu_code **out_code);
void cpu_code_unload(cpu_code *code);
typedef void (*cpu_kernel)(void *const *args, int64_t begin, int64_t end);
/* COL_BAD_INPUT when the object has no such symbol. */
COL_MUST_USE col_status cpu_code_find(const cpu_code *code, uint32_t object, const char *symbol,
                                      cpu_kernel *out_kernel);

/* matmul.c: prepared once per instruction, in the arena; runs on operands at their addresses, writes last. */
typedef struct cpu_matmul cpu_matmul;
COL_MUST_USE col_status cpu_matmul_prepare(col_arena *arena, int threads,
                                           const col_plan_instruction *instruction, cpu_matmul **out_matmul);
void cpu_matmul_run(const cpu_matmul *matmul, void *const *args);

/* conv.c: what all convolutions of a device share, and each of them, prepared once in the arena. All of
 * oneDNN's objects belong to the cpu_dnnl and go with it, also after a preparation that failed. Running takes
 * memory of cpu_dnnl_workspace bytes (known when all are prepared), aligned to 64, which the next one may
 * overwrite. */
typedef struct cpu_dnnl cpu_dnnl;
COL_MUST_USE col_status cpu_dnnl_open(col_arena *arena, int threads, cpu_dnnl **out_dnnl);
void cpu_dnnl_close(cpu_dnnl *dnnl); /* NULL is fine */
size_t cpu_dnnl_workspace(const cpu_dnnl *dnnl);
typedef struct cpu_conv cpu_conv;
COL_MUST_USE col_status cpu_conv_prepare(cpu_dnnl *dnnl, col_arena *arena,
                                         const col_plan_instruction *instruction, cpu_conv **out_conv);
void cpu_conv_run(const cpu_conv *conv, void *workspace, void *const *args);

/* pool.c */
COL_MUST_USE col_status cpu_pool_check(const col_plan_instruction *instruction);
void cpu_pool(int threads, const col_plan_instruction *instruction, void *const *args);

/* attention.c and move.c: operands at their addresses, in the order reads then writes. */
COL_MUST_USE col_status cpu_attention_check(const col_plan_instruction *instruction);
void cpu_attention_forward(int threads, const col_plan_instruction *instruction, void *const *args);
void cpu_attention_backward(int threads, const col_plan_instruction *instruction, void *const *args);
void cpu_attention_cached(int threads, const col_plan_instruction *instruction, void *const *args);
COL_MUST_USE col_status cpu_scatter_add_check(const col_plan_instruction *instruction);
void cpu_scatter_add(int threads, const col_plan_instruction *instruction, void *const *args);
void cpu_update_slice(const col_plan_instruction *instruction, void *const *args);
void cpu_copy(int threads, const col_plan_instruction *instruction, void *const *args);
void cpu_fill(int threads, const col_plan_instruction *instruction, void *const *args);
/* Whether a float tensor holds a NaN or an infinity. */
bool cpu_has_non_finite(const col_plan_view *view, const void *data);

#endif
