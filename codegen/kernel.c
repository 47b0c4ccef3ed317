/* From a fused group (ir/group.h) to the kernel form: items become instructions, indices become strides over
 * the domain, dims are put in the order of what is accessed, those that every access walks as one are merged, and
 * stages are counted. */
#include "codegen/kernel.h"

#include <string.h>

#include "ir/group.h"
#include "ir/view.h"

_Static_assert((int)COL_KERNEL_DIMS >= (int)COL_DOMAIN_DIMS, "a domain fits into a kernel");

enum {
    ELEMENT_TILE = 4096, /* elements per iteration of an elementwise kernel */
    COLUMN_TILE = 64,    /* columns per iteration of a reduction over rows */
};

typedef struct build {
    col_arena *arena;
    const col_kernel_layout *layout;
    col_group group;
    col_kernel *kernel;
    COL_VEC(col_instr) instrs;
    COL_VEC(col_kernel_arg) inputs;
    int *instr_of; /* by item */
} build;

static void strides_of_base(void *context, const col_value *value, int64_t strides[COL_MAX_RANK])
{
    const col_kernel_layout *layout = context;
    if (layout)
        layout->strides(layout->context, value, strides);
    else
        col_shape_strides(value->type.shape, strides);
}

static col_view view_of(const build *b, const col_value *value)
{
    col_view view = col_view_over(value, strides_of_base, (void *)(uintptr_t)b->layout);
    if (view.base == value && col_value_is_virtual(value))
        COL_PANIC("the strides of %%%u's base do not allow its view", value->id);
    return view;
}

static int find_input(build *b, const col_value *value, int64_t offset)
{
    for (size_t i = 0; i < b->inputs.len; i++) {
        if (b->inputs.data[i].value == value && b->inputs.data[i].offset == offset) return (int)i;
    }
    col_vec_push(b->arena, &b->inputs, ((col_kernel_arg){value, offset}));
    return (int)b->inputs.len - 1;
}

/* Strides over the domain of element `index` of a value whose dims have the given strides; returns the
 * offset. */
static int64_t domain_strides(const col_domain *domain, const col_index *index, int rank,
                              const int64_t *strides, int64_t *out)
{
    int64_t offset = 0;
    for (int k = 0; k < rank; k++) {
        int64_t stride = strides[k];
        for (int i = index->first[k + 1] - 1; i >= index->first[k]; i--) {
            out[index->dims[i]] += stride;
            stride *= domain->sizes[index->dims[i]];
        }
        offset += index->offset[k] * strides[k];
    }
    return offset;
}

/* Instructions. */

static bool same_access(const col_access *a, const col_access *b)
{
    if (a->arg != b->arg || a->dtype != b->dtype || a->offset != b->offset || a->row != b->row ||
        a->row_stride != b->row_stride || a->rows != b->rows || a->guard_count != b->guard_count ||
        memcmp(a->strides, b->strides, sizeof a->strides))
        return false;
    for (int i = 0; i < a->guard_count; i++) {
        if (a->guards[i].dim != b->guards[i].dim || a->guards[i].low != b->guards[i].low ||
            a->guards[i].high != b->guards[i].high)
            return false;
    }
    return true;
}

static bool same_instr(const col_instr *a, const col_instr *b)
{
    return a->kind == b->kind && a->op == b->op && a->dtype == b->dtype && a->salt == b->salt &&
           !memcmp(a->operands, b->operands, sizeof a->operands) &&
           !memcmp(&a->value, &b->value, sizeof a->value) && same_access(&a->access, &b->access);
}

/* Adds an instruction, or finds the equal one. */
static int add(build *b, col_instr instr)
{
    for (size_t i = 0; i < b->instrs.len; i++) {
        if (same_instr(&b->instrs.data[i], &instr)) return (int)i;
    }
    col_vec_push(b->arena, &b->instrs, instr);
    return (int)b->instrs.len - 1;
}

static col_instr make(col_instr_kind kind, col_dtype dtype, int x, int y, int z)
{
    return (col_instr){.kind = kind, .dtype = dtype, .operands = {x, y, z}, .access = {.row = -1}};
}

