/* A machine file is a list of groups, a group a list of figures and the `source` of them. The table `figures`
 * says which there are and where each goes. */
#define _GNU_SOURCE
#include "frontend/machine.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/program.h"
#include "frontend/yaml_reader.h"
#include "ir/base/file.h"

enum {
    MOST_UNITS = 1 << 20,
    MOST_FILES = 256, /* names that are listed */
};

typedef enum figure_kind {
    POSITIVE,
    NOT_NEGATIVE,
    SHARE, /* 0 to 1 */
    BYTES,
    RATE_BY_SIZE, /* a number, or pairs [size, rate] */
} figure_kind;

typedef struct figure {
    const char *group, *key;
    figure_kind kind;
    bool required; /* where the group is */
    size_t offset; /* in col_machine */
} figure;

#define AT(member) offsetof(col_machine, member)
#define RATES(name, class)                                                                                   \
    {name, "fp32", RATE_BY_SIZE, true, AT(rates[class][COL_PRECISION_FP32])},                                \
        {name, "tf32", RATE_BY_SIZE, false, AT(rates[class][COL_PRECISION_TF32])},                           \
        {name, "bf16", RATE_BY_SIZE, false, AT(rates[class][COL_PRECISION_BF16])},                           \
    {                                                                                                        \
        name, "fp16", RATE_BY_SIZE, false, AT(rates[class][COL_PRECISION_FP16])                              \
    }
#define LINK(name, link)                                                                                     \
    {name, "start", NOT_NEGATIVE, true, AT(link.start)},                                                     \
        {name, "latency", NOT_NEGATIVE, true, AT(link.latency)},                                             \
        {name, "all-reduce", POSITIVE, true, AT(link.bandwidth[COL_ALL_REDUCE])},                            \
        {name, "all-gather", POSITIVE, true, AT(link.bandwidth[COL_ALL_GATHER])},                            \
        {name, "reduce-scatter", POSITIVE, true, AT(link.bandwidth[COL_REDUCE_SCATTER])},                    \
    {                                                                                                        \
        name, "all-to-all", POSITIVE, true, AT(link.bandwidth[COL_ALL_TO_ALL])                               \
    }

/* Groups stand together; `convolutions`, `pair`, `across`, `overlap` and `host` may be missing. */
static const figure figures[] = {
    {"memory", "bytes", BYTES, true, AT(memory)},
    {"traffic", "bandwidth", RATE_BY_SIZE, true, AT(traffic)},
    {"overhead", "alone", POSITIVE, true, AT(overhead_alone)},
    {"overhead", "team", POSITIVE, false, AT(overhead_team)},
    RATES("products", COL_COST_PRODUCT),
    RATES("convolutions", COL_COST_CONVOLUTION),
    RATES("attention", COL_COST_ATTENTION),
    RATES("kernels", COL_COST_KERNEL),
    RATES("moves", COL_COST_MOVE),
    LINK("inside", inside),
    {"pair", "all-reduce", POSITIVE, true, AT(inside.pair[COL_ALL_REDUCE])},
    {"pair", "all-gather", POSITIVE, true, AT(inside.pair[COL_ALL_GATHER])},
    {"pair", "reduce-scatter", POSITIVE, true, AT(inside.pair[COL_REDUCE_SCATTER])},
    {"pair", "all-to-all", POSITIVE, true, AT(inside.pair[COL_ALL_TO_ALL])},
    LINK("across", across),
    {"overlap", "share", SHARE, true, AT(overlap)},
    {"host", "bytes", BYTES, true, AT(host_bytes)},
    {"host", "bandwidth", POSITIVE, true, AT(host_bandwidth)},
};

static const char *const top_keys[] = {"name", "about", "unit", "default", "most", "devices"};
static const char *const unit_names[] = {
    [COL_MACHINE_DEVICES] = "device", [COL_MACHINE_HOSTS] = "host", [COL_MACHINE_CORES] = "core"};

/* The file being read. */
typedef struct reader {
    col_yaml yaml;
    col_arena *arena;
    col_machine *machine;
    col_map *groups; /* those that were there */
    int64_t unit, normal, most, devices;
    const char *name;
} reader;

