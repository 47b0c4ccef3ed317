/* Plans on meshes under test: what the files of test_ranks share.
 *
 * What differs from rank to rank goes in and comes out as a variable with a first dimension that is split
 * over all axes of the mesh: rank r holds the r-th row. */
#ifndef COL_CTS_RANKS_H
#define COL_CTS_RANKS_H

#include "runtime/ranks.h"
#include "tests/cts/cts.h"

typedef struct ranks_suite {
    const col_device_type *type;
    int cases;
    const char *const *meshes;
    size_t mesh_count;
    col_comm *comm; /* with processes: this one's */
} ranks_suite;

/* A case of that number, its plan on that mesh. */
cts_case ranks_start(const ranks_suite *s, int number, const char *mesh);
/* Opens the plan that the case has made. */
col_ranks *ranks_open(const ranks_suite *s, cts_case *c, double timeout);
/* A variable with a row per rank; returns the view of a rank's row, without the first dimension. */
col_plan_view *ranks_rows(cts_case *c, const char *name, Col__Plan__Dtype dtype, size_t rank,
                          const int64_t *dims);

/* Elements as doubles. */
double ranks_decode(Col__Plan__Dtype dtype, const void *data, int64_t i);
void ranks_encode(Col__Plan__Dtype dtype, void *data, int64_t i, double value);
/* Multiples of a quarter below 2, whose sums are exact in 16 bits, where these are the type; else anything. */
double ranks_random(cts_case *c, Col__Plan__Dtype dtype);

/* A collective. */
typedef struct ranks_problem {
    col_mesh mesh;
    bool shard;
    Col__Plan__CollectiveKind kind;
    Col__Plan__ReduceKind reduce;
    size_t axis_count;
    uint32_t axes[COL_MESH_RANK];
    int64_t n; /* members of a group */
    int32_t dim, from_dim;
    uint32_t root;
    int64_t shift;
    bool started;
    Col__Plan__Dtype dtype;
    size_t rank;
    int64_t in_dims[COL_PLAN_MAX_RANK], out_dims[COL_PLAN_MAX_RANK];
    int64_t in_numel, out_numel;
} ranks_problem;

/* A random one of the kind. */
ranks_problem ranks_choose(cts_case *c, int kind);
/* Adds its instruction to the case, between these views of a rank. */
void ranks_describe(cts_case *c, ranks_problem *p, col_plan_view *from, col_plan_view *to);
/* Adds the wait for what the instruction of that number has started. */
void ranks_wait(cts_case *c, uint32_t start);

/* The tests; their state is the suite. */
void test_collectives(void **state);
void test_streams(void **state);
void test_nan(void **state);
void test_refused_starts(void **state);
void test_variables(void **state);

#endif
