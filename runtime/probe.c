/* `colrun probe`: measures this machine and writes its file, which frontend/machine.h reads. The figures are
 * of one core with all of them at work: what they do together, divided. */
#define _GNU_SOURCE
#include <ctype.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ir/base/file.h"
#include "ir/base/str.h"
#include "runtime/command.h"
#include "runtime/cpu/rates.h"
#include "runtime/hal.h"
#include "runtime/probe_device.h"

enum { POINTS = 8, MOST_CORES = 256, MOST_RANKS = 64 };

typedef struct table {
    int count;
    cpu_timed points[POINTS]; /* of one core */
} table;

typedef struct machine {
    int cores;
    double memory; /* bytes */
    table products, attention, traffic;
    cpu_timed arithmetic, scatter;
    double alone, team; /* seconds to start */
    cpu_exchange ranks; /* one rank a core, or two on the only one */
} machine;

static void say(const char *what, const cpu_timed *t, const char *unit)
{
    char size[COL_HUMAN_SIZE], rate[COL_HUMAN_SIZE];
    fprintf(stderr, "%-11s %9s%s %10s%s/s\n", what, col_format_count(size, t->size), unit,
            col_format_count(rate, t->size / t->seconds), unit);
}

/* Adds a measurement of all cores. More work never takes less time on the machine that the file describes;
 * where the measurements say so it is by chance. */
static void add_point(table *t, cpu_timed all, int cores)
{
    cpu_timed one = {all.size / cores, all.seconds};
    if (t->count) one.seconds = fmax(one.seconds, 1.0001 * t->points[t->count - 1].seconds);
    COL_ASSERT(t->count < POINTS);
    t->points[t->count++] = one;
}

static col_status measure_products(machine *m)
{
    static const int64_t shapes[][3] = {{32, 128, 128},   {128, 256, 256},   {256, 768, 768},
                                        {256, 3072, 768}, {512, 4096, 1024}, {256, 50257, 768}};
    for (size_t i = 0; i < COL_COUNT(shapes); i++) {
        cpu_timed t;
        COL_TRY(cpu_time_product(m->cores, shapes[i][0], shapes[i][1], shapes[i][2], &t));
        say("products", &t, "flop");
        add_point(&m->products, t, m->cores);
    }
    return NULL;
}

static col_status measure_loops(machine *m)
{
    for (int64_t tokens = 64; tokens <= 1024; tokens *= 4) {
        cpu_timed t;
        COL_TRY(cpu_time_attention(m->cores, tokens, &t));
        say("attention", &t, "flop");
        add_point(&m->attention, t, m->cores);
    }
    COL_TRY(cpu_time_arithmetic(m->cores, &m->arithmetic));
    say("kernels", &m->arithmetic, "op");
    COL_TRY(cpu_time_scatter(m->cores, &m->scatter));
    say("moves", &m->scatter, "op");
    static const int64_t mebibytes[] = {1, 8, 24, 64, 192};
    for (size_t i = 0; i < COL_COUNT(mebibytes); i++) {
        cpu_timed t;
        int64_t bytes = mebibytes[i] * m->cores << 20;
        if (i && (double)bytes > m->memory / 8) break;
        COL_TRY(cpu_time_stream(m->cores, bytes, &t));
        say("traffic", &t, "B");
        add_point(&m->traffic, t, m->cores);
    }
    return NULL;
}

static col_status measure_waiting(machine *m)
{
    int ranks = COL_MAX(m->cores, 2);
    char a[COL_HUMAN_SIZE], b[COL_HUMAN_SIZE], c[COL_HUMAN_SIZE], d[COL_HUMAN_SIZE];
    COL_TRY(cpu_time_start(1, &m->alone));
    COL_TRY(cpu_time_start(m->cores, &m->team));
    fprintf(stderr, "%-11s %s on one thread, %s on %d\n", "overhead", col_format_seconds(a, m->alone),
            col_format_seconds(b, m->team), m->cores);
    COL_TRY(cpu_time_exchange(ranks, &m->ranks));
    fprintf(stderr, "%-11s meet in %s, notified in %s, copy %sB/s, add %sB/s\n", "ranks",
            col_format_seconds(a, m->ranks.meet), col_format_seconds(b, m->ranks.notify),
            col_format_count(c, m->ranks.copy), col_format_count(d, m->ranks.add));
    if (ranks > m->cores) { /* they took turns */
        m->ranks.meet /= ranks;
        m->ranks.notify /= ranks;
        m->ranks.copy *= ranks;
        m->ranks.add *= ranks;
    }
    return NULL;
}

/* --- the file --- */

static void print_table(col_str *out, const char *group, const char *key, const table *t)
{
    col_str_printf(out, "%s:\n  %s:\n", group, key);
    for (int i = 0; i < t->count; i++)
        col_str_printf(out, "    - [%.6g, %.6g]\n", t->points[i].size,
                       t->points[i].size / t->points[i].seconds);
}

static void print_source(col_str *out, const char *text)
{
    col_str_printf(out, "  source: %s\n", text);
}

/* The processor's name as the kernel has it, without what YAML would read otherwise. */
static const char *processor_name(char *out, size_t size)
{
    char line[256];
    snprintf(out, size, "an unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        size_t n = 0;
        for (const char *c = colon + 1; *c && n + 1 < size; c++) {
            if (isalnum((unsigned char)*c) || strchr(" ()@.-", *c)) out[n++] = *c;
        }
        out[n] = '\0';
        break;
    }
    if (file) fclose(file);
    return out + strspn(out, " ");
}

