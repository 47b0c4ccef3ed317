/* Loop nests on a GPU (codegen/kernel.h says what a kernel means). Every item of the parallel dims has a team
 * of threads: one thread where nothing is reduced, where the innermost dim is parallel, or where there is
 * little to reduce; a warp, or a block for long rows.
 *
 *     item = number of the team in the grid                parallel dims, decoded from the item's number
 *     for s in 0..passes:
 *       instructions of stage s without reduced dims
 *       for r in [thread of the team, steps) by team:      reduced dims, decoded from r, `lanes` at a time
 *         instructions with reduced dims that pass s needs; accumulate, or store
 *       fold the lanes, then the team
 *     stores without reduced dims, by the team's first thread
 *
 * Columns with many rows have a team of threads of different warps, so that warps still read along rows; they
 * meet in shared memory, and a thread loads several rows before it adds the first. Otherwise a team folds by exchanges within its warps, and a block then by its warps'
 * sums in shared memory, which every thread adds in order of the warps: the order depends on the kernel
 * alone, and all threads have the same sum.
 *
 * A value that is stored over one that the team reads (col_kernel_in_place) is safe: what depends on reduced
 * dims is read and written by the same thread; what does not is read by all threads, and they meet before the
 * first of them stores it at the end. */
#include "codegen/ptx_loops.h"

#include <string.h>

#include "codegen/nest.h"

enum {
    WARP = 32,
    THREADS = 256,         /* of a block, where teams are smaller than it */
    LEAST_BLOCK = 128,     /* threads of a team that is a block ... */
    MOST_BLOCK = 512,      /* ... which has one for each 4 steps */
    THREAD_STEPS = 4,      /* most that one thread does alone */
    WARP_STEPS = 8 * WARP, /* most that a warp does */
    MOST_UNROLLED = 8,     /* steps of a thread that are written out, so that rows stay in registers */
    COLUMN_TEAM = 16,      /* threads that share columns, one of each warp of a block ... */
    MOST_COLUMN_TEAM = 32, /* ... or so many where columns are few ... */
    COLUMN_STEPS = 64,     /* ... if there are so many rows to reduce */
    SHARED = 48 << 10,     /* bytes that a block may have for its sums */
    AHEAD_WORDS = 32,      /* of 4 bytes that a thread loads ahead */
    ACCESS = 16,           /* bytes of the widest access */
    WANTED_ITEMS = 1 << 16 /* that keep a device busy: fewer columns are not taken several at a time */
};

/* Shapes. */

static bool walks_inner(const col_kernel *k, const col_access *access)
{
    return k->rank && access->strides[k->rank - 1] == 1;
}

bool ptx_is_wide(const col_kernel *k, const col_access *access, unsigned lanes)
{
    if (!walks_inner(k, access) || lanes < 2 || access->offset % (int64_t)lanes) return false;
    if (access->row >= 0 && access->row_stride % (int64_t)lanes) return false;
    for (int d = 0; d < k->rank - 1; d++) {
        if (access->strides[d] % (int64_t)lanes) return false;
    }
    return true;
}

/* Bytes of the largest element that is accessed along the innermost dim; 0: there is none. What walks all dims decides,
 * where there is such: the rest (a channel's factors) is in a cache. */
static unsigned widest_element(const col_kernel *k)
{
    size_t widest[2] = {0};
    uint32_t all = (UINT32_C(1) << k->rank) - 1;
    for (int i = 0; i < k->instr_count + k->store_count; i++) {
        const col_instr *in = i < k->instr_count ? &k->instrs[i] : NULL;
        const col_access *access = in ? &in->access : &k->stores[i - k->instr_count].access;
        if ((in && in->kind != COL_INSTR_LOAD) || !walks_inner(k, access)) continue;
        bool whole = (in ? in->dims : k->stores[i - k->instr_count].dims) == all;
        widest[whole] = COL_MAX(widest[whole], col_dtype_size(access->dtype));
    }
    return (unsigned)(widest[1] ? widest[1] : widest[0]);
}