static int add_compute(build *b, col_op op, col_dtype dtype, int x, int y, int z)
{
    col_instr instr = make(COL_INSTR_COMPUTE, dtype, x, y, z);
    instr.op = op;
    return add(b, instr);
}

static int add_constant(build *b, double value, col_dtype dtype)
{
    col_instr instr = make(COL_INSTR_CONSTANT, dtype, -1, -1, -1);
    instr.value = value;
    return add(b, instr);
}

static int add_cast(build *b, int x, col_dtype dtype)
{
    return b->instrs.data[x].dtype == dtype ? x : add_compute(b, COL_OP_CAST, dtype, x, -1, -1);
}

static int add_load(build *b, const col_item *item)
{
    col_view view = view_of(b, item->value);
    col_instr instr = make(COL_INSTR_LOAD, item->dtype, -1, -1, -1);
    col_access *access = &instr.access;
    access->dtype = item->dtype;
    for (int i = 0; i < item->guard_count; i++) {
        col_guard guard = {item->guards[i].dim, item->guards[i].low, item->guards[i].high};
        if (guard.dim >= 0)
            access->guards[access->guard_count++] = guard;
        else if (guard.low > 0 || guard.high <= 0)
            return b->instr_of[item->operands[0]];
    }
    int64_t offset = domain_strides(&b->group.domain, &item->index, item->value->type.shape.rank,
                                    view.strides, access->strides);
    /* Where nothing may be read before the start of the argument, the argument starts there. */
    access->offset = access->guard_count ? offset : 0;
    if (access->guard_count) instr.operands[0] = b->instr_of[item->operands[0]];
    access->arg = find_input(b, view.base, view.offset + offset - access->offset);
    return add(b, instr);
}

static int add_gather(build *b, const col_item *item)
{
    col_view view = view_of(b, item->value);
    col_instr instr = make(COL_INSTR_LOAD, item->dtype, -1, -1, -1);
    col_access *access = &instr.access;
    access->dtype = item->dtype;
    int64_t offset = domain_strides(&b->group.domain, &item->index, 2, view.strides, access->strides);
    access->row = b->instr_of[item->operands[0]];
    access->row_stride = view.strides[0];
    access->rows = item->value->type.shape.dims[0];
    access->arg = find_input(b, view.base, view.offset + offset);
    return add(b, instr);
}

/* The element of a value by its row-major number: the number is taken apart into coordinates. */
static int add_pick(build *b, const col_item *item)
{
    col_view view = view_of(b, item->value);
    col_shape shape = item->value->type.shape;
    int number = b->instr_of[item->operands[0]], place = -1;
    int64_t last = 0;
    for (int k = shape.rank - 1; k >= 0; k--) {
        int size = add_constant(b, (double)shape.dims[k], COL_I64);
        int rest = add_compute(b, COL_OP_DIV, COL_I64, number, size, -1);
        int whole = add_compute(b, COL_OP_MUL, COL_I64, rest, size, -1);
        int coordinate = add_compute(b, COL_OP_SUB, COL_I64, number, whole, -1);
        int stride = add_constant(b, (double)view.strides[k], COL_I64);
        int step = add_compute(b, COL_OP_MUL, COL_I64, coordinate, stride, -1);
        place = place < 0 ? step : add_compute(b, COL_OP_ADD, COL_I64, place, step, -1);
        number = rest;
        last += (shape.dims[k] - 1) * view.strides[k];
    }
    col_instr instr = make(COL_INSTR_LOAD, item->dtype, -1, -1, -1);
    instr.access.dtype = item->dtype;
    instr.access.row = place;
    instr.access.row_stride = 1;
    instr.access.rows = last + 1;
    instr.access.arg = find_input(b, view.base, view.offset);
    return add(b, instr);
}

static int add_linear(build *b, const col_item *item)
{
    col_instr instr = make(COL_INSTR_INDEX, item->dtype == COL_I32 ? COL_I32 : COL_I64, -1, -1, -1);
    col_shape shape = item->value->type.shape;
    int64_t strides[COL_MAX_RANK] = {0};
    if (item->axis >= 0)
        strides[item->axis] = 1;
    else if (item->node)
        col_whole_strides(item->node, shape, strides);
    else
        col_shape_strides(shape, strides);
    instr.access.offset =
        domain_strides(&b->group.domain, &item->index, shape.rank, strides, instr.access.strides);
    int number = add_cast(b, add(b, instr), item->dtype);
    if (item->operands[0] < 0) return number;
    return add_compute(b, COL_OP_ADD, item->dtype, number, b->instr_of[item->operands[0]], -1);
}

