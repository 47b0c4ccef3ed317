/* Modules: calls that declare parameters of their own under the present scope, or that complete an op. One
 * row of the table is one module; the binding of arguments, the signature in messages and the entry that
 * docs/ir.md must have all come from the row. To add a module: a build function, in
 * module_dense.c or module_window.c, and a row. */
#include "frontend/module.h"

#include <string.h>

/* INTS: a list, or one number that stands for all of it. */
typedef enum kind { TENSOR, INT, NUMBER, INIT, INTS } kind;

typedef struct formal {
    const char *name; /* NULL ends the list */
    kind kind;
    enum { REQUIRED, OPTIONAL, DEFAULTED } presence;
    col_datum fallback; /* DEFAULTED; an OPTIONAL one that is not given is COL_DATUM_NONE */
} formal;

struct col_module {
    const char *name;
    bool (*build)(const col_instance *m, col_datum *out);
    formal formals[COL_MODULE_ARGUMENTS + 1];
};

#define INT_VALUE(v)                                                                                         \
    {                                                                                                        \
        .kind = COL_DATUM_INT, .int_value = (v)                                                              \
    }
#define FLOAT_VALUE(v)                                                                                       \
    {                                                                                                        \
        .kind = COL_DATUM_FLOAT, .float_value = (v)                                                          \
    }