static unsigned choose_lanes(const col_kernel *k)
{
    unsigned element = widest_element(k), lanes = element ? ACCESS / COL_MAX(element, 2u) : 1;
    if (!k->rank || k->unaligned) return 1;
    while (k->sizes[k->rank - 1] % lanes) lanes /= 2;
    return lanes;
}

static int64_t points(const col_kernel *k, bool reduced)
{
    int64_t n = 1;
    for (int d = 0; d < k->rank; d++) {
        if ((k->reduced >> d & 1) == (uint32_t)reduced) n *= k->sizes[d];
    }
    return n;
}

static bool reduces_in(const col_instr *in, int pass)
{
    return in->kind == COL_INSTR_REDUCE && (int)in->stage == pass;
}

/* Reductions of the pass that has most. */
static unsigned most_sums(const col_kernel *k)
{
    unsigned most = 0;
    for (int pass = 0; pass < k->passes; pass++) {
        unsigned count = 0;
        for (int i = 0; i < k->instr_count; i++) count += reduces_in(&k->instrs[i], pass);
        most = COL_MAX(most, count);
    }
    return most;
}

/* Bytes of a sum in shared memory. */
static unsigned slot_bytes(const col_kernel *k)
{
    unsigned bytes = 4;
    for (int i = 0; i < k->instr_count; i++) {
        if (k->instrs[i].kind == COL_INSTR_REDUCE && col_dtype_size(k->instrs[i].dtype) > bytes) bytes = 8;
    }
    return bytes;
}

static bool team_fits(const col_kernel *k, const ptx_shape *s, unsigned lanes, unsigned team)
{
    unsigned sums = most_sums(k);
    return sums && s->items / lanes % WARP == 0 && sums * lanes * team * WARP * slot_bytes(k) <= SHARED;
}

/* Columns with many rows are shared by threads of different warps, so that each warp still reads along rows. */
static void shape_columns(const col_kernel *k, ptx_shape *s)
{
    unsigned lanes = s->lanes;
    while (lanes > 1 && !team_fits(k, s, lanes, COLUMN_TEAM)) lanes /= 2;
    if (s->steps >= COLUMN_STEPS && team_fits(k, s, lanes, COLUMN_TEAM)) {
        s->team = COLUMN_TEAM;
        s->lanes = lanes;
    }
    while (k->reduced && s->lanes > 1 && s->items / s->lanes * s->team < WANTED_ITEMS) s->lanes /= 2;
    if (s->team > 1 && s->items / s->lanes * s->team < WANTED_ITEMS &&
        team_fits(k, s, s->lanes, MOST_COLUMN_TEAM))
        s->team = MOST_COLUMN_TEAM;
    if (s->team > 1) s->threads = s->team * WARP;
    s->items /= s->lanes;
}

ptx_shape ptx_shape_of(const col_kernel *k)
{
    ptx_shape s = {.lanes = choose_lanes(k), .team = 1, .threads = THREADS};
    s.by_rows = k->rank && (k->reduced >> (k->rank - 1) & 1);
    s.items = points(k, false);
    s.steps = points(k, true);
    if (!s.by_rows) {
        shape_columns(k, &s);
        return s;
    }
    s.steps /= s.lanes;
    if (s.steps > WARP_STEPS) {
        s.threads = LEAST_BLOCK;
        while (s.threads < MOST_BLOCK && s.steps > 4 * (int64_t)s.threads) s.threads *= 2;
        s.team = s.threads;
    } else if (s.steps > THREAD_STEPS) {
        s.team = WARP;
    }
    return s;
}

int64_t ptx_shape_blocks(const ptx_shape *s)
{
    int64_t teams = s->threads / s->team;
    return (s->items + teams - 1) / teams;
}

/* The device's own values and exchanges. */

typedef struct emitter {
    nest n;
    ptx_shape shape;
    LLVMValueRef lane;                   /* of the team; i64 */
    LLVMValueRef thread;                 /* of the block; i32 */
    LLVMValueRef *loaded[MOST_UNROLLED]; /* nest.h, by step, where these are written out */
    LLVMValueRef shared;                 /* sums of a block's warps; NULL: teams are smaller */
} emitter;

