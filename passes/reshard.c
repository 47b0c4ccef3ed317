/* Resharding as a shortest path.
 *
 * Sets     A  mesh axes of more than one rank whose place differs between the two layouts, or that stand
 *             behind such an axis in their dimension; the other axes stay where they are
 *          D  dimensions that one of the layouts splits over axes of A
 * States   places of the axes of A: free, partial, or in the list of a dimension of D, behind the axes that
 *          stay. A state is a layout that fits the tensor.
 * Edges    one collective each, over axes S of A:
 *            all-reduce      S partial          becomes free             any S
 *            reduce-scatter  S partial          goes to the end of d     any S in any order
 *            all-gather      S at the end of d  becomes free
 *            all-to-all      S at the end of e  goes to the end of d
 *            shard           an axis that is free goes to the end of d
 * Weight   seconds of the collective; ties by bytes, then by number of steps, then by the order above.
 *
 * Dijkstra from the source, nearest state first, until the target is nearest. States are made when they are
 * reached, but for those that are farther than the target is by the direct way below; a search that reaches
 * STATES of them (meshes of over three axes) ends with the direct way: all-reduce, gather everything of A,
 * shard. That way always exists, since its layouts are prefixes of the two. Axes and dimensions outside A and
 * D could only help by a detour that communicates more. */
#include "passes/reshard.h"

#include <string.h>

#include "ir/base/divisor.h"

enum { FREE = 14, PARTIAL = 15, STATES = 2048, SLOTS = 8192, NONE = 0xffff };

/* Place of each axis of A: a dimension of D, FREE or PARTIAL, and the position in the list of the dimension.
 */
typedef struct places {
    uint8_t at[COL_MESH_RANK], position[COL_MESH_RANK];
} places;

typedef struct weight {
    double seconds, bytes;
    int steps;
} weight;

typedef struct state {
    places places;
    weight weight;
    col_reshard_step step; /* that reached it */
    uint16_t before;       /* the state that the step begins at */
    bool done;
} state;

typedef struct search {
    const col_machine *machine;
    const col_mesh *mesh;
    double bytes; /* of the tensor over the axes that stay */
    double limit; /* seconds: no farther */
    int axis_count, dim_count;
    uint8_t axes[COL_MESH_RANK];  /* A */
    uint8_t dims[COL_MAX_RANK];   /* D */
    int64_t blocks[COL_MAX_RANK]; /* of D: size of the dimension over the axes that stay */
    int state_count, open_count;
    bool overflow;
    uint16_t open[STATES];
    uint16_t slots[SLOTS]; /* NONE: empty */
    state states[STATES];
} search;

static bool is_before(const weight *a, const weight *b)
{
    if (a->seconds != b->seconds) return a->seconds < b->seconds;
    if (a->bytes != b->bytes) return a->bytes < b->bytes;
    return a->steps < b->steps;
}

/* Elements of a dimension's list. */
static int list_of(const search *s, const places *p, int dim, uint8_t list[COL_MESH_RANK])
{
    int count = 0;
    for (int a = 0; a < s->axis_count; a++) {
        if (p->at[a] != dim) continue;
        list[p->position[a]] = (uint8_t)a;
        count++;
    }
    return count;
}

static int64_t ranks_of(const search *s, int count, const uint8_t *axes)
{
    int64_t ranks = 1;
    for (int i = 0; i < count; i++) ranks *= s->mesh->dims[s->axes[axes[i]]];
    return ranks;
}

/* Bytes of the tensor that one rank holds. */
static double local_bytes(const search *s, const places *p)
{
    double bytes = s->bytes;
    for (int a = 0; a < s->axis_count; a++) {
        if (p->at[a] < FREE) bytes /= (double)s->mesh->dims[s->axes[a]];
    }
    return bytes;
}

static uint64_t key_of(const search *s, const places *p)
{
    uint64_t key = 0;
    for (int a = 0; a < s->axis_count; a++) key = key << 7 | (uint64_t)(p->at[a] << 3 | p->position[a]);
    return key;
}

/* The state with these places, made when it is new; NONE when there is no room. */
static uint16_t find_state(search *s, const places *p)
{
    uint64_t key = key_of(s, p);
    uint32_t slot = (uint32_t)(key * 0x9E3779B97F4A7C15u >> 40) % SLOTS;
    for (; s->slots[slot] != NONE; slot = (slot + 1) % SLOTS) {
        if (key_of(s, &s->states[s->slots[slot]].places) == key) return s->slots[slot];
    }
    if (s->state_count == STATES) {
        s->overflow = true;
        return NONE;
    }
    uint16_t made = (uint16_t)s->state_count++;
    s->slots[slot] = made;
    s->states[made] = (state){.places = *p, .before = NONE};
    s->open[s->open_count++] = made;
    return made;
}

