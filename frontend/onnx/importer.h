/* The state of an import, shared by import*.c, fold.c and node*.c. */
#ifndef COL_ONNX_IMPORTER_H
#define COL_ONNX_IMPORTER_H

#include "frontend/onnx/import.h"
#include "frontend/onnx/node.h"

/* Tensors up to this many elements are computed while importing where everything that they depend on is
 * known. Shapes, axes and the like are far smaller. */
enum { COL_ONNX_KNOWN_ELEMENTS = 4096 };

/* All that one import computes has at most so many elements: a few nodes could otherwise ask for any amount. */
enum { COL_ONNX_COMPUTED_ELEMENTS = 1 << 24 };

/* A name of the model. `value` is NULL when what should make it had a fault. */
typedef struct col_onnx_slot {
    col_value *value;
    bool is_small; /* f32 that stands for 8-bit floats: only to be cast */
} col_onnx_slot;

struct col_onnx_importer {
    const char *file;
    col_onnx_files *files; /* NULL: no external data */
    const col_onnx_options *options;
    col_arena *arena;
    col_graph *graph;
    col_builder builder;
    col_diags diags;                   /* of the node being built */
    col_map *slots;                    /* col_onnx_slot by name */
    COL_VEC(const col_tensor *) known; /* by value id; NULL: not known */
    col_node *folded;                  /* the last node that was looked at for folding */
    COL_VEC(col_onnx_weight) weights;
    COL_VEC(col_onnx_empty) empty;
    int64_t opset;
    int64_t computed;  /* elements so far */
    uint32_t literals; /* that got a name so far */
    col_str faults;
    size_t fault_count;
};

/* Notes a fault of the whole model; all are reported at the end. */
void col_onnx_importer_fault(col_onnx_importer *im, const char *format, ...) COL_PRINTF(2, 3);
/* Whether there is room for as many more elements; takes it. */
bool col_onnx_importer_afford(col_onnx_importer *im, int64_t count);
/* fold.c: notes what a value holds, if that is small. */
void col_onnx_importer_know_data(col_onnx_importer *im, const col_value *value,
                                 const col_onnx_tensor *tensor);
/* fold.c: evaluates what is new in the graph since the last call and depends on known tensors alone. */
void col_onnx_importer_fold(col_onnx_importer *im);
/* A parameter with its data, which must live as long as the import. */
col_value *col_onnx_importer_param(col_onnx_importer *im, const char *name, const col_onnx_tensor *tensor,
                                   bool is_trained);

/* import_vars.c. Names of variables and outputs go into the model's text, in backquotes: a fault and false for one that
 * cannot; `what` has it, for the message. */
bool col_onnx_importer_check_name(col_onnx_importer *im, const char *what, const char *name);
/* The name stands for the value from here on; a fault when it is there already. */
col_onnx_slot *col_onnx_importer_define(col_onnx_importer *im, const char *name, col_value *value);
/* The names that nodes read, and outputs. */
col_map *col_onnx_importer_read_names(const col_onnx_importer *im, const Col__Onnx__Graph *graph);
void col_onnx_importer_add_initializer(col_onnx_importer *im, const Col__Onnx__Tensor *message);
/* An input that none of the names `read` is may be of any type. */
void col_onnx_importer_add_input(col_onnx_importer *im, const Col__Onnx__ValueInfo *message,
                                 const col_map *read);

#endif
