/* Indices flow from roots to operands (see group.h). The domain starts as the shape of the first reduction's
 * operand or of the largest root; a reshape that cuts inside a domain dim splits that dim and the analysis
 * starts over, so there are at most COL_DOMAIN_DIMS rounds. */
#include "ir/group.h"

#include <string.h>

#include "ir/group_index.h"
#include "ir/view.h"

enum { MAX_ITEMS = 1024 };

bool col_node_is_fusible(const col_node *node)
{
    switch (col_op_info_of(node->op)->op_class) {
    case COL_CLASS_ELEMENTWISE:
    case COL_CLASS_SOURCE:
    case COL_CLASS_REDUCTION:
    case COL_CLASS_VIEW:
    case COL_CLASS_MOVE: return true;
    default: return false;
    }
}

bool col_operand_is_read(const col_node *user, uint32_t index)
{
    return col_op_info_of(user->op)->op_class == COL_CLASS_MOVE &&
           !(user->op == COL_OP_EMBEDDING && index == 1);
}

static bool is_virtual_view(const col_node *node)
{
    return col_op_info_of(node->op)->op_class == COL_CLASS_VIEW && col_value_is_virtual(&node->results[0]);
}

bool col_value_leaves_group(const col_value *value, const col_group_query *query)
{
    const col_graph *graph = value->producer->graph;
    if (query->is_output ? query->is_output[value->id] : col_value_is_output(graph, value)) return true;
    COL_FOR_EACH_USE (use, value) {
        const col_node *user = use->user;
        if (is_virtual_view(user) || (user->group < 0 && query->inlined && query->inlined[user->id] &&
                                      !col_operand_is_read(user, use->index))) {
            for (uint32_t i = 0; i < user->result_count; i++) {
                if (col_value_leaves_group(&user->results[i], query)) return true;
            }
        } else if (user->group != query->group) {
            return true;
        }
    }
    return false;
}

uint32_t col_index_dims(const col_index *index, int rank)
{
    uint32_t mask = 0;
    for (int i = index->first[0]; i < index->first[rank]; i++) mask |= UINT32_C(1) << index->dims[i];
    return mask;
}

static int64_t domain_numel(const col_domain *domain, bool reduced_too)
{
    int64_t numel = 1;
    for (int d = 0; d < domain->rank; d++) {
        if (reduced_too || !(domain->reduced >> d & 1)) numel *= domain->sizes[d];
    }
    return numel;
}

/* Items. */

static bool same_index(const col_index *a, const col_index *b, int rank)
{
    if (memcmp(a->first, b->first, (size_t)rank + 1)) return false;
    return !memcmp(a->dims, b->dims, a->first[rank]) &&
           !memcmp(a->offset, b->offset, sizeof *a->offset * (size_t)rank);
}

static int add_item(col_group_analysis *a, col_item item)
{
    if (a->group->items.len == MAX_ITEMS) return -1;
    col_vec_push(a->group->arena, &a->group->items, item);
    return (int)a->group->items.len - 1;
}

static col_item make_item(col_item_kind kind, const col_value *value, const col_index *index)
{
    return (col_item){.kind = kind,
                      .value = value,
                      .index = *index,
                      .operands = {-1, -1, -1},
                      .axis = -1,
                      .dtype = value->type.dtype};
}

static int evaluate(col_group_analysis *a, const col_value *value, const col_index *index);

static bool is_inside(const col_group_analysis *a, const col_value *value)
{
    return value->producer && value->producer->group == a->query->group;
}

static int evaluate_linear(col_group_analysis *a, const col_value *value, const col_index *index, int axis,
                           col_dtype dtype)
{
    col_item item = make_item(COL_ITEM_LINEAR, value, index);
    item.axis = axis;
    item.dtype = dtype;
    return add_item(a, item);
}

static int evaluate_elementwise(col_group_analysis *a, const col_node *node, const col_index *index)
{
    const col_value *result = &node->results[0];
    col_item item = make_item(COL_ITEM_NODE, result, index);
    item.node = node;
    for (uint32_t i = 0; i < node->operand_count; i++) {
        const col_value *operand = col_node_operand(node, i);
        col_index at = col_index_broadcast(result->type.shape, index, operand->type.shape);
        item.operands[i] = evaluate(a, operand, &at);
        if (item.operands[i] < 0) return -1;
    }
    return add_item(a, item);
}

