/* Exact variable elimination, bounded in width.
 *
 * Plan. Nodes are eliminated in order of least table (k_i times the strategies of its neighbours); neighbours
 * become a clique. When the least table passes the cap, a node among the widest is taken out instead: it
 * keeps its choice, and conditioning on it splits the graph. Tables planned before that merely lose a
 * dimension.
 *
 * Run. Eliminating i over its neighbours N (the scope) gives the message
 *     m_i(x_N) = min_p price_i(p) + sum_{fixed j} r_ij(p, s_j) + sum_{j in N} r_ij(p, x_j) + messages into i.
 * Scopes are sorted so that the node eliminated next varies fastest. So in the table of every factor of i, p
 * is contiguous, and a message is a walk over states of N with one running offset per factor. The choices are
 * read off backwards, by minimising again in each node: no argmin tables. */
#include "solver/sharding_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCOPE_LIMIT = 24 }; /* dimensions: the cap on cells is reached long before, all k being at least 2 */

typedef struct factor {
    const double *table; /* pair table; NULL: the message of `from` */
    int32_t from;
    int32_t stride[SCOPE_LIMIT];
} factor;

typedef struct cluster {
    int32_t node; /* local */
    int32_t width;
    int32_t scope[SCOPE_LIMIT]; /* local, latest eliminated first */
    int32_t first_factor, factor_count;
    size_t message; /* offset into cells */
} cluster;

typedef struct heap_entry {
    float weight;
    int32_t node;
} heap_entry;

struct eliminator {
    const model *m;
    int32_t *local; /* [n] index in the region, -1 outside */
    int32_t *nodes; /* region */
    int32_t count;
    int32_t free_count;
    int32_t *free_nodes;
    int32_t *position;                      /* local: place in the order, -1 fixed */
    float *log_k;                           /* [n] */
    float *weight;                          /* local */
    int32_t **adjacent, *degree, *capacity; /* local */
    int32_t *stamp, now;
    uint8_t *done;
    heap_entry *heap;
    size_t heap_size, heap_capacity;
    cluster *clusters; /* in order */
    int32_t cluster_count;
    int32_t *cluster_of; /* local -> cluster */
    factor *factors;
    size_t factor_count, factor_capacity;
    double *cells;
    size_t cell_count, cell_capacity;
    double work;
    double *unary;                    /* [max k] */
    int32_t *inbox_next, *inbox_head; /* clusters' messages by receiving cluster */
};

static void *grow(void *data, size_t size)
{
    data = realloc(data, size);
    if (!data) col_out_of_memory(size);
    return data;
}

eliminator *sharding_eliminator_make(const model *m)
{
    eliminator *x = grow(NULL, sizeof *x);
    *x = (eliminator){.m = m};
    size_t n = (size_t)m->n + 1;
    x->local = grow(NULL, n * sizeof *x->local);
    for (size_t i = 0; i < n; i++) x->local[i] = -1;
    x->nodes = grow(NULL, n * sizeof *x->nodes);
    x->free_nodes = grow(NULL, n * sizeof *x->free_nodes);
    x->position = grow(NULL, n * sizeof *x->position);
    x->log_k = grow(NULL, n * sizeof *x->log_k);
    x->weight = grow(NULL, n * sizeof *x->weight);
    x->adjacent = calloc(n, sizeof *x->adjacent);
    x->degree = calloc(n, sizeof *x->degree);
    x->capacity = calloc(n, sizeof *x->capacity);
    x->stamp = calloc(n, sizeof *x->stamp);
    x->done = calloc(n, 1);
    if (!x->adjacent || !x->degree || !x->capacity || !x->stamp || !x->done) col_out_of_memory(0);
    x->clusters = grow(NULL, n * sizeof *x->clusters);
    x->cluster_of = grow(NULL, n * sizeof *x->cluster_of);
    x->inbox_next = grow(NULL, n * sizeof *x->inbox_next);
    x->inbox_head = grow(NULL, n * sizeof *x->inbox_head);
    int32_t widest = 1;
    for (int32_t i = 0; i < m->n; i++) {
        x->log_k[i] = logf((float)m->k[i]);
        widest = COL_MAX(widest, m->k[i]);
    }
    x->unary = grow(NULL, (size_t)widest * 2 * sizeof *x->unary);
    return x;
}

