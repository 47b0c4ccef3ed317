#define _GNU_SOURCE
#include "passes/cost.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "ir/base/str.h"

/* One core of the reference CPU (Xeon "Sapphire Rapids" at 2.6 GHz, AVX-512, in a virtual machine of two
 * cores), as the benchmark cpu_rates measures it on the idle machine. Products are GPT-2 124M's at 256 tokens
 * (150 to 200 GFLOP/s; 90 where the second operand's rows are a multiple of 4096 bytes apart); attention is
 * 10 to 36, shorter sequences and the forward pass being slower; kernels do half of the 105 GFLOP/s of
 * multiply-adds in registers, an operation being one; streams c = a + s b are of 48 MiB (cache) and 384 MiB
 * (memory). Two cores gave 1.95 times all of it, so cores are taken to add up. */
static const struct {
    double flops[COL_COST_COUNT];
    double memory_bandwidth, cache_bandwidth, cache_bytes;
} core = {
    .flops = {[COL_COST_PRODUCT] = 170e9,
              [COL_COST_ATTENTION] = 25e9,
              [COL_COST_KERNEL] = 50e9,
              [COL_COST_MOVE] = 10e9},
    .memory_bandwidth = 15.5e9,
    .cache_bandwidth = 27e9,
    .cache_bytes = 64 << 20,
};

enum { MOST_CORES = 1024 };

const char *col_cost_class_name(col_cost_class class)
{
    static const char *const names[COL_COST_COUNT] = {"products", "attention", "kernels", "moves"};
    return names[class];
}

static int available_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : COL_MAX(CPU_COUNT(&set), 1);
}

col_status col_machine_find(const char *name, col_machine *out_machine)
{
    int64_t cores = available_cores();
    if (!strncmp(name, "cpu:", 4)) {
        COL_TRY(col_parse_int("machine cpu:N", name + 4, 1, MOST_CORES, &cores));
    } else if (strcmp(name, "cpu")) {
        return col_error_make(
            COL_BAD_INPUT, "unknown machine '%s'; known are cpu (all cores of this one) and cpu:N (N cores)",
            name);
    }
    col_machine m = {.cache_bytes = core.cache_bytes, .overhead = cores == 1 ? 1e-6 : 4e-6};
    snprintf(m.name, sizeof m.name, "cpu:%d", (int)cores);
    for (int i = 0; i < COL_COST_COUNT; i++) m.flops[i] = core.flops[i] * (double)cores;
    m.memory_bandwidth = core.memory_bandwidth * (double)cores;
    m.cache_bandwidth = core.cache_bandwidth * (double)cores;
    *out_machine = m;
    return NULL;
}

double col_cost_arithmetic(const col_machine *machine, col_cost_class class, double flops)
{
    return flops / machine->flops[class];
}

double col_cost_traffic(const col_machine *machine, double bytes)
{
    return bytes / (bytes <= machine->cache_bytes ? machine->cache_bandwidth : machine->memory_bandwidth);
}

double col_cost_seconds(const col_machine *machine, col_cost_class class, double flops, double bytes)
{
    double arithmetic = col_cost_arithmetic(machine, class, flops),
           traffic = col_cost_traffic(machine, bytes);
    return machine->overhead + COL_MAX(arithmetic, traffic);
}

const char *col_collective_name(col_collective kind)
{
    static const char *const names[] = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "shard"};
    return names[kind];
}

double col_cost_collective_bytes(col_collective kind, int64_t n, double bytes)
{
    static const double sides[] = {2, 0, 1, 1, 0};
    double ranks = (double)n;
    if (kind == COL_ALL_GATHER) return (ranks - 1) * bytes;
    return sides[kind] * (ranks - 1) / ranks * bytes;
}

double col_cost_collective(const col_machine *machine, const col_mesh *mesh, col_collective kind,
                           const col_axes *axes, double bytes)
{
    int64_t n = 1;
    double latency = 0, bandwidth = INFINITY;
    for (int i = 0; i < axes->count; i++) {
        const col_link *link = &machine->links[axes->axis[i]];
        n *= mesh->dims[axes->axis[i]];
        latency = fmax(latency, link->latency);
        bandwidth = fmin(bandwidth, link->bandwidth[kind]);
    }
    if (n == 1 || kind == COL_SHARD) return 0;
    double rounds = (double)(kind == COL_ALL_REDUCE ? 2 * (n - 1) : n - 1);
    return rounds * latency + col_cost_collective_bytes(kind, n, bytes) / bandwidth;
}
