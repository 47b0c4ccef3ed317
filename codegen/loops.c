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
 * allocas; LLVM keeps them in registers. Memory is accessed in codegen/access.c.
 */
#include "codegen/loops.h"

#include "codegen/nest.h"

/* Small pieces. */

static LLVMBasicBlockRef new_block(const nest *n)
{
    return LLVMAppendBasicBlockInContext(n->l->context, n->l->function, "");
}

/* An alloca at the function's entry. */
static LLVMValueRef new_slot(const nest *n, LLVMTypeRef type)
{
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(n->l->function), here = LLVMGetInsertBlock(n->l->b);
    LLVMPositionBuilderBefore(n->l->b, LLVMGetFirstInstruction(entry));
    LLVMValueRef slot = LLVMBuildAlloca(n->l->b, type, "");
    LLVMPositionBuilderAtEnd(n->l->b, here);
    return slot;
}

typedef struct loop {
    LLVMBasicBlockRef head, exit;
    LLVMValueRef slot, step;
} loop;

/* for (i = from; i + step <= to; i += step): opens the body and gives i. */
static loop open_loop(const nest *n, LLVMValueRef from, LLVMValueRef to, int64_t step, LLVMValueRef *out_i)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef type = LLVMInt64TypeInContext(n->l->context);
    loop made = {new_block(n), new_block(n), new_slot(n, type), nest_i64(n, step)};
    LLVMBasicBlockRef body = new_block(n);
    LLVMBuildStore(b, from, made.slot);
    LLVMBuildBr(b, made.head);
    LLVMPositionBuilderAtEnd(b, made.head);
    *out_i = LLVMBuildLoad2(b, type, made.slot, "");
    LLVMValueRef next = step == 1 ? *out_i : LLVMBuildAdd(b, *out_i, nest_i64(n, step - 1), "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, to, ""), body, made.exit);
    LLVMPositionBuilderAtEnd(b, body);
    return made;
}

static void close_loop(const nest *n, loop made)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef i = LLVMBuildLoad2(b, LLVMInt64TypeInContext(n->l->context), made.slot, "");
    LLVMBuildStore(b, LLVMBuildAdd(b, i, made.step, ""), made.slot);
    LLVMBuildBr(b, made.head);
    LLVMPositionBuilderAtEnd(b, made.exit);
}

/* The counter after the loop: where the remainder starts. */
static LLVMValueRef loop_end(const nest *n, loop made)
{
    return LLVMBuildLoad2(n->l->b, LLVMInt64TypeInContext(n->l->context), made.slot, "");
}

/* Instructions. */

static LLVMValueRef constant_of(const nest *n, const col_instr *in)
{
    LLVMTypeRef type = col_llvm_register(n->l, in->dtype);
    if (col_dtype_is_float(in->dtype)) return LLVMConstReal(type, in->value);
    if (in->dtype == COL_BOOL) return LLVMConstInt(type, in->value != 0, false);
    return LLVMConstInt(type, (unsigned long long)(int64_t)in->value, true);
}

/* Operands brought to one width: vectors if any is one. */
static void same_width(const nest *n, const col_instr *in, LLVMValueRef operands[3])
{
    bool vector = false;
    for (int i = 0; i < 3; i++) {
        operands[i] = in->operands[i] >= 0 ? n->values[in->operands[i]] : NULL;
        vector |= operands[i] && col_llvm_is_vector(operands[i]);
    }
    for (int i = 0; i < 3; i++) {
        if (vector && operands[i]) operands[i] = col_llvm_splat(n->l, operands[i]);
    }
}

static LLVMValueRef emit_index(const nest *n, const col_instr *in)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef type = col_llvm_register(n->l, in->dtype);
    LLVMValueRef at = LLVMBuildTrunc(b, nest_linear(n, in->access.offset, in->access.strides), type, "");
    if (!nest_varies(n, in->dims)) return at;
    LLVMValueRef lanes = col_llvm_lanes(n->l);
    lanes = LLVMBuildTrunc(b, lanes, col_llvm_widen(type, lanes), "");
    LLVMValueRef stride = col_llvm_int_like(n->l, in->access.strides[n->k->rank - 1], lanes);
    return LLVMBuildAdd(b, col_llvm_splat(n->l, at), LLVMBuildMul(b, lanes, stride, ""), "");
}