static int add_node(build *b, const col_item *item)
{
    int operands[3];
    for (int i = 0; i < 3; i++) operands[i] = item->operands[i] < 0 ? -1 : b->instr_of[item->operands[i]];
    if (item->node->op == COL_OP_COPY) return operands[0];
    if (item->node->op == COL_OP_CAST) return add_cast(b, operands[0], item->dtype);
    if (item->node->op == COL_OP_RANDOM_UNIFORM) {
        col_instr instr = make(COL_INSTR_RANDOM, item->dtype, operands[0], operands[1], operands[2]);
        instr.salt = col_node_int(item->node, COL_ATTR_SALT);
        return add(b, instr);
    }
    return add_compute(b, item->node->op, item->dtype, operands[0], operands[1], operands[2]);
}

static int add_reduction(build *b, const col_item *item)
{
    int operand = b->instr_of[item->operands[0]];
    if (!b->group.domain.reduced) return operand; /* all reduced axes have size 1 */
    col_instr instr = make(COL_INSTR_REDUCE, item->dtype, operand, -1, -1);
    instr.op = item->node->op;
    return add(b, instr);
}

static int add_item(build *b, const col_item *item)
{
    switch (item->kind) {
    case COL_ITEM_LOAD: return add_load(b, item);
    case COL_ITEM_GATHER: return add_gather(b, item);
    case COL_ITEM_PICK: return add_pick(b, item);
    case COL_ITEM_LINEAR: return add_linear(b, item);
    case COL_ITEM_FILL: return add_constant(b, item->fill, item->dtype);
    case COL_ITEM_NODE: return add_node(b, item);
    case COL_ITEM_REDUCE: return add_reduction(b, item);
    }
    COL_PANIC("unknown kind of item");
}

/* The loop nest. */

static bool walks_as_one(const col_access *access, int d, int64_t inner_size)
{
    for (int i = 0; i < access->guard_count; i++) {
        if (access->guards[i].dim == d || access->guards[i].dim == d + 1) return false;
    }
    return access->strides[d] == access->strides[d + 1] * inner_size;
}

static void drop_dim(col_access *access, int d)
{
    for (int i = d; i + 1 < COL_KERNEL_DIMS; i++) access->strides[i] = access->strides[i + 1];
    access->strides[COL_KERNEL_DIMS - 1] = 0;
    for (int i = 0; i < access->guard_count; i++) access->guards[i].dim -= access->guards[i].dim > d;
}

/* Whether the dims of a value that has bytes lie in memory in the order of its shape. */
static bool is_in_order(const build *b, const col_value *value)
{
    col_shape shape = value->type.shape;
    int64_t strides[COL_MAX_RANK], last = INT64_MAX;
    strides_of_base((void *)(uintptr_t)b->layout, value, strides);
    for (int k = 0; k < shape.rank; k++) {
        if (shape.dims[k] == 1) continue;
        if (strides[k] > last) return false;
        last = strides[k];
    }
    return true;
}

/* Bytes that an access to all points of the domain moves, per point; 0 where it misses dims. */
static int64_t weight_of(const col_kernel *k, const col_access *access)
{
    for (int d = 0; d < k->rank; d++) {
        if (!access->strides[d]) return 0;
    }
    return (int64_t)col_dtype_size(access->dtype);
}

static void swap_dims(col_access *access, int a, int b)
{
    int64_t stride = access->strides[a];
    access->strides[a] = access->strides[b];
    access->strides[b] = stride;
    for (int i = 0; i < access->guard_count; i++) {
        int *dim = &access->guards[i].dim;
        *dim = *dim == a ? b : *dim == b ? a : *dim;
    }
}

