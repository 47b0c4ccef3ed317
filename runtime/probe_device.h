/* `colrun probe` of a device that plans are compiled for: what it takes for their instructions, and for collectives. */
#ifndef COL_RUNTIME_PROBE_DEVICE_H
#define COL_RUNTIME_PROBE_DEVICE_H

#include "ir/base/str.h"
#include "ir/base/vec.h"
#include "runtime/comm.h"
#include "runtime/probe_plan.h"

/* A size and the seconds that it took. */
typedef struct probe_point {
    double size, seconds;
} probe_point;

typedef COL_VEC(probe_point) probe_points;

/* At most `most` points for a machine file (docs/machines.md) from measurements in any order: neighbours in size are
 * merged, and seconds do not fall with size. */
void probe_points_fit(col_arena *arena, probe_points *points, size_t most);
/* "[[size, rate], ...]" */
void probe_points_print(col_str *out, const probe_points *points);

/* Figures of the links, of groups of `ranks` and of two; bandwidths in the order of col_probe_collectives. */
enum { PROBE_COLLECTIVES = 4 };
extern const char *const probe_collective_names[PROBE_COLLECTIVES];

typedef struct probe_links {
    int64_t ranks; /* 0: not measured */
    double start, latency;
    double bandwidth[PROBE_COLLECTIVES], pair[PROBE_COLLECTIVES]; /* pair: 0 where the group is no other */
    double overlap;                                               /* share; docs/machines.md */
} probe_links;

/* Of processes that this one forks, each with a GPU: returns in all of them, with `*out_comm` to close; figures are those
 * of rank 0. */
COL_MUST_USE col_status probe_links_measure(const col_device_type *type, int64_t ranks, col_comm **out_comm,
                                            probe_links *out);

/* The command for a device other than the CPU: `plans` are what to time; `path` NULL: only a table is printed. */
COL_MUST_USE col_status probe_device(const char *target, const char *const *plans, size_t count,
                                     int64_t ranks, const char *path);

#endif