void sharding_eliminator_free(eliminator *x)
{
    if (!x) return;
    for (int32_t i = 0; i < x->m->n; i++) free(x->adjacent[i]);
    void *owned[] = {x->local,  x->nodes,    x->free_nodes, x->position,   x->log_k,
                     x->weight, x->adjacent, x->degree,     x->capacity,   x->stamp,
                     x->done,   x->heap,     x->clusters,   x->cluster_of, x->factors,
                     x->cells,  x->unary,    x->inbox_next, x->inbox_head, x};
    for (size_t i = 0; i < COL_COUNT(owned); i++) free(owned[i]);
}

const int32_t *sharding_eliminator_nodes(const eliminator *x, int32_t *out_count)
{
    *out_count = x->free_count;
    return x->free_nodes;
}

double sharding_eliminator_work(const eliminator *x)
{
    return x->work;
}

static void heap_push(eliminator *x, int32_t node)
{
    if (x->heap_size == x->heap_capacity) {
        x->heap_capacity = 2 * x->heap_capacity + 64;
        x->heap = grow(x->heap, x->heap_capacity * sizeof *x->heap);
    }
    size_t at = x->heap_size++;
    heap_entry e = {x->weight[node], node};
    for (; at && x->heap[(at - 1) / 2].weight > e.weight; at = (at - 1) / 2)
        x->heap[at] = x->heap[(at - 1) / 2];
    x->heap[at] = e;
}

static heap_entry heap_pop(eliminator *x)
{
    heap_entry top = x->heap[0], last = x->heap[--x->heap_size];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= x->heap_size) break;
        if (child + 1 < x->heap_size && x->heap[child + 1].weight < x->heap[child].weight) child++;
        if (x->heap[child].weight >= last.weight) break;
        x->heap[at] = x->heap[child];
        at = child;
    }
    x->heap[at] = last;
    return top;
}

static void connect(eliminator *x, int32_t a, int32_t b)
{
    if (x->degree[a] == x->capacity[a]) {
        x->capacity[a] = 2 * x->capacity[a] + 8;
        x->adjacent[a] = grow(x->adjacent[a], (size_t)x->capacity[a] * sizeof(int32_t));
    }
    x->adjacent[a][x->degree[a]++] = b;
}

static void disconnect(eliminator *x, int32_t a, int32_t b)
{
    for (int32_t j = 0; j < x->degree[a]; j++) {
        if (x->adjacent[a][j] != b) continue;
        x->adjacent[a][j] = x->adjacent[a][--x->degree[a]];
        return;
    }
}

static void weigh(eliminator *x, int32_t a)
{
    float weight = x->log_k[x->nodes[a]];
    for (int32_t j = 0; j < x->degree[a]; j++) weight += x->log_k[x->nodes[x->adjacent[a][j]]];
    x->weight[a] = weight;
    heap_push(x, a);
}

static void build_graph(eliminator *x)
{
    const model *m = x->m;
    for (int32_t a = 0; a < x->count; a++) {
        x->degree[a] = 0;
        x->done[a] = 0;
        x->stamp[a] = 0;
        x->position[a] = -1;
        int32_t i = x->nodes[a];
        for (int32_t j = m->first_arc[i]; j < m->first_arc[i + 1]; j++) {
            int32_t b = x->local[m->arcs[j].other];
            if (b >= 0) connect(x, a, b);
        }
    }
    x->now = 0;
    x->heap_size = 0;
    for (int32_t a = 0; a < x->count; a++) weigh(x, a);
}

static void eliminate(eliminator *x, int32_t a)
{
    int32_t d = x->degree[a];
    const int32_t *scope = x->adjacent[a];
    for (int32_t i = 0; i < d; i++) {
        int32_t b = scope[i];
        x->now++;
        x->stamp[b] = x->now;
        for (int32_t j = 0; j < x->degree[b]; j++) {
            if (x->adjacent[b][j] == a)
                x->adjacent[b][j--] = x->adjacent[b][--x->degree[b]];
            else
                x->stamp[x->adjacent[b][j]] = x->now;
        }
        for (int32_t j = 0; j < d; j++)
            if (x->stamp[scope[j]] != x->now) connect(x, b, scope[j]);
    }
    for (int32_t i = 0; i < d; i++) weigh(x, scope[i]);
}

/* A node to fix: the widest of some drawn at random. */
static int32_t draw_wide(eliminator *x, const int32_t *left, int32_t left_count, int draws, uint64_t *seed)
{
    int32_t best = -1;
    for (int draw = 0; draw < draws; draw++) {
        int32_t a = left[random_below(seed, left_count)];
        if (best < 0 || x->weight[a] > x->weight[best]) best = a;
    }
    return best;
}