/* The access whose order of dims the nest should have; NULL: the domain's own. Stores count before loads, which a cache
 * joins; of several, an access to a value whose dims lie in another order than its shape's leads if such move more
 * bytes than those in order do. */
static const col_access *leading_access(const build *b)
{
    const col_kernel *k = b->kernel;
    const col_access *leader = NULL;
    int64_t bytes = 0;
    bool stored = false;
    for (int i = 0; i < k->store_count + k->instr_count && !stored; i++) {
        const col_instr *instr = i < k->store_count ? NULL : &k->instrs[i - k->store_count];
        if (instr && (instr->kind != COL_INSTR_LOAD || instr->access.row >= 0)) continue;
        const col_access *access = instr ? &instr->access : &k->stores[i].access;
        const col_value *value = instr ? k->inputs[access->arg].value : k->outputs[i].value;
        int64_t weight = weight_of(k, access);
        bool in_order = is_in_order(b, value);
        bytes += in_order ? -weight : weight;
        if (!in_order && weight && !leader) leader = access;
        stored = i + 1 == k->store_count && bytes;
    }
    return bytes > 0 ? leader : NULL;
}

/* Sorts the dims, outermost first, by how far apart the leading access's elements lie. */
static void order_dims(const build *b)
{
    col_kernel *k = b->kernel;
    const col_access *leader = leading_access(b);
    if (!leader) return;
    for (int n = k->rank; n > 1; n--) {
        for (int d = 0; d + 1 < n; d++) {
            if (leader->strides[d] >= leader->strides[d + 1]) continue;
            for (int i = 0; i < k->instr_count; i++) swap_dims(&k->instrs[i].access, d, d + 1);
            for (int i = 0; i < k->store_count; i++) swap_dims(&k->stores[i].access, d, d + 1);
            int64_t size = k->sizes[d];
            k->sizes[d] = k->sizes[d + 1];
            k->sizes[d + 1] = size;
            uint32_t pair = k->reduced >> d & 3, both = UINT32_C(3) << d;
            k->reduced = (k->reduced & ~both) | (pair >> 1 | (pair & 1) << 1) << d;
        }
    }
}

/* Merges dims d and d + 1 if every access walks them as one. */
static bool merge_dims(col_kernel *k, int d)
{
    if ((k->reduced >> d & 1) != (k->reduced >> (d + 1) & 1)) return false;
    for (int i = 0; i < k->instr_count; i++) {
        if (!walks_as_one(&k->instrs[i].access, d, k->sizes[d + 1])) return false;
    }
    for (int i = 0; i < k->store_count; i++) {
        if (!walks_as_one(&k->stores[i].access, d, k->sizes[d + 1])) return false;
    }
    for (int i = 0; i < k->instr_count; i++) drop_dim(&k->instrs[i].access, d);
    for (int i = 0; i < k->store_count; i++) drop_dim(&k->stores[i].access, d);
    k->sizes[d] *= k->sizes[d + 1];
    for (int i = d + 1; i + 1 < k->rank; i++) k->sizes[i] = k->sizes[i + 1];
    uint32_t low = (UINT32_C(1) << (d + 1)) - 1;
    k->reduced = (k->reduced & low) | (k->reduced >> 1 & ~low);
    k->sizes[--k->rank] = 0;
    return true;
}

static uint32_t stride_dims(const col_kernel *k, const col_access *access)
{
    uint32_t dims = 0;
    COL_ASSERT(k->rank <= COL_KERNEL_DIMS);
    for (int d = 0; d < k->rank; d++) dims |= (uint32_t)(access->strides[d] != 0) << d;
    for (int i = 0; i < access->guard_count; i++) dims |= UINT32_C(1) << access->guards[i].dim;
    return dims;
}

/* Passes that must be complete before the instruction's value can be used. */
static uint32_t ready(const col_instr *instr)
{
    return instr->stage + (instr->kind == COL_INSTR_REDUCE);
}

