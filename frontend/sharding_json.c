/* A streaming reader for the contest's JSON. The files unpack to over 100 MB and have one fixed shape, so the
 * numbers go straight into the tables of the problem; a tree of JSON values would take twenty times the room.
 *
 * Keys may come in any order, once each; unknown keys are refused. Sizes are checked against each other at
 * the end, because "edges" may stand before "nodes". */
#include "frontend/sharding_json.h"
#include "ir/base/file.h"
#include "ir/base/vec.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>

enum { BUFFER = 1 << 18, NAME_LIMIT = 32, STRATEGY_LIMIT = 65536 };

typedef struct reader {
    const char *path;
    gzFile file;
    unsigned char *buffer;
    size_t at, filled;
    uint64_t offset_base; /* of buffer[0] in the unpacked text */
    uint64_t line, line_offset;
    bool ended;
    col_status failure; /* of reading itself */
    col_arena *arena;
    COL_VEC(int64_t) scratch;
} reader;

static int fill(reader *r)
{
    if (r->ended) return -1;
    r->offset_base += r->filled;
    r->at = r->filled = 0;
    int got = gzread(r->file, r->buffer, BUFFER);
    if (got <= 0) {
        r->ended = true;
        int code = Z_OK;
        const char *words = gzerror(r->file, &code);
        if (code != Z_OK && code != Z_STREAM_END) {
            r->failure = col_error_make(COL_BAD_INPUT, "'%s' cannot be unpacked: %s; is the file complete?",
                                        r->path, code == Z_BUF_ERROR ? "it ends early" : words);
        }
        return -1;
    }
    r->filled = (size_t)got;
    return r->buffer[0];
}

/* The next byte without taking it; -1 at the end. */
static inline int peek(reader *r)
{
    return r->at < r->filled ? r->buffer[r->at] : fill(r);
}

static inline void skip_space(reader *r)
{
    for (int c = peek(r); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = peek(r)) {
        r->at++;
        if (c == '\n') {
            r->line++;
            r->line_offset = r->offset_base + r->at;
        }
    }
}

static col_status fault(reader *r, const char *format, ...) COL_PRINTF(2, 3);
static col_status fault(reader *r, const char *format, ...)
{
    if (r->failure) {
        col_status failure = r->failure;
        r->failure = NULL;
        return failure;
    }
    va_list args;
    va_start(args, format);
    col_status status = col_error_make_v(COL_BAD_INPUT, format, args);
    va_end(args);
    uint64_t column = r->offset_base + r->at - r->line_offset + 1;
    return col_error_annotate(status, "%s:%" PRIu64 ":%" PRIu64 ": error", r->path, r->line, column);
}

static col_status expect(reader *r, char wanted)
{
    skip_space(r);
    int c = peek(r);
    if (c == wanted) {
        r->at++;
        return NULL;
    }
    if (c < 0) return fault(r, "the file ends where '%c' must follow", wanted);
    if (c < 32 || c > 126) return fault(r, "byte 0x%02x where '%c' must stand", (unsigned)c, wanted);
    return fault(r, "'%c' where '%c' must stand", c, wanted);
}

static bool take(reader *r, char wanted)
{
    skip_space(r);
    if (peek(r) != wanted) return false;
    r->at++;
    return true;
}

/* A whole number from 0 to 2^63 - 1. */
static col_status read_number(reader *r, const char *what, int64_t *out)
{
    skip_space(r);
    int c = peek(r);
    if (c == '-') return fault(r, "%s is negative; costs, usages, times and node numbers start at 0", what);
    if (c < '0' || c > '9') return fault(r, "%s must be a whole number", what);
    int64_t value = 0;
    bool zero = c == '0';
    for (int digits = 0; c >= '0' && c <= '9'; c = peek(r), digits++) {
        if (digits && zero) return fault(r, "%s has a leading zero", what);
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(c - '0'), &value))
            return fault(r, "%s does not fit in 63 bits", what);
        r->at++;
    }
    if (c == '.' || c == 'e' || c == 'E')
        return fault(r, "%s must be a whole number, without fraction or exponent", what);
    *out = value;
    return NULL;
}

/* A string without escapes; longer ones are cut, which no known key survives. */
static col_status read_name(reader *r, char out[NAME_LIMIT])
{
    COL_TRY(expect(r, '"'));
    size_t size = 0;
    for (int c = peek(r); c != '"'; c = peek(r)) {
        if (c < 32) return fault(r, "string without an end");
        r->at++;
        if (c == '\\') {
            if (peek(r) < 32) return fault(r, "string without an end");
            r->at++;
        }
        if (size + 1 < NAME_LIMIT) out[size++] = (char)c;
    }
    r->at++;
    out[size] = 0;
    return NULL;
}