static int evaluate_source(col_group_analysis *a, const col_node *node, const col_index *index)
{
    const col_value *result = &node->results[0];
    int axis;
    if (node->op == COL_OP_CONSTANT) {
        col_item item = make_item(COL_ITEM_FILL, result, index);
        item.fill = col_node_float(node, COL_ATTR_VALUE);
        return add_item(a, item);
    }
    if (node->op == COL_OP_IOTA) {
        COL_ASSERT(col_shape_axis(result->type.shape, col_node_int(node, COL_ATTR_AXIS), &axis));
        return evaluate_linear(a, result, index, axis, result->type.dtype);
    }
    COL_ASSERT(node->op == COL_OP_RANDOM_UNIFORM);
    col_item item = make_item(COL_ITEM_NODE, result, index);
    item.node = node;
    for (int i = 0; i < 2; i++) {
        col_index at = {.offset = {i}};
        item.operands[i] = evaluate(a, col_node_operand(node, 0), &at);
        if (item.operands[i] < 0) return -1;
    }
    col_item element = make_item(COL_ITEM_LINEAR, result, index);
    element.node = node;
    element.dtype = COL_I64;
    if (node->operand_count > 1) {
        element.operands[0] = evaluate(a, col_node_operand(node, 1), &(col_index){0});
        if (element.operands[0] < 0) return -1;
    }
    item.operands[2] = add_item(a, element);
    return item.operands[2] < 0 ? -1 : add_item(a, item);
}

static int evaluate_reduction(col_group_analysis *a, const col_node *node, const col_index *index)
{
    const col_value *operand = col_node_operand(node, 0), *result = &node->results[0];
    col_domain *domain = &a->group->domain;
    col_shape shape = operand->type.shape, reduced = {0};
    int count, axes[COL_MAX_RANK];
    const int64_t *given = col_node_ints(node, COL_ATTR_AXES, &count);
    bool keep = col_node_int(node, COL_ATTR_KEEPDIMS);
    /* Exactly the point's own rows: no other ones, none twice. */
    if (col_index_dims(index, result->type.shape.rank) & domain->reduced) return -1;
    if (col_shape_numel(shape) != domain_numel(domain, true)) return -1;
    col_group_runs r = {0}, cut = {0};
    for (int k = 0, j = 0; k < shape.rank; k++) {
        bool is_reduced = false;
        for (int i = 0; i < count; i++) is_reduced |= given[i] == k;
        if (is_reduced) {
            axes[reduced.rank] = k;
            reduced.dims[reduced.rank++] = shape.dims[k];
            j += keep;
        } else {
            if (index->offset[j]) return -1;
            col_runs_copy(&r, k, index, j++);
        }
    }
    uint8_t sequence[COL_DOMAIN_DIMS];
    int length = 0;
    for (int d = 0; d < domain->rank; d++) {
        if (domain->reduced >> d & 1) sequence[length++] = (uint8_t)d;
    }
    if (!col_runs_deal(a, sequence, length, reduced, 0, reduced.rank, &cut)) return -1;
    for (int i = 0; i < reduced.rank; i++) {
        r.count[axes[i]] = cut.count[i];
        memcpy(r.dims[axes[i]], cut.dims[i], sizeof cut.dims[i]);
    }
    col_index at = col_index_of_runs(&r, shape.rank);
    col_item item = make_item(COL_ITEM_REDUCE, result, index);
    item.node = node;
    item.operands[0] = evaluate(a, operand, &at);
    return item.operands[0] < 0 ? -1 : add_item(a, item);
}

/* One part of a concat, or the inside of a padded value: a guarded load along some axes. */
static int evaluate_part(col_group_analysis *a, const col_value *result, const col_index *index,
                         const col_value *part, const int64_t *starts, int otherwise)
{
    if (is_inside(a, part)) return -1;
    col_item item = make_item(COL_ITEM_LOAD, part, index);
    col_item_guard *guards = COL_NEW_ARRAY(a->group->arena, col_item_guard, part->type.shape.rank);
    item.guards = guards;
    item.operands[0] = otherwise;
    for (int k = 0; k < part->type.shape.rank; k++) {
        int64_t size = part->type.shape.dims[k], start = starts[k];
        if (!start && size == result->type.shape.dims[k]) continue;
        int length = index->first[k + 1] - index->first[k];
        if (length > 1) return -1;
        item.index.offset[k] -= start;
        guards[item.guard_count++] =
            (col_item_guard){length ? index->dims[index->first[k]] : -1, start - index->offset[k],
                             start + size - index->offset[k]};
    }
    return add_item(a, item);
}