/* A step over axes of A; the dimensions are of D, or -1. */
static col_reshard_step make_step(const search *s, const places *at, col_collective kind, int count,
                                  const uint8_t *axes, int dim, int from_dim)
{
    col_reshard_step step = {.kind = kind, .axes.count = (uint8_t)count};
    for (int i = 0; i < count; i++) step.axes.axis[i] = s->axes[axes[i]];
    if (dim >= 0) step.dim = s->dims[dim];
    if (from_dim >= 0) step.from_dim = s->dims[from_dim];
    double bytes = local_bytes(s, at);
    step.bytes = col_cost_collective_bytes(kind, ranks_of(s, count, axes), bytes);
    step.seconds = col_cost_collective(s->machine, s->mesh, kind, &step.axes, bytes);
    return step;
}

/* The step from a state that leads to `to`. */
static void relax(search *s, uint16_t from, col_collective kind, int count, const uint8_t *axes, int dim,
                  int from_dim, const places *to)
{
    const state *start = &s->states[from];
    if (start->weight.steps == COL_RESHARD_STEPS) return;
    col_reshard_step step = make_step(s, &start->places, kind, count, axes, dim, from_dim);
    weight w = {start->weight.seconds + step.seconds, start->weight.bytes + step.bytes,
                start->weight.steps + 1};
    if (w.seconds > s->limit) return;
    uint16_t index = find_state(s, to);
    if (index == NONE || s->states[index].done) return;
    state *end = &s->states[index];
    if (end->before != NONE && !is_before(&w, &end->weight)) return;
    end->weight = w;
    end->step = step;
    end->before = from;
}

/* Puts axes behind a dimension's list; false where its size does not divide. */
static bool push(const search *s, places *p, int dim, int count, const uint8_t *axes)
{
    uint8_t list[COL_MESH_RANK];
    int length = list_of(s, p, dim, list);
    int64_t parts = ranks_of(s, length, list) * ranks_of(s, count, axes);
    if (s->blocks[dim] % parts) return false;
    for (int i = 0; i < count; i++) {
        p->at[axes[i]] = (uint8_t)dim;
        p->position[axes[i]] = (uint8_t)(length + i);
    }
    return true;
}

static void set_free(places *p, int count, const uint8_t *axes)
{
    for (int i = 0; i < count; i++) {
        p->at[axes[i]] = FREE;
        p->position[axes[i]] = 0;
    }
}

/* All-reduces and reduce-scatters of partial axes: extends the chosen ones by each of the rest. */
static void relax_partial(search *s, uint16_t from, int count, uint8_t *chosen)
{
    const places start = s->states[from].places;
    if (count == COL_MESH_RANK) return;
    for (int a = 0; a < s->axis_count; a++) {
        if (start.at[a] != PARTIAL) continue;
        bool is_chosen = false, ascending = true;
        for (int i = 0; i < count; i++) {
            is_chosen |= chosen[i] == a;
            ascending &= chosen[i] < a && (i == 0 || chosen[i - 1] < chosen[i]);
        }
        if (is_chosen) continue;
        chosen[count] = (uint8_t)a;
        if (ascending) {
            places to = start;
            set_free(&to, count + 1, chosen);
            relax(s, from, COL_ALL_REDUCE, count + 1, chosen, -1, -1, &to);
        }
        for (int d = 0; d < s->dim_count; d++) {
            places to = start;
            if (push(s, &to, d, count + 1, chosen))
                relax(s, from, COL_REDUCE_SCATTER, count + 1, chosen, d, -1, &to);
        }
        relax_partial(s, from, count + 1, chosen);
    }
}

/* Gathers and all-to-alls of the last axes of each dimension, and shards. */
static void relax_split(search *s, uint16_t from)
{
    const places start = s->states[from].places;
    for (int e = 0; e < s->dim_count; e++) {
        uint8_t list[COL_MESH_RANK];
        int length = list_of(s, &start, e, list);
        for (int count = 1; count <= length; count++) {
            const uint8_t *last = list + length - count;
            places gathered = start;
            set_free(&gathered, count, last);
            relax(s, from, COL_ALL_GATHER, count, last, e, -1, &gathered);
            for (int d = 0; d < s->dim_count; d++) {
                places to = gathered;
                if (d != e && push(s, &to, d, count, last))
                    relax(s, from, COL_ALL_TO_ALL, count, last, d, e, &to);
            }
        }
        for (uint8_t a = 0; a < s->axis_count; a++) {
            places to = start;
            if (start.at[a] == FREE && push(s, &to, e, 1, &a)) relax(s, from, COL_SHARD, 1, &a, e, -1, &to);
        }
    }
}