static void count_stages(col_kernel *k)
{
    for (int i = 0; i < k->instr_count; i++) {
        col_instr *instr = &k->instrs[i];
        instr->dims = stride_dims(k, &instr->access);
        for (int j = 0; j < 4; j++) {
            int operand = j < 3 ? instr->operands[j] : instr->access.row;
            if (operand < 0) continue;
            instr->dims |= k->instrs[operand].dims;
            instr->stage = COL_MAX(instr->stage, ready(&k->instrs[operand]));
        }
        if (instr->kind != COL_INSTR_REDUCE) continue;
        instr->dims &= ~k->reduced;
        k->passes = COL_MAX(k->passes, (int)ready(instr));
    }
    for (int i = 0; i < k->store_count; i++) {
        col_store *store = &k->stores[i];
        store->dims = stride_dims(k, &store->access);
        if (store->dims & k->reduced)
            k->passes = COL_MAX(k->passes, (int)ready(&k->instrs[store->instr]) + 1);
    }
}

static int64_t points(const col_kernel *k, uint32_t dims)
{
    int64_t n = 1;
    for (int d = 0; d < k->rank; d++) {
        if (dims >> d & 1) n *= k->sizes[d];
    }
    return n;
}

static void count_work(col_kernel *k)
{
    uint32_t all = (UINT32_C(1) << k->rank) - 1;
    int last = k->rank - 1;
    bool by_rows = k->rank && (k->reduced >> last & 1);
    k->range = points(k, all & ~k->reduced);
    if (k->rank && !by_rows) {
        int64_t size = k->sizes[last];
        k->tile = COL_MAX(COL_MIN(k->reduced ? COLUMN_TILE : ELEMENT_TILE, size), 1);
        k->range = points(k, all & ~k->reduced & ~(UINT32_C(1) << last)) * ((size + k->tile - 1) / k->tile);
    }
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *instr = &k->instrs[i];
        if (instr->kind == COL_INSTR_COMPUTE)
            k->flops += (double)points(k, instr->dims) * col_op_info_of(instr->op)->cost;
        if (instr->kind == COL_INSTR_RANDOM)
            k->flops += (double)points(k, instr->dims) * col_op_info_of(COL_OP_RANDOM_UNIFORM)->cost;
        if (instr->kind == COL_INSTR_REDUCE) k->flops += (double)points(k, all);
        if (instr->kind == COL_INSTR_LOAD)
            k->bytes += (double)points(k, instr->dims) * (double)col_dtype_size(instr->access.dtype);
    }
    for (int i = 0; i < k->store_count; i++) {
        k->bytes += (double)points(k, k->stores[i].dims) * (double)col_dtype_size(k->stores[i].access.dtype);
    }
}

/* Equality. */

typedef COL_VEC(int64_t) key_list;

static void encode_access(col_arena *arena, key_list *key, const col_kernel *k, const col_access *access)
{
    int64_t head[] = {access->arg,        access->dtype, access->offset,     access->row,
                      access->row_stride, access->rows,  access->guard_count};
    for (size_t i = 0; i < COL_COUNT(head); i++) col_vec_push(arena, key, head[i]);
    for (int d = 0; d < k->rank; d++) col_vec_push(arena, key, access->strides[d]);
    for (int i = 0; i < access->guard_count; i++) {
        col_vec_push(arena, key, access->guards[i].dim);
        col_vec_push(arena, key, access->guards[i].low);
        col_vec_push(arena, key, access->guards[i].high);
    }
}

static void encode(col_kernel *k, col_arena *arena)
{
    key_list key = {0};
    int64_t head[] = {k->rank, k->reduced, k->instr_count, k->store_count, k->input_count, k->output_count};
    for (size_t i = 0; i < COL_COUNT(head); i++) col_vec_push(arena, &key, head[i]);
    for (int d = 0; d < k->rank; d++) col_vec_push(arena, &key, k->sizes[d]);
    for (int i = 0; i < k->instr_count; i++) {
        const col_instr *instr = &k->instrs[i];
        int64_t value;
        memcpy(&value, &instr->value, sizeof value);
        int64_t fields[] = {instr->kind,        instr->op,          instr->dtype, instr->operands[0],
                            instr->operands[1], instr->operands[2], value,        instr->salt};
        for (size_t j = 0; j < COL_COUNT(fields); j++) col_vec_push(arena, &key, fields[j]);
        encode_access(arena, &key, k, &instr->access);
    }
    for (int i = 0; i < k->store_count; i++) {
        col_vec_push(arena, &key, k->stores[i].instr);
        encode_access(arena, &key, k, &k->stores[i].access);
    }
    k->key = key.data;
    k->key_size = key.len * sizeof *key.data;
    k->hash = col_hash_bytes(k->key, k->key_size, 0);
}