static int evaluate_move(col_group_analysis *a, const col_node *node, const col_index *index)
{
    const col_value *result = &node->results[0];
    col_shape shape = result->type.shape;
    int64_t starts[COL_MAX_RANK] = {0};
    int axis, count;
    if (node->op == COL_OP_EMBEDDING) {
        const col_value *table = col_node_operand(node, 0), *ids = col_node_operand(node, 1);
        if (is_inside(a, table)) return -1;
        col_group_runs rows = {0}, column = {0};
        for (int k = 0; k + 1 < shape.rank; k++) col_runs_copy(&rows, k, index, k);
        col_runs_copy(&column, 1, index, shape.rank - 1);
        col_index at = col_index_of_runs(&rows, ids->type.shape.rank),
                  table_at = col_index_of_runs(&column, 2);
        col_item item = make_item(COL_ITEM_GATHER, table, &table_at);
        item.operands[0] = evaluate(a, ids, &at);
        return item.operands[0] < 0 ? -1 : add_item(a, item);
    }
    col_item fill = make_item(COL_ITEM_FILL, result, index);
    if (node->op == COL_OP_PAD) {
        const int64_t *low = col_node_ints(node, COL_ATTR_LOW, &count);
        memcpy(starts, low, sizeof *low * (size_t)count);
        fill.fill = col_node_float(node, COL_ATTR_VALUE);
    }
    int item = add_item(a, fill);
    if (node->op == COL_OP_PAD)
        return item < 0 ? -1 : evaluate_part(a, result, index, col_node_operand(node, 0), starts, item);
    COL_ASSERT(node->op == COL_OP_CONCAT && col_shape_axis(shape, col_node_int(node, COL_ATTR_AXIS), &axis));
    for (uint32_t i = 0; i < node->operand_count && item >= 0; i++) {
        const col_value *part = col_node_operand(node, i);
        item = evaluate_part(a, result, index, part, starts, item);
        starts[axis] += part->type.shape.dims[axis];
    }
    return item;
}

static int evaluate_view(col_group_analysis *a, const col_node *node, const col_value *result,
                         const col_index *index)
{
    const col_value *operand = col_node_operand(node, 0);
    col_index at;
    if (col_index_of_view(a, node, result, index, &at)) return evaluate(a, operand, &at);
    bool inlined = operand->producer && a->query->inlined && a->query->inlined[operand->producer->id];
    if (a->split_dim >= 0 || is_inside(a, operand) || inlined) return -1;
    /* No cut fits: find the element by its number. */
    col_item item = make_item(COL_ITEM_PICK, operand, index);
    item.operands[0] = evaluate_linear(a, result, index, -1, COL_I64);
    return item.operands[0] < 0 ? -1 : add_item(a, item);
}

static int evaluate_new(col_group_analysis *a, const col_value *value, const col_index *index)
{
    const col_node *node = value->producer;
    if (!is_inside(a, value) && !(node && a->query->inlined && a->query->inlined[node->id])) {
        return add_item(a, make_item(COL_ITEM_LOAD, value, index));
    }
    switch (col_op_info_of(node->op)->op_class) {
    case COL_CLASS_ELEMENTWISE: return evaluate_elementwise(a, node, index);
    case COL_CLASS_SOURCE: return evaluate_source(a, node, index);
    case COL_CLASS_REDUCTION: return evaluate_reduction(a, node, index);
    case COL_CLASS_VIEW: return evaluate_view(a, node, value, index);
    case COL_CLASS_MOVE: return evaluate_move(a, node, index);
    default: COL_PANIC("'%s' cannot be in a group", col_op_info_of(node->op)->name);
    }
}

static size_t slot_of(const col_group *group, const col_value *value)
{
    return (value->id * UINT32_C(0x9E3779B1) >> 7) & (group->table_size - 1);
}

static int evaluate(col_group_analysis *a, const col_value *value, const col_index *index)
{
    col_group *group = a->group;
    size_t slot = slot_of(group, value);
    bool again = false;
    for (int i = group->table[slot]; i >= 0; i = group->known.data[i].next) {
        const col_known *k = &group->known.data[i];
        if (k->value != value) continue;
        if (same_index(&k->index, index, value->type.shape.rank)) return k->item;
        again = true;
    }
    int item = evaluate_new(a, value, index);
    if (item < 0) return -1;
    if (again) group->items.data[item].is_again = true;
    col_vec_push(group->arena, &group->known, ((col_known){value, *index, item, group->table[slot]}));
    group->table[slot] = (int)group->known.len - 1;
    return item;
}

/* The whole. */

static void add_dim(col_domain *domain, int64_t size, bool reduced)
{
    if (size == 1) return;
    if (reduced) domain->reduced |= UINT32_C(1) << domain->rank;
    domain->sizes[domain->rank++] = size;
}