static void fault(reader *r, const figure *f, const char *text)
{
    col_diag_add(&r->yaml.diags, col_yaml_here(&r->yaml), "%s.%s: %s", f->group, f->key, text);
}

/* Beyond these, seconds and their sums leave the range in which the solvers count. */
static const double LEAST_FIGURE = 1e-12, LARGEST_FIGURE = 1e24;

/* The present scalar as a number of that kind; false and a fault for anything else. */
static bool read_number(reader *r, const figure *f, figure_kind kind, double *out)
{
    const char *text = col_yaml_scalar(&r->yaml, f->key);
    if (!text) return false;
    if (kind == BYTES) {
        uint64_t bytes = 0;
        col_status status = col_parse_bytes(text, &bytes);
        if (status) fault(r, f, col_error_message(status));
        *out = (double)bytes;
        return !col_error_ignore(status);
    }
    if (!col_error_ignore(col_parse_double(f->key, text, -HUGE_VAL, HUGE_VAL, out)) && isfinite(*out) &&
        (*out > 0 || (kind != POSITIVE && *out == 0)) && (*out <= 1 || kind != SHARE)) {
        if (*out == 0 || (*out >= LEAST_FIGURE && *out <= LARGEST_FIGURE)) return true;
        fault(r, f,
              col_arena_printf(r->arena, "'%s' is no machine's: a number from %g to %g is wanted", text,
                               LEAST_FIGURE, LARGEST_FIGURE));
        return false;
    }
    static const char *const wanted[] = {[POSITIVE] = "a positive number",
                                         [NOT_NEGATIVE] = "a non-negative number",
                                         [SHARE] = "a number from 0 to 1"};
    fault(r, f, col_arena_printf(r->arena, "%s is wanted, not '%s'", wanted[kind], text));
    return false;
}

/* "[size, rate]" */
static bool read_pair(reader *r, const figure *f, double *out_size, double *out_rate)
{
    bool fine = r->yaml.event.type == YAML_SEQUENCE_START_EVENT;
    if (!fine) {
        fault(r, f, "pairs [size, rate] are wanted");
        col_yaml_skip(&r->yaml);
        return false;
    }
    int count = 0;
    while (col_yaml_next(&r->yaml) && r->yaml.event.type != YAML_SEQUENCE_END_EVENT) {
        double ignored;
        if (count < 2)
            fine &= read_number(r, f, count ? POSITIVE : BYTES, count ? out_rate : out_size);
        else
            fine &= read_number(r, f, NOT_NEGATIVE, &ignored);
        col_yaml_skip(&r->yaml);
        count++;
    }
    if (fine && count != 2) fault(r, f, "a pair [size, rate] is wanted");
    return fine && count == 2;
}

static void read_rate(reader *r, const figure *f, col_rate *out)
{
    if (r->yaml.event.type != YAML_SEQUENCE_START_EVENT) {
        *out = (col_rate){.count = 1, .size = {1}};
        if (!read_number(r, f, POSITIVE, &out->rate[0])) out->count = 0;
        col_yaml_skip(&r->yaml);
        return;
    }
    col_loc loc = col_yaml_here(&r->yaml);
    col_rate rate = {0};
    bool fine = true;
    while (col_yaml_next(&r->yaml) && r->yaml.event.type != YAML_SEQUENCE_END_EVENT) {
        double size, speed;
        fine &= read_pair(r, f, &size, &speed);
        if (rate.count == COL_RATE_POINTS) {
            if (fine) fault(r, f, "there are more pairs than the 8 that are read");
            fine = false;
        }
        if (!fine) continue;
        rate.size[rate.count] = size;
        rate.rate[rate.count++] = speed;
    }
    if (fine && !rate.count) {
        col_diag_add(&r->yaml.diags, loc, "%s.%s: there are no pairs [size, rate]", f->group, f->key);
    } else if (fine && !col_rate_valid(&rate)) {
        col_diag_add(&r->yaml.diags, loc,
                     "%s.%s: sizes must ascend, and more work may not take less time (size / rate)", f->group,
                     f->key);
    } else if (fine) {
        *out = rate;
    }
}