bool col_kernel_equal(const col_kernel *a, const col_kernel *b)
{
    return a->hash == b->hash && a->unaligned == b->unaligned && a->apart == b->apart &&
           a->key_size == b->key_size && !memcmp(a->key, b->key, a->key_size);
}

uint64_t col_kernel_hash(const col_kernel *kernel)
{
    return kernel->hash;
}

/* The whole. */

static void add_stores(build *b)
{
    col_kernel *k = b->kernel;
    size_t n = b->group.roots.len;
    k->stores = COL_NEW_ARRAY(b->arena, col_store, n);
    k->outputs = COL_NEW_ARRAY(b->arena, col_kernel_arg, n);
    k->store_count = k->output_count = (int)n;
    for (size_t i = 0; i < n; i++) {
        const col_root *root = &b->group.roots.data[i];
        const col_value *value = root->value;
        int64_t strides[COL_MAX_RANK];
        strides_of_base((void *)(uintptr_t)b->layout, value, strides);
        col_access access = {.arg = (int)(b->inputs.len + i), .dtype = value->type.dtype, .row = -1};
        domain_strides(&b->group.domain, &root->index, value->type.shape.rank, strides, access.strides);
        k->stores[i] = (col_store){.instr = b->instr_of[root->item], .access = access};
        k->outputs[i] = (col_kernel_arg){.value = value};
    }
}

col_kernel *col_kernel_build(const col_node *const *nodes, size_t n, const col_kernel_layout *layout,
                             col_arena *arena)
{
    COL_ASSERT(n && nodes[0]->group >= 0);
    build b = {.arena = arena, .layout = layout, .kernel = COL_NEW(arena, col_kernel), .group.arena = arena};
    col_kernel *k = b.kernel;
    col_group_query query = {.group = nodes[0]->group};
    if (!col_group_analyze(nodes, n, &query, &b.group)) {
        col_str text = {0};
        for (size_t i = 0; i < n; i++) {
            col_node_print(nodes[i], &text);
            col_str_append(&text, "\n");
        }
        COL_PANIC("this group is not one kernel:\n%s", col_str_text(&text));
    }
    k->rank = b.group.domain.rank;
    k->reduced = b.group.domain.reduced;
    memcpy(k->sizes, b.group.domain.sizes, sizeof *k->sizes * (size_t)k->rank);
    b.instr_of = COL_NEW_ARRAY(arena, int, b.group.items.len);
    for (size_t i = 0; i < b.group.items.len; i++) b.instr_of[i] = add_item(&b, &b.group.items.data[i]);
    k->instrs = b.instrs.data;
    k->instr_count = (int)b.instrs.len;
    add_stores(&b);
    k->inputs = b.inputs.data;
    k->input_count = (int)b.inputs.len;
    order_dims(&b);
    for (int d = k->rank - 2; d >= 0; d--) merge_dims(k, d);
    count_stages(k);
    count_work(k);
    encode(k, arena);
    return k;
}

/* In-place use. */

/* Passes in which an instruction over reduced dims is evaluated, as a mask. */
static void mark_passes(const col_kernel *k, uint64_t *passes)
{
    for (int i = 0; i < k->store_count; i++) {
        if (k->stores[i].dims & k->reduced)
            passes[k->stores[i].instr] |= UINT64_C(1) << ready(&k->instrs[k->stores[i].instr]);
    }
    for (int i = k->instr_count - 1; i >= 0; i--) {
        const col_instr *instr = &k->instrs[i];
        uint64_t mask = instr->kind == COL_INSTR_REDUCE ? UINT64_C(1) << instr->stage : passes[i];
        for (int j = 0; j < 4; j++) {
            int operand = j < 3 ? instr->operands[j] : instr->access.row;
            if (operand >= 0) passes[operand] |= mask;
        }
    }
}

