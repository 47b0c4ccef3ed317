/* Figures of a device from plans: each instruction takes overhead + max(operations / rate, bytes / bandwidth)
 * (passes/cost.h), and rates are fitted to what instructions of a class took.
 *
 *   overhead   of the instructions with the least to do, the median
 *   kernels    operations per second of the generated kernel with the most operations for a byte
 *   traffic    bytes of the other kernels, which arithmetic does not bound
 *   others     operations of products, convolutions, attention (forward and backward as one), scatters */
#include "runtime/probe_device.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ir/base/file.h"
#include "ir/plan/plan_io.h"

enum { POINTS = 8, LEAST_BYTES = 64 << 10 };

typedef enum class { PRODUCTS, CONVOLUTIONS, ATTENTION, KERNELS, MOVES, CLASSES } class;
typedef enum precision { FP32, BF16, PRECISIONS } precision;

static const char *const class_names[] = {"products", "convolutions", "attention", "kernels", "moves"};
static const char *const precision_names[] = {"fp32", "bf16"};

typedef struct probing {
    col_arena *arena;
    const col_device_type *type;
    COL_VEC(col_probed) list;    /* of all plans */
    double overhead, arithmetic; /* arithmetic: of kernels, per second */
    probe_points traffic, rates[CLASSES][PRECISIONS];
    double up, down;        /* bytes per second to the device and back */
    double memory, at_host; /* bytes, of the device and of the host for each */
} probing;

static class class_of(const col_plan_instruction *in)
{
    switch (in->kind_case) {
    case COL__PLAN__INSTRUCTION__KIND_MATMUL: return PRODUCTS;
    case COL__PLAN__INSTRUCTION__KIND_CONVOLUTION: return CONVOLUTIONS;
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION:
    case COL__PLAN__INSTRUCTION__KIND_ATTENTION_CACHED: return ATTENTION;
    case COL__PLAN__INSTRUCTION__KIND_KERNEL: return KERNELS;
    default: return MOVES;
    }
}

static precision precision_of(const col_plan_instruction *in)
{
    for (size_t i = 0; i < in->n_reads; i++) {
        if (in->reads[i]->dtype == COL__PLAN__DTYPE__BF16) return BF16;
    }
    return FP32;
}

/* Points. */