/* Whether the lanes are whole blocks of four elements that stand in a row. */
static bool is_run_of_blocks(const nest *n, const col_instr *element)
{
    const col_access *at = &element->access;
    int inner = n->k->rank - 1;
    if (element->kind != COL_INSTR_INDEX || !nest_varies(n, element->dims) || at->strides[inner] != 1)
        return false;
    for (int d = 0; d < inner; d++) {
        if (at->strides[d] % 4) return false;
    }
    /* Vectors start at multiples of the lanes from the start of a tile, tiles at multiples of the tile. */
    bool tiles_fit = !n->k->tile || n->k->tile % 4 == 0 || n->k->tile == n->k->sizes[inner];
    return n->l->lanes % 4 == 0 && n->l->lanes && at->offset % 4 == 0 && tiles_fit;
}

static LLVMValueRef emit_random(const nest *n, const col_instr *in, LLVMValueRef *operands)
{
    const col_instr *element = &n->k->instrs[in->operands[2]];
    LLVMValueRef seed = n->values[in->operands[0]], step = n->values[in->operands[1]];
    uint32_t salt = (uint32_t)in->salt;
    if (!is_run_of_blocks(n, element) || col_llvm_is_vector(seed) || col_llvm_is_vector(step))
        return col_llvm_uniform(n->l, operands[0], operands[1], salt, operands[2]);
    LLVMValueRef first = nest_linear(n, element->access.offset, element->access.strides);
    return col_llvm_uniform_run(n->l, seed, step, salt, first);
}

static void emit_instr(const nest *n, int i)
{
    const col_instr *in = &n->k->instrs[i];
    LLVMValueRef operands[3];
    same_width(n, in, operands);
    switch (in->kind) {
    case COL_INSTR_LOAD: n->values[i] = nest_load(n, in); break;
    case COL_INSTR_INDEX: n->values[i] = emit_index(n, in); break;
    case COL_INSTR_CONSTANT: n->values[i] = constant_of(n, in); break;
    case COL_INSTR_RANDOM: n->values[i] = emit_random(n, in, operands); break;
    case COL_INSTR_COMPUTE: {
        /* A select's condition is not what its dtype is about. */
        col_dtype dtype = n->k->instrs[in->operands[in->op == COL_OP_WHERE ? 1 : 0]].dtype;
        n->values[i] = col_llvm_compute(n->l, in->op, dtype, in->dtype, operands);
        break;
    }
    case COL_INSTR_REDUCE: COL_PANIC("a reduction is emitted by its pass"); break;
    }
}

static bool is_reduced(const nest *n, const col_instr *in)
{
    return (in->dims & n->k->reduced) != 0;
}

/* Passes that must be complete before the instruction's value is there. */
static int known_at(const nest *n, int i)
{
    const col_instr *in = &n->k->instrs[i];
    return (int)in->stage + (in->kind == COL_INSTR_REDUCE);
}

/* Instructions of a stage that do not walk the reduced dims, then their stores. */
static void emit_outside(const nest *n, int stage)
{
    const col_kernel *k = n->k;
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (in->kind != COL_INSTR_REDUCE && (int)in->stage == stage && !is_reduced(n, in)) emit_instr(n, i);
    }
    for (int s = 0; s < k->store_count; s++) {
        const col_store *store = &k->stores[s];
        if (!(store->dims & k->reduced) && known_at(n, store->instr) == stage) nest_store(n, store);
    }
}

/* Passes. */

static void mark(const col_kernel *k, bool *needed, int i)
{
    if (i < 0 || needed[i]) return;
    needed[i] = true;
    const col_instr *in = &k->instrs[i];
    if (in->kind == COL_INSTR_REDUCE) return; /* known by now */
    for (int o = 0; o < 3; o++) mark(k, needed, in->operands[o]);
    if (in->kind == COL_INSTR_LOAD) mark(k, needed, in->access.row);
}