#define INIT_VALUE(k, x, y)                                                                                  \
    {                                                                                                        \
        .kind = COL_DATUM_INIT, .init = {.kind = COL_INIT_##k, .a = (x), .b = (y) }                          \
    }

/* --- parts of modules --- */

col_value *col_instance_var(const col_instance *m, col_var_kind kind, const char *name, col_dtype dtype,
                            int rank, const int64_t *dims, col_init init)
{
    const char *full = col_elab_join(m->e, m->loc, name);
    if (!full) return NULL;
    for (int i = 0; i < rank; i++) {
        if (dims[i] >= 1) continue;
        col_elab_fault(m->e, m->loc, "variable '%s' would have a dimension of %lld", full,
                       (long long)dims[i]);
        return NULL;
    }
    return col_elab_declare(m->e, m->loc, kind, full, col_type_make(dtype, col_shape_make(rank, dims)), init,
                            false);
}

col_value *col_instance_param(const col_instance *m, const char *name, col_dtype dtype, int rank,
                              const int64_t *dims, col_init init)
{
    return col_instance_var(m, COL_VAR_PARAM, name, dtype, rank, dims, init);
}

bool col_instance_give(const col_instance *m, col_node *node, col_datum *out)
{
    if (node) *out = col_datum_of_tensor(m->e, &node->results[0]);
    return node != NULL;
}

col_node *col_instance_unary(const col_instance *m, col_op op, col_value *x, col_attr attr)
{
    return col_elab_node(m->e, m->loc, op, 1, &x, 1, &attr);
}

bool col_instance_want_float(const col_instance *m, const col_value *x)
{
    if (col_dtype_is_float(x->type.dtype) && x->type.shape.rank >= 1) return true;
    col_str text = {0};
    col_type_print(x->type, &text);
    col_elab_fault(m->e, m->loc, "a floating-point tensor of rank 1 or more is wanted; this is %s",
                   col_str_text(&text));
    col_str_fini(&text);
    return false;
}

/* --- the table --- */

static const col_module modules[] = {
    {"linear",
     col_module_build_linear,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, DEFAULTED, INIT_VALUE(NORMAL, 0, 0.02)},
      {"bias_init", INIT, DEFAULTED, INIT_VALUE(ZEROS, 0, 0)}}},
    {"dense",
     col_module_build_dense,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, OPTIONAL, {0}},
      {"bias_init", INIT, OPTIONAL, {0}}}},
    {"layer_norm",
     col_module_build_layer_norm,
     {{"x", TENSOR, REQUIRED, {0}}, {"eps", NUMBER, DEFAULTED, FLOAT_VALUE(1e-5)}}},
    {"embedding",
     col_module_build_embedding,
     {{"ids", TENSOR, REQUIRED, {0}},
      {"rows", INT, REQUIRED, {0}},
      {"width", INT, REQUIRED, {0}},
      {"init", INIT, DEFAULTED, INIT_VALUE(NORMAL, 0, 0.02)}}},
    {"dropout", col_module_build_dropout, {{"x", TENSOR, REQUIRED, {0}}, {"rate", NUMBER, REQUIRED, {0}}}},
    {"attention",
     col_module_build_attention,
     {{"q", TENSOR, REQUIRED, {0}},
      {"k", TENSOR, REQUIRED, {0}},
      {"v", TENSOR, REQUIRED, {0}},
      {"heads", INT, REQUIRED, {0}},
      {"causal", INT, DEFAULTED, INT_VALUE(0)},
      {"rate", NUMBER, DEFAULTED, FLOAT_VALUE(0)},
      {"scale", NUMBER, OPTIONAL, {0}},
      {"mask", TENSOR, OPTIONAL, {0}}}},
    {"conv",
     col_module_build_conv,
     {{"x", TENSOR, REQUIRED, {0}},
      {"n", INT, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, DEFAULTED, INT_VALUE(1)},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"dilation", INTS, DEFAULTED, INT_VALUE(1)},
      {"groups", INT, DEFAULTED, INT_VALUE(1)},
      {"bias", INT, DEFAULTED, INT_VALUE(1)},
      {"init", INIT, OPTIONAL, {0}},
      {"bias_init", INIT, OPTIONAL, {0}}}},
    {"max_pool",
     col_module_build_max_pool,
     {{"x", TENSOR, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, OPTIONAL, {0}},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"dilation", INTS, DEFAULTED, INT_VALUE(1)}}},
    {"avg_pool",
     col_module_build_avg_pool,
     {{"x", TENSOR, REQUIRED, {0}},
      {"kernel", INTS, REQUIRED, {0}},
      {"stride", INTS, OPTIONAL, {0}},
      {"padding", INTS, DEFAULTED, INT_VALUE(0)},
      {"count_include_pad", INT, DEFAULTED, INT_VALUE(1)}}},
    {"batch_norm",
     col_module_build_batch_norm,
     {{"x", TENSOR, REQUIRED, {0}},
      {"eps", NUMBER, DEFAULTED, FLOAT_VALUE(1e-5)},
      {"momentum", NUMBER, DEFAULTED, FLOAT_VALUE(0.1)}}},
    {"matmul", col_module_build_matmul, {{"x", TENSOR, REQUIRED, {0}}, {"y", TENSOR, REQUIRED, {0}}}},
    {"transpose", col_module_build_transpose, {{"x", TENSOR, REQUIRED, {0}}}},
    {"positions", col_module_build_positions, {{"n", INT, REQUIRED, {0}}}},
};

/* --- calling --- */

const col_module *col_module_find(const char *name)
{
    for (size_t i = 0; i < COL_COUNT(modules); i++) {
        if (!strcmp(modules[i].name, name)) return &modules[i];
    }
    return NULL;
}

const char *col_module_name(size_t index)
{
    return index < COL_COUNT(modules) ? modules[index].name : NULL;
}

static void print_fallback(const col_datum *fallback, col_str *out)
{
    const col_init *init = &fallback->init;
    switch (fallback->kind) {
    case COL_DATUM_INT: col_str_printf(out, " = %lld", (long long)fallback->int_value); break;
    case COL_DATUM_FLOAT: col_str_printf(out, " = %g", fallback->float_value); break;
    case COL_DATUM_INIT:
        if (init->kind == COL_INIT_NORMAL)
            col_str_printf(out, " = normal(%g, %g)", init->a, init->b);
        else
            col_str_append(out, " = zeros");
        break;
    default: break;
    }
}