static void add_step(col_reshard_path *path, const col_reshard_step *step)
{
    path->bytes += step->bytes;
    path->seconds += step->seconds;
    col_reshard_step *last = path->count ? &path->steps[path->count - 1] : NULL;
    if (last && last->kind == COL_SHARD && step->kind == COL_SHARD && last->dim == step->dim) {
        for (int i = 0; i < step->axes.count; i++) last->axes.axis[last->axes.count++] = step->axes.axis[i];
        return;
    }
    COL_ASSERT(path->count < COL_RESHARD_STEPS);
    path->steps[path->count++] = *step;
}

/* False when the target was not reached. */
static bool trace(const search *s, uint16_t target, col_reshard_path *out)
{
    uint16_t way[COL_RESHARD_STEPS];
    int count = 0;
    for (uint16_t at = target; s->states[at].before != NONE; at = s->states[at].before) way[count++] = at;
    for (int i = count - 1; i >= 0; i--) add_step(out, &s->states[way[i]].step);
    return count > 0;
}

static bool dijkstra(search *s, const places *from, const places *to, col_reshard_path *out)
{
    memset(s->slots, 0xff, sizeof s->slots);
    uint16_t source = find_state(s, from), target = find_state(s, to);
    while (s->open_count) {
        int nearest = -1;
        for (int i = 0; i < s->open_count; i++) {
            const state *candidate = &s->states[s->open[i]];
            if (candidate->before == NONE && s->open[i] != source) continue;
            if (nearest < 0 || is_before(&candidate->weight, &s->states[s->open[nearest]].weight))
                nearest = i;
        }
        if (nearest < 0) break;
        uint16_t at = s->open[nearest];
        s->open[nearest] = s->open[--s->open_count];
        s->states[at].done = true;
        if (at == target) break;
        uint8_t chosen[COL_MESH_RANK];
        relax_partial(s, at, 0, chosen);
        relax_split(s, at);
    }
    return trace(s, target, out);
}

/* All-reduce, gather everything of A, shard. */
static void go_directly(const search *s, const places *from, const places *to, col_reshard_path *out)
{
    places at = *from;
    uint8_t list[COL_MESH_RANK];
    int count = list_of(s, &at, PARTIAL, list);
    for (int i = 0, a = 0; a < s->axis_count; a++) {
        if (at.at[a] == PARTIAL) list[i++] = (uint8_t)a;
    }
    if (count) {
        col_reshard_step step = make_step(s, &at, COL_ALL_REDUCE, count, list, -1, -1);
        add_step(out, &step);
        set_free(&at, count, list);
    }
    for (int d = 0; d < s->dim_count; d++) {
        count = list_of(s, &at, d, list);
        if (!count) continue;
        col_reshard_step step = make_step(s, &at, COL_ALL_GATHER, count, list, d, -1);
        add_step(out, &step);
        set_free(&at, count, list);
    }
    for (int d = 0; d < s->dim_count; d++) {
        count = list_of(s, to, d, list);
        if (!count) continue;
        col_reshard_step step = make_step(s, &at, COL_SHARD, count, list, d, -1);
        add_step(out, &step);
        push(s, &at, d, count, list);
    }
}

/* The axes of a dimension that have more than one rank. */
static col_axes wide_axes(const col_mesh *mesh, const col_axes *axes)
{
    col_axes wide = {0};
    for (int i = 0; i < axes->count; i++) {
        if (mesh->dims[axes->axis[i]] > 1) wide.axis[wide.count++] = axes->axis[i];
    }
    return wide;
}

/* The index in A, where the axis is put when it is new. */
static int index_of(search *s, int axis, places *from, places *to)
{
    for (int a = 0; a < s->axis_count; a++) {
        if (s->axes[a] == axis) return a;
    }
    s->axes[s->axis_count] = (uint8_t)axis;
    from->at[s->axis_count] = to->at[s->axis_count] = FREE;
    return s->axis_count++;
}

/* Axes of a dimension after the first `common` go to A with their place. */
static void place_axes(search *s, const col_axes *axes, int common, int dim, places *own, places *other)
{
    for (int i = common; i < axes->count; i++) {
        int a = index_of(s, axes->axis[i], own, other);
        own->at[a] = (uint8_t)dim;
        own->position[a] = (uint8_t)(i - common);
    }
}