/* The file's name without folder and ending, as far as it can be the name of a machine. */
static void print_name(col_str *out, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *end = strstr(base, ".yaml");
    char name[33];
    size_t n = 0;
    for (const char *c = base; *c && c != end && n + 1 < sizeof name; c++) {
        if (isalnum((unsigned char)*c) || strchr("-_.", *c)) name[n++] = *c;
    }
    name[n] = '\0';
    col_str_printf(out, "name: \"%s\"\n", n ? name : "probed");
}

static void print_machine(col_str *out, const machine *m, const char *path)
{
    char processor[128], date[32] = "";
    time_t now = time(NULL);
    struct tm when;
    if (gmtime_r(&now, &when)) strftime(date, sizeof date, "%Y-%m-%d", &when);
    col_str_printf(out, "# Measured by `colc probe` on %s; docs/machines.md describes the keys.\n", date);
    print_name(out, path);
    col_str_printf(out, "about: %d cores of %s\n", m->cores, processor_name(processor, sizeof processor));
    col_str_printf(out, "unit: core   # figures are of one core with all at work; cores add up\n");
    col_str_printf(out, "default: %d\nmost: 1024\n", m->cores);
    col_str_printf(out, "memory:\n  bytes: %.0f\n", m->memory);
    print_source(out, "the machine's");
    print_table(out, "traffic", "bandwidth", &m->traffic);
    print_source(out, "streams c = a + s b");
    col_str_printf(out, "overhead:\n  alone: %.3g\n  team: %.3g\n", m->alone, m->team);
    print_source(out, "the smallest product on one thread; an empty parallel loop on all");
    print_table(out, "products", "fp32", &m->products);
    print_source(out, "oneDNN as the device calls it");
    print_table(out, "attention", "fp32", &m->attention);
    print_source(out,
                 "4 sequences of 12 heads of 64, causal, of 64, 256 and 1024 tokens, forward and backward");
    col_str_printf(out, "kernels:\n  fp32: %.4g\n", m->arithmetic.size / m->arithmetic.seconds / m->cores);
    print_source(out, "a polynomial of degree 32 in the cache, multiplications and additions not fused");
    col_str_printf(out, "moves:\n  fp32: %.4g\n", m->scatter.size / m->scatter.seconds / m->cores);
    print_source(out, "additions of a scatter, rows of 768");
    double both = 2 / (1 / m->ranks.add + 1 / m->ranks.copy);
    col_str_printf(out, "inside:\n  start: %.3g\n  latency: %.3g\n", m->ranks.meet, m->ranks.notify);
    col_str_printf(out, "  all-reduce: %.4g\n  all-gather: %.4g\n", both, m->ranks.copy);
    col_str_printf(out, "  reduce-scatter: %.4g\n  all-to-all: %.4g\n", m->ranks.add, m->ranks.copy);
    print_source(
        out, "threads that meet, wake each other, and all at once copy or add 16 MiB of their neighbour's");
    col_str_append(out, "overlap:\n  share: 0\n");
    print_source(out, "copying between ranks takes the cores that compute");
}

static col_status measure(machine *m)
{
    COL_TRY(measure_products(m));
    COL_TRY(measure_loops(m));
    return measure_waiting(m);
}

/* Finds out before ten seconds of measuring that the file cannot be written. */
static col_status check_output(const char *path)
{
    col_writer *writer = NULL;
    COL_TRY(col_writer_open(path, &writer));
    col_writer_discard(writer);
    return NULL;
}

static void find_plans(const col_options *options, col_arena *arena, const char ***out, size_t *out_count)
{
    COL_VEC(const char *) list = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (!strcmp(v->option->name, "plan")) col_vec_push(arena, &list, v->value);
    }
    *out = list.data;
    *out_count = list.len;
}

col_status col_command_probe(const char *plan_path, const col_options *options)
{
    (void)plan_path;
    static const char *const targets[] = {"cpu", "cuda"};
    int target = 0;
    int64_t cores = 0;
    cpu_set_t set;
    const char *path = col_options_get(options, "output");
    const char **plans;
    size_t plan_count;
    int64_t ranks = 1;
    COL_TRY(col_options_choice(options, "target", targets, COL_COUNT(targets), &target));
    COL_TRY(col_options_int(options, "ranks", 1, MOST_RANKS, &ranks));
    col_arena *arena = col_arena_create();
    find_plans(options, arena, &plans, &plan_count);
    col_status found = NULL;
    bool is_done = target || plan_count;
    if (!path && !plan_count)
        found = col_error_make(COL_BAD_INPUT, "no file is given: usage: probe -o MACHINE.yaml");
    else if (ranks > 1 && !target)
        found = col_error_make(COL_BAD_INPUT,
                               "--ranks: the links of a CPU are measured without; use --target cuda");
    if (!found && path) found = check_output(path);
    if (!found && is_done) found = probe_device(targets[target], plans, plan_count, ranks, path);
    col_arena_destroy(arena);
    if (found || is_done) return found;
    cores = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    cores = COL_MIN(COL_MAX(cores, 1), MOST_CORES);
    COL_TRY(col_options_int(options, "threads", 1, MOST_CORES, &cores));
    machine m = {.cores = (int)cores,
                 .memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE)};
    COL_TRY(measure(&m));
    col_str text = {0};
    print_machine(&text, &m, path);
    col_status status = col_file_write(path, col_str_text(&text), text.len);
    col_str_fini(&text);
    if (!status) fprintf(stderr, "wrote %s\n", path);
    return status;
}
