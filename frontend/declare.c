/* Types and declarations of variables. */
#include "frontend/elaborate.h"

#include <math.h>
#include <string.h>

/* No machine addresses more: a variable over this is a slip, whatever the mesh. */
static const int64_t variable_limit = INT64_C(1) << 47;

static bool check_size(col_elab *e, col_loc loc, col_type type, bool is_var)
{
    bool counts = col_shape_is_valid(type.shape);
    if (counts && (!is_var || col_type_bytes(type) <= variable_limit)) return true;
    char bytes[COL_HUMAN_SIZE];
    col_elab_fault(e, loc, "a tensor of this type takes %s: more than a machine can address",
                   counts ? col_format_bytes(bytes, (double)col_type_bytes(type)) : "over 2^59 bytes");
    return false;
}

bool col_elab_type(col_elab *e, const col_type_syntax *syntax, bool is_var, col_type *out_type)
{
    *out_type = (col_type){.dtype = syntax->dtype, .shape = {.rank = (int)syntax->dim_count}};
    bool fine = true;
    for (uint32_t i = 0; i < syntax->dim_count; i++) {
        int64_t dim = 0;
        if (!col_eval_int(e, syntax->dims[i], "a dimension", &dim)) {
            fine = false;
        } else if (dim < (is_var ? 1 : 0)) {
            col_elab_fault(e, syntax->dims[i]->loc, "a dimension must be at least %d; this is %lld", is_var,
                           (long long)dim);
            fine = false;
        }
        out_type->shape.dims[i] = dim;
    }
    if (!fine) return false;
    return check_size(e, syntax->loc, *out_type, is_var);
}

/* Whole numbers begin as a constant that they can hold. */
static bool may_begin_as(col_dtype dtype, col_init init)
{
    if (col_dtype_is_float(dtype) || init.kind == COL_INIT_ZEROS) return true;
    return init.kind == COL_INIT_CONSTANT && col_dtype_holds(dtype, init.a);
}

/* A variable's full name must not mean a number at the top level, or the printed graph could not say it. */
static bool is_taken(col_elab *e, col_loc loc, const char *name)
{
    col_datum word;
    bool number = col_elab_names_number(e, name);
    if (!number && !col_elab_constant(name, &word)) return false;
    col_elab_fault(e, loc, "'%s' is %s; a variable cannot have this name", name,
                   number ? "a hyperparameter or counter" : "a word of the language");
    return true;
}

static bool is_coordinate(const col_graph *graph, col_var_kind kind, col_type type)
{
    int64_t rank = graph->mesh.rank;
    return rank && kind == COL_VAR_INPUT &&
           col_type_equal(type, (col_type){COL_I32, col_shape_make(1, &rank)});
}

col_value *col_elab_declare(col_elab *e, col_loc loc, col_var_kind kind, const char *name, col_type type,
                            col_init init, bool frozen)
{
    if (!col_elab_step(e, loc) || !check_size(e, loc, type, true)) return NULL;
    const col_var *before = col_graph_find_var(e->graph, name);
    if (before) {
        col_elab_fault(e, loc, "'%s' is declared already, on line %u; give this one another path with '@'",
                       name, before->loc.line);
        return NULL;
    }
    if (is_taken(e, loc, name)) return NULL;
    if (!may_begin_as(type.dtype, init)) {
        col_elab_fault(e, loc, "'%s' is %s: it can begin as zeros or a constant that is one of its numbers",
                       name, col_dtype_name(type.dtype));
        return NULL;
    }
    if (!strcmp(name, COL_MESH_COORDINATE) && !is_coordinate(e->graph, kind, type)) {
        col_elab_fault(e, loc,
                       "'%s' is the rank's place on the mesh: an input i32[axes of the mesh] of a graph that "
                       "has one; choose another name",
                       name);
        return NULL;
    }
    col_var *var = col_graph_add_var(e->graph, kind, name, type, init, loc);
    var->frozen = frozen;
    e->value_count++;
    return var->value;
}

