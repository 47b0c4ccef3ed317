/* Assigns nodes to groups, each of which becomes one kernel.
 *
 * needs     legalize
 * provides  node->group of every node that a kernel computes; the nodes of a group stand together, groups
 *           are numbered in an order that respects data flow, and no group depends on itself through another
 *           node
 * breaks    sharing of cheap values: they are cloned into every group that uses them
 *
 * Values that are not worth a trip through memory are *inlined*, that is, computed again in each group that
 * reads them (passes/fuse_inline.c). Other nodes start as units of one. Then, in the order of the graph, each
 * unit is merged with the units that produce its operands, where
 *
 *   - both are of one phase, and nothing in them is computed again in different turns;
 *   - the union is one loop nest (ir/group.h) that computes nothing twice that is dear;
 *   - it is the nest that the reductions in it must have, if one is given (col_pass_options.nests);
 *   - enough parallel rows or columns are left;
 *   - no path leads from the producer to the consumer through a third unit.
 *
 * A first round leaves out reductions over leading dims, so that a value needed by a reduction along rows and
 * one along columns joins the former, which reads memory in order. At last, reductions that read the same
 * operand over the same domain are merged (scale and bias gradients of a layer norm).
 *
 * Units are kept in a topological order under merging (Pearce and Kelly, "A dynamic topological sort
 * algorithm for directed acyclic graphs", 2006): a path from A to B can only lead through units between them
 * in that order, so a search visits these alone; on success those that depend on A move behind the merged
 * unit. */
#include "passes/fuse.h"

#include <string.h>

#include "ir/group.h"
#include "passes/pass.h"

enum {
    NONE = FUSE_NONE,
    CHEAP_COST = 4,         /* of what may be computed again along the innermost dim */
    UNIT_NODES = 256,       /* largest group */
    SIBLING_NODES = 64,     /* largest group made by merging siblings */
    MIN_PARALLEL = 16,      /* rows, or tiles of columns, that a merge must leave ... */
    LARGE_DOMAIN = 1 << 15, /* ... when there are this many elements */
    COLUMN_TILE = 64,
};

typedef struct unit {
    fuse_nodes nodes; /* by position */
    col_phase phase;
    bool is_kernel; /* made of fusible nodes */
    bool is_merged; /* gone into another */
    bool has_reduction;
    bool is_again;                    /* nothing but copies that compute forward values again ... */
    int32_t turn;                     /* ... in this turn; 0: none is among its nodes */
    int64_t reduced_from, reduced_to; /* elements of the reductions' operands and results */
    int64_t numel;                    /* without reductions: elements of the results */
    int order;
    uint32_t stamp;
} unit;

typedef struct fuser {
    col_graph *graph;
    col_arena *arena;
    COL_VEC(unit *) units;
    COL_VEC(unit *) ordered; /* by `order`; NULL where a unit was merged away */
    int *unit_of;            /* by node id; NONE for purely inlined nodes */
    uint32_t *position;      /* by node id */
    const bool *inlined;     /* by node id */
    bool *is_output;         /* by value id */
    uint32_t *node_stamp;    /* by node id */
    uint32_t stamp;
    const col_nests *nests;
    col_group group; /* storage of trials */
    fuse_nodes trial;
    COL_VEC(unit *) reached;
} fuser;

/* Units. */

static void add_unit(fuser *f, col_node *node)
{
    unit *u = COL_NEW(f->arena, unit);
    *u = (unit){
        .phase = node->phase, .order = (int)f->ordered.len, .is_again = node->turn != 0, .turn = node->turn};
    u->is_kernel = col_node_is_fusible(node) && !fuse_is_virtual_view(node);
    u->has_reduction = col_op_info_of(node->op)->op_class == COL_CLASS_REDUCTION;
    if (u->is_kernel) u->numel = col_shape_numel(node->results[0].type.shape);
    if (u->has_reduction) {
        u->reduced_from = col_shape_numel(col_node_operand(node, 0)->type.shape);
        u->reduced_to = col_shape_numel(node->results[0].type.shape);
    }
    col_vec_push(f->arena, &u->nodes, node);
    f->unit_of[node->id] = (int)f->units.len;
    col_vec_push(f->arena, &f->units, u);
    col_vec_push(f->arena, &f->ordered, u);
    if (u->is_kernel) node->group = f->unit_of[node->id];
}

/* Virtual views belong to the unit that makes their base; an inlined value has a unit only if someone needs
 * it in memory. */
