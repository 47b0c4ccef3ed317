/* The graph: nodes in an order that respects data flow, the values they make, and the variables they read and
 * write. Everything is owned by the graph's arena. Passes change a graph only through this header and
 * ir/builder.h, which keep the use lists right.
 *
 *   variable   a tensor with a name that outlives a step or comes from outside: input, parameter, state
 *   value      one tensor of the step: a variable as it was at the start of the step, or a node's result
 *   node       an op with operands, attributes, results; `assign` nodes write variables
 *   output     a value with a name that the caller of the program sees
 *
 * A step runs in phases (forward, backward, update), which appear in this order. */
#ifndef COL_IR_GRAPH_H
#define COL_IR_GRAPH_H

#include "ir/base/map.h"
#include "ir/op.h"

typedef enum col_phase { COL_PHASE_FORWARD, COL_PHASE_BACKWARD, COL_PHASE_UPDATE, COL_PHASE_COUNT } col_phase;

typedef struct col_operand col_operand;
typedef struct col_var col_var;

struct col_value {
    col_type type;
    col_node *producer;     /* NULL: a variable's value */
    col_var *var;           /* NULL: a node's result */
    uint32_t index;         /* among the producer's results */
    uint32_t id;            /* unique in the graph, never reused; prints as %id */
    col_operand *first_use; /* list of uses, in no particular order */
    const char *name;       /* from the model's text, or NULL; for people only */
};

/* One operand slot of a node; a link in the use list of its value. */
struct col_operand {
    col_value *value;
    col_node *user;
    uint32_t index; /* among the user's operands */
    col_operand *next_use, **link;
};

struct col_node {
    col_graph *graph;
    col_node *prev, *next;
    col_op op;
    col_phase phase;
    uint32_t id;   /* unique in the graph, never reused */
    int32_t group; /* kernel that the node was fused into; -1: none */
    int32_t turn;  /* of a copy made to compute a forward value again: its turn, from 1 on; else 0 */
    uint32_t operand_count, result_count, attr_count;
    col_operand *operands;
    col_value *results;
    col_attr *attrs;
    const char *scope; /* "h.3.attn.c_attn"; "" at the top */
    col_loc loc;       /* where the model's text asks for it */
};

typedef enum col_var_kind { COL_VAR_INPUT, COL_VAR_PARAM, COL_VAR_STATE } col_var_kind;

typedef enum col_init_kind {
    COL_INIT_ZEROS,
    COL_INIT_CONSTANT,
    COL_INIT_NORMAL,
    COL_INIT_UNIFORM
} col_init_kind;

/* How a parameter or state starts: constant(a), normal(mean a, deviation b), uniform(a, b). */
typedef struct col_init {
    col_init_kind kind;
    double a, b;
} col_init;

struct col_var {
    col_var_kind kind;
    const char *name;  /* as Hugging Face or torchvision names it */
    col_type type;     /* what one rank holds */
    col_layout layout; /* how that lies in `whole`, over the graph's mesh */
    col_shape whole;   /* of all ranks together; type.shape when the graph is not partitioned */
    col_shape stored; /* of the same elements in files and to users: `whole`, but where a pass cut a dimension
                         in two */
    col_init init;    /* of parameters and states */
    bool frozen;      /* a parameter that is not trained */
    col_value *value; /* at the start of the step */
    col_loc loc;
    uint32_t index; /* among the graph's variables */
};

typedef struct col_output {
    const char *name;
    col_value *value;
    col_loc loc;
} col_output;

/* The input of a partitioned graph that holds the rank's coordinates on the mesh, i32[mesh rank]: the only
 * variable whose copies differ between ranks. */
#define COL_MESH_COORDINATE "mesh.coordinate"

/* A hyperparameter with the value it had when the graph was made: part of the plan's record. */
typedef struct col_setting {
    const char *name;
    int64_t int_value;
    double float_value;
    bool is_float;
} col_setting;