static LLVMValueRef call(const emitter *e, const char *name, LLVMValueRef *args, unsigned count)
{
    return col_llvm_intrinsic(e->n.l, name, NULL, 0, args, count);
}

/* All threads of the team have come here, and see what the others wrote before. */
static void meet(const emitter *e)
{
    if (e->shape.team > WARP || (e->shape.team > 1 && !e->shape.by_rows))
        call(e, "llvm.nvvm.barrier0", NULL, 0);
    else if (e->shape.team > 1)
        call(e, "llvm.nvvm.bar.warp.sync", (LLVMValueRef[]){nest_i32(&e->n, UINT32_MAX)}, 1);
}

static LLVMValueRef exchange_word(const emitter *e, LLVMValueRef word, unsigned distance)
{
    return call(e, "llvm.nvvm.shfl.sync.bfly.i32",
                (LLVMValueRef[]){nest_i32(&e->n, UINT32_MAX), word, nest_i32(&e->n, distance),
                                 nest_i32(&e->n, WARP - 1)},
                4);
}

/* The value of the thread whose number in the warp differs in the bit `distance`. */
static LLVMValueRef exchange(const emitter *e, LLVMValueRef value, unsigned distance)
{
    LLVMBuilderRef b = e->n.l->b;
    LLVMTypeRef type = LLVMTypeOf(value), i32 = LLVMInt32TypeInContext(e->n.l->context);
    LLVMTypeRef i64 = LLVMInt64TypeInContext(e->n.l->context);
    if (type == LLVMFloatTypeInContext(e->n.l->context)) {
        LLVMValueRef word = LLVMBuildBitCast(b, value, i32, "");
        return LLVMBuildBitCast(b, exchange_word(e, word, distance), type, "");
    }
    bool is_double = type == LLVMDoubleTypeInContext(e->n.l->context);
    if (is_double || type == i64) {
        LLVMValueRef bits = is_double ? LLVMBuildBitCast(b, value, i64, "") : value;
        LLVMValueRef low = exchange_word(e, LLVMBuildTrunc(b, bits, i32, ""), distance);
        LLVMValueRef high = LLVMBuildLShr(b, bits, nest_i64(&e->n, 32), "");
        high = exchange_word(e, LLVMBuildTrunc(b, high, i32, ""), distance);
        high = LLVMBuildShl(b, LLVMBuildZExt(b, high, i64, ""), nest_i64(&e->n, 32), "");
        LLVMValueRef both = LLVMBuildOr(b, high, LLVMBuildZExt(b, low, i64, ""), "");
        return is_double ? LLVMBuildBitCast(b, both, type, "") : both;
    }
    COL_ASSERT(type == i32); /* there are no reductions of smaller types */
    return exchange_word(e, value, distance);
}

/* Reductions. */

static LLVMValueRef fold_warp(const emitter *e, const col_instr *in, LLVMValueRef value)
{
    for (unsigned distance = WARP / 2; distance; distance /= 2)
        value = col_llvm_combine(e->n.l, in->op, in->dtype, value, exchange(e, value, distance));
    return value;
}

/* Where warp `warp` (i32) leaves its part of sum number `sum`: 8 bytes each. */
static LLVMValueRef shared_slot(const emitter *e, int sum, LLVMValueRef warp)
{
    LLVMTypeRef word = LLVMInt64TypeInContext(e->n.l->context);
    unsigned warps = e->shape.threads / WARP;
    LLVMValueRef at = LLVMBuildAdd(e->n.l->b, warp, nest_i32(&e->n, (unsigned)sum * warps), "");
    return LLVMBuildGEP2(e->n.l->b, word, e->shared, &at, 1, "");
}

