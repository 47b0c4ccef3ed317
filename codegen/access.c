/* Loads and stores of a loop nest: addresses, guards, gathers. A guard that does not hold must not let memory
 * be touched: vectors are masked, scalars read and write a spare place. A GPU has no masks: what is no plain vector
 * goes lane by lane, and where a guard does not hold the argument's first element is read. */
#include "codegen/nest.h"

#include "codegen/ptx_loops.h"

LLVMValueRef nest_linear(const nest *n, int64_t offset, const int64_t *strides)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef at = nest_i64(n, offset);
    for (int d = 0; d < n->k->rank; d++) {
        if (strides[d])
            at = LLVMBuildAdd(b, at, LLVMBuildMul(b, n->index[d], nest_i64(n, strides[d]), ""), "");
    }
    return at;
}

static LLVMValueRef guard_of(const nest *n, const col_access *access, bool vector)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef scalar = NULL, lanes = NULL;
    for (int g = 0; g < access->guard_count; g++) {
        const col_guard *guard = &access->guards[g];
        bool inner = vector && guard->dim == n->k->rank - 1;
        LLVMValueRef i = n->index[guard->dim], *to = inner ? &lanes : &scalar;
        if (inner) i = LLVMBuildAdd(b, col_llvm_splat(n->l, i), col_llvm_lanes(n->l), "");
        LLVMValueRef holds =
            LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSGE, i, col_llvm_int_like(n->l, guard->low, i), ""),
                         LLVMBuildICmp(b, LLVMIntSLT, i, col_llvm_int_like(n->l, guard->high, i), ""), "");
        *to = *to ? LLVMBuildAnd(b, *to, holds, "") : holds;
    }
    if (!lanes) return scalar && vector ? col_llvm_splat(n->l, scalar) : scalar;
    return scalar ? LLVMBuildAnd(b, lanes, col_llvm_splat(n->l, scalar), "") : lanes;
}

/* Row of a gather, cut to the table; i64 of the width of the row's instruction. */
static LLVMValueRef clamp_row(const nest *n, const col_access *access, LLVMValueRef *out_inside)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef row = n->values[access->row];
    row = LLVMBuildSExt(b, row, col_llvm_widen(LLVMInt64TypeInContext(n->l->context), row), "");
    LLVMValueRef low = col_llvm_int_like(n->l, 0, row), high = col_llvm_int_like(n->l, access->rows - 1, row);
    LLVMValueRef below = LLVMBuildICmp(b, LLVMIntSLT, row, low, ""),
                 above = LLVMBuildICmp(b, LLVMIntSGT, row, high, "");
    *out_inside = LLVMBuildNot(b, LLVMBuildOr(b, below, above, ""), "");
    return LLVMBuildSelect(b, below, low, LLVMBuildSelect(b, above, high, row, ""), "");
}

static LLVMValueRef element_pointer(const nest *n, const col_access *access, LLVMValueRef at)
{
    return LLVMBuildGEP2(n->l->b, col_llvm_memory(n->l, access->dtype), n->bases[access->arg], &at, 1, "");
}

static unsigned alignment_of(const col_access *access)
{
    return (unsigned)col_dtype_size(access->dtype);
}

/* Pointers of all lanes. `rows`: a vector of row numbers, or NULL. */
static LLVMValueRef lane_pointers(const nest *n, const col_access *access, LLVMValueRef at, LLVMValueRef rows)
{
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef lanes = col_llvm_lanes(n->l);
    LLVMValueRef steps =
        LLVMBuildMul(b, lanes, col_llvm_int_like(n->l, access->strides[n->k->rank - 1], lanes), "");
    LLVMValueRef offsets = LLVMBuildAdd(b, col_llvm_splat(n->l, at), steps, "");
    if (rows) {
        offsets = LLVMBuildAdd(
            b, offsets, LLVMBuildMul(b, rows, col_llvm_int_like(n->l, access->row_stride, rows), ""), "");
    }
    return LLVMBuildGEP2(b, col_llvm_memory(n->l, access->dtype), n->bases[access->arg], &offsets, 1, "");
}

static LLVMValueRef all_lanes(const nest *n)
{
    LLVMTypeRef mask = LLVMVectorType(LLVMInt1TypeInContext(n->l->context), n->l->lanes);
    return LLVMConstAllOnes(mask);
}