static bool in_pass(const nest *n, const col_store *store, int pass)
{
    return (store->dims & n->k->reduced) && known_at(n, store->instr) == pass;
}

/* What the pass's reductions and stores are made of. */
static bool *needed_in(const nest *n, int pass)
{
    const col_kernel *k = n->k;
    bool *needed = COL_NEW_ARRAY(n->scratch, bool, k->instr_count);
    for (int i = 0; i < k->instr_count; i++) {
        if (k->instrs[i].kind == COL_INSTR_REDUCE && (int)k->instrs[i].stage == pass)
            mark(k, needed, k->instrs[i].operands[0]);
    }
    for (int s = 0; s < k->store_count; s++) {
        if (in_pass(n, &k->stores[s], pass)) mark(k, needed, k->stores[s].instr);
    }
    return needed;
}

static bool reduces_in(const col_instr *in, int pass)
{
    return in->kind == COL_INSTR_REDUCE && (int)in->stage == pass;
}

/* The innermost body of a pass, at one point of the reduced dims (or `lanes` of them). */
static void emit_point(nest *n, int pass, const bool *needed, LLVMValueRef *sums)
{
    const col_kernel *k = n->k;
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (needed[i] && in->kind != COL_INSTR_REDUCE && is_reduced(n, in)) emit_instr(n, i);
    }
    for (int s = 0; s < k->store_count; s++) {
        if (in_pass(n, &k->stores[s], pass)) nest_store(n, &k->stores[s]);
    }
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        LLVMValueRef x = n->values[in->operands[0]];
        LLVMTypeRef type = LLVMGetAllocatedType(sums[i]);
        if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) x = col_llvm_splat(n->l, x);
        LLVMValueRef sum = LLVMBuildLoad2(n->l->b, type, sums[i], "");
        LLVMBuildStore(n->l->b, col_llvm_combine(n->l, in->op, in->dtype, sum, x), sums[i]);
    }
}

/* Accumulators of a pass, neutral; vectors of `lanes` if any. */
static LLVMValueRef *open_sums(const nest *n, int pass, unsigned lanes)
{
    LLVMValueRef *sums = COL_NEW_ARRAY(n->scratch, LLVMValueRef, n->k->instr_count);
    for (int i = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        LLVMTypeRef element = col_llvm_register(n->l, in->dtype),
                    type = lanes ? LLVMVectorType(element, lanes) : element;
        sums[i] = new_slot(n, type);
        LLVMBuildStore(n->l->b, col_llvm_neutral(n->l, in->op, in->dtype, type), sums[i]);
    }
    return sums;
}

static LLVMValueRef read_sum(const nest *n, LLVMValueRef slot)
{
    return LLVMBuildLoad2(n->l->b, LLVMGetAllocatedType(slot), slot, "");
}

/* Folds a vector by halves into a scalar. */
static LLVMValueRef fold(const nest *n, const col_instr *in, LLVMValueRef vector)
{
    LLVMBuilderRef b = n->l->b;
    for (unsigned width = LLVMGetVectorSize(LLVMTypeOf(vector)); width > 1; width /= 2) {
        LLVMValueRef low[128], high[128];
        COL_ASSERT(width % 2 == 0 && width / 2 <= COL_COUNT(low));
        for (unsigned i = 0; i < width / 2; i++) {
            low[i] = nest_i32(n, i);
            high[i] = nest_i32(n, i + width / 2);
        }
        LLVMValueRef none = LLVMGetPoison(LLVMTypeOf(vector));
        LLVMValueRef a = LLVMBuildShuffleVector(b, vector, none, LLVMConstVector(low, width / 2), "");
        LLVMValueRef c = LLVMBuildShuffleVector(b, vector, none, LLVMConstVector(high, width / 2), "");
        vector = col_llvm_combine(n->l, in->op, in->dtype, a, c);
    }
    return LLVMBuildExtractElement(b, vector, nest_i32(n, 0), "");
}