int32_t sharding_eliminator_plan(eliminator *x, const int32_t *nodes, int32_t count, double cap,
                                 uint64_t *seed)
{
    for (int32_t a = 0; a < x->count; a++) x->local[x->nodes[a]] = -1;
    x->count = count;
    for (int32_t a = 0; a < count; a++) {
        x->nodes[a] = nodes[a];
        x->local[nodes[a]] = a;
    }
    build_graph(x);
    float log_cap = logf((float)cap);
    int32_t *left = grow(NULL, ((size_t)count + 1) * sizeof *left), left_count = 0;
    bool listed = false;
    int draws = 1 << random_below(seed, 4); /* few: nodes with many neighbours stay free more often */
    int32_t order = 0;
    while (x->heap_size) {
        heap_entry top = heap_pop(x);
        int32_t a = top.node;
        if (x->done[a] || top.weight != x->weight[a]) continue;
        if ((top.weight > log_cap || x->degree[a] > SCOPE_LIMIT) && x->degree[a] > 0) {
            heap_push(x, a);
            if (!listed || left_count > 2 * 64) {
                left_count = 0;
                for (int32_t b = 0; b < count; b++)
                    if (!x->done[b]) left[left_count++] = b;
                listed = true;
            }
            int32_t b = draw_wide(x, left, left_count, draws, seed);
            if (x->done[b]) {
                listed = false;
                continue;
            }
            x->done[b] = 1;
            for (int32_t j = 0; j < x->degree[b]; j++) {
                disconnect(x, x->adjacent[b][j], b);
                weigh(x, x->adjacent[b][j]);
            }
            continue;
        }
        x->done[a] = 1;
        x->position[a] = order;
        cluster *c = &x->clusters[order];
        c->node = a;
        c->width = x->degree[a];
        if (c->width) memcpy(c->scope, x->adjacent[a], (size_t)c->width * sizeof(int32_t));
        x->cluster_of[a] = order++;
        eliminate(x, a);
    }
    free(left);
    x->cluster_count = x->free_count = order;
    for (int32_t i = 0; i < order; i++) x->free_nodes[i] = x->nodes[x->clusters[i].node];

    /* Sort and clean the scopes, then place factors and messages. */
    const model *m = x->m;
    x->factor_count = x->cell_count = 0;
    x->work = 0;
    for (int32_t i = 0; i < order; i++) x->inbox_head[i] = -1;
    for (int32_t i = 0; i < order; i++) {
        cluster *c = &x->clusters[i];
        int32_t width = 0;
        for (int32_t j = 0; j < c->width; j++) {
            int32_t b = c->scope[j], at = width;
            if (x->position[b] < 0) continue;
            for (; at && x->position[c->scope[at - 1]] < x->position[b]; at--)
                c->scope[at] = c->scope[at - 1];
            c->scope[at] = b;
            width++;
        }
        c->width = width;
        size_t cells = 1;
        for (int32_t j = 0; j < width; j++) cells *= (size_t)m->k[x->nodes[c->scope[j]]];
        c->message = x->cell_count;
        x->cell_count += cells;
        if (width) {
            int32_t to = x->position[c->scope[width - 1]];
            x->inbox_next[i] = x->inbox_head[to];
            x->inbox_head[to] = i;
        }
        c->first_factor = (int32_t)x->factor_count;
        int32_t node = x->nodes[c->node], k = m->k[node];
        int32_t arcs = m->first_arc[node + 1] - m->first_arc[node];
        size_t most = x->factor_count + (size_t)arcs;
        for (int32_t from = x->inbox_head[i]; from >= 0; from = x->inbox_next[from]) most++;
        if (most > x->factor_capacity) {
            x->factor_capacity = 2 * most;
            x->factors = grow(x->factors, x->factor_capacity * sizeof *x->factors);
        }
        for (int32_t j = 0; j < width; j++) {
            int32_t b = x->nodes[c->scope[j]];
            /* The pair's table with p fastest: seen from b. */
            for (int32_t y = m->first_arc[node]; y < m->first_arc[node + 1]; y++) {
                if (m->arcs[y].other != b) continue;
                const arc *back = &m->arcs[m->twin[y]];
                factor *f = &x->factors[x->factor_count++];
                *f = (factor){.table = back->table, .from = -1};
                f->stride[j] = k;
                break;
            }
        }
        for (int32_t from = x->inbox_head[i]; from >= 0; from = x->inbox_next[from]) {
            const cluster *d = &x->clusters[from];
            factor *f = &x->factors[x->factor_count++];
            *f = (factor){.from = from};
            int32_t stride = k;
            for (int32_t s = d->width - 2, j = width - 1; s >= 0; s--) {
                while (c->scope[j] != d->scope[s]) j--;
                f->stride[j] = stride;
                stride *= m->k[x->nodes[d->scope[s]]];
            }
        }
        c->factor_count = (int32_t)x->factor_count - c->first_factor;
        x->work += (double)cells * k * (c->factor_count + 2);
    }
    if (x->cell_count > x->cell_capacity) {
        x->cell_capacity = x->cell_count + x->cell_count / 2;
        free(x->cells);
        x->cells = grow(NULL, x->cell_capacity * sizeof *x->cells);
    }
    return order;
}