static LLVMValueRef load_scalar(const nest *n, const col_access *access, LLVMValueRef at,
                                LLVMValueRef otherwise)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef type = col_llvm_memory(n->l, access->dtype);
    LLVMValueRef pointer = element_pointer(n, access, at), guard = guard_of(n, access, false);
    if (guard) {
        LLVMValueRef instead = n->l->is_gpu ? n->bases[access->arg] : n->spare;
        pointer = LLVMBuildSelect(b, guard, pointer, instead, "");
    }
    LLVMValueRef loaded = LLVMBuildLoad2(b, type, pointer, "");
    LLVMSetAlignment(loaded, alignment_of(access));
    LLVMValueRef value = col_llvm_unpack(n->l, access->dtype, loaded);
    return guard ? LLVMBuildSelect(b, guard, value, otherwise, "") : value;
}

/* Pointer of one lane. */
static LLVMValueRef lane_pointer(const nest *n, const col_access *access, LLVMValueRef at, LLVMValueRef rows,
                                 unsigned lane)
{
    LLVMBuilderRef b = n->l->b;
    int64_t step = (int64_t)lane * access->strides[n->k->rank - 1];
    if (step) at = LLVMBuildAdd(b, at, nest_i64(n, step), "");
    if (rows) {
        LLVMValueRef row = LLVMBuildExtractElement(b, rows, nest_i32(n, lane), "");
        at = LLVMBuildAdd(b, at, LLVMBuildMul(b, row, nest_i64(n, access->row_stride), ""), "");
    }
    return element_pointer(n, access, at);
}

static LLVMValueRef load_by_lanes(const nest *n, const col_access *access, LLVMValueRef at, LLVMValueRef rows,
                                  LLVMValueRef guard)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef element = col_llvm_memory(n->l, access->dtype);
    LLVMValueRef all = LLVMGetPoison(LLVMVectorType(element, n->l->lanes));
    for (unsigned i = 0; i < n->l->lanes; i++) {
        LLVMValueRef pointer = lane_pointer(n, access, at, rows, i);
        if (guard) {
            LLVMValueRef holds = LLVMBuildExtractElement(b, guard, nest_i32(n, i), "");
            pointer = LLVMBuildSelect(b, holds, pointer, n->bases[access->arg], "");
        }
        LLVMValueRef one = LLVMBuildLoad2(b, element, pointer, "");
        LLVMSetAlignment(one, alignment_of(access));
        all = LLVMBuildInsertElement(b, all, one, nest_i32(n, i), "");
    }
    return all;
}

static void store_by_lanes(const nest *n, const col_access *access, LLVMValueRef at, LLVMValueRef packed)
{
    LLVMBuilderRef b = n->l->b;
    for (unsigned i = 0; i < n->l->lanes; i++) {
        LLVMValueRef one = LLVMBuildExtractElement(b, packed, nest_i32(n, i), "");
        LLVMSetAlignment(LLVMBuildStore(b, one, lane_pointer(n, access, at, NULL, i)), alignment_of(access));
    }
}

/* Alignment of a whole vector: GPUs insist on it. */
static unsigned vector_alignment(const nest *n, const col_access *access)
{
    return n->l->is_gpu ? COL_MIN(n->l->lanes * alignment_of(access), 16u) : alignment_of(access);
}

static LLVMValueRef load_vector(const nest *n, const col_access *access, LLVMValueRef at, LLVMValueRef rows,
                                LLVMValueRef otherwise)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef type = LLVMVectorType(col_llvm_memory(n->l, access->dtype), n->l->lanes);
    LLVMTypeRef pointers = LLVMVectorType(LLVMPointerTypeInContext(n->l->context, 0), n->l->lanes);
    LLVMTypeRef pointer = LLVMPointerTypeInContext(n->l->context, 0);
    LLVMValueRef guard = guard_of(n, access, true), loaded, nothing = LLVMConstNull(type);
    if (n->l->is_gpu && (guard || rows || !ptx_is_wide(n->k, access, n->l->lanes))) {
        loaded = load_by_lanes(n, access, at, rows, guard);
    } else if (access->strides[n->k->rank - 1] != 1 || rows) {
        LLVMValueRef args[] = {lane_pointers(n, access, at, rows), nest_i32(n, alignment_of(access)),
                               guard ? guard : all_lanes(n), nothing};
        loaded = col_llvm_intrinsic(n->l, "llvm.masked.gather", (LLVMTypeRef[]){type, pointers}, 2, args, 4);
    } else if (guard) {
        LLVMValueRef args[] = {element_pointer(n, access, at), nest_i32(n, alignment_of(access)), guard,
                               nothing};
        loaded = col_llvm_intrinsic(n->l, "llvm.masked.load", (LLVMTypeRef[]){type, pointer}, 2, args, 4);
    } else {
        loaded = LLVMBuildLoad2(b, type, element_pointer(n, access, at), "");
        LLVMSetAlignment(loaded, vector_alignment(n, access));
    }
    LLVMValueRef value = col_llvm_unpack(n->l, access->dtype, loaded);
    return guard ? LLVMBuildSelect(b, guard, value, col_llvm_splat(n->l, otherwise), "") : value;
}