/* Adds up what the warps of the block have, for all sums of a pass. */
static void fold_block(emitter *e, int pass)
{
    const nest *n = &e->n;
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef warp = LLVMBuildLShr(b, e->thread, nest_i32(n, 5), "");
    LLVMValueRef in_warp = LLVMBuildAnd(b, e->thread, nest_i32(n, WARP - 1), "");
    LLVMValueRef leads = LLVMBuildICmp(b, LLVMIntEQ, in_warp, nest_i32(n, 0), "");
    LLVMBasicBlockRef put = nest_block(n), after = nest_block(n);
    meet(e); /* nobody reads the sums of the pass before any more */
    LLVMBuildCondBr(b, leads, put, after);
    LLVMPositionBuilderAtEnd(b, put);
    for (int i = 0, sum = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        LLVMBuildStore(b, n->values[i], shared_slot(e, sum++, warp));
    }
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
    meet(e);
    for (int i = 0, sum = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        LLVMValueRef total = NULL;
        for (unsigned w = 0; w < e->shape.threads / WARP; w++) {
            LLVMValueRef part = LLVMBuildLoad2(b, col_llvm_register(n->l, in->dtype),
                                               shared_slot(e, sum, nest_i32(n, w)), "");
            total = total ? col_llvm_combine(n->l, in->op, in->dtype, total, part) : part;
        }
        n->values[i] = total;
        sum++;
    }
}

static LLVMValueRef column_slot(const emitter *e, unsigned sum, LLVMValueRef thread)
{
    const nest *n = &e->n;
    LLVMTypeRef bytes = LLVMIntTypeInContext(n->l->context, 8 * slot_bytes(n->k));
    LLVMValueRef at = LLVMBuildAdd(n->l->b, nest_i32(n, sum * e->shape.threads), thread, "");
    return LLVMBuildGEP2(n->l->b, bytes, e->shared, &at, 1, "");
}

/* Leaves what the thread has for its columns in shared memory. */
static void put_columns(emitter *e, int pass)
{
    const nest *n = &e->n;
    unsigned sum = 0;
    if (pass > 0) meet(e); /* nobody reads the sums of the pass before any more */
    for (int i = 0; i < n->k->instr_count; i++) {
        if (!reduces_in(&n->k->instrs[i], pass)) continue;
        for (unsigned l = 0; l < e->shape.lanes; l++) {
            LLVMValueRef part = LLVMBuildExtractElement(n->l->b, n->values[i], nest_i32(n, l), "");
            LLVMBuildStore(n->l->b, part, column_slot(e, sum++, e->thread));
        }
    }
}

/* Adds up what the threads of a team have for their columns. */
static void take_columns(emitter *e, int pass)
{
    const nest *n = &e->n;
    LLVMBuilderRef b = n->l->b;
    LLVMValueRef column = LLVMBuildAnd(b, e->thread, nest_i32(n, WARP - 1), "");
    unsigned sum = 0;
    for (int i = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!reduces_in(in, pass)) continue;
        for (unsigned l = 0; l < e->shape.lanes; l++, sum++) {
            LLVMValueRef total = NULL;
            for (unsigned w = 0; w < e->shape.team; w++) {
                LLVMValueRef place = column_slot(e, sum, LLVMBuildAdd(b, column, nest_i32(n, w * WARP), ""));
                LLVMValueRef part = LLVMBuildLoad2(b, col_llvm_register(n->l, in->dtype), place, "");
                total = total ? col_llvm_combine(n->l, in->op, in->dtype, total, part) : part;
            }
            n->values[i] = LLVMBuildInsertElement(b, n->values[i], total, nest_i32(n, l), "");
        }
    }
}

/* Indices. Numbers below 2^31 are taken apart in 32 bits, which is much faster. */

