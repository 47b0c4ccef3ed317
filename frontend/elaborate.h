/* Elaboration: walks the syntax tree with the hyperparameters' values and builds the graph. Blocks and loops
 * are run, not kept: every instance of a block leaves its nodes, with the instance's path as their scope.
 *
 * A name means what was last bound to it: numbers by the header, `let` and `for`, tensors by statements and
 * declarations. A block sees its own names and those of the top level. Tensors that are variables of the
 * graph are also found by their dotted name, relative to the present scope or absolute.
 *
 * After a fault the names that a statement would have made are bound to COL_DATUM_BAD; what uses them fails
 * silently. So one mistake gives one error, and independent mistakes are all reported. */
#ifndef COL_FRONTEND_ELABORATE_H
#define COL_FRONTEND_ELABORATE_H

#include "frontend/parse.h"
#include "frontend/syntax.h"
#include "ir/builder.h"

typedef enum col_datum_kind {
    COL_DATUM_NONE, /* unbound */
    COL_DATUM_BAD,  /* a reported fault stands behind it */
    COL_DATUM_INT,
    COL_DATUM_FLOAT,
    COL_DATUM_TEXT,
    COL_DATUM_LIST, /* of whole numbers */
    COL_DATUM_INIT,
    COL_DATUM_TENSORS /* results of one call; `count` may be 0 */
} col_datum_kind;

/* What an expression gives. */
typedef struct col_datum {
    col_datum_kind kind;
    uint32_t count;      /* LIST, TENSORS */
    bool first_stands;   /* TENSORS: where one is wanted, the first is meant */
    int64_t int_value;   /* INT */
    double float_value;  /* FLOAT */
    const char *text;    /* TEXT */
    const int64_t *ints; /* LIST */
    col_init init;       /* INIT */
    col_value *const *tensors;
} col_datum;

typedef struct col_binding {
    col_datum datum;
    uint32_t frame;  /* instance of a block that bound it; 0: the top level */
    bool fixed;      /* a hyperparameter or counter: statements do not bind it anew */
    int32_t setting; /* index + 1 of the hyperparameter; 0: none */
} col_binding;

typedef struct col_shadowed {
    uint32_t symbol;
    col_binding binding;
} col_shadowed;

typedef struct col_elab {
    const col_syntax *syntax;
    col_symbols *symbols;
    col_arena *scratch;
    col_graph *graph; /* in its own arena */
    col_builder b;
    col_diags *diags;
    const col_parse_options *options;
    COL_VEC(col_binding) globals; /* by symbol index */
    COL_VEC(col_binding) locals;
    COL_VEC(col_shadowed) trail; /* local bindings to restore when the instance ends */
    uint32_t frame, frame_count; /* present instance; instances so far */
    int depth;                   /* of instances inside one another */
    uint64_t steps;              /* statements and expressions run */
    size_t value_count;          /* results of nodes */
    size_t bytes_before;         /* in the graph's arena: those of what else lives there */
    bool stopped;                /* a limit was hit: unwind */
    const col_block **block_of;  /* by symbol index, up to block_limit */
    uint32_t block_limit;
    bool *block_active;      /* by symbol index: for recursion */
    bool *setting_read;      /* by setting index */
    col_map *random_streams; /* scope to number of random ops in it, for salts */
    col_map *salts;          /* salts in use */
    col_map *assigned;       /* names of variables that an assign writes */
    col_map *outputs;        /* names of outputs */
} col_elab;

enum { COL_PATH_LIMIT = 1024 /* bytes of a scope or name */ };

/* elaborate.c */
/* Runs the whole model into e->graph. */
void col_elab_run(col_elab *e);
/* Reports a fault at the place, with the instance it happened in. The same place is reported once. */
void col_elab_fault(col_elab *e, col_loc loc, const char *format, ...) COL_PRINTF(3, 4);
/* "; did you mean 'layers'?", or "" when no candidate is like the name. */
const char *col_elab_suggestion(col_elab *e, const char *name, const char *const *candidates, size_t count);
/* Counts a step of the walk: a statement, an expression, a round of a loop. False when the walk is to end,
 * because a limit (steps, tensors, memory) was met, which is reported, or enough faults were. */