static void start_domain(const col_node *const *nodes, size_t n, const col_group *group, col_domain *domain)
{
    *domain = (col_domain){0};
    for (size_t i = 0; i < n; i++) {
        if (col_op_info_of(nodes[i]->op)->op_class != COL_CLASS_REDUCTION) continue;
        col_shape shape = col_node_operand(nodes[i], 0)->type.shape;
        int count;
        const int64_t *axes = col_node_ints(nodes[i], COL_ATTR_AXES, &count);
        for (int k = 0; k < shape.rank; k++) {
            bool reduced = false;
            for (int j = 0; j < count; j++) reduced |= axes[j] == k;
            add_dim(domain, shape.dims[k], reduced);
        }
        return;
    }
    const col_value *largest = NULL;
    for (size_t i = 0; i < group->roots.len; i++) {
        const col_value *value = group->roots.data[i].value;
        if (!largest || col_shape_numel(value->type.shape) > col_shape_numel(largest->type.shape))
            largest = value;
    }
    for (int k = 0; largest && k < largest->type.shape.rank; k++)
        add_dim(domain, largest->type.shape.dims[k], false);
}

static bool split_domain(col_domain *domain, int dim, int64_t inner)
{
    if (domain->rank == COL_DOMAIN_DIMS) return false;
    for (int d = domain->rank; d > dim; d--) domain->sizes[d] = domain->sizes[d - 1];
    domain->sizes[dim] /= inner;
    domain->sizes[dim + 1] = inner;
    domain->rank++;
    uint32_t low = (UINT32_C(1) << (dim + 1)) - 1, bit = domain->reduced >> dim & 1;
    domain->reduced = (domain->reduced & low) | bit << (dim + 1) | (domain->reduced & ~low) << 1;
    return true;
}

/* A root is written once per point of the domain, or once per point of its parallel dims. */
static bool roots_fit(const col_group *group)
{
    int64_t all = domain_numel(&group->domain, true), parallel = domain_numel(&group->domain, false);
    for (size_t i = 0; i < group->roots.len; i++) {
        int64_t numel = col_shape_numel(group->roots.data[i].value->type.shape);
        if (numel != all && !(group->domain.reduced && numel == parallel)) return false;
    }
    return true;
}

static bool evaluate_roots(col_group_analysis *a)
{
    col_group *group = a->group;
    col_domain *domain = &group->domain;
    int64_t parallel = domain_numel(domain, false);
    group->items.len = group->known.len = 0;
    for (size_t i = 0; i < group->table_size; i++) group->table[i] = -1;
    for (size_t i = 0; i < group->roots.len; i++) {
        col_root *root = &group->roots.data[i];
        col_shape shape = root->value->type.shape;
        bool per_row = domain->reduced && col_shape_numel(shape) == parallel;
        uint8_t sequence[COL_DOMAIN_DIMS];
        int length = 0;
        for (int d = 0; d < domain->rank; d++) {
            if (!per_row || !(domain->reduced >> d & 1)) sequence[length++] = (uint8_t)d;
        }
        col_group_runs r = {0};
        if (!col_runs_deal(a, sequence, length, shape, 0, shape.rank, &r)) return false;
        root->index = col_index_of_runs(&r, shape.rank);
        root->item = evaluate(a, root->value, &root->index);
        if (root->item < 0) return false;
    }
    return true;
}

bool col_group_analyze(const col_node *const *nodes, size_t n, const col_group_query *query, col_group *out)
{
    col_group_analysis a = {.query = query, .group = out};
    if (out->table_size < 2 * n) {
        for (out->table_size = 64; out->table_size < 2 * n;) out->table_size *= 2;
        out->table = COL_NEW_ARRAY(out->arena, int, out->table_size);
    }
    out->roots.len = 0;
    for (size_t i = 0; i < n; i++) {
        COL_ASSERT(nodes[i]->group == query->group && col_node_is_fusible(nodes[i]));
        if (is_virtual_view(nodes[i])) continue;
        COL_ASSERT(nodes[i]->result_count == 1);
        col_root root = {.value = &nodes[i]->results[0]};
        if (col_value_leaves_group(root.value, query)) col_vec_push(out->arena, &out->roots, root);
    }
    start_domain(nodes, n, out, &out->domain);
    if (!roots_fit(out)) return false;
    for (;;) {
        a.split_dim = -1;
        if (evaluate_roots(&a)) return true;
        if (a.split_dim < 0 || !split_domain(&out->domain, a.split_dim, a.split_inner)) return false;
    }
}
