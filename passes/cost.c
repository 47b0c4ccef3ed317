#include "passes/cost.h"

#include <math.h>

const char *col_cost_class_name(col_cost_class class)
{
    static const char *const names[COL_COST_COUNT] = {"products", "attention", "kernels", "moves",
                                                      "convolutions"};
    return names[class];
}

col_cost_class col_cost_class_of(col_work_kind kind)
{
    static const col_cost_class classes[] = {[COL_WORK_KERNEL] = COL_COST_KERNEL,
                                             [COL_WORK_PRODUCT] = COL_COST_PRODUCT,
                                             [COL_WORK_CONVOLUTION] = COL_COST_CONVOLUTION,
                                             [COL_WORK_ATTENTION] = COL_COST_ATTENTION,
                                             [COL_WORK_MOVE] = COL_COST_MOVE};
    return classes[kind];
}

const char *col_precision_name(col_precision precision)
{
    static const char *const names[COL_PRECISION_COUNT] = {"fp32", "tf32", "bf16", "fp16"};
    return names[precision];
}

double col_rate_seconds(const col_rate *rate, double size)
{
    int last = rate->count - 1, i = 0;
    while (i <= last && rate->size[i] <= size) i++;
    if (i == 0) return size / rate->rate[0];
    if (i > last) return size / rate->rate[last];
    double from = rate->size[i - 1], to = rate->size[i];
    double before = from / rate->rate[i - 1], after = to / rate->rate[i];
    return before + (after - before) * (size - from) / (to - from);
}

bool col_rate_valid(const col_rate *rate)
{
    if (rate->count < 1 || rate->count > COL_RATE_POINTS) return false;
    for (int i = 0; i < rate->count; i++) {
        bool positive = rate->size[i] > 0 && rate->rate[i] > 0 && isfinite(rate->size[i] / rate->rate[i]);
        if (!positive) return false;
        if (i && (rate->size[i] <= rate->size[i - 1] ||
                  rate->size[i] / rate->rate[i] < rate->size[i - 1] / rate->rate[i - 1]))
            return false;
    }
    return true;
}

int64_t col_machine_devices(const col_machine *machine)
{
    switch (machine->unit) {
    case COL_MACHINE_CORES: return INT64_MAX;
    case COL_MACHINE_HOSTS: return machine->count * machine->devices;
    case COL_MACHINE_DEVICES: break;
    }
    return machine->count;
}

/* The link of an axis with `a` ranks in each of `b` hosts. With B bytes on each rank, a sum over the a b
 * ranks sends B (a-1)/a inside a host and B/a (b-1)/b across; a gather B b (a-1) and B (b-1), the same in
 * proportion. An exchange sends B (a-1)/(a b) inside and B (b-1)/b across. */
static col_link join(const col_link *inside, const col_link *across, double a, double b)
{
    double n = a * b;
    col_link link = {fmax(inside->start, across->start),
                     ((a - 1) * inside->latency + (b - 1) * across->latency) / (n - 1),
                     {0},
                     {0}};
    for (int k = 0; k < COL_COLLECTIVE_COUNT; k++) {
        bool exchange = k == COL_ALL_TO_ALL;
        double within = (a - 1) * (exchange ? 1 : b), between = (b - 1) * (exchange ? a : 1);
        link.bandwidth[k] = (n - 1) / (within / inside->bandwidth[k] + between / across->bandwidth[k]);
    }
    return link;
}

/* The link of an axis of `size` ranks that are `stride` ranks apart. */
static col_link axis_link(const col_machine *machine, const col_mesh *mesh, int64_t size, int64_t stride)
{
    int64_t host = machine->devices, span = size * stride;
    if (col_mesh_size(mesh) <= host || host % span == 0) return machine->inside;
    if (host % stride == 0 && span % host == 0 && host > stride)
        return join(&machine->inside, &machine->across, (double)(host / stride), (double)(span / host));
    return machine->across;
}

static col_link slow_down(col_link link, double share)
{
    link.start /= share;
    link.latency /= share;
    for (int k = 0; k < COL_COLLECTIVE_COUNT; k++) {
        link.bandwidth[k] *= share;
        link.pair[k] *= share;
    }
    return link;
}

void col_machine_links(col_machine *machine, const col_mesh *mesh)
{
    int64_t ranks = col_mesh_size(mesh), stride = 1;
    bool shared = machine->unit == COL_MACHINE_CORES;
    machine->cores = 1;
    machine->memory_bytes = machine->memory;
    if (shared) {
        machine->cores = ranks <= machine->count ? (double)(machine->count / ranks)
                                                 : (double)machine->count / (double)ranks;
        machine->memory_bytes = machine->memory / (double)ranks;
    } else {
        COL_ASSERT(ranks <= col_machine_devices(machine));
    }
    machine->overhead =
        machine->cores > 1 ? machine->overhead_team : machine->overhead_alone / machine->cores;
    for (int i = mesh->rank - 1; i >= 0; i--) {
        machine->links[i] = shared ? slow_down(machine->inside, fmin(machine->cores, 1))
                                   : axis_link(machine, mesh, mesh->dims[i], stride);
        stride *= mesh->dims[i];
    }
}

double col_cost_arithmetic(const col_machine *machine, col_cost_class class, double flops)
{
    return col_rate_seconds(&machine->rates[class][machine->precision], flops / machine->cores);
}

double col_cost_traffic(const col_machine *machine, double bytes)
{
    return col_rate_seconds(&machine->traffic, bytes / machine->cores);
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
    if (kind == COL_SHARD) return 0;
    bool sums = kind == COL_ALL_REDUCE || kind == COL_REDUCE_SCATTER, used[COL_MESH_RANK] = {false};
    int64_t ranks = 1;
    for (int i = 0; i < axes->count; i++) {
        used[axes->axis[i]] = true;
        ranks *= mesh->dims[axes->axis[i]];
    }
    double start = 0, seconds = 0;
    for (int i = 0; i < mesh->rank; i++) {
        int axis = sums ? mesh->rank - 1 - i : i;
        int64_t n = mesh->dims[axis];
        if (!used[axis] || n == 1) continue;
        const col_link *link = &machine->links[axis];
        double rounds = (double)(kind == COL_ALL_REDUCE ? 2 * (n - 1) : n - 1);
        start = fmax(start, link->start);
        double bandwidth = ranks == 2 && link->pair[kind] > 0 ? link->pair[kind] : link->bandwidth[kind];
        seconds += rounds * link->latency + col_cost_collective_bytes(kind, n, bytes) / bandwidth;
        bytes *= kind == COL_ALL_GATHER ? (double)n : 1 / (double)n;
    }
    return start + seconds;
}

double col_cost_send(const col_machine *machine, const col_mesh *mesh, const col_axes *axes, double bytes)
{
    double seconds = 0;
    for (int i = 0; i < axes->count; i++) {
        const col_link *link = &machine->links[axes->axis[i]];
        if (mesh->dims[axes->axis[i]] == 1) continue;
        seconds = fmax(seconds, link->start + link->latency + bytes / link->bandwidth[COL_ALL_TO_ALL]);
    }
    return seconds;
}