static const figure *find_figure(const char *group, const char *key)
{
    for (size_t i = 0; i < COL_COUNT(figures); i++) {
        if (!strcmp(figures[i].group, group) && (!key || !strcmp(figures[i].key, key))) return &figures[i];
    }
    return NULL;
}

static void read_figure(reader *r, const figure *f)
{
    void *to = (char *)r->machine + f->offset;
    if (f->kind == RATE_BY_SIZE) {
        read_rate(r, f, to);
        return;
    }
    read_number(r, f, f->kind, to);
    col_yaml_skip(&r->yaml);
}

static void report_unknown(reader *r, col_loc loc, const char *what, const char *key,
                           const char *const *names, size_t count)
{
    const char *near = col_suggest(key, names, count);
    col_str list = {0};
    for (size_t i = 0; i < count; i++) col_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    col_diag_add(&r->yaml.diags, loc, "unknown key '%s' %s%s%s%s", key, what,
                 near ? "; did you mean '" : "; known are ", near ? near : col_str_text(&list),
                 near ? "'?" : "");
    col_str_fini(&list);
}

static void report_missing(reader *r, col_loc loc, const char *group, const col_map *seen)
{
    for (size_t i = 0; i < COL_COUNT(figures); i++) {
        const figure *f = &figures[i];
        if (strcmp(f->group, group) || !f->required || col_map_get(seen, f->key)) continue;
        col_diag_add(&r->yaml.diags, loc, "%s.%s is missing", group, f->key);
    }
    if (!col_map_get(seen, "source"))
        col_diag_add(&r->yaml.diags, loc, "%s.source is missing: say where these figures come from", group);
}

static void read_group(reader *r, const char *group, col_loc loc)
{
    col_map_set(r->groups, group, r);
    if (r->yaml.event.type != YAML_MAPPING_START_EVENT) {
        col_diag_add(&r->yaml.diags, loc, "%s: figures are wanted, as 'key: number' lines", group);
        col_yaml_skip(&r->yaml);
        return;
    }
    col_map *seen = col_map_create(r->arena);
    const char *key;
    col_loc key_loc;
    while (col_yaml_entry(&r->yaml, seen, &key, &key_loc)) {
        const figure *f = find_figure(group, key);
        if (f) {
            read_figure(r, f);
            continue;
        }
        if (!strcmp(key, "source")) {
            (void)col_yaml_scalar(&r->yaml, "source");
        } else {
            const char *names[16] = {"source"};
            size_t count = 1;
            for (size_t i = 0; i < COL_COUNT(figures) && count < COL_COUNT(names); i++) {
                if (!strcmp(figures[i].group, group)) names[count++] = figures[i].key;
            }
            report_unknown(r, key_loc, col_arena_printf(r->arena, "in %s", group), key, names, count);
        }
        col_yaml_skip(&r->yaml);
    }
    if (!r->yaml.broken) report_missing(r, loc, group, seen);
}

static void read_count(reader *r, const char *key, int64_t *out)
{
    const char *text = col_yaml_scalar(&r->yaml, key);
    col_status status = text ? col_parse_int(key, text, 1, MOST_UNITS, out) : NULL;
    if (status) col_diag_add(&r->yaml.diags, col_yaml_here(&r->yaml), "%s", col_error_message(status));
    col_error_free(status);
}

static void read_unit(reader *r)
{
    const char *text = col_yaml_scalar(&r->yaml, "unit");
    for (size_t i = 0; text && i < COL_COUNT(unit_names); i++) {
        if (!strcmp(text, unit_names[i])) r->unit = (int64_t)i;
    }
    if (text && r->unit < 0)
        col_diag_add(&r->yaml.diags, col_yaml_here(&r->yaml),
                     "unit: device, host or core is wanted, not '%s'", text);
}

