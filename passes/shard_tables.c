/* Tables of edges: what it costs to bring a value from each layout of one list to each of another.
 *
 * Equal lists are one (interned), so equal edges share a table; rows of one table whose layout is the same
 * are copied; ways are looked up by type and pair of layouts, and searched for once (passes/reshard.h). */
#include "passes/shard_model.h"

#include <string.h>

static const double COPIES = 4; /* of a joined sum's bytes: read and written, before and after */

/* Nanoseconds between layouts of a type: rows[from][to], -1 where not known yet. */
typedef struct way_type {
    col_type type;
    int64_t **rows;
} way_type;

struct shard_tables {
    shard_model *m;
    col_reshard_costs *costs;
    col_map *lists, *types, *tables;
    size_t layout_count;
    int32_t *row_of; /* by layout, while a table is made: the row that has it, plus one */
};

shard_tables *shard_tables_create(shard_model *m)
{
    shard_tables *t = COL_NEW(m->arena, shard_tables);
    t->m = m;
    t->costs = col_reshard_costs_create(m->options->machine, &m->options->mesh, m->arena);
    t->lists = col_map_create(m->arena);
    t->types = col_map_create(m->arena);
    t->tables = col_map_create(m->arena);
    t->layout_count = m->layouts.list.len;
    t->row_of = COL_NEW_ARRAY(m->arena, int32_t, t->layout_count + 1);
    return t;
}

int32_t *shard_list(shard_tables *t, int32_t count, int32_t *layouts)
{
    int32_t *known = col_map_get_bytes(t->lists, layouts, sizeof *layouts * (size_t)count);
    if (known) return known;
    int32_t *list = col_arena_copy(t->m->arena, layouts, sizeof *layouts * (size_t)count);
    col_map_set_bytes(t->lists, list, sizeof *list * (size_t)count, list);
    return list;
}

static way_type *type_of(shard_tables *t, const col_type *type)
{
    int64_t key[COL_MAX_RANK + 2] = {type->dtype, type->shape.rank};
    memcpy(key + 2, type->shape.dims, sizeof *key * (size_t)type->shape.rank);
    way_type *known = col_map_get_bytes(t->types, key, sizeof key);
    if (known) return known;
    known = COL_NEW(t->m->arena, way_type);
    known->type = *type;
    known->rows = COL_NEW_ARRAY(t->m->arena, int64_t *, t->layout_count + 1);
    col_map_set_bytes(t->types, key, sizeof key, known);
    return known;
}

static int64_t way_cost(shard_tables *t, way_type *type, int32_t from, int32_t to)
{
    int64_t **row = &type->rows[from];
    COL_ASSERT((size_t)from < t->layout_count && (size_t)to < t->layout_count);
    if (!*row) {
        *row = COL_NEW_ARRAY(t->m->arena, int64_t, t->layout_count);
        memset(*row, -1, sizeof **row * t->layout_count);
    }
    if ((*row)[to] >= 0) return (*row)[to];
    const col_layout *source = &t->m->layouts.list.data[from], *target = &t->m->layouts.list.data[to];
    int64_t cost = 0;
    if (target->partial & ~source->partial)
        cost = COL_SHARDING_INFINITY;
    else if (from != to)
        cost = shard_nanoseconds(col_reshard_seconds(t->costs, type->type, source, target));
    return (*row)[to] = cost;
}

/* Nanoseconds of an all-reduce that is one of `joined`: its share of what they cost whatever their size, and copies into
 * and out of what is sent. Where the way is another, or the sum is large, it is what it costs alone. */
static int64_t joined_cost(const shard_tables *t, const col_type *type, int32_t from, int32_t to,
                           int64_t joined, int64_t alone)
{
    const col_layout *source = &t->m->layouts.list.data[from], *target = &t->m->layouts.list.data[to];
    const col_mesh *mesh = &t->m->options->mesh;
    const col_machine *machine = t->m->options->machine;
    col_layout summed = *source;
    summed.partial = target->partial;
    if (source->partial == target->partial || !col_layout_equal(&summed, target)) return alone;
    int64_t dims[COL_MAX_RANK];
    double bytes = (double)col_dtype_size(type->dtype);
    col_layout_local(target, mesh, type->shape.rank, type->shape.dims, dims);
    for (int d = 0; d < type->shape.rank; d++) bytes *= (double)dims[d];
    if (bytes >= COL_BUCKET_LARGE) return alone;
    col_axes axes = {0};
    for (int a = 0; a < mesh->rank; a++) {
        if ((source->partial & ~target->partial) >> a & 1) axes.axis[axes.count++] = (uint8_t)a;
    }
    double started = col_cost_collective(machine, mesh, COL_ALL_REDUCE, &axes, 0),
           sent = col_cost_collective(machine, mesh, COL_ALL_REDUCE, &axes, bytes) - started,
           shared = started / (double)joined + sent + col_cost_traffic(machine, COPIES * bytes);
    return COL_MIN(alone, shard_nanoseconds(shared));
}

static shard_table *make_table(shard_tables *t, const col_type *type, int32_t from_count, const int32_t *from,
                               int32_t to_count, const int32_t *to, int64_t runs, int64_t joined)
{
    way_type *ways = type_of(t, type);
    shard_table *table = COL_NEW(t->m->arena, shard_table);
    int64_t *cost = COL_NEW_ARRAY(t->m->arena, int64_t, (size_t)from_count * (size_t)to_count);
    *table = (shard_table){.cost = cost, .is_free = true};
    for (int32_t p = 0; p < from_count; p++) {
        int64_t *row = cost + (size_t)p * (size_t)to_count;
        int32_t *same = &t->row_of[from[p]];
        if (*same) {
            memcpy(row, cost + (size_t)(*same - 1) * (size_t)to_count, sizeof *row * (size_t)to_count);
            continue;
        }
        *same = p + 1;
        for (int32_t q = 0; q < to_count; q++) {
            row[q] = way_cost(t, ways, from[p], to[q]);
            if (joined > 1 && row[q] > 0 && row[q] < COL_SHARDING_INFINITY)
                row[q] = joined_cost(t, type, from[p], to[q], joined, row[q]);
            if (row[q] < COL_SHARDING_INFINITY) row[q] *= runs;
            table->is_free &= row[q] == 0;
        }
    }
    for (int32_t p = 0; p < from_count; p++) t->row_of[from[p]] = 0;
    return table;
}

const shard_table *shard_table_of(shard_tables *t, const col_type *type, int32_t from_count,
                                  const int32_t *from, int32_t to_count, const int32_t *to, int64_t runs,
                                  int64_t joined)
{
    struct {
        const int32_t *from, *to;
        const way_type *type;
        int64_t from_count, to_count, runs, joined;
    } key = {from, to, type_of(t, type), from_count, to_count, runs, joined};
    shard_table *known = col_map_get_bytes(t->tables, &key, sizeof key);
    if (known) return known;
    known = make_table(t, type, from_count, from, to_count, to, runs, joined);
    col_map_set_bytes(t->tables, &key, sizeof key, known);
    return known;
}
