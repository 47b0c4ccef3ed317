/* Loop nests (codegen/kernel.h says what a kernel means).
 *
 *     for it in [begin, end):                          parallel dims, decoded from the iteration's number
 *       [ for j in the tile, `lanes` at a time ]       when the innermost dim is parallel
 *         for s in 0..passes:
 *           instructions of stage s without reduced dims, and their stores
 *           for all reduced dims, the innermost `lanes` at a time when it is reduced:
 *             instructions with reduced dims that pass s needs; accumulate, or store
 *
 * The vector loop leaves a remainder, which runs the same code with one lane. Reductions keep one accumulator
 * per lane and are folded by halving at the end: the order depends on the kernel alone. Accumulators are
 * allocas; LLVM keeps them in registers. Memory is accessed in codegen/access.c. */
#include "codegen/loops.h"

#include "codegen/nest.h"

/* Passes. */

/* Loops over the reduced dims from `d` on; the innermost dim of the kernel is not opened here. */
static int open_outer(nest *n, nest_loop *loops)
{
    int count = 0;
    for (int d = 0; d < n->k->rank - 1; d++) {
        if (n->k->reduced >> d & 1)
            loops[count++] = nest_open(n, nest_i64(n, 0), nest_i64(n, n->k->sizes[d]), 1, &n->index[d]);
    }
    return count;
}

static void close_outer(const nest *n, const nest_loop *loops, int count)
{
    while (count--) nest_close(n, loops[count]);
}

/* A pass when the innermost dim is parallel: lanes are already set. */
static void emit_column_pass(nest *n, int pass)
{
    nest_loop loops[COL_KERNEL_DIMS];
    LLVMValueRef *sums = nest_open_sums(n, pass, n->l->lanes);
    int count = open_outer(n, loops);
    nest_point(n, pass, nest_needed(n, pass), sums);
    close_outer(n, loops, count);
    for (int i = 0; i < n->k->instr_count; i++) {
        if (sums[i]) n->values[i] = nest_read_sum(n, sums[i]);
    }
}

/* A pass when the innermost dim is reduced: its vector loop, and the remainder lane by lane. */
static void emit_row_pass(nest *n, int pass, unsigned lanes)
{
    const col_kernel *k = n->k;
    int inner = k->rank - 1;
    int64_t size = k->sizes[inner], whole = size - size % lanes;
    const bool *needed = nest_needed(n, pass);
    nest_loop loops[COL_KERNEL_DIMS];
    LLVMValueRef *sums = nest_open_sums(n, pass, lanes),
                 *rest = whole < size ? nest_open_sums(n, pass, 1) : NULL;
    int count = open_outer(n, loops);
    n->l->lanes = lanes;
    if (whole) {
        nest_loop body = nest_open(n, nest_i64(n, 0), nest_i64(n, whole), lanes, &n->index[inner]);
        nest_point(n, pass, needed, sums);
        nest_close(n, body);
    }
    if (rest) {
        n->l->lanes = 1;
        nest_loop body = nest_open(n, nest_i64(n, whole), nest_i64(n, size), 1, &n->index[inner]);
        nest_point(n, pass, needed, rest);
        nest_close(n, body);
    }
    n->l->lanes = 0;
    close_outer(n, loops, count);
    for (int i = 0; i < k->instr_count; i++) {
        if (!sums[i]) continue;
        n->values[i] = nest_fold(n, &k->instrs[i], nest_read_sum(n, sums[i]));
        if (!rest) continue;
        LLVMValueRef more = nest_fold(n, &k->instrs[i], nest_read_sum(n, rest[i]));
        n->values[i] = col_llvm_combine(n->l, k->instrs[i].op, k->instrs[i].dtype, n->values[i], more);
    }
}

static void emit_stages(nest *n, unsigned row_lanes)
{
    for (int stage = 0; stage <= n->k->passes; stage++) {
        nest_outside(n, stage);
        nest_outside_stores(n, stage);
        if (stage == n->k->passes) break;
        if (n->k->tile)
            emit_column_pass(n, stage);
        else
            emit_row_pass(n, stage, row_lanes);
    }
}

/* LLVM 19 splits a masked load of several registers and, where the mask of one is known to be false, loads
 * that one whole: beside the operand, and the garbage is used. So masked loads are of one register. */
static bool has_inner_guard(const col_kernel *k)
{
    for (int i = 0; i < k->instr_count; i++) {
        for (int g = 0; g < k->instrs[i].access.guard_count; g++) {
            if (k->instrs[i].access.guards[g].dim == k->rank - 1) return true;
        }
    }
    return false;
}

/* The widest vector that divides the size: two registers, for independent chains, down to a quarter of one;
 * else as many lanes as the size fills. */