bool col_kernel_in_place(const col_kernel *kernel, int input, int output)
{
    const col_store *store = &kernel->stores[output];
    uint64_t passes[1024] = {0};
    if (kernel->instr_count > (int)COL_COUNT(passes) || kernel->passes > 63) return false;
    mark_passes(kernel, passes);
    uint32_t pass = ready(&kernel->instrs[store->instr]);
    for (int i = 0; i < kernel->instr_count; i++) {
        const col_instr *instr = &kernel->instrs[i];
        const col_access *access = &instr->access;
        if (instr->kind != COL_INSTR_LOAD || access->arg != input) continue;
        if (access->dtype != store->access.dtype || access->row >= 0 || access->guard_count ||
            memcmp(access->strides, store->access.strides, sizeof access->strides))
            return false;
        if ((store->dims & kernel->reduced) && passes[i] >> (pass + 1)) return false;
    }
    return true;
}

/* Text. */

static void print_access(const col_kernel *k, const col_access *access, col_str *out)
{
    col_str_append(out, " [");
    for (int d = 0; d < k->rank; d++)
        col_str_printf(out, "%s%lld", d ? ", " : "", (long long)access->strides[d]);
    col_str_append(out, "]");
    if (access->offset) col_str_printf(out, " %+lld", (long long)access->offset);
    if (access->row >= 0)
        col_str_printf(out, " + %lld * %%%d below %lld", (long long)access->row_stride, access->row,
                       (long long)access->rows);
    for (int i = 0; i < access->guard_count; i++) {
        const col_guard *guard = &access->guards[i];
        col_str_printf(out, " where %lld <= i%d < %lld", (long long)guard->low, guard->dim,
                       (long long)guard->high);
    }
}

static void print_instr(const col_kernel *k, int index, col_str *out)
{
    const col_instr *instr = &k->instrs[index];
    col_str_printf(out, "  %%%d = ", index);
    switch (instr->kind) {
    case COL_INSTR_LOAD: col_str_append(out, "load"); break;
    case COL_INSTR_INDEX: col_str_append(out, "index"); break;
    case COL_INSTR_CONSTANT: col_str_printf(out, "constant %g", instr->value); break;
    case COL_INSTR_RANDOM: col_str_printf(out, "random %lld", (long long)instr->salt); break;
    case COL_INSTR_COMPUTE:
    case COL_INSTR_REDUCE: col_str_append(out, col_op_info_of(instr->op)->name); break;
    }
    if (instr->kind == COL_INSTR_LOAD) {
        col_str_printf(out, " in%d", instr->access.arg);
        print_access(k, &instr->access, out);
    } else if (instr->kind == COL_INSTR_INDEX) {
        print_access(k, &instr->access, out);
    }
    for (int j = 0; j < 3; j++) {
        if (instr->operands[j] < 0) continue;
        bool otherwise = instr->kind == COL_INSTR_LOAD;
        col_str_printf(out, "%s%%%d", otherwise ? " else " : j ? ", " : " ", instr->operands[j]);
    }
    col_str_printf(out, " : %s", col_dtype_name(instr->dtype));
    if (instr->stage || instr->kind == COL_INSTR_REDUCE) col_str_printf(out, ", stage %u", instr->stage);
    col_str_append(out, "\n");
}

void col_kernel_print(const col_kernel *kernel, col_str *out)
{
    col_str_append(out, "kernel [");
    for (int d = 0; d < kernel->rank; d++) {
        col_str_printf(out, "%s%lld%s", d ? " x " : "", (long long)kernel->sizes[d],
                       kernel->reduced >> d & 1 ? "r" : "");
    }
    col_str_printf(out, "] passes %d, tile %lld, range %lld\n", kernel->passes, (long long)kernel->tile,
                   (long long)kernel->range);
    for (int i = 0; i < kernel->instr_count; i++) print_instr(kernel, i, out);
    for (int i = 0; i < kernel->store_count; i++) {
        const col_store *store = &kernel->stores[i];
        col_str_printf(out, "  out%d", store->access.arg - kernel->input_count);
        print_access(kernel, &store->access, out);
        col_str_printf(out, " = %%%d : %s\n", store->instr, col_dtype_name(store->access.dtype));
    }
}