static void decode(nest *n, LLVMValueRef number, int64_t below, bool reduced, unsigned lanes)
{
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(n->l->context), i32 = LLVMInt32TypeInContext(n->l->context);
    LLVMTypeRef type = below <= INT32_MAX ? i32 : i64;
    if (type == i32) number = LLVMBuildTrunc(b, number, i32, "");
    int first = 0; /* outermost of these dims: what is left of the number is its index */
    while (first < n->k->rank && (n->k->reduced >> first & 1) != (uint32_t)reduced) first++;
    for (int d = n->k->rank - 1; d >= first; d--) {
        if ((n->k->reduced >> d & 1) != (uint32_t)reduced) continue;
        bool inner = d == n->k->rank - 1;
        int64_t count = inner ? n->k->sizes[d] / lanes : n->k->sizes[d];
        LLVMValueRef index = number, size = LLVMConstInt(type, (unsigned long long)count, false);
        if (d > first) {
            index = LLVMBuildURem(b, number, size, "");
            number = LLVMBuildUDiv(b, number, size, "");
        }
        index = type == i32 ? LLVMBuildZExt(b, index, i64, "") : index;
        n->index[d] = inner && lanes > 1 ? LLVMBuildMul(b, index, nest_i64(n, lanes), "") : index;
    }
}

/* The nest. */

static void emit_step(emitter *e, int pass, LLVMValueRef r, const bool *needed, LLVMValueRef *sums)
{
    nest *n = &e->n;
    decode(n, r, e->shape.steps, true, e->shape.by_rows ? e->shape.lanes : 1);
    if (e->shape.by_rows) n->l->lanes = e->shape.lanes;
    nest_point(n, pass, needed, sums);
    if (e->shape.by_rows) n->l->lanes = 0;
}

/* Steps whose rows a thread of columns loads before it adds the first. */
static int64_t steps_ahead(const nest *n, const ptx_shape *s, const bool *needed)
{
    int64_t words = 0, most = COL_MIN((int64_t)MOST_UNROLLED, s->steps / s->team), ahead = 1;
    for (int i = 0; i < n->k->instr_count; i++) {
        const col_instr *in = &n->k->instrs[i];
        if (!needed[i] || in->kind != COL_INSTR_LOAD || !(in->dims & n->k->reduced)) continue;
        bool varies = nest_varies(n, in->dims);
        words += ((int64_t)col_dtype_size(in->access.dtype) * (varies ? s->lanes : 1) + 3) / 4;
    }
    while (2 * ahead <= most && 2 * ahead * words <= AHEAD_WORDS) ahead *= 2;
    return words ? ahead : 1;
}

/* All steps of a thread, several at a time: their loads, then the rest. */
static void emit_steps(emitter *e, int pass, const bool *needed, LLVMValueRef *sums)
{
    nest *n = &e->n;
    const ptx_shape *s = &e->shape;
    int64_t ahead = s->by_rows ? 1 : steps_ahead(n, s, needed);
    LLVMValueRef r, from = e->lane;
    if (ahead > 1) {
        nest_loop loop = nest_open(n, from, nest_i64(n, s->steps), (ahead - 1) * s->team + 1, &r);
        loop.step = nest_i64(n, ahead * s->team);
        for (int64_t i = 0; i < 2 * ahead; i++) {
            n->loaded = e->loaded[i % ahead];
            decode(n, LLVMBuildAdd(n->l->b, r, nest_i64(n, i % ahead * s->team), ""), s->steps, true, 1);
            if (i < ahead)
                nest_load_point(n, needed);
            else
                nest_point(n, pass, needed, sums);
        }
        n->loaded = NULL;
        for (int64_t i = 0; i < ahead; i++)
            memset(e->loaded[i], 0, sizeof *e->loaded[i] * (size_t)n->k->instr_count);
        nest_close(n, loop);
        if (s->steps % (ahead * s->team) == 0) return;
        from = nest_loop_end(n, loop);
    }
    nest_loop loop = nest_open(n, from, nest_i64(n, s->steps), 1, &r);
    loop.step = nest_i64(n, s->team);
    emit_step(e, pass, r, needed, sums);
    nest_close(n, loop);
}

/* Leaves what the pass reduces, folded over the team, in the values; what the last pass reduces over columns, in shared
 * memory. */