/* Loops over the reduced dims from `d` on; the innermost dim of the kernel is not opened here. */
static int open_outer(nest *n, loop *loops)
{
    int count = 0;
    for (int d = 0; d < n->k->rank - 1; d++) {
        if (n->k->reduced >> d & 1)
            loops[count++] = open_loop(n, nest_i64(n, 0), nest_i64(n, n->k->sizes[d]), 1, &n->index[d]);
    }
    return count;
}

static void close_outer(const nest *n, const loop *loops, int count)
{
    while (count--) close_loop(n, loops[count]);
}

/* A pass when the innermost dim is parallel: lanes are already set. */
static void emit_column_pass(nest *n, int pass)
{
    loop loops[COL_KERNEL_DIMS];
    LLVMValueRef *sums = open_sums(n, pass, n->l->lanes);
    int count = open_outer(n, loops);
    emit_point(n, pass, needed_in(n, pass), sums);
    close_outer(n, loops, count);
    for (int i = 0; i < n->k->instr_count; i++) {
        if (sums[i]) n->values[i] = read_sum(n, sums[i]);
    }
}

/* A pass when the innermost dim is reduced: its vector loop, and the remainder lane by lane. */
static void emit_row_pass(nest *n, int pass, unsigned lanes)
{
    const col_kernel *k = n->k;
    int inner = k->rank - 1;
    int64_t size = k->sizes[inner], whole = size - size % lanes;
    const bool *needed = needed_in(n, pass);
    loop loops[COL_KERNEL_DIMS];
    LLVMValueRef *sums = open_sums(n, pass, lanes), *rest = whole < size ? open_sums(n, pass, 1) : NULL;
    int count = open_outer(n, loops);
    n->l->lanes = lanes;
    if (whole) {
        loop body = open_loop(n, nest_i64(n, 0), nest_i64(n, whole), lanes, &n->index[inner]);
        emit_point(n, pass, needed, sums);
        close_loop(n, body);
    }
    if (rest) {
        n->l->lanes = 1;
        loop body = open_loop(n, nest_i64(n, whole), nest_i64(n, size), 1, &n->index[inner]);
        emit_point(n, pass, needed, rest);
        close_loop(n, body);
    }
    n->l->lanes = 0;
    close_outer(n, loops, count);
    for (int i = 0; i < k->instr_count; i++) {
        if (!sums[i]) continue;
        n->values[i] = fold(n, &k->instrs[i], read_sum(n, sums[i]));
        if (!rest) continue;
        LLVMValueRef more = fold(n, &k->instrs[i], read_sum(n, rest[i]));
        n->values[i] = col_llvm_combine(n->l, k->instrs[i].op, k->instrs[i].dtype, n->values[i], more);
    }
}

static void emit_stages(nest *n, unsigned row_lanes)
{
    for (int stage = 0; stage <= n->k->passes; stage++) {
        emit_outside(n, stage);
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
    loop body = open_loop(n, first, end, lanes, &n->index[inner]);
    emit_stages(n, 0);
    close_loop(n, body);
    if (lanes > 1 && (k->tile % lanes || common % lanes)) {
        n->l->lanes = 1;
        LLVMValueRef from = loop_end(n, body);
        loop rest = open_loop(n, from, end, 1, &n->index[inner]);
        emit_stages(n, 0);
        close_loop(n, rest);
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
    LLVMBasicBlockRef entry = new_block(&n), start = new_block(&n);
    LLVMPositionBuilderAtEnd(l->b, entry);
    n.dummy = LLVMBuildAlloca(l->b, LLVMArrayType2(word, 2), "");
    LLVMPositionBuilderAtEnd(l->b, start);
    load_bases(&n);
    LLVMValueRef iteration;
    loop iterations =
        open_loop(&n, LLVMGetParam(l->function, 1), LLVMGetParam(l->function, 2), 1, &iteration);
    decode(&n, iteration);
    if (kernel->tile)
        emit_tile(&n, width);
    else
        emit_stages(&n, kernel->rank ? choose_lanes(&n, kernel->sizes[kernel->rank - 1], width) : 1);
    close_loop(&n, iterations);
    LLVMBuildRetVoid(l->b);
    LLVMPositionBuilderAtEnd(l->b, entry);
    LLVMBuildBr(l->b, start);
}