/* Sets A, D and the ends of the search. */
static void compare(search *s, col_type type, const col_layout *from, const col_layout *to, places *out_from,
                    places *out_to)
{
    s->bytes = (double)col_type_bytes(type);
    for (int d = 0; d < type.shape.rank; d++) {
        col_axes source = wide_axes(s->mesh, &from->split[d]), target = wide_axes(s->mesh, &to->split[d]);
        int common = 0;
        int64_t parts = 1;
        while (common < source.count && common < target.count && source.axis[common] == target.axis[common])
            parts *= s->mesh->dims[source.axis[common++]];
        s->bytes /= (double)parts;
        if (common == source.count && common == target.count) continue;
        s->dims[s->dim_count] = (uint8_t)d;
        s->blocks[s->dim_count] = type.shape.dims[d] / parts;
        place_axes(s, &source, common, s->dim_count, out_from, out_to);
        place_axes(s, &target, common, s->dim_count, out_to, out_from);
        s->dim_count++;
    }
    for (int axis = 0; axis < s->mesh->rank; axis++) {
        if (s->mesh->dims[axis] == 1 || !((from->partial ^ to->partial) >> axis & 1)) continue;
        COL_ASSERT(from->partial >> axis & 1);
        out_from->at[index_of(s, axis, out_from, out_to)] = PARTIAL;
    }
}

static void start_search(search *s, const col_machine *machine, const col_mesh *mesh)
{
    s->machine = machine;
    s->mesh = mesh;
    s->axis_count = s->dim_count = s->state_count = s->open_count = 0;
    s->overflow = false;
}

static void find_path(search *s, const places *source, const places *target, col_reshard_path *out)
{
    col_reshard_path direct = {0};
    *out = (col_reshard_path){0};
    bool only_shards = true;
    for (int a = 0; a < s->axis_count; a++) only_shards &= source->at[a] == FREE;
    go_directly(s, source, target, &direct);
    s->limit = direct.seconds * (1 + 1e-9); /* sums in another order may differ in the last digits */
    bool found = !only_shards && dijkstra(s, source, target, out);
    if (!found || (s->overflow && direct.seconds < out->seconds)) *out = direct;
}

void col_reshard(const col_machine *machine, const col_mesh *mesh, col_type type, const col_layout *from,
                 const col_layout *to, col_reshard_path *out)
{
    search s; /* not cleared: most of it is room that a small search does not touch */
    start_search(&s, machine, mesh);
    places source = {0}, target = {0};
    compare(&s, type, from, to, &source, &target);
    find_path(&s, &source, &target, out);
}

struct col_reshard_costs {
    const col_machine *machine;
    const col_mesh *mesh;
    col_arena *arena;
    uint8_t alike[COL_MESH_RANK]; /* the first of the axes before this one that have its size and link */
    col_map *known;
};

/* All that the seconds depend on. Of a block only its common divisor with the ranks of A matters, since what
 * splits it is a product of some of their sizes. Sums go over the axes in the order of the mesh, so only
 * neighbours can be alike. */
typedef struct way_key {
    double bytes;
    int64_t blocks[COL_MAX_RANK];
    places from, to;
    uint8_t alike[COL_MESH_RANK], axis_count, dim_count;
} way_key;

col_reshard_costs *col_reshard_costs_create(const col_machine *machine, const col_mesh *mesh,
                                            col_arena *arena)
{
    col_reshard_costs *costs = COL_NEW(arena, col_reshard_costs);
    costs->machine = machine;
    costs->mesh = mesh;
    costs->arena = arena;
    costs->known = col_map_create(arena);
    for (int a = 0; a < mesh->rank; a++) {
        bool same = a > 0 && mesh->dims[a] == mesh->dims[a - 1] &&
                    !memcmp(&machine->links[a], &machine->links[a - 1], sizeof machine->links[a]);
        costs->alike[a] = same ? costs->alike[a - 1] : (uint8_t)a;
    }
    return costs;
}

double col_reshard_seconds(col_reshard_costs *costs, col_type type, const col_layout *from,
                           const col_layout *to)
{
    search s;
    way_key key;
    start_search(&s, costs->machine, costs->mesh);
    memset(&key, 0, sizeof key); /* padding is hashed, too */
    compare(&s, type, from, to, &key.from, &key.to);
    int64_t ranks = 1;
    for (int a = 0; a < s.axis_count; a++) {
        ranks *= s.mesh->dims[s.axes[a]];
        key.alike[a] = costs->alike[s.axes[a]];
    }
    key.bytes = s.bytes;
    key.axis_count = (uint8_t)s.axis_count;
    key.dim_count = (uint8_t)s.dim_count;
    for (int d = 0; d < s.dim_count; d++) key.blocks[d] = col_common_divisor(s.blocks[d], ranks);
    double *known = col_map_get_bytes(costs->known, &key, sizeof key);
    if (known) return *known;
    col_reshard_path path;
    find_path(&s, &key.from, &key.to, &path);
    known = COL_NEW(costs->arena, double);
    *known = path.seconds;
    col_map_set_bytes(costs->known, &key, sizeof key, known);
    return *known;
}