struct col_graph {
    col_arena *arena;
    const char *name;
    col_mesh mesh; /* that the graph is the program of one rank of; rank 0: not partitioned */
    col_node *first, *last;
    size_t node_count;
    COL_VEC(col_var *) vars;
    COL_VEC(col_output) outputs;
    COL_VEC(col_setting) settings;
    col_map *var_by_name;
    uint32_t next_value_id, next_node_id;
};

#define COL_FOR_EACH_NODE(node, graph) for (col_node *node = (graph)->first; node; node = node->next)
/* Allows removing `node` inside the loop. */
#define COL_FOR_EACH_NODE_SAFE(node, graph)                                                                  \
    for (col_node *node = (graph)->first, *next_##node = node ? node->next : NULL; node;                     \
         node = next_##node, next_##node = node ? node->next : NULL)
#define COL_FOR_EACH_USE(use, value) for (col_operand *use = (value)->first_use; use; use = use->next_use)

/* A graph without nodes; lives in `arena`. */
col_graph *col_graph_create(col_arena *arena, const char *name);

/* Adds a variable and its value. The name must be new (col_graph_find_var). */
col_var *col_graph_add_var(col_graph *graph, col_var_kind kind, const char *name, col_type type,
                           col_init init, col_loc loc);
col_var *col_graph_find_var(const col_graph *graph, const char *name);
void col_graph_add_output(col_graph *graph, const char *name, col_value *value, col_loc loc);
/* NULL when there is none of that name. */
col_value *col_graph_find_output(const col_graph *graph, const char *name);

/* Makes a node before `before` (NULL: at the end) without inferring types: use col_build (ir/builder.h). */
col_node *col_graph_insert(col_graph *graph, col_node *before, col_op op, uint32_t operand_count,
                           col_value *const *operands, uint32_t attr_count, const col_attr *attrs,
                           uint32_t result_count);
/* Unlinks a node whose results have no users and are no outputs. */
void col_graph_remove(col_node *node);
/* Moves a node before `before` (NULL: to the end). The caller answers for data flow. */
void col_graph_move(col_node *node, col_node *before);

/* Makes the operand another value, and keeps both use lists right. The caller answers for types. */
void col_node_set_operand(col_node *node, uint32_t index, col_value *value);
/* Every use of `from`, and every output that is `from`, becomes `to`. Types must be equal. */
void col_value_replace(col_graph *graph, col_value *from, col_value *to);
bool col_value_has_uses(const col_value *value); /* by nodes; outputs are not counted */
bool col_value_is_output(const col_graph *graph, const col_value *value);

static inline col_value *col_node_operand(const col_node *node, uint32_t index)
{
    return node->operands[index].value;
}

/* Attributes; the default of ir/attrs.def where the node has none. */
const col_attr *col_node_attr(const col_node *node, col_attr_key key); /* NULL when absent */
int64_t col_node_int(const col_node *node, col_attr_key key);
double col_node_float(const col_node *node, col_attr_key key);
const char *col_node_text(const col_node *node, col_attr_key key); /* NULL when absent */
/* The list; sets `*out_count`. */
const int64_t *col_node_ints(const col_node *node, col_attr_key key, int *out_count);

/* The structural operands that make a node's result: true when two nodes compute the same (same op,
 * operands, attributes). Random streams are told apart by their salt. */
bool col_node_equal(const col_node *a, const col_node *b);
uint64_t col_node_hash(const col_node *node);

/* "h.3.attn.c_attn", or scope and op when the scope has several nodes: "h.3.add_1". Unique for a graph that
 * does not change in between. In the arena. */
const char **col_graph_node_names(const col_graph *graph, col_arena *arena); /* indexed by node id */

/* ir/print.c: the text that parses back to the same graph. */
void col_graph_print(const col_graph *graph, col_str *out);
void col_node_print(const col_node *node, col_str *out); /* one statement, no newline */
/* ir/verify.c: every broken invariant at once, each naming its node; NULL when sound. */
COL_MUST_USE col_status col_graph_verify(const col_graph *graph);
/* ir/clone.c: a deep copy in `arena`, same ids. */
col_graph *col_graph_clone(const col_graph *graph, col_arena *arena);

#endif
