/* The pieces of a loop nest that all targets share: counted loops, the value of each instruction at a point,
 * what a pass needs, accumulators. */
#include "codegen/nest.h"

/* Small pieces. */

LLVMBasicBlockRef nest_block(const nest *n)
{
    return LLVMAppendBasicBlockInContext(n->l->context, n->l->function, "");
}

LLVMValueRef nest_slot(const nest *n, LLVMTypeRef type)
{
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(n->l->function), here = LLVMGetInsertBlock(n->l->b);
    LLVMPositionBuilderBefore(n->l->b, LLVMGetFirstInstruction(entry));
    LLVMValueRef slot = LLVMBuildAlloca(n->l->b, type, "");
    LLVMPositionBuilderAtEnd(n->l->b, here);
    return slot;
}

nest_loop nest_open(const nest *n, LLVMValueRef from, LLVMValueRef to, int64_t step, LLVMValueRef *out_i)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef type = LLVMInt64TypeInContext(n->l->context);
    nest_loop made = {nest_block(n), nest_block(n), nest_slot(n, type), nest_i64(n, step)};
    LLVMBasicBlockRef body = nest_block(n);
    LLVMBuildStore(b, from, made.slot);
    LLVMBuildBr(b, made.head);
    LLVMPositionBuilderAtEnd(b, made.head);
    *out_i = LLVMBuildLoad2(b, type, made.slot, "");
    LLVMValueRef next = step == 1 ? *out_i : LLVMBuildAdd(b, *out_i, nest_i64(n, step - 1), "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, to, ""), body, made.exit);
    LLVMPositionBuilderAtEnd(b, body);
    return made;
}

void nest_close(const nest *n, nest_loop made)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef i = LLVMBuildLoad2(b, LLVMInt64TypeInContext(n->l->context), made.slot, "");
    LLVMBuildStore(b, LLVMBuildAdd(b, i, made.step, ""), made.slot);
    LLVMBuildBr(b, made.head);
    LLVMPositionBuilderAtEnd(b, made.exit);
}

LLVMValueRef nest_loop_end(const nest *n, nest_loop made)
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
    bool tiles_fit = n->l->is_gpu || !n->k->tile || n->k->tile % 4 == 0 || n->k->tile == n->k->sizes[inner];
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

void nest_outside(const nest *n, int stage)
{
    const col_kernel *k = n->k;
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (in->kind != COL_INSTR_REDUCE && (int)in->stage == stage && !is_reduced(n, in)) emit_instr(n, i);
    }
}

static bool stores_outside(const nest *n, const col_store *store, int stage)
{
    return !(store->dims & n->k->reduced) && known_at(n, store->instr) == stage;
}

bool nest_has_outside_stores(const nest *n, int stage)
{
    for (int s = 0; s < n->k->store_count; s++) {
        if (stores_outside(n, &n->k->stores[s], stage)) return true;
    }
    return false;
}

void nest_outside_stores(const nest *n, int stage)
{
    for (int s = 0; s < n->k->store_count; s++) {
        if (stores_outside(n, &n->k->stores[s], stage)) nest_store(n, &n->k->stores[s]);
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

bool *nest_needed(const nest *n, int pass)
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

void nest_load_point(nest *n, const bool *needed)
{
    for (int i = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        bool alone = in->kind == COL_INSTR_LOAD && in->operands[0] < 0 && in->access.row < 0;
        if (!needed[i] || !alone || !is_reduced(n, in)) continue;
        emit_instr(n, i);
        n->loaded[i] = n->values[i];
    }
}

void nest_point(nest *n, int pass, const bool *needed, LLVMValueRef *sums)
{
    const col_kernel *k = n->k;
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *in = &k->instrs[i];
        if (!needed[i] || in->kind == COL_INSTR_REDUCE || !is_reduced(n, in)) continue;
        bool keeps = n->loaded && in->kind == COL_INSTR_LOAD;
        if (keeps && n->loaded[i])
            n->values[i] = n->loaded[i];
        else
            emit_instr(n, i);
        if (keeps) n->loaded[i] = n->values[i];
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

LLVMValueRef *nest_open_sums(const nest *n, int pass, unsigned lanes)
{
    LLVMValueRef *sums = COL_NEW_ARRAY(n->scratch, LLVMValueRef, n->k->instr_count);
    for (int i = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        LLVMTypeRef element = col_llvm_register(n->l, in->dtype),
                    type = lanes ? LLVMVectorType(element, lanes) : element;
        sums[i] = nest_slot(n, type);
        LLVMBuildStore(n->l->b, col_llvm_neutral(n->l, in->op, in->dtype, type), sums[i]);
    }
    return sums;
}

LLVMValueRef nest_read_sum(const nest *n, LLVMValueRef slot)
{
    return LLVMBuildLoad2(n->l->b, LLVMGetAllocatedType(slot), slot, "");
}

LLVMValueRef nest_fold(const nest *n, const col_instr *in, LLVMValueRef vector)
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