/* Numbers of one array, into scratch. */
static col_status read_numbers(reader *r, const char *what)
{
    r->scratch.len = 0;
    COL_TRY(expect(r, '['));
    if (take(r, ']')) return NULL;
    do {
        int64_t value;
        COL_TRY(read_number(r, what, &value));
        col_vec_push(r->arena, &r->scratch, value);
    } while (take(r, ','));
    return expect(r, ']');
}

typedef struct row {
    const int64_t *data;
    size_t count;
} row;

typedef struct rows {
    COL_VEC(row) list;
    bool given;
} rows;

/* An array of arrays. */
static col_status read_rows(reader *r, const char *what, rows *out)
{
    out->given = true;
    COL_TRY(expect(r, '['));
    if (take(r, ']')) return NULL;
    do {
        COL_TRY(read_numbers(r, what));
        int64_t *data = col_arena_copy(r->arena, r->scratch.data, sizeof(int64_t) * r->scratch.len);
        row x = {data, r->scratch.len};
        col_vec_push(r->arena, &out->list, x);
    } while (take(r, ','));
    return expect(r, ']');
}

typedef struct contents {
    rows intervals, costs, usages; /* of nodes */
    rows ends, tables;             /* of edges */
    int64_t limit;
    bool limit_given, name_given, nodes_given, edges_given, problem_given;
} contents;

typedef col_status (*key_reader)(reader *r, contents *c, const char *key);

static col_status read_object(reader *r, contents *c, key_reader read)
{
    COL_TRY(expect(r, '{'));
    if (take(r, '}')) return NULL;
    do {
        char key[NAME_LIMIT];
        COL_TRY(read_name(r, key));
        COL_TRY(expect(r, ':'));
        COL_TRY(read(r, c, key));
    } while (take(r, ','));
    return expect(r, '}');
}

static col_status once(reader *r, bool *given, const char *key)
{
    if (*given) return fault(r, "key \"%s\" for the second time", key);
    *given = true;
    return NULL;
}

static col_status read_list(reader *r, rows *list, const char *key, const char *what)
{
    if (list->given) return fault(r, "key \"%s\" for the second time", key);
    return read_rows(r, what, list);
}

static col_status read_nodes_key(reader *r, contents *c, const char *key)
{
    if (!strcmp(key, "intervals")) return read_list(r, &c->intervals, key, "an interval's bound");
    if (!strcmp(key, "costs")) return read_list(r, &c->costs, key, "a node's cost");
    if (!strcmp(key, "usages")) return read_list(r, &c->usages, key, "a node's usage");
    return fault(r, "unknown key \"%s\" in \"nodes\"; it has intervals, costs and usages", key);
}

static col_status read_edges_key(reader *r, contents *c, const char *key)
{
    if (!strcmp(key, "nodes")) return read_list(r, &c->ends, key, "an edge's node");
    if (!strcmp(key, "costs")) return read_list(r, &c->tables, key, "an edge's cost");
    return fault(r, "unknown key \"%s\" in \"edges\"; it has nodes and costs", key);
}

static col_status read_problem_key(reader *r, contents *c, const char *key)
{
    if (!strcmp(key, "name")) {
        char name[NAME_LIMIT];
        COL_TRY(once(r, &c->name_given, key));
        skip_space(r);
        return read_name(r, name);
    }
    if (!strcmp(key, "nodes")) {
        COL_TRY(once(r, &c->nodes_given, key));
        return read_object(r, c, read_nodes_key);
    }
    if (!strcmp(key, "edges")) {
        COL_TRY(once(r, &c->edges_given, key));
        return read_object(r, c, read_edges_key);
    }
    if (!strcmp(key, "usage_limit")) {
        COL_TRY(once(r, &c->limit_given, key));
        return read_number(r, "usage_limit", &c->limit);
    }
    return fault(r, "unknown key \"%s\" in \"problem\"; it has name, nodes, edges and usage_limit", key);
}

static col_status read_top_key(reader *r, contents *c, const char *key)
{
    if (strcmp(key, "problem")) return fault(r, "unknown key \"%s\"; the file holds one \"problem\"", key);
    COL_TRY(once(r, &c->problem_given, key));
    return read_object(r, c, read_problem_key);
}

