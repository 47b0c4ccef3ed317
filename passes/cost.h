/* The cost model: seconds of an instruction on a machine. Units: seconds, bytes, floating-point operations
 * (a multiply-add is two; a division or a transcendental function counts by its cost, codegen/kernel.h).
 *
 * An instruction takes the longer of its arithmetic and its memory traffic, and a fixed time to start
 * (Williams, Waterman, Patterson, "Roofline", CACM 2009):
 *
 *     seconds = overhead + max(flops / rate of its class, bytes / bandwidth)
 *
 * where the bandwidth is the cache's for an instruction that touches at most `cache_bytes`. A machine is the
 * list of these constants. */
#ifndef COL_PASSES_COST_H
#define COL_PASSES_COST_H

#include "ir/base/layout.h"
#include "ir/base/status.h"

typedef enum col_cost_class {
    COL_COST_PRODUCT,   /* matrix products of the device's library */
    COL_COST_ATTENTION, /* the executor's fused attention */
    COL_COST_KERNEL,    /* generated kernels */
    COL_COST_MOVE,      /* copies, scatters, fills */
    COL_COST_COUNT
} col_cost_class;

/* "products" and the like, for people. */
const char *col_cost_class_name(col_cost_class class);

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

/* What joins the ranks along one axis of a mesh. */
typedef struct col_link {
    double latency;                         /* seconds of one message */
    double bandwidth[COL_COLLECTIVE_COUNT]; /* bytes per second that each rank sends, achieved */
} col_link;

enum { COL_MACHINE_NAME = 32 };

typedef struct col_machine {
    char name[COL_MACHINE_NAME];  /* "cpu:2" */
    double flops[COL_COST_COUNT]; /* per second, by class */
    double memory_bandwidth;      /* bytes per second */
    double cache_bandwidth;
    double cache_bytes;            /* the largest working set that the cache's bandwidth holds for */
    double overhead;               /* seconds to start an instruction and to wait for its threads */
    double memory_bytes;           /* of one device */
    col_link links[COL_MESH_RANK]; /* by mesh axis */
} col_machine;

/* The machine of that name. "cpu:N" is N cores of the CPU that cost.c describes, "cpu" as many as this
 * process may use. COL_BAD_INPUT for a name that is not known. */
COL_MUST_USE col_status col_machine_find(const char *name, col_machine *out_machine);

/* Predicted seconds of an instruction. */
double col_cost_seconds(const col_machine *machine, col_cost_class class, double flops, double bytes);
/* Its two floors: seconds for the arithmetic alone, and for the traffic alone. */
double col_cost_arithmetic(const col_machine *machine, col_cost_class class, double flops);
double col_cost_traffic(const col_machine *machine, double bytes);

/* Bytes that each rank of a group of n sends, for a tensor of `bytes` on every rank before the collective
 * (ring algorithms, Thakur et al. 2005): all-reduce 2 (n-1)/n B, all-gather (n-1) B, reduce-scatter and
 * all-to-all (n-1)/n B. */
double col_cost_collective_bytes(col_collective kind, int64_t n, double bytes);
/* Seconds of a collective over some axes of the mesh: latency of its rounds, and bytes over the slowest axis'
 * bandwidth. */
double col_cost_collective(const col_machine *machine, const col_mesh *mesh, col_collective kind,
                           const col_axes *axes, double bytes);

#endif