const char *col_module_signature(const col_module *module, col_arena *arena)
{
    col_str out = {0};
    col_str_printf(&out, "%s(", module->name);
    for (const formal *f = module->formals; f->name; f++) {
        col_str_printf(&out, "%s%s", f == module->formals ? "" : ", ", f->name);
        if (f->presence == DEFAULTED) print_fallback(&f->fallback, &out);
        if (f->presence == OPTIONAL) col_str_append(&out, " = …");
    }
    col_str_append(&out, ")");
    const char *text = col_arena_strdup(arena, col_str_text(&out));
    col_str_fini(&out);
    return text;
}

static bool kind_fits(kind wanted, const col_datum *datum)
{
    switch (wanted) {
    case TENSOR: return datum->kind == COL_DATUM_TENSORS;
    case INT: return datum->kind == COL_DATUM_INT;
    case NUMBER: return col_datum_is_number(datum);
    case INTS: return datum->kind == COL_DATUM_INT || (datum->kind == COL_DATUM_LIST && datum->count > 0);
    default: return datum->kind == COL_DATUM_INIT;
    }
}

static bool fault_with_signature(const col_instance *m, const col_module *module, col_loc loc,
                                 const char *what)
{
    col_elab_fault(m->e, loc, "%s; the module is %s", what, col_module_signature(module, m->e->scratch));
    return false;
}

/* The arguments in the order of the row, checked. */
static bool bind_arguments(col_instance *m, const col_module *module, const col_call *call,
                           const col_datum *data, col_datum *bound)
{
    static const char *const wanted[] = {"a tensor", "a whole number", "a number", "an initialiser",
                                         "a whole number or a list of them"};
    col_arena *scratch = m->e->scratch;
    for (uint32_t i = 0; i < call->argument_count; i++) {
        const col_argument *argument = &call->arguments[i];
        uint32_t at = 0;
        while (module->formals[at].name &&
               (argument->keyword ? strcmp(module->formals[at].name, argument->keyword) != 0 : at < i))
            at++;
        const formal *f = &module->formals[at];
        if (!f->name) {
            const char *what =
                argument->keyword
                    ? col_arena_printf(scratch, "'%s' has no argument '%s'", module->name, argument->keyword)
                    : col_arena_printf(scratch, "'%s' is given too much", module->name);
            return fault_with_signature(m, module, argument->loc, what);
        }
        if (bound[at].kind != COL_DATUM_NONE) {
            col_elab_fault(m->e, argument->loc, "'%s' is given twice", f->name);
            return false;
        }
        if (!kind_fits(f->kind, &data[i])) {
            const char *what = col_arena_printf(scratch, "'%s' must be %s; this is %s", f->name,
                                                wanted[f->kind], col_datum_describe(&data[i]));
            return fault_with_signature(m, module, argument->loc, what);
        }
        if (f->kind == TENSOR && !col_datum_tensor(m->e, argument->loc, &data[i], &m->tensors[at]))
            return false;
        bound[at] = data[i];
    }
    for (uint32_t at = 0; module->formals[at].name; at++) {
        const formal *f = &module->formals[at];
        if (bound[at].kind != COL_DATUM_NONE) continue;
        if (f->presence == REQUIRED) {
            return fault_with_signature(m, module, m->loc,
                                        col_arena_printf(scratch, "'%s' needs '%s'", module->name, f->name));
        }
        bound[at] = f->fallback;
    }
    return true;
}

bool col_module_run(col_elab *e, const col_module *module, const col_expr *expr, const col_datum *arguments,
                    col_datum *out)
{
    col_datum bound[COL_MODULE_ARGUMENTS] = {{0}};
    col_instance m = {.e = e, .loc = expr->loc, .arguments = bound};
    return bind_arguments(&m, module, expr->call, arguments, bound) && module->build(&m, out);
}