static int by_size(const void *a, const void *b)
{
    const probe_point *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

/* Merged by sums, which keeps the rate of the larger. */
static probe_point merged(const probe_point *points, size_t count)
{
    probe_point all = {0};
    for (size_t i = 0; i < count; i++) {
        all.size += points[i].size;
        all.seconds += points[i].seconds;
    }
    return (probe_point){all.size / (double)count, all.seconds / (double)count};
}

void probe_points_fit(col_arena *arena, probe_points *points, size_t most)
{
    probe_points out = {0};
    if (!points->len) return;
    qsort(points->data, points->len, sizeof *points->data, by_size);
    double least = points->data[0].size, ratio = points->data[points->len - 1].size / least;
    double step = fmax(pow(ratio, 1 / (double)most), 1.3);
    for (size_t i = 0, end; i < points->len; i = end) {
        end = i + 1;
        while (end < points->len && points->data[end].size < points->data[i].size * step) end++;
        probe_point p = merged(points->data + i, end - i);
        if (out.len) p.seconds = fmax(p.seconds, 1.0001 * out.data[out.len - 1].seconds);
        col_vec_push(arena, &out, p);
    }
    COL_ASSERT(out.len <= most);
    *points = out;
}

void probe_points_print(col_str *out, const probe_points *points)
{
    for (size_t i = 0; i < points->len; i++) {
        const probe_point *p = &points->data[i];
        col_str_printf(out, "%s[%.4g, %.4g]", i ? ", " : "[", p->size, p->size / p->seconds);
    }
    col_str_append(out, "]");
}

/* Fitting. */

static double beyond_start(const probing *p, const col_probed *one)
{
    return fmax(one->seconds - p->overhead, one->seconds / 8);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void find_overhead(probing *p)
{
    COL_VEC(double) small = {0};
    p->overhead = INFINITY;
    for (size_t i = 0; i < p->list.len; i++) {
        const col_probed *one = &p->list.data[i];
        p->overhead = fmin(p->overhead, one->seconds);
        if (class_of(one->instruction) == KERNELS && one->instruction->bytes < LEAST_BYTES)
            col_vec_push(p->arena, &small, one->seconds);
    }
    if (!small.len) return;
    qsort(small.data, small.len, sizeof *small.data, by_value);
    p->overhead = small.data[small.len / 2];
}

static double intensity(const col_probed *one)
{
    return one->instruction->flops / fmax(one->instruction->bytes, 1);
}

static void fit_kernels(probing *p)
{
    const col_probed *densest = NULL;
    for (size_t i = 0; i < p->list.len; i++) {
        const col_probed *one = &p->list.data[i];
        bool is_kernel = class_of(one->instruction) == KERNELS && one->instruction->bytes > 1e6;
        if (is_kernel && (!densest || intensity(one) > intensity(densest))) densest = one;
    }
    if (densest) p->arithmetic = densest->instruction->flops / beyond_start(p, densest);
    for (size_t i = 0; i < p->list.len; i++) {
        const col_probed *one = &p->list.data[i];
        double seconds = beyond_start(p, one);
        bool is_bound = p->arithmetic > 0 && one->instruction->flops / p->arithmetic > seconds / 2;
        if (class_of(one->instruction) != KERNELS || is_bound || one->instruction->bytes < LEAST_BYTES)
            continue;
        col_vec_push(p->arena, &p->traffic, ((probe_point){one->instruction->bytes, seconds}));
    }
    probe_points_fit(p->arena, &p->traffic, POINTS);
}

static void fit_others(probing *p)
{
    for (size_t i = 0; i < p->list.len; i++) {
        const col_probed *one = &p->list.data[i];
        const col_plan_instruction *in = one->instruction;
        if (class_of(in) == KERNELS || !(in->flops > 0)) continue;
        probe_points *points = &p->rates[class_of(in)][precision_of(in)];
        col_vec_push(p->arena, points, ((probe_point){in->flops, beyond_start(p, one)}));
    }
    for (int c = 0; c < CLASSES; c++) {
        for (int q = 0; q < PRECISIONS; q++) probe_points_fit(p->arena, &p->rates[c][q], POINTS);
    }
}

/* Measuring. */

static void print_table(const col_probed *list, size_t count, double whole)
{
    double predicted[CLASSES] = {0}, measured[CLASSES] = {0}, all[2] = {0};
    int64_t counts[CLASSES] = {0};
    for (size_t i = 0; i < count; i++) {
        class c = class_of(list[i].instruction);
        predicted[c] += (double)list[i].count * list[i].instruction->seconds;
        measured[c] += (double)list[i].count * list[i].seconds;
        counts[c] += list[i].count;
    }
    printf("%-14s %12s %14s %14s\n", "class", "instructions", "predicted ms", "measured ms");
    for (int c = 0; c < CLASSES; c++) {
        printf("%-14s %12lld %14.3f %14.3f\n", class_names[c], (long long)counts[c], 1e3 * predicted[c],
               1e3 * measured[c]);
        all[0] += predicted[c];
        all[1] += measured[c];
    }
    printf("%-14s %12s %14.3f %14.3f   as one program %.3f\n", "all", "", 1e3 * all[0], 1e3 * all[1],
           1e3 * whole);
}

static void print_instructions(const col_probed *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const col_plan_instruction *in = list[i].instruction;
        printf("%-40s %4lld x %-12s %10.4g op %10.4g B  predicted %9.2f us  measured %9.2f us\n", in->name,
               (long long)list[i].count, class_names[class_of(in)], in->flops, in->bytes, 1e6 * in->seconds,
               1e6 * list[i].seconds);
    }
}

static col_status measure_plan(probing *p, const char *path, bool is_detailed)
{
    col_plan *plan;
    col_probed *list = NULL;
    size_t count = 0;
    double whole = 0;
    COL_TRY(col_plan_read(path, &plan)); /* lives as long as the process: the list refers to it */
    if (strcmp(plan->target, p->type->name))
        return col_error_make(COL_BAD_INPUT, "'%s' is for the target '%s', not '%s'", path, plan->target,
                              p->type->name);
    for (size_t i = 0; i < plan->n_programs; i++) {
        const col_plan_program *program = plan->programs[i];
        if (i && !is_detailed) break;
        printf("program %s of %s\n", program->name, path);
        COL_TRY(col_probe_program(p->type, plan, program, p->arena, &list, &count, &whole));
        if (is_detailed) print_instructions(list, count);
        print_table(list, count, whole);
        fflush(stdout);
        for (size_t k = 0; k < count; k++) col_vec_push(p->arena, &p->list, list[k]);
    }
    return NULL;
}

enum { HOST_BYTES = 256 << 20 };

/* From and to memory that is not pinned, as batches and checkpoints are. */
static col_status measure_host(probing *p)
{
    col_plan plan = COL__PLAN__PLAN__INIT;
    col_device_options options = {0};
    col_device *device;
    plan.arena_bytes = HOST_BYTES;
    unsigned char *data = calloc(HOST_BYTES, 1);
    if (!data) col_out_of_memory(HOST_BYTES);
    memset(data, 1, HOST_BYTES);
    col_status status = p->type->open(&plan, &options, &device);
    for (int i = 0; i < 4 && !status; i++) {
        double start = col_seconds(), middle;
        status = p->type->write(device, 0, data, HOST_BYTES);
        middle = col_seconds();
        if (!status) status = p->type->read(device, 0, data, HOST_BYTES);
        p->up = fmax(p->up, HOST_BYTES / (middle - start));
        p->down = fmax(p->down, HOST_BYTES / (col_seconds() - middle));
    }
    if (!status) p->type->close(device);
    free(data);
    return status;
}

/* The file. */

static void print_rates(col_str *out, const probing *p, class c, const char *source)
{
    if (!p->rates[c][FP32].len && !p->rates[c][BF16].len) return;
    col_str_printf(out, "%s:\n", class_names[c]);
    for (int q = 0; q < PRECISIONS; q++) {
        const probe_points *points = &p->rates[c][q];
        if (!points->len && q == FP32) points = &p->rates[c][BF16]; /* fp32 is what must be there */
        if (!points->len) continue;
        col_str_printf(out, "  %s: ", precision_names[q]);
        probe_points_print(out, points);
        col_str_append(out, "\n");
    }
    col_str_printf(out, "  source: %s\n", source);
}

static void print_link(col_str *out, const probe_links *links)
{
    col_str_printf(out, "inside:\n  start: %.3g\n  latency: %.3g\n", links->start, links->latency);
    for (int k = 0; k < PROBE_COLLECTIVES; k++)
        col_str_printf(out, "  %s: %.4g\n", probe_collective_names[k], links->bandwidth[k]);
    col_str_printf(out,
                   "  source: collectives of %lld ranks, a row of them at a time, from 64 KiB to 256 MiB\n",
                   (long long)links->ranks);
    if (links->pair[0] > 0) {
        col_str_append(out, "pair:\n");
        for (int k = 0; k < PROBE_COLLECTIVES; k++)
            col_str_printf(out, "  %s: %.4g\n", probe_collective_names[k], links->pair[k]);
        col_str_append(out, "  source: the same of two ranks, all pairs at once\n");
    }
    col_str_printf(out, "overlap:\n  share: %.2f\n", links->overlap);
    col_str_append(out, "  source: all-reduces of 64 MiB beside as many seconds of bf16 products\n");
}

/* One device has no links: what the file must say of them is not used. */
static void print_no_link(col_str *out)
{
    col_str_append(out, "inside:\n  start: 0\n  latency: 0\n");
    for (int k = 0; k < PROBE_COLLECTIVES; k++) col_str_printf(out, "  %s: 1e9\n", probe_collective_names[k]);
    col_str_append(out, "  source: none, for there is one device\n");
}

static void print_name(col_str *out, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *end = strstr(base, ".yaml");
    col_str_append(out, "name: \"");
    for (const char *c = base; *c && c != end; c++) {
        if (isalnum((unsigned char)*c) || strchr("-_.", *c)) col_str_printf(out, "%c", *c);
    }
    col_str_append(out, "\"\n");
}

static void print_machine(col_str *out, const probing *p, const probe_links *links, const char *path)
{
    char date[32] = "";
    time_t now = time(NULL);
    struct tm when;
    long long devices = links->ranks > 1 ? links->ranks : 1;
    if (gmtime_r(&now, &when)) strftime(date, sizeof date, "%Y-%m-%d", &when);
    col_str_printf(out,
                   "# Measured by `colc probe --target %s` on %s; docs/machines.md describes the keys.\n",
                   p->type->name, date);
    print_name(out, path);
    col_str_printf(out, "about: %lld devices of one host, as colc runs them\n", devices);
    col_str_printf(out, "unit: %s\ndefault: 1\nmost: 1\ndevices: %lld\n", devices > 1 ? "host" : "device",
                   devices);
    col_str_printf(out, "memory:\n  bytes: %.4g\n  source: what the device lends\n", p->memory);
    col_str_append(out, "traffic:\n  bandwidth: ");
    probe_points_print(out, &p->traffic);
    col_str_append(out, "\n  source: generated kernels that arithmetic does not bound\n");
    col_str_printf(out, "overhead:\n  alone: %.3g\n", p->overhead);
    col_str_append(out,
                   "  source: the smallest kernels of a captured program, each waiting for the one before\n");
    print_rates(out, p, PRODUCTS, "products of the layers of transformers, forward and backward");
    print_rates(out, p, CONVOLUTIONS, "convolutions of residual networks, forward and backward");
    print_rates(out, p, ATTENTION, "causal attention with heads of 64, forward and backward");
    col_str_printf(
        out, "kernels:\n  fp32: %.4g\n  source: the generated kernel with the most operations for a byte\n",
        p->arithmetic);
    print_rates(out, p, MOVES, "scatters and pools");
    if (devices > 1)
        print_link(out, links);
    else
        print_no_link(out);
    col_str_printf(
        out,
        "host:\n  bytes: %.4g\n  bandwidth: %.4g\n  source: the host's memory by device; 256 MiB of memory "
        "that is not pinned, the slower way\n",
        p->at_host, fmin(p->up, p->down));
}

/* What a file must have. */
static col_status check_measured(const probing *p)
{
    const char *missing =
        !p->traffic.len || !(p->arithmetic > 0) ? "generated kernels of more than a megabyte" : NULL;
    for (int c = 0; c < CLASSES; c++) {
        bool is_measured = p->rates[c][FP32].len || p->rates[c][BF16].len;
        if (c != KERNELS && c != CONVOLUTIONS && !is_measured) missing = class_names[c];
    }
    if (!missing) return NULL;
    return col_error_make(
        COL_BAD_INPUT,
        "the plans have no %s, of which a machine's file must say how fast they are: give others, or "
        "none with colc probe --target cuda",
        missing);
}

col_status probe_device(const char *target, const char *const *plans, size_t count, int64_t ranks,
                        const char *path)
{
    probing p = {.arena = col_arena_create()};
    probe_links links = {0};
    col_comm *comm = NULL;
    bool leads = true;
    col_status status = col_device_type_find(target, &p.type);
    if (!status && ranks > 1) status = probe_links_measure(p.type, ranks, &comm, &links);
    if (comm) {
        leads = comm->rank == 0;
        if (status) comm->type->fail(comm, status);
        comm->type->close(comm);
    }
    for (size_t i = 0; i < count && !status && leads; i++) status = measure_plan(&p, plans[i], !path);
    if (!status && leads && path) {
        col_str text = {0};
        uint64_t bytes = 0;
        p.at_host =
            (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (double)COL_MAX(ranks, 1);
        status = measure_host(&p);
        if (!status && p.type->memory) status = p.type->memory(&bytes);
        p.memory = bytes ? (double)bytes : p.at_host;
        find_overhead(&p);
        fit_kernels(&p);
        fit_others(&p);
        if (!status) status = check_measured(&p);
        if (!status) {
            print_machine(&text, &p, &links, path);
            status = col_file_write(path, col_str_text(&text), text.len);
        }
        col_str_fini(&text);
        if (!status) fprintf(stderr, "wrote %s\n", path);
    }
    col_arena_destroy(p.arena);
    return status;
}
