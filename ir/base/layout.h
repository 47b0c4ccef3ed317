/* Device meshes, and how a tensor lies over one.
 *
 * A mesh is a box of devices, "2x4": axis 0 has 2 coordinates, axis 1 has 4. Rank r has the coordinates of r
 * in row-major order, axis 0 slowest.
 *
 * A layout says per dimension of a tensor over which mesh axes it is split, outermost first, and over which
 * axes every rank holds one term of a sum instead of the value ("partial"). An axis is used at most once. A
 * dimension that is split over axes a1, a2, ... is cut into equal contiguous blocks, size(a1) of them, each
 * of which is cut into size(a2), and so on. Axes that a layout does not use replicate.
 *
 *     S01R     dimension 0 over axes 0 and 1, dimension 1 whole
 *     RS1+P0   dimension 1 over axis 1; a partial sum over axis 0 */
#ifndef COL_IR_BASE_LAYOUT_H
#define COL_IR_BASE_LAYOUT_H

#include "ir/base/str.h"

enum {
    COL_MAX_RANK = 8,  /* dimensions of a tensor */
    COL_MESH_RANK = 6, /* axes of a mesh */
};

typedef struct col_mesh {
    int rank; /* 0: a single device */
    int64_t dims[COL_MESH_RANK];
} col_mesh;

/* "2x4", "4"; false for anything else, for more than COL_MESH_RANK axes, or an axis below 1. */
bool col_mesh_parse(const char *text, col_mesh *out_mesh);
void col_mesh_print(const col_mesh *mesh, col_str *out);
int64_t col_mesh_size(const col_mesh *mesh);
/* Coordinate of a rank along an axis. */
int64_t col_mesh_coordinate(const col_mesh *mesh, int64_t rank, int axis);
/* Ranks of a group of the mesh axes `axes` (outermost first): the product of their sizes. */
int64_t col_mesh_group(const col_mesh *mesh, int count, const int64_t *axes);

/* Axes in order, outermost first. */
typedef struct col_axes {
    uint8_t count;
    uint8_t axis[COL_MESH_RANK];
} col_axes;

typedef struct col_layout {
    col_axes split[COL_MAX_RANK];
    uint8_t partial; /* bit a: a partial sum over mesh axis a */
} col_layout;

/* All of it everywhere. */
col_layout col_layout_whole(void);
bool col_layout_equal(const col_layout *a, const col_layout *b);
uint64_t col_layout_hash(const col_layout *layout);
/* Mesh axes that the layout uses, partial ones included, as a mask. */
uint32_t col_layout_axes(const col_layout *layout);
/* Splits a dimension further, innermost; the axis must be free. */
void col_layout_push(col_layout *layout, int dim, int axis);
/* Takes the innermost axis of a dimension off and returns it; -1 when the dimension is whole. */
int col_layout_pop(col_layout *layout, int dim);
/* Ranks that share a dimension. */
int64_t col_layout_parts(const col_layout *layout, const col_mesh *mesh, int dim);
/* Whether every split dimension of a tensor of that shape divides evenly. */
bool col_layout_fits(const col_layout *layout, const col_mesh *mesh, int rank, const int64_t *dims);
/* The shape of what one rank holds; the layout must fit. `out_dims` may be `dims`. */
void col_layout_local(const col_layout *layout, const col_mesh *mesh, int rank, const int64_t *dims,
                      int64_t *out_dims);
/* First element of dimension `dim` that `rank` holds, for a dimension of `size` elements. */
int64_t col_layout_start(const col_layout *layout, const col_mesh *mesh, int64_t size, int dim, int64_t rank);
/* "S0RS12+P3" for a tensor of `rank` dimensions; scalars print as "R". */
void col_layout_print(const col_layout *layout, int rank, col_str *out);
/* The reverse; false for what does not read so. Axes must be below `mesh_rank`. */
bool col_layout_parse(const char *text, int rank, int mesh_rank, col_layout *out_layout);

#endif