static unsigned choose_lanes(const nest *n, int64_t size, unsigned width)
{
    unsigned most = has_inner_guard(n->k) ? COL_MIN(n->width, 2 * width) : 2 * width;
    for (unsigned lanes = most; lanes >= width / 2 && lanes > 1; lanes /= 2) {
        if (size % lanes == 0) return lanes;
    }
    unsigned lanes = most;
    while (lanes > 1 && (int64_t)lanes * 4 > size) lanes /= 2;
    return lanes;
}

/* Iterations are numbered row-major over the parallel dims; the innermost counts in tiles. */
static void decode(nest *n, LLVMValueRef iteration)
{
    LLVMBuilderRef b = n->l->b;
    const col_kernel *k = n->k;
    for (int d = k->rank - 1; d >= 0; d--) {
        if (k->reduced >> d & 1) continue;
        int64_t count = k->sizes[d];
        bool tiled = d == k->rank - 1 && k->tile;
        if (tiled) count = (count + k->tile - 1) / k->tile;
        n->index[d] = LLVMBuildURem(b, iteration, nest_i64(n, count), "");
        iteration = LLVMBuildUDiv(b, iteration, nest_i64(n, count), "");
        if (tiled) n->index[d] = LLVMBuildMul(b, n->index[d], nest_i64(n, k->tile), "");
    }
}

/* One tile: as many whole vectors as it has, then single lanes. */
static void emit_tile(nest *n, unsigned width)
{
    const col_kernel *k = n->k;
    int inner = k->rank - 1;
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef first = n->index[inner], end = LLVMBuildAdd(b, first, nest_i64(n, k->tile), "");
    if (k->sizes[inner] % k->tile) {
        LLVMValueRef over = LLVMBuildICmp(b, LLVMIntSGT, end, nest_i64(n, k->sizes[inner]), "");
        end = LLVMBuildSelect(b, over, nest_i64(n, k->sizes[inner]), end, "");
    }
    int64_t common = k->sizes[inner] % k->tile ? k->sizes[inner] % k->tile : k->tile;
    unsigned lanes = choose_lanes(n, k->passes ? COL_MIN(k->tile, k->sizes[inner]) : k->tile,
                                  k->passes ? 2 * width : width);
    n->l->lanes = lanes;
    nest_loop body = nest_open(n, first, end, lanes, &n->index[inner]);
    emit_stages(n, 0);
    nest_close(n, body);
    if (lanes > 1 && (k->tile % lanes || common % lanes)) {
        n->l->lanes = 1;
        LLVMValueRef from = nest_loop_end(n, body);
        nest_loop rest = nest_open(n, from, end, 1, &n->index[inner]);
        emit_stages(n, 0);
        nest_close(n, rest);
    }
    n->l->lanes = 0;
}

static void load_bases(nest *n)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(n->l->context, 0);
    int count = n->k->input_count + n->k->output_count;
    n->bases = COL_NEW_ARRAY(n->scratch, LLVMValueRef, count);
    for (int i = 0; i < count; i++) {
        LLVMValueRef at = nest_i64(n, i), slot = LLVMBuildGEP2(b, pointer, n->args, &at, 1, "");
        n->bases[i] = LLVMBuildLoad2(b, pointer, slot, "");
    }
}

void col_loops_emit(col_llvm *l, const col_kernel *kernel, const char *name, unsigned width,
                    col_arena *scratch)
{
    LLVMTypeRef pointer = LLVMPointerTypeInContext(l->context, 0), word = LLVMInt64TypeInContext(l->context);
    LLVMTypeRef type =
        LLVMFunctionType(LLVMVoidTypeInContext(l->context), (LLVMTypeRef[]){pointer, word, word}, 3, false);
    l->function = LLVMAddFunction(l->module, name, type);
    l->lanes = 0;
    nest n = {.l = l, .k = kernel, .width = width, .scratch = scratch, .args = LLVMGetParam(l->function, 0)};
    n.values = COL_NEW_ARRAY(scratch, LLVMValueRef, kernel->instr_count);
    n.inner = kernel->rank ? UINT32_C(1) << (kernel->rank - 1) : 0;
    LLVMBasicBlockRef entry = nest_block(&n), start = nest_block(&n);
    LLVMPositionBuilderAtEnd(l->b, entry);
    n.spare = LLVMBuildAlloca(l->b, LLVMArrayType2(word, 2), "");
    LLVMPositionBuilderAtEnd(l->b, start);
    load_bases(&n);
    LLVMValueRef iteration;
    nest_loop iterations =
        nest_open(&n, LLVMGetParam(l->function, 1), LLVMGetParam(l->function, 2), 1, &iteration);
    decode(&n, iteration);
    if (kernel->tile)
        emit_tile(&n, width);
    else
        emit_stages(&n, kernel->rank ? choose_lanes(&n, kernel->sizes[kernel->rank - 1], width) : 1);
    nest_close(&n, iterations);
    LLVMBuildRetVoid(l->b);
    LLVMPositionBuilderAtEnd(l->b, entry);
    LLVMBuildBr(l->b, start);
}