static void make_units(fuser *f)
{
    COL_FOR_EACH_NODE (node, f->graph) {
        node->group = NONE;
        f->unit_of[node->id] = NONE;
        if (fuse_is_virtual_view(node)) {
            const col_node *producer = col_node_operand(node, 0)->producer;
            int made_by = producer ? f->unit_of[producer->id] : NONE;
            if (made_by != NONE) {
                unit *u = f->units.data[made_by];
                f->unit_of[node->id] = made_by;
                node->group = u->is_kernel ? made_by : NONE;
                col_vec_push(f->arena, &u->nodes, node);
            } else if (!producer || !f->inlined[producer->id]) {
                add_unit(f, node);
            }
        } else if (!f->inlined[node->id] || fuse_is_needed_in_memory(f->is_output, &node->results[0])) {
            add_unit(f, node);
        }
    }
}

/* Paths. */

/* Collects the units up to `limit` that use the node's results, also through inlined nodes. True when `limit`
 * itself does. */
static bool reach_users(fuser *f, const col_node *node, const unit *limit, uint32_t mark)
{
    bool found = false;
    for (uint32_t i = 0; i < node->result_count; i++) {
        COL_FOR_EACH_USE (use, &node->results[i]) {
            const col_node *user = use->user;
            if (f->inlined[user->id] && f->node_stamp[user->id] != mark) {
                f->node_stamp[user->id] = mark;
                found |= reach_users(f, user, limit, mark);
            }
            if (f->unit_of[user->id] == NONE) continue;
            unit *next = f->units.data[f->unit_of[user->id]];
            if (next == limit) {
                found = true;
            } else if (next->stamp != f->stamp && next->order < limit->order) {
                next->stamp = f->stamp;
                col_vec_push(f->arena, &f->reached, next);
            }
        }
    }
    return found;
}

/* Whether a path leads from a to b through a third unit; if not, f->reached holds the units up to b that
 * depend on a. */
static bool has_detour(fuser *f, unit *a, const unit *b)
{
    f->stamp += 2;
    f->reached.len = 0;
    a->stamp = f->stamp;
    for (size_t i = 0; i < a->nodes.len; i++) reach_users(f, a->nodes.data[i], b, f->stamp);
    /* Inlined nodes seen on the way from a are seen again from other units: hence the second mark. */
    for (size_t i = 0; i < f->reached.len; i++) {
        const unit *u = f->reached.data[i];
        for (size_t j = 0; j < u->nodes.len; j++) {
            if (reach_users(f, u->nodes.data[j], b, f->stamp + 1)) return true;
        }
    }
    return false;
}

/* Merging. */

static int by_position(const fuser *f, const col_node *a, const col_node *b)
{
    return f->position[a->id] < f->position[b->id] ? -1 : 1;
}

/* The nodes of both, by position, into f->trial. */
static void list_both(fuser *f, const unit *a, const unit *b)
{
    size_t i = 0, j = 0;
    f->trial.len = 0;
    while (i < a->nodes.len || j < b->nodes.len) {
        bool first =
            j == b->nodes.len || (i < a->nodes.len && by_position(f, a->nodes.data[i], b->nodes.data[j]) < 0);
        col_node *node = first ? a->nodes.data[i++] : b->nodes.data[j++];
        col_vec_push(f->arena, &f->trial, node);
    }
}

/* Gives the nodes of `from` to `to`, or back. */
static void label(fuser *f, const unit *u, int id)
{
    for (size_t i = 0; i < u->nodes.len; i++) {
        u->nodes.data[i]->group = id;
        f->unit_of[u->nodes.data[i]->id] = id;
    }
}

static int64_t product(const col_domain *domain, uint32_t mask)
{
    int64_t n = 1;
    for (int d = 0; d < domain->rank; d++) {
        if (mask >> d & 1) n *= domain->sizes[d];
    }
    return n;
}

static bool is_by_columns(const col_domain *domain)
{
    return domain->reduced && !(domain->reduced >> (domain->rank - 1) & 1);
}

/* Whether the loop nest is one worth having. */
static bool is_good_group(const col_group *group, int32_t id, bool columns)
{
    const col_domain *domain = &group->domain;
    uint32_t all = (UINT32_C(1) << domain->rank) - 1, rows = all & ~domain->reduced;
    uint32_t innermost = domain->rank ? UINT32_C(1) << (domain->rank - 1) : 0;
    int64_t numel = product(domain, all), parallel = product(domain, rows);
    if (!columns && is_by_columns(domain)) return false;
    for (size_t i = 0; i < group->items.len; i++) {
        const col_item *item = &group->items.data[i];
        if (!item->node || item->node->group != id) continue;
        /* A node of ours is evaluated once per element: at one index, and where it misses dims only if it is
         * cheap or outside the innermost loop. */
        if (item->is_again) return false;
        uint32_t dims = col_index_dims(&item->index, item->value->type.shape.rank);
        if (dims == all || dims == rows || item->kind == COL_ITEM_REDUCE) continue;
        if ((dims & innermost) && col_op_info_of(item->node->op)->cost > CHEAP_COST) return false;
    }
    if (!domain->reduced || numel < LARGE_DOMAIN) return true;
    bool writes_all = false;
    for (size_t i = 0; i < group->roots.len; i++)
        writes_all |= col_shape_numel(group->roots.data[i].value->type.shape) == numel;
    int64_t inner = is_by_columns(domain) ? COL_MIN(COLUMN_TILE, domain->sizes[domain->rank - 1]) : 1;
    return !writes_all || parallel / inner >= MIN_PARALLEL;
}