static void emit_pass(emitter *e, int pass)
{
    nest *n = &e->n;
    const ptx_shape *s = &e->shape;
    const bool *needed = nest_needed(n, pass);
    LLVMValueRef *sums = nest_open_sums(n, pass, s->lanes), r;
    int64_t each = s->steps % s->team ? 0 : s->steps / s->team;
    if (s->by_rows && each && each <= MOST_UNROLLED) {
        for (int64_t i = 0; i < each; i++) {
            r = LLVMBuildAdd(n->l->b, e->lane, nest_i64(n, i * s->team), "");
            n->loaded = e->loaded[i];
            emit_step(e, pass, r, needed, sums);
        }
        n->loaded = NULL;
    } else {
        emit_steps(e, pass, needed, sums);
    }
    bool any = false;
    for (int i = 0; i < n->k->instr_count; i++) {
        if (!sums[i]) continue;
        any = true;
        n->values[i] = nest_read_sum(n, sums[i]);
        if (!s->by_rows) continue;
        n->values[i] = nest_fold(n, &n->k->instrs[i], n->values[i]);
        if (s->team > 1) n->values[i] = fold_warp(e, &n->k->instrs[i], n->values[i]);
    }
    if (any && s->team > WARP && s->by_rows) fold_block(e, pass);
    if (!any || s->team == 1 || s->by_rows) return;
    put_columns(e, pass);
    if (pass + 1 == n->k->passes) return;
    meet(e);
    take_columns(e, pass);
}

/* Whether the thread that stores what does not walk the reduced dims adds up the last pass's columns, alone. */
static bool takes_last(const emitter *e)
{
    return e->shape.team > 1 && !e->shape.by_rows;
}

/* What does not walk the reduced dims is stored at the end, by one thread. */
static void emit_stores(emitter *e)
{
    nest *n = &e->n;
    LLVMBuilderRef b = n->l->b;
    bool any = false;
    for (int stage = 0; stage <= n->k->passes; stage++) any |= nest_has_outside_stores(n, stage);
    if (!any) return;
    LLVMBasicBlockRef store = nest_block(n), after = nest_block(n);
    if (e->shape.team > 1) {
        meet(e);
        LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, e->lane, nest_i64(n, 0), ""), store, after);
    } else {
        LLVMBuildBr(b, store);
    }
    LLVMPositionBuilderAtEnd(b, store);
    if (takes_last(e)) {
        take_columns(e, n->k->passes - 1);
        nest_outside(n, n->k->passes);
    }
    for (int stage = 0; stage <= n->k->passes; stage++) nest_outside_stores(n, stage);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
}

static void emit_stages(emitter *e)
{
    nest *n = &e->n;
    n->l->lanes = e->shape.by_rows ? 0 : e->shape.lanes;
    for (int stage = 0; stage <= n->k->passes; stage++) {
        if (stage < n->k->passes || !takes_last(e)) nest_outside(n, stage);
        if (stage < n->k->passes) emit_pass(e, stage);
    }
    emit_stores(e);
    n->l->lanes = 0;
}

/* The team's item and the thread's place in the team; threads without an item end. */
static void find_item(emitter *e)
{
    nest *n = &e->n;
    const ptx_shape *s = &e->shape;
    LLVMBuilderRef b = n->l->b;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(n->l->context);
    e->thread = call(e, "llvm.nvvm.read.ptx.sreg.tid.x", NULL, 0);
    LLVMValueRef block = LLVMBuildZExt(b, call(e, "llvm.nvvm.read.ptx.sreg.ctaid.x", NULL, 0), i64, "");
    LLVMValueRef wide = LLVMBuildZExt(b, e->thread, i64, "");
    LLVMValueRef teams = nest_i64(n, s->threads / s->team), team = nest_i64(n, s->team), in_block;
    if (s->by_rows) {
        in_block = LLVMBuildUDiv(b, wide, team, "");
        e->lane = LLVMBuildURem(b, wide, team, "");
    } else {
        in_block = LLVMBuildURem(b, wide, teams, "");
        e->lane = LLVMBuildUDiv(b, wide, teams, "");
    }
    LLVMValueRef item = LLVMBuildAdd(b, LLVMBuildMul(b, block, teams, ""), in_block, "");
    if (s->items % (s->threads / s->team)) {
        LLVMBasicBlockRef none = nest_block(n), body = nest_block(n);
        LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntULT, item, nest_i64(n, s->items), ""), body, none);
        LLVMPositionBuilderAtEnd(b, none);
        LLVMBuildRetVoid(b);
        LLVMPositionBuilderAtEnd(b, body);
    }
    decode(n, item, s->items, false, s->by_rows ? 1 : s->lanes);
}

