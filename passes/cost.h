/* The cost model: seconds of an instruction, and of a collective, on a machine. Units: seconds, bytes,
 * floating-point operations (a multiply-add is two; a division or a transcendental function counts by its
 * cost, codegen/kernel.h).
 *
 * An instruction takes the longer of its arithmetic and its memory traffic, and a fixed time to start
 * (Williams, Waterman, Patterson, "Roofline", CACM 2009):
 *
 *     seconds = overhead + max(operations / rate of its class, bytes / bandwidth)
 *
 * where rate and bandwidth depend on the size (col_rate). A collective takes a time to start, a latency for
 * each of its rounds, and its bytes over the bandwidth of the link that they take. A machine is the list of
 * these constants; frontend/machine.h reads one from a file, docs/machines.md describes the file. */
#ifndef COL_PASSES_COST_H
#define COL_PASSES_COST_H

#include "ir/base/layout.h"
#include "ir/base/status.h"
#include "ir/op.h"

typedef enum col_cost_class {
    COL_COST_PRODUCT,     /* matrix products of the device's library */
    COL_COST_ATTENTION,   /* the executor's fused attention */
    COL_COST_KERNEL,      /* generated kernels */
    COL_COST_MOVE,        /* copies, scatters, fills, pools */
    COL_COST_CONVOLUTION, /* of the device's library */
    COL_COST_COUNT
} col_cost_class;

/* "products" and the like, for people. */
const char *col_cost_class_name(col_cost_class class);
/* The class of an instruction that does this work. */
col_cost_class col_cost_class_of(col_work_kind kind);

/* What ranks do together, or a rank with its place among them. */
typedef enum col_collective {
    COL_ALL_REDUCE,     /* a partial sum becomes the sum, everywhere */
    COL_ALL_GATHER,     /* blocks of a dimension become the dimension */
    COL_REDUCE_SCATTER, /* a partial sum becomes a block of the sum */
    COL_ALL_TO_ALL,     /* blocks of one dimension become blocks of another */
    COL_SHARD,          /* keeps its own block; no communication */
    COL_COLLECTIVE_COUNT
} col_collective;

const char *col_collective_name(col_collective kind); /* "all-reduce" */

/* Figures by size: `size[i]` units of work take size[i] / rate[i] seconds. Between two sizes the seconds are
 * interpolated linearly; outside, the rate is that of the nearest. Sizes ascend, and so do the seconds, so
 * that more work never takes less time. */
enum { COL_RATE_POINTS = 8 };
typedef struct col_rate {
    int count; /* 1 or more */
    double size[COL_RATE_POINTS], rate[COL_RATE_POINTS];
} col_rate;

double col_rate_seconds(const col_rate *rate, double size);
/* Whether sizes, rates and seconds are as said above. */
bool col_rate_valid(const col_rate *rate);

/* How numbers are held and multiplied. */
typedef enum col_precision {
    COL_PRECISION_FP32,
    COL_PRECISION_TF32, /* fp32, products on tensor cores with 10 bits of mantissa */
    COL_PRECISION_BF16,
    COL_PRECISION_FP16,
    COL_PRECISION_COUNT
} col_precision;

const char *col_precision_name(col_precision precision); /* "bf16" */

/* What joins ranks. */
typedef struct col_link {
    double start;                           /* seconds before the first byte of a collective */
    double latency;                         /* seconds of each of its rounds */
    double bandwidth[COL_COLLECTIVE_COUNT]; /* bytes per second that each rank sends, all at once */
    double pair[COL_COLLECTIVE_COUNT];      /* the same where the group is two ranks; 0: as others */
} col_link;

/* What the N of a machine NAME:N counts. */
typedef enum col_machine_unit { COL_MACHINE_DEVICES, COL_MACHINE_HOSTS, COL_MACHINE_CORES } col_machine_unit;

enum { COL_MACHINE_NAME = 64 };

typedef struct col_machine {
    char name[COL_MACHINE_NAME]; /* "cpu:2" */
    /* As the file has them. Rates, traffic and links are of one device, or of one core with all at work. */
    col_machine_unit unit;
    int64_t count;                                       /* N */
    int64_t devices;                                     /* of a host */
    col_rate rates[COL_COST_COUNT][COL_PRECISION_COUNT]; /* operations per second, by operations */
    col_rate traffic;                                    /* bytes per second, by the bytes that are touched */
    double memory;                                       /* bytes of one device, or of all the cores */
    double overhead_alone,
        overhead_team;       /* seconds to start an instruction: one thread; and wait for several */
    col_link inside, across; /* between devices or ranks of one host; between hosts */
    double
        overlap; /* share of a collective's speed that it keeps while the rank computes; 0: they take turns */
    double host_bytes, host_bandwidth; /* memory of the host by device, and the way there; 0: not given */
    /* What one rank of a mesh has of it: col_machine_links. */
    col_precision precision; /* that instructions compute in */
    double cores;            /* 1 for a device; less than 1 where ranks take turns on a core */
    double overhead;         /* seconds to start an instruction */
    double memory_bytes;
    col_link links[COL_MESH_RANK]; /* by mesh axis */
} col_machine;

/* Devices of the machine; INT64_MAX for cores, which any number of ranks may share. */
int64_t col_machine_devices(const col_machine *machine);

/* Fills in what one rank of the mesh has (rank 0: a single device). The mesh has at most as many ranks as the
 * machine has devices.
 *
 * Ranks fill one host after the other, so the last axes of the mesh stay inside a host as far as they fit. An
 * axis of n = a b ranks that has a of them in each of b hosts is charged as a collective in two stages, all
 * hosts at once inside, then across on what is left: its bandwidth is the one that gives the sum of their
 * times. An axis that cuts hosts unevenly is charged as if it were all across.
 *
 * Ranks share the cores of a CPU: each has floor(cores / ranks), or where they are more than the cores a
 * fraction of one, which stretches all of its times, those of its links included. */
void col_machine_links(col_machine *machine, const col_mesh *mesh);

/* Predicted seconds of an instruction. */
double col_cost_seconds(const col_machine *machine, col_cost_class class, double flops, double bytes);
/* Its two floors: seconds for the arithmetic alone, and for the traffic alone. */
double col_cost_arithmetic(const col_machine *machine, col_cost_class class, double flops);
double col_cost_traffic(const col_machine *machine, double bytes);

/* Bytes that each rank of a group of n sends, for a tensor of `bytes` on every rank before the collective
 * (ring algorithms, Thakur et al. 2005): all-reduce 2 (n-1)/n B, all-gather (n-1) B, reduce-scatter and
 * all-to-all (n-1)/n B. */
double col_cost_collective_bytes(col_collective kind, int64_t n, double bytes);
/* Seconds of a collective over some axes of the mesh, which is done axis by axis: sums from the innermost
 * axis, so that the outer ones carry what is left of them, gathers and exchanges from the outermost. The
 * bytes are those of one ring over all axes.
 *
 *     seconds = start + sum over axes of (rounds latency + bytes sent / bandwidth)
 *     rounds  = n-1, of an all-reduce 2 (n-1)
 *
 * `start` is the largest of the axes'. */
double col_cost_collective(const col_machine *machine, const col_mesh *mesh, col_collective kind,
                           const col_axes *axes, double bytes);
/* Seconds in which every rank sends so many bytes to one other of its group: one round, at the bandwidth of
 * an all-to-all. Partners are taken to be as far apart as the slowest of the axes. */
double col_cost_send(const col_machine *machine, const col_mesh *mesh, const col_axes *axes, double bytes);

#endif