/* Those that depend on the merged unit move behind it, the rest of the region before it. */
static void reorder(fuser *f, const unit *a, unit *b)
{
    int low = COL_MIN(a->order, b->order), high = COL_MAX(a->order, b->order), at = low;
    COL_VEC(unit *) behind = {0};
    for (int i = low; i <= high; i++) {
        unit *u = f->ordered.data[i];
        if (!u || u == a || u == b) continue;
        if (u->stamp == f->stamp) {
            col_vec_push(f->arena, &behind, u);
            continue;
        }
        u->order = at;
        f->ordered.data[at++] = u;
    }
    b->order = at;
    f->ordered.data[at++] = b;
    for (size_t i = 0; i < behind.len; i++) {
        behind.data[i]->order = at;
        f->ordered.data[at++] = behind.data[i];
    }
    while (at <= high) f->ordered.data[at++] = NULL;
}

static bool is_concat(const unit *u)
{
    return u->nodes.data[0]->op == COL_OP_CONCAT;
}

/* What can be told from the units' sizes alone; b is what remains to be written. */
static bool sizes_fit(const unit *a, const unit *b)
{
    if (!a->has_reduction) return true;
    if (!b->has_reduction) return b->numel == a->reduced_from || b->numel == a->reduced_to;
    return a->reduced_from == b->reduced_from && a->reduced_to == b->reduced_to;
}

static bool same_domain(const col_domain *a, const col_domain *b)
{
    return a->rank == b->rank && a->reduced == b->reduced &&
           !memcmp(a->sizes, b->sizes, sizeof *a->sizes * (size_t)a->rank);
}

/* Whether the trial leaves the reductions in it the nests that they must have. */
static bool keeps_nests(const fuser *f)
{
    for (size_t i = 0; f->nests && i < f->trial.len; i++) {
        uint32_t id = f->trial.data[i]->id;
        const col_domain *nest = id < f->nests->count ? f->nests->of[id] : NULL;
        if (nest && !same_domain(nest, &f->group.domain)) return false;
    }
    return true;
}

/* What is computed again must not wait for another turn's values, nor become early through them. */
static bool times_fit(const unit *a, const unit *b)
{
    return a->phase == b->phase && (a->turn == b->turn || !a->turn || !b->turn);
}

/* Merges two units if that is allowed and good; the result is b. */
static bool try_merge(fuser *f, unit *a, unit *b, bool columns)
{
    if (a == b || !a->is_kernel || !b->is_kernel || !times_fit(a, b)) return false;
    if (a->nodes.len + b->nodes.len > UNIT_NODES) return false;
    /* A concat stays alone: memory planning lets its parts be written in place. */
    if (is_concat(a) || is_concat(b)) return false;
    int a_id = f->unit_of[a->nodes.data[0]->id], b_id = f->unit_of[b->nodes.data[0]->id];
    if (!sizes_fit(a, b)) return false;
    list_both(f, a, b);
    label(f, a, b_id);
    col_group_query query = {.group = b_id, .inlined = f->inlined, .is_output = f->is_output};
    bool good = col_group_analyze((const col_node *const *)f->trial.data, f->trial.len, &query, &f->group) &&
                is_good_group(&f->group, b_id, columns) && keeps_nests(f);
    label(f, a, a_id);
    if (!good || (a->order < b->order ? has_detour(f, a, b) : has_detour(f, b, a))) return false;
    label(f, a, b_id);
    reorder(f, a, b);
    a->is_merged = true;
    b->is_again = a->is_again && b->is_again;
    b->turn = COL_MAX(a->turn, b->turn);
    if (a->has_reduction) {
        b->has_reduction = true;
        b->reduced_from = a->reduced_from;
        b->reduced_to = a->reduced_to;
    }
    b->nodes.len = 0;
    for (size_t i = 0; i < f->trial.len; i++) col_vec_push(f->arena, &b->nodes, f->trial.data[i]);
    return true;
}

static unit *unit_of(const fuser *f, const col_node *node)
{
    return f->unit_of[node->id] == NONE ? NULL : f->units.data[f->unit_of[node->id]];
}