static col_status check(const char *path, const contents *c)
{
    const struct {
        const char *key;
        bool given;
    } needed[] = {{"nodes.intervals", c->intervals.given}, {"nodes.costs", c->costs.given},
                  {"nodes.usages", c->usages.given},       {"edges.nodes", c->ends.given},
                  {"edges.costs", c->tables.given},        {"usage_limit", c->limit_given}};
    for (size_t i = 0; i < COL_COUNT(needed); i++) {
        if (!needed[i].given)
            return col_error_make(COL_BAD_INPUT, "%s: error: problem.%s is missing", path, needed[i].key);
    }
    size_t n = c->costs.list.len, m = c->ends.list.len;
    if (c->intervals.list.len != n || c->usages.list.len != n)
        return col_error_make(COL_BAD_INPUT,
                              "%s: error: %zu intervals, %zu costs and %zu usages of nodes; one of "
                              "each per node is needed",
                              path, c->intervals.list.len, n, c->usages.list.len);
    if (c->tables.list.len != m)
        return col_error_make(COL_BAD_INPUT, "%s: error: %zu edges but %zu tables of edge costs", path, m,
                              c->tables.list.len);
    if (n > INT32_MAX / 4 || m > INT32_MAX / 4)
        return col_error_make(COL_BAD_INPUT, "%s: error: over %d nodes or edges", path, INT32_MAX / 4);
    for (size_t i = 0; i < n; i++) {
        row cost = c->costs.list.data[i], usage = c->usages.list.data[i], time = c->intervals.list.data[i];
        if (!cost.count || cost.count > STRATEGY_LIMIT || cost.count != usage.count)
            return col_error_make(COL_BAD_INPUT,
                                  "%s: error: nodes.costs[%zu] has %zu strategies and nodes.usages[%zu] "
                                  "has %zu; from 1 to %d, the same number, are needed",
                                  path, i, cost.count, i, usage.count, STRATEGY_LIMIT);
        if (time.count != 2 || time.data[0] > INT32_MAX - 1 || time.data[1] > INT32_MAX - 1)
            return col_error_make(
                COL_BAD_INPUT, "%s: error: nodes.intervals[%zu] must be two times below 2^31 - 1", path, i);
    }
    for (size_t e = 0; e < m; e++) {
        row ends = c->ends.list.data[e], table = c->tables.list.data[e];
        if (ends.count != 2 || (uint64_t)ends.data[0] >= n || (uint64_t)ends.data[1] >= n)
            return col_error_make(COL_BAD_INPUT,
                                  "%s: error: edges.nodes[%zu] must be two nodes from 0 to %zu", path, e,
                                  n ? n - 1 : 0);
        size_t size = c->costs.list.data[ends.data[0]].count * c->costs.list.data[ends.data[1]].count;
        if (table.count != size)
            return col_error_make(COL_BAD_INPUT,
                                  "%s: error: edges.costs[%zu] has %zu costs; %zu strategies of node "
                                  "%" PRId64 " times %zu of node %" PRId64 " make %zu",
                                  path, e, table.count, c->costs.list.data[ends.data[0]].count, ends.data[0],
                                  c->costs.list.data[ends.data[1]].count, ends.data[1], size);
    }
    return NULL;
}

static void assemble(col_arena *arena, const contents *c, col_sharding_problem *out)
{
    size_t n = c->costs.list.len, m = c->ends.list.len;
    col_sharding_node *nodes = COL_NEW_ARRAY(arena, col_sharding_node, n);
    col_sharding_edge *edges = COL_NEW_ARRAY(arena, col_sharding_edge, m);
    for (size_t i = 0; i < n; i++) {
        const int64_t *time = c->intervals.list.data[i].data;
        nodes[i] =
            (col_sharding_node){(int32_t)c->costs.list.data[i].count, (int32_t)time[0], (int32_t)time[1],
                                c->costs.list.data[i].data, c->usages.list.data[i].data};
    }
    for (size_t e = 0; e < m; e++) {
        const int64_t *ends = c->ends.list.data[e].data;
        edges[e] = (col_sharding_edge){(int32_t)ends[0], (int32_t)ends[1], c->tables.list.data[e].data};
    }
    *out = (col_sharding_problem){(int32_t)n, (int32_t)m, nodes, edges, c->limit, NULL, NULL};
}

static col_status read_all(reader *r, contents *c)
{
    COL_TRY(read_object(r, c, read_top_key));
    skip_space(r);
    if (peek(r) >= 0) return fault(r, "text after the end of the object");
    if (r->failure) return fault(r, "cannot be read");
    if (!c->problem_given) return fault(r, "the key \"problem\" is missing");
    return check(r->path, c);
}

col_status col_sharding_read(col_arena *arena, const char *path, col_sharding_problem *out)
{
    *out = (col_sharding_problem){0};
    /* gzread also passes plain files through. Opening by way of a mapping refuses folders and devices. */
    col_mapping mapping;
    COL_TRY(col_file_map(path, &mapping));
    col_file_unmap(&mapping);
    reader r = {.path = path, .arena = arena, .line = 1, .file = gzopen(path, "rb")};
    if (!r.file) return col_error_make(COL_BAD_INPUT, "cannot open '%s'", path);
    gzbuffer(r.file, BUFFER);
    col_arena *scratch = col_arena_create();
    r.buffer = col_arena_alloc(scratch, BUFFER);
    contents c = {0};
    col_status status = read_all(&r, &c);
    gzclose(r.file);
    if (!status) assemble(arena, &c, out);
    col_error_free(r.failure);
    col_arena_destroy(scratch);
    return status;
}