bool col_elab_step(col_elab *e, col_loc loc);
/* A scope's or variable's name under the present scope. NULL after a fault. In the graph's arena. */
const char *col_elab_path(col_elab *e, const col_name *name);
const char *col_elab_join(col_elab *e, col_loc loc, const char *name);
/* The symbol of a name, interpolations evaluated. NULL after a fault. */
const col_symbol *col_elab_symbol(col_elab *e, const col_name *name);
col_binding *col_elab_lookup(col_elab *e, const col_symbol *symbol); /* NULL: unbound */
void col_elab_bind(col_elab *e, const col_symbol *symbol, col_datum datum);
/* Whether a statement may bind the name, to a tensor or a number; reports where not. */
bool col_elab_may_bind(col_elab *e, const col_symbol *symbol, col_loc loc, bool to_tensor);
/* Whether the name is a hyperparameter or counter of the top level. */
bool col_elab_names_number(col_elab *e, const char *name);
/* Runs a body; stops early at a `return`, whose values are then in *out. Returns whether one was met. */
bool col_elab_body(col_elab *e, const col_body *body, col_datum *out_returned);

/* declare.c */
bool col_elab_type(col_elab *e, const col_type_syntax *syntax, bool is_var, col_type *out_type);
/* Declares a variable under its full name; NULL after a fault. */
col_value *col_elab_declare(col_elab *e, col_loc loc, col_var_kind kind, const char *name, col_type type,
                            col_init init, bool frozen);
/* A `param`, `state` or `input` statement. */
void col_elab_var(col_elab *e, const col_stmt *s);

/* settings.c */
/* Evaluates the header with the options' overrides, binds the hyperparameters and records them. */
void col_elab_settings(col_elab *e);
/* Reports an override that nothing in the model reads. */
void col_elab_settings_check(col_elab *e);

/* expr.c: all report and return false, or leave BAD, after a fault. */
bool col_eval(col_elab *e, const col_expr *expr, col_datum *out);
bool col_eval_int(col_elab *e, const col_expr *expr, const char *what, int64_t *out);
bool col_eval_tensor(col_elab *e, const col_expr *expr, col_value **out);
/* The one tensor of a datum, or a fault. */
bool col_datum_tensor(col_elab *e, col_loc loc, const col_datum *datum, col_value **out);
/* The words that mean something unless bound: true, false, inf, nan, zeros, ones. */
bool col_elab_constant(const char *name, col_datum *out);
bool col_datum_is_number(const col_datum *datum);
double col_datum_number(const col_datum *datum);
const char *col_datum_describe(const col_datum *datum);
col_datum col_datum_int(int64_t value);
col_datum col_datum_float(double value);
col_datum col_datum_of_tensor(col_elab *e, col_value *value);

/* number.c: arithmetic of whole numbers and floats. NULL, or what is wrong, in words. */
const char *col_number_infix(col_token_kind infix, const col_datum *x, const col_datum *y, col_datum *out);
/* Functions of numbers (sqrt, min, …). -1: no such function; else the least and most arguments. */
int col_number_function_find(const char *name, uint32_t *out_low, uint32_t *out_high);
const char *col_number_function(int function, uint32_t count, const col_datum *arguments, col_datum *out);
const char *col_number_function_name(int function); /* NULL past the end: for suggestions and docs */

/* call.c */
bool col_eval_call(col_elab *e, const col_expr *expr, col_datum *out);
/* Makes a node with the present scope; counts it; false after a fault (reported). */
col_node *col_elab_node(col_elab *e, col_loc loc, col_op op, uint32_t operand_count,
                        col_value *const *operands, uint32_t attr_count, const col_attr *attrs);
/* A scalar constant of the number. NULL after a fault. */
col_value *col_elab_scalar(col_elab *e, col_loc loc, const col_datum *number, col_dtype dtype);
/* The generator's state, declared as the input `rng` at its first use. NULL after a fault. */
col_value *col_elab_generator(col_elab *e, col_loc loc);
/* A salt for one more random op in the present scope. */
int64_t col_elab_salt(col_elab *e);

/* module.c */
typedef struct col_module col_module;
const col_module *col_module_find(const char *name); /* NULL: none */
const char *col_module_name(size_t index);           /* NULL past the end */
/* "linear(x, n, bias = 1, init = normal(0, 0.02))" */
const char *col_module_signature(const col_module *module, col_arena *arena);
/* Runs the module with the arguments of the call, in the present scope. */
bool col_module_run(col_elab *e, const col_module *module, const col_expr *expr, const col_datum *arguments,
                    col_datum *out);

#endif