static LLVMValueRef add_shared(const emitter *e, const char *name, col_arena *scratch)
{
    const ptx_shape *s = &e->shape;
    unsigned words = most_sums(e->n.k) * (s->by_rows ? s->threads / WARP : s->lanes * s->threads);
    bool meets = s->by_rows ? s->team > WARP : s->team > 1;
    if (!meets || !words) return NULL;
    enum { SPACE = 3 }; /* shared memory's number */
    LLVMTypeRef word = LLVMIntTypeInContext(e->n.l->context, s->by_rows ? 64 : 8 * slot_bytes(e->n.k));
    LLVMTypeRef type = LLVMArrayType2(word, words);
    LLVMValueRef made =
        LLVMAddGlobalInAddressSpace(e->n.l->module, type, col_arena_printf(scratch, "%s_sums", name), SPACE);
    LLVMSetInitializer(made, LLVMGetUndef(type));
    LLVMSetLinkage(made, LLVMInternalLinkage);
    LLVMSetAlignment(made, ACCESS);
    return made;
}

/* What is loaded in one pass need not be loaded again after a store. */
static void forbid_aliases(const col_llvm *l, unsigned count)
{
    static const char name[] = "noalias";
    unsigned kind = LLVMGetEnumAttributeKindForName(name, sizeof name - 1);
    LLVMAttributeRef attribute = LLVMCreateEnumAttribute(l->context, kind, 0);
    for (unsigned i = 0; i < count; i++) LLVMAddAttributeAtIndex(l->function, i + 1, attribute);
}

void ptx_loops_emit(col_llvm *l, const col_kernel *kernel, const char *name, col_arena *scratch)
{
    enum { GLOBAL = 1 }; /* address space */
    int count = kernel->input_count + kernel->output_count;
    LLVMTypeRef *types = COL_NEW_ARRAY(scratch, LLVMTypeRef, count + 1);
    for (int i = 0; i < count; i++) types[i] = LLVMPointerTypeInContext(l->context, GLOBAL);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(l->context), types, (unsigned)count, false);
    l->function = LLVMAddFunction(l->module, name, type);
    l->lanes = 0;
    if (kernel->apart) forbid_aliases(l, (unsigned)count);
    emitter e = {.n = {.l = l, .k = kernel, .scratch = scratch}, .shape = ptx_shape_of(kernel)};
    e.n.values = COL_NEW_ARRAY(scratch, LLVMValueRef, kernel->instr_count);
    e.n.bases = COL_NEW_ARRAY(scratch, LLVMValueRef, count);
    for (int i = 0; i < count; i++) e.n.bases[i] = LLVMGetParam(l->function, (unsigned)i);
    e.n.inner = kernel->rank ? UINT32_C(1) << (kernel->rank - 1) : 0;
    for (int i = 0; i < MOST_UNROLLED; i++)
        e.loaded[i] = COL_NEW_ARRAY(scratch, LLVMValueRef, kernel->instr_count);
    e.shared = add_shared(&e, name, scratch);
    LLVMBasicBlockRef entry = nest_block(&e.n), start = nest_block(&e.n);
    LLVMPositionBuilderAtEnd(l->b, entry);
    LLVMBuildBr(l->b, start); /* the entry holds allocas, which nest_slot puts first */
    LLVMPositionBuilderAtEnd(l->b, start);
    find_item(&e);
    emit_stages(&e);
    LLVMBuildRetVoid(l->b);
}