LLVMValueRef nest_load(const nest *n, const col_instr *in)
{
    LLVMBuilderRef b = n->l->b;
    const col_access *access = &in->access;
    bool vector = nest_varies(n, in->dims);
    LLVMTypeRef type = col_llvm_register(n->l, access->dtype);
    LLVMValueRef otherwise = in->operands[0] >= 0 ? n->values[in->operands[0]] : LLVMConstNull(type);
    LLVMValueRef at = nest_linear(n, access->offset, access->strides), rows = NULL, inside = NULL;
    if (access->row >= 0) {
        LLVMValueRef row = clamp_row(n, access, &inside);
        if (col_llvm_is_vector(row))
            rows = row;
        else
            at = LLVMBuildAdd(b, at, LLVMBuildMul(b, row, nest_i64(n, access->row_stride), ""), "");
    }
    LLVMValueRef value;
    if (vector && (rows || access->strides[n->k->rank - 1]))
        value = load_vector(n, access, at, rows, otherwise);
    else if (vector && access->guard_count)
        value = load_vector(n, access, at, rows, otherwise); /* only the guard varies */
    else
        value = load_scalar(n, access, at, otherwise);
    if (!inside) return value;
    LLVMValueRef outside = col_dtype_is_float(access->dtype)
                               ? col_llvm_float_like(n->l, __builtin_nan(""), value)
                               : LLVMConstNull(LLVMTypeOf(value));
    if (col_llvm_is_vector(inside) != col_llvm_is_vector(value)) {
        if (col_llvm_is_vector(value))
            inside = col_llvm_splat(n->l, inside);
        else
            value = col_llvm_splat(n->l, value), outside = col_llvm_splat(n->l, outside);
    }
    return LLVMBuildSelect(b, inside, value, outside, "");
}

void nest_store(const nest *n, const col_store *store)
{
    LLVMBuilderRef b = n->l->b;
    const col_access *access = &store->access;
    LLVMValueRef value = n->values[store->instr], at = nest_linear(n, access->offset, access->strides);
    LLVMTypeRef pointer = LLVMPointerTypeInContext(n->l->context, 0);
    int64_t stride = n->k->rank ? access->strides[n->k->rank - 1] : 0;
    bool varies = n->l->lanes && stride;
    LLVMValueRef guard = guard_of(n, access, varies);
    if (!varies) {
        if (col_llvm_is_vector(value)) value = LLVMBuildExtractElement(b, value, nest_i32(n, 0), "");
        LLVMValueRef to = element_pointer(n, access, at);
        if (guard) to = LLVMBuildSelect(b, guard, to, n->spare, "");
        LLVMSetAlignment(LLVMBuildStore(b, col_llvm_pack(n->l, access->dtype, value), to),
                         alignment_of(access));
        return;
    }
    LLVMValueRef packed = col_llvm_pack(n->l, access->dtype, col_llvm_splat(n->l, value));
    LLVMTypeRef type = LLVMTypeOf(packed), pointers = LLVMVectorType(pointer, n->l->lanes);
    if (n->l->is_gpu && !ptx_is_wide(n->k, access, n->l->lanes)) {
        store_by_lanes(n, access, at, packed);
    } else if (stride != 1) {
        LLVMValueRef args[] = {packed, lane_pointers(n, access, at, NULL), nest_i32(n, alignment_of(access)),
                               guard ? guard : all_lanes(n)};
        col_llvm_intrinsic(n->l, "llvm.masked.scatter", (LLVMTypeRef[]){type, pointers}, 2, args, 4);
    } else if (guard) {
        LLVMValueRef args[] = {packed, element_pointer(n, access, at), nest_i32(n, alignment_of(access)),
                               guard};
        col_llvm_intrinsic(n->l, "llvm.masked.store", (LLVMTypeRef[]){type, pointer}, 2, args, 4);
    } else {
        LLVMSetAlignment(LLVMBuildStore(b, packed, element_pointer(n, access, at)),
                         vector_alignment(n, access));
    }
}