static void read_entry(reader *r, const char *key, col_loc loc)
{
    if (find_figure(key, NULL)) {
        read_group(r, key, loc);
        return;
    }
    if (!strcmp(key, "name")) {
        r->name = col_yaml_scalar(&r->yaml, key);
    } else if (!strcmp(key, "about")) {
        (void)col_yaml_scalar(&r->yaml, key);
    } else if (!strcmp(key, "unit")) {
        read_unit(r);
    } else if (!strcmp(key, "default")) {
        read_count(r, key, &r->normal);
    } else if (!strcmp(key, "most")) {
        read_count(r, key, &r->most);
    } else if (!strcmp(key, "devices")) {
        read_count(r, key, &r->devices);
    } else {
        const char *names[COL_COUNT(top_keys) + COL_COUNT(figures)];
        size_t count = COL_COUNT(top_keys);
        memcpy(names, top_keys, sizeof top_keys);
        for (size_t i = 0; i < COL_COUNT(figures); i++) {
            if (!i || strcmp(figures[i].group, figures[i - 1].group)) names[count++] = figures[i].group;
        }
        report_unknown(r, loc, "in a machine", key, names, count);
    }
    col_yaml_skip(&r->yaml);
}

/* What must be there, once all has been read. */
static void check_whole(reader *r)
{
    col_loc top = {&r->yaml.source, 1, 1};
    bool cores = r->unit == COL_MACHINE_CORES, one_host = cores;
    if (!r->name) col_diag_add(&r->yaml.diags, top, "name is missing");
    if (r->name && strlen(r->name) > COL_MACHINE_NAME - 16)
        col_diag_add(&r->yaml.diags, top, "the name has more than %d characters", COL_MACHINE_NAME - 16);
    if (r->unit < 0) col_diag_add(&r->yaml.diags, top, "unit is missing: device, host or core");
    if (!r->most) col_diag_add(&r->yaml.diags, top, "most is missing: the largest N of NAME:N");
    if (!r->normal && !cores) col_diag_add(&r->yaml.diags, top, "default is missing: the N of NAME alone");
    if (!r->devices && !cores) col_diag_add(&r->yaml.diags, top, "devices is missing: those of a host");
    if (r->most && r->normal > r->most)
        col_diag_add(&r->yaml.diags, top, "default is %lld, which is over most, %lld", (long long)r->normal,
                     (long long)r->most);
    one_host |= r->unit == COL_MACHINE_HOSTS ? r->most == 1 : r->most <= r->devices;
    for (size_t i = 0; i < COL_COUNT(figures); i++) {
        const char *group = figures[i].group;
        if ((i && !strcmp(group, figures[i - 1].group)) || col_map_get(r->groups, group) ||
            !strcmp(group, "convolutions") || !strcmp(group, "host") || !strcmp(group, "overlap") ||
            !strcmp(group, "pair") || (one_host && !strcmp(group, "across")))
            continue;
        col_diag_add(&r->yaml.diags, top, "%s is missing", group);
    }
}

/* What a file may leave out: fp16, which runs as bf16 does, other precisions, which run as fp32 does, convolutions, which
 * run as products do, teams that cost no more than one thread. */
static void fill_in(col_machine *m)
{
    col_rate(*convolutions)[COL_PRECISION_COUNT] = &m->rates[COL_COST_CONVOLUTION];
    if (!(*convolutions)[COL_PRECISION_FP32].count)
        memcpy(convolutions, m->rates[COL_COST_PRODUCT], sizeof *convolutions);
    for (int c = 0; c < COL_COST_COUNT; c++) {
        if (!m->rates[c][COL_PRECISION_FP16].count)
            m->rates[c][COL_PRECISION_FP16] = m->rates[c][COL_PRECISION_BF16];
        for (int p = 0; p < COL_PRECISION_COUNT; p++) {
            if (!m->rates[c][p].count) m->rates[c][p] = m->rates[c][COL_PRECISION_FP32];
        }
    }
    if (!(m->overhead_team > 0)) m->overhead_team = m->overhead_alone;
    m->inside.bandwidth[COL_SHARD] = m->across.bandwidth[COL_SHARD] = HUGE_VAL;
}

static int64_t available_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : COL_MAX(CPU_COUNT(&set), 1);
}