/* Tries to merge into the node's unit every unit that it reads, also through inlined nodes. */
static void merge_producers(fuser *f, const col_node *node, const col_node *reader, bool columns)
{
    for (uint32_t i = 0; i < reader->operand_count; i++) {
        const col_node *producer = col_node_operand(reader, i)->producer;
        if (!producer) continue;
        if (f->inlined[producer->id])
            merge_producers(f, node, producer, columns);
        else
            try_merge(f, unit_of(f, producer), unit_of(f, node), columns);
    }
}

static void merge_along_edges(fuser *f, bool columns)
{
    COL_FOR_EACH_NODE (node, f->graph) {
        unit *u = unit_of(f, node);
        if (u && u->is_kernel) merge_producers(f, node, node, columns);
    }
}

/* Collects the kernels with reductions that read a value, also through views and inlined nodes. */
static void collect_readers(fuser *f, const col_value *value)
{
    COL_FOR_EACH_USE (use, value) {
        const col_node *user = use->user;
        unit *u = unit_of(f, user);
        if (f->inlined[user->id] || fuse_is_virtual_view(user)) {
            for (uint32_t i = 0; i < user->result_count; i++) collect_readers(f, &user->results[i]);
        } else if (u->has_reduction && u->stamp != f->stamp) {
            u->stamp = f->stamp;
            col_vec_push(f->arena, &f->reached, u);
        }
    }
}

static void merge_siblings(fuser *f, const col_value *value)
{
    const col_operand *use = value->first_use;
    if (!use || (!use->next_use && !f->inlined[use->user->id])) return;
    /* What is inlined is not read; a constant has users all over the graph. */
    if (value->producer && f->inlined[value->producer->id]) return;
    f->stamp += 2;
    f->reached.len = 0;
    collect_readers(f, value);
    /* Sharing less than the whole domain saves next to nothing, and would hold all operands of unrelated
     * reductions (bias gradients that read one counter of micro-batches) until the last is there. */
    int64_t numel = col_shape_numel(value->type.shape);
    size_t n = 0;
    for (size_t i = 0; i < f->reached.len; i++) {
        if (f->reached.data[i]->reduced_from <= numel) f->reached.data[n++] = f->reached.data[i];
    }
    if (n < 2) return;
    unit **readers = col_arena_copy(f->arena, f->reached.data, sizeof *readers * n);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n && !readers[i]->is_merged; j++) {
            if (readers[j]->is_merged || readers[i]->nodes.len + readers[j]->nodes.len > SIBLING_NODES)
                continue;
            if (readers[i]->turn != readers[j]->turn || readers[i]->is_again != readers[j]->is_again)
                continue;
            try_merge(f, readers[i], readers[j], true);
        }
    }
}

/* Nodes by unit, in the topological order. */
static void write_groups(const fuser *f)
{
    fuse_nodes *units = COL_NEW_ARRAY(f->arena, fuse_nodes, f->ordered.len);
    for (size_t u = 0; u < f->ordered.len; u++) {
        if (f->ordered.data[u]) units[u] = f->ordered.data[u]->nodes;
    }
    fuse_write(f->graph, f->inlined, f->unit_of, units, f->ordered.len, f->arena);
}

col_status col_pass_fuse(col_graph *graph, const col_pass_options *options)
{
    fuser f = {.graph = graph, .arena = col_arena_create(), .nests = options->nests};
    f.group.arena = f.arena;
    f.unit_of = COL_NEW_ARRAY(f.arena, int, graph->next_node_id);
    f.position = COL_NEW_ARRAY(f.arena, uint32_t, graph->next_node_id);
    f.node_stamp = COL_NEW_ARRAY(f.arena, uint32_t, graph->next_node_id);
    f.is_output = COL_NEW_ARRAY(f.arena, bool, graph->next_value_id);
    for (size_t i = 0; i < graph->outputs.len; i++) f.is_output[graph->outputs.data[i].value->id] = true;
    uint32_t position = 0;
    COL_FOR_EACH_NODE (node, graph) f.position[node->id] = position++;
    f.inlined = fuse_find_inlined(graph, f.is_output, f.arena);
    make_units(&f);
    merge_along_edges(&f, false);
    merge_along_edges(&f, true);
    for (size_t i = 0; i < graph->vars.len; i++) merge_siblings(&f, graph->vars.data[i]->value);
    COL_FOR_EACH_NODE (node, graph) {
        for (uint32_t i = 0; i < node->result_count; i++) merge_siblings(&f, &node->results[i]);
    }
    write_groups(&f);
    col_arena_destroy(f.arena);
    return NULL;
}