/* price + edges to nodes that keep their choice. */
static void make_unary(const eliminator *x, int32_t node, const double *price, const int32_t *choice,
                       double *out)
{
    const model *m = x->m;
    int32_t k = m->k[node];
    memcpy(out, price + m->offset[node], sizeof(double) * (size_t)k);
    for (int32_t y = m->first_arc[node]; y < m->first_arc[node + 1]; y++) {
        const arc *a = &m->arcs[y];
        int32_t b = x->local[a->other];
        if (b >= 0 && x->position[b] >= 0) continue;
        const double *row = m->arcs[m->twin[y]].table + (size_t)choice[a->other] * (size_t)k;
        for (int32_t p = 0; p < k; p++) out[p] += row[p];
    }
}

static void send_message(eliminator *x, const cluster *c, const double *unary)
{
    const model *m = x->m;
    int32_t k = m->k[x->nodes[c->node]], width = c->width, factors = c->factor_count;
    const double *at[64 + 2 * SCOPE_LIMIT];
    const double **base = at;
    const double **heap_base = NULL;
    if (factors > (int32_t)COL_COUNT(at)) base = heap_base = grow(NULL, sizeof *base * (size_t)factors);
    const factor *f = &x->factors[c->first_factor];
    for (int32_t j = 0; j < factors; j++)
        base[j] = f[j].table ? f[j].table : x->cells + x->clusters[f[j].from].message;
    double *out = x->cells + c->message;
    int32_t state[SCOPE_LIMIT] = {0}, size[SCOPE_LIMIT];
    for (int32_t j = 0; j < width; j++) size[j] = m->k[x->nodes[c->scope[j]]];
    double *sum = x->unary;
    for (;;) {
        memcpy(sum, unary, sizeof(double) * (size_t)k);
        for (int32_t j = 0; j < factors; j++) {
            const double *row = base[j];
            for (int32_t p = 0; p < k; p++) sum[p] += row[p];
        }
        double least = sum[0];
        for (int32_t p = 1; p < k; p++) least = sum[p] < least ? sum[p] : least;
        *out++ = least;
        int32_t d = width - 1;
        while (d >= 0 && ++state[d] == size[d]) {
            for (int32_t j = 0; j < factors; j++) base[j] -= (ptrdiff_t)f[j].stride[d] * (size[d] - 1);
            state[d--] = 0;
        }
        if (d < 0) break;
        for (int32_t j = 0; j < factors; j++) base[j] += f[j].stride[d];
    }
    free(heap_base);
}

void sharding_eliminator_run(eliminator *x, const double *price, int32_t *choice)
{
    const model *m = x->m;
    int32_t widest = 1;
    for (int32_t i = 0; i < x->cluster_count; i++) widest = COL_MAX(widest, m->k[x->free_nodes[i]]);
    double *unary = grow(NULL, sizeof(double) * (size_t)widest);
    for (int32_t i = 0; i < x->cluster_count; i++) {
        const cluster *c = &x->clusters[i];
        make_unary(x, x->nodes[c->node], price, choice, unary);
        send_message(x, c, unary);
    }
    for (int32_t i = x->cluster_count; i-- > 0;) {
        const cluster *c = &x->clusters[i];
        int32_t node = x->nodes[c->node], k = m->k[node];
        /* Free nodes later in the order have their new choice already; earlier ones speak through messages,
         * and their old choices must not count: make_unary skips every free node. */
        make_unary(x, node, price, choice, unary);
        for (int32_t j = 0; j < c->factor_count; j++) {
            const factor *f = &x->factors[c->first_factor + j];
            const double *row = f->table ? f->table : x->cells + x->clusters[f->from].message;
            for (int32_t s = 0; s < c->width; s++)
                row += (ptrdiff_t)f->stride[s] * choice[x->nodes[c->scope[s]]];
            for (int32_t p = 0; p < k; p++) unary[p] += row[p];
        }
        int32_t best = choice[node] < k ? choice[node] : 0;
        for (int32_t p = 0; p < k; p++)
            if (unary[p] < unary[best]) best = p;
        choice[node] = best;
    }
    free(unary);
}