static col_status set_count(reader *r, const char *text)
{
    col_machine *m = r->machine;
    m->unit = (col_machine_unit)r->unit;
    m->devices = COL_MAX(r->devices, 1);
    m->count = r->normal ? r->normal : COL_MIN(available_cores(), r->most);
    if (text) {
        const char *what = col_arena_printf(r->arena, "machine %s:N, N %ss", r->name, unit_names[r->unit]);
        COL_TRY(col_parse_int(what, text, 1, r->most, &m->count));
    }
    snprintf(m->name, sizeof m->name, "%s:%lld", r->name, (long long)m->count);
    if (r->most == 1) snprintf(m->name, sizeof m->name, "%s", r->name);
    return NULL;
}

static col_status read_file(const char *path, const char *count, col_arena *arena, col_machine *out)
{
    reader r = {.arena = arena, .machine = out, .groups = col_map_create(arena), .unit = -1};
    bool begun;
    const char *key;
    col_loc loc;
    memset(out, 0, sizeof *out);
    COL_TRY(col_yaml_open(&r.yaml, "a machine file", path, arena, &begun));
    col_map *seen = col_map_create(arena);
    while (begun && col_yaml_entry(&r.yaml, seen, &key, &loc)) read_entry(&r, key, loc);
    if (begun && !r.yaml.broken) check_whole(&r);
    COL_TRY(col_yaml_close(&r.yaml));
    fill_in(out);
    COL_TRY(set_count(&r, count));
    col_machine_links(out, &(col_mesh){0});
    return NULL;
}

/* Folders of machines; the first that has a name wins. */
static size_t list_folders(col_arena *arena, const char *out[3])
{
    size_t count = 0;
    const char *own = getenv("COLC_MACHINES"), *program;
    if (own && *own) out[count++] = own;
    if (!col_error_ignore(col_program_place(arena, &program, NULL))) {
        out[count++] = col_arena_printf(arena, "%s/models/machines", program);
        out[count++] = col_arena_printf(arena, "%s/../share/colc/machines", program);
    }
    return count;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static col_status unknown(const char *name, const char *const *folders, size_t folder_count, col_arena *arena)
{
    const char *names[MOST_FILES];
    size_t count = 0;
    for (size_t i = 0; i < folder_count; i++) {
        DIR *folder = opendir(folders[i]);
        for (struct dirent *e; folder && count < MOST_FILES && (e = readdir(folder));) {
            size_t size = strlen(e->d_name);
            if (size > 5 && !strcmp(e->d_name + size - 5, ".yaml"))
                names[count++] = col_arena_strndup(arena, e->d_name, size - 5);
        }
        if (folder) closedir(folder);
    }
    qsort(names, count, sizeof *names, by_name);
    const char *near = col_suggest(name, names, count);
    col_str list = {0};
    for (size_t i = 0; i < count; i++) {
        if (!i || strcmp(names[i], names[i - 1])) col_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    col_status status = col_error_make(
        COL_BAD_INPUT, "unknown machine '%s'%s%s%s; known are %s (NAME or NAME:N), or give a file", name,
        near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "",
        count ? col_str_text(&list) : "none, as the folder models/machines is not beside this program");
    col_str_fini(&list);
    return status;
}

static col_status read_named(const char *name, const char *base, const char *count, col_arena *arena,
                             col_machine *out)
{
    size_t size = strlen(base);
    if (strchr(base, '/') || (size > 5 && !strcmp(base + size - 5, ".yaml")))
        return read_file(base, count, arena, out);
    const char *folders[3];
    size_t folder_count = list_folders(arena, folders);
    for (size_t i = 0; size && i < folder_count; i++) {
        const char *path = col_arena_printf(arena, "%s/%s.yaml", folders[i], base);
        if (col_file_exists(path)) return read_file(path, count, arena, out);
    }
    return unknown(name, folders, folder_count, arena);
}

col_status col_machine_read(const char *name, col_machine *out_machine)
{
    col_arena *arena = col_arena_create();
    const char *colon = strrchr(name, ':');
    if (colon && strchr(colon, '/')) colon = NULL;
    const char *base = colon ? col_arena_strndup(arena, name, (size_t)(colon - name)) : name;
    col_status status = read_named(name, base, colon ? colon + 1 : NULL, arena, out_machine);
    col_arena_destroy(arena);
    return status;
}