static bool elab_init(col_elab *e, const col_stmt *s, col_init *out)
{
    *out = (col_init){.kind = COL_INIT_ZEROS};
    const char *name = s->names[0].symbol ? s->names[0].symbol->name : "…";
    if (s->var_kind == COL_VAR_INPUT) {
        if (s->expr_count || s->frozen) {
            col_elab_fault(e, s->loc, "an input has no initial value; a 'param' or 'state' has");
        }
        return !s->expr_count && !s->frozen;
    }
    if (s->frozen && s->var_kind == COL_VAR_STATE) {
        col_elab_fault(e, s->loc, "'frozen' is for parameters: no optimizer touches a state");
        return false;
    }
    if (!s->expr_count) {
        if (s->var_kind == COL_VAR_PARAM) {
            col_elab_fault(e, s->loc, "parameter '%s' needs an initialiser, as in '~ normal(0, 0.02)'", name);
        }
        return s->var_kind == COL_VAR_STATE;
    }
    col_datum datum;
    if (!col_eval(e, s->exprs[0], &datum)) return false;
    if (datum.kind != COL_DATUM_INIT) {
        col_elab_fault(e, s->exprs[0]->loc,
                       "an initialiser is wanted: zeros, ones, constant(c), normal(mean, deviation) or "
                       "uniform(low, high)");
        return false;
    }
    *out = datum.init;
    return true;
}

/* "part S0R of f32[64, 64]": the layout and the whole shape of a variable of this type. */
static bool elab_part(col_elab *e, const col_stmt *s, const col_type *type, col_layout *out_layout,
                      col_shape *out_whole)
{
    col_type whole, local;
    if (!col_elab_type(e, &s->types[1], true, &whole)) return false;
    const col_mesh *mesh = &e->graph->mesh;
    col_loc loc = s->layout->loc;
    int rank = whole.shape.rank;
    if (!mesh->rank) {
        col_elab_fault(e, loc,
                       "a part needs a mesh; begin the text after its first line with, say, 'mesh 2x2'");
        return false;
    }
    if (!col_layout_parse(s->layout->symbol->name, rank, mesh->rank, out_layout)) {
        col_elab_fault(
            e, loc,
            "'%s' is not a layout: for each dimension R, or S and axes of the mesh, each axis once, "
            "as in S0R",
            s->layout->symbol->name);
        return false;
    }
    if (!col_layout_fits(out_layout, mesh, rank, whole.shape.dims)) {
        col_elab_fault(e, loc, "by this layout the mesh does not cut the whole into equal blocks");
        return false;
    }
    local = whole;
    col_layout_local(out_layout, mesh, rank, whole.shape.dims, local.shape.dims);
    if (!col_type_equal(local, *type)) {
        col_str text = {0};
        col_type_print(local, &text);
        col_elab_fault(e, loc,
                       "by this layout a rank's block of the whole is %s; give the variable this type",
                       col_str_text(&text));
        col_str_fini(&text);
        return false;
    }
    *out_whole = whole.shape;
    return true;
}

void col_elab_var(col_elab *e, const col_stmt *s)
{
    col_type type;
    col_init init;
    col_layout layout = col_layout_whole();
    bool fine = col_elab_type(e, &s->types[0], true, &type);
    col_shape whole = type.shape;
    fine = (!s->layout || (fine && elab_part(e, s, &type, &layout, &whole))) && fine;
    fine = elab_init(e, s, &init) && fine;
    if (e->frame && s->var_kind == COL_VAR_INPUT) {
        col_elab_fault(e, s->loc, "inputs are declared at the top level; give them to the block");
        fine = false;
    }
    for (uint32_t i = 0; i < s->name_count; i++) {
        const col_symbol *symbol = col_elab_symbol(e, &s->names[i]);
        if (!symbol) continue;
        col_value *value = NULL;
        if (!col_elab_may_bind(e, symbol, s->names[i].loc, true)) continue;
        const char *name = fine ? col_elab_join(e, s->names[i].loc, symbol->name) : NULL;
        if (name) value = col_elab_declare(e, s->names[i].loc, s->var_kind, name, type, init, s->frozen);
        if (value) value->var->layout = layout;
        if (value) value->var->whole = value->var->stored = whole;
        col_elab_bind(e, symbol, value ? col_datum_of_tensor(e, value) : (col_datum){.kind = COL_DATUM_BAD});
    }
}
