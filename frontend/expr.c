/* Evaluation of expressions: numbers at once, tensors into nodes. */
#include "frontend/elaborate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

col_datum col_datum_int(int64_t value)
{
    return (col_datum){.kind = COL_DATUM_INT, .int_value = value};
}

col_datum col_datum_float(double value)
{
    return (col_datum){.kind = COL_DATUM_FLOAT, .float_value = value};
}

col_datum col_datum_of_tensor(col_elab *e, col_value *value)
{
    col_value **tensors = COL_NEW(e->scratch, col_value *);
    *tensors = value;
    return (col_datum){.kind = COL_DATUM_TENSORS, .count = 1, .tensors = tensors};
}

bool col_datum_is_number(const col_datum *datum)
{
    return datum->kind == COL_DATUM_INT || datum->kind == COL_DATUM_FLOAT;
}

double col_datum_number(const col_datum *datum)
{
    return datum->kind == COL_DATUM_INT ? (double)datum->int_value : datum->float_value;
}

const char *col_datum_describe(const col_datum *datum)
{
    switch (datum->kind) {
    case COL_DATUM_INT: return "a whole number";
    case COL_DATUM_FLOAT: return "a float";
    case COL_DATUM_TEXT: return "a text";
    case COL_DATUM_LIST: return "a list";
    case COL_DATUM_INIT: return "an initialiser";
    case COL_DATUM_TENSORS: return datum->count == 1 ? "a tensor" : "several tensors";
    default: return "nothing";
    }
}

bool col_datum_tensor(col_elab *e, col_loc loc, const col_datum *datum, col_value **out)
{
    if (datum->kind == COL_DATUM_BAD) return false;
    if (datum->kind != COL_DATUM_TENSORS) {
        col_elab_fault(e, loc, "a tensor is wanted here; this is %s", col_datum_describe(datum));
        return false;
    }
    if (!datum->count || (datum->count > 1 && !datum->first_stands)) {
        if (datum->count) {
            col_elab_fault(e, loc, "this gives %u tensors; take them apart, as in 'a, b = …'", datum->count);
        } else {
            col_elab_fault(e, loc, "this gives no tensor");
        }
        return false;
    }
    *out = datum->tensors[0];
    return true;
}

bool col_eval_tensor(col_elab *e, const col_expr *expr, col_value **out)
{
    col_datum datum;
    return col_eval(e, expr, &datum) && col_datum_tensor(e, expr->loc, &datum, out);
}

bool col_eval_int(col_elab *e, const col_expr *expr, const char *what, int64_t *out)
{
    col_datum datum;
    if (!col_eval(e, expr, &datum)) return false;
    if (datum.kind != COL_DATUM_INT) {
        col_elab_fault(e, expr->loc, "%s must be a whole number; this is %s", what,
                       col_datum_describe(&datum));
        return false;
    }
    *out = datum.int_value;
    return true;
}

/* --- names --- */

static col_value *find_relative(col_elab *e, const char *name)
{
    char full[COL_PATH_LIMIT + 1];
    const char *scope = e->b.scope;
    if (!*scope) return NULL;
    int size = snprintf(full, sizeof full, "%s.%s", scope, name);
    if (size < 0 || (size_t)size >= sizeof full) return NULL;
    col_var *var = col_graph_find_var(e->graph, full);
    return var ? var->value : NULL;
}

bool col_elab_constant(const char *name, col_datum *out)
{
    static const struct {
        const char *name;
        col_datum datum;
    } constants[] = {
        {"true", {.kind = COL_DATUM_INT, .int_value = 1}},
        {"false", {.kind = COL_DATUM_INT, .int_value = 0}},
        {"inf", {.kind = COL_DATUM_FLOAT, .float_value = INFINITY}},
        {"nan", {.kind = COL_DATUM_FLOAT, .float_value = NAN}},
        {"zeros", {.kind = COL_DATUM_INIT, .init = {.kind = COL_INIT_ZEROS}}},
        {"ones", {.kind = COL_DATUM_INIT, .init = {.kind = COL_INIT_CONSTANT, .a = 1}}},
    };
    for (size_t i = 0; i < COL_COUNT(constants); i++) {
        if (strcmp(constants[i].name, name)) continue;
        *out = constants[i].datum;
        return true;
    }
    return false;
}

static void report_undefined(col_elab *e, col_loc loc, const char *name)
{
    enum { MOST = 2000 }; /* names looked through for a likeness */
    COL_VEC(const char *) names = {0};
    for (size_t i = 0; i < e->symbols->list.len && names.len < MOST; i++) {
        const col_binding *binding = col_elab_lookup(e, e->symbols->list.data[i]);
        if (binding) col_vec_push(e->scratch, &names, e->symbols->list.data[i]->name);
    }
    for (size_t i = 0; i < e->graph->vars.len && names.len < 2 * MOST; i++) {
        col_vec_push(e->scratch, &names, e->graph->vars.data[i]->name);
    }
    col_elab_fault(e, loc, "'%s' is not defined%s", name,
                   col_elab_suggestion(e, name, names.data, names.len));
}

static bool eval_name(col_elab *e, const col_expr *expr, col_datum *out)
{
    const col_symbol *symbol = col_elab_symbol(e, &expr->name);
    if (!symbol) return false;
    const char *name = symbol->name;
    const col_binding *binding = col_elab_lookup(e, symbol);
    bool dotted = strchr(name, '.') != NULL;
    col_value *value = NULL;
    if (dotted && (!binding || binding->frame != e->frame)) value = find_relative(e, name);
    if (!value && binding) {
        if (binding->setting) e->setting_read[binding->setting - 1] = true;
        *out = binding->datum;
        return out->kind != COL_DATUM_BAD;
    }
    if (!value) value = find_relative(e, name);
    if (!value) {
        col_var *var = col_graph_find_var(e->graph, name);
        value = var ? var->value : NULL;
    }
    if (value) {
        *out = col_datum_of_tensor(e, value);
        return true;
    }
    if (col_elab_constant(name, out)) return true;
    report_undefined(e, expr->loc, name);
    return false;
}

/* --- operators --- */

static col_op infix_op(col_token_kind infix)
{
    switch (infix) {
    case COL_TOKEN_PLUS: return COL_OP_ADD;
    case COL_TOKEN_MINUS: return COL_OP_SUB;
    case COL_TOKEN_TIMES: return COL_OP_MUL;
    case COL_TOKEN_DIVIDE: return COL_OP_DIV;
    case COL_TOKEN_EQ: return COL_OP_EQ;
    case COL_TOKEN_NE: return COL_OP_NE;
    case COL_TOKEN_LT: return COL_OP_LT;
    case COL_TOKEN_LE: return COL_OP_LE;
    case COL_TOKEN_GT: return COL_OP_GT;
    case COL_TOKEN_GE: return COL_OP_GE;
    default: return COL_OP_COUNT;
    }
}

static bool eval_tensor_infix(col_elab *e, const col_expr *expr, const col_datum *x, const col_datum *y,
                              col_datum *out)
{
    col_op op = infix_op(expr->infix);
    if (op == COL_OP_COUNT) {
        col_elab_fault(e, expr->loc, "%s is of whole numbers, not of tensors",
                       col_token_spelling(expr->infix));
        return false;
    }
    const col_datum *sides[2] = {x, y};
    const col_loc locs[2] = {expr->left->loc, expr->right->loc};
    col_value *operands[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        if (col_datum_is_number(sides[i])) continue;
        if (!col_datum_tensor(e, locs[i], sides[i], &operands[i])) return false;
    }
    for (int i = 0; i < 2; i++) {
        if (operands[i]) continue;
        operands[i] = col_elab_scalar(e, expr->loc, sides[i], operands[1 - i]->type.dtype);
        if (!operands[i]) return false;
    }
    col_node *node = col_elab_node(e, expr->loc, op, 2, operands, 0, NULL);
    if (node) *out = col_datum_of_tensor(e, &node->results[0]);
    return node != NULL;
}

static bool eval_binary(col_elab *e, const col_expr *expr, col_datum *out)
{
    col_datum x, y;
    bool left = col_eval(e, expr->left, &x), right = col_eval(e, expr->right, &y);
    if (!left || !right) return false;
    bool numbers = col_datum_is_number(&x) && col_datum_is_number(&y);
    if (!numbers) return eval_tensor_infix(e, expr, &x, &y, out);
    const char *fault = col_number_infix(expr->infix, &x, &y, out);
    if (!fault) return true;
    if (x.kind == COL_DATUM_INT && y.kind == COL_DATUM_INT) {
        col_elab_fault(e, expr->loc, "%lld %.*s %lld: %s", (long long)x.int_value,
                       (int)strlen(col_token_spelling(expr->infix)) - 2, col_token_spelling(expr->infix) + 1,
                       (long long)y.int_value, fault);
    } else {
        col_elab_fault(e, expr->loc, "%s", fault);
    }
    return false;
}

static bool eval_negative(col_elab *e, const col_expr *expr, col_datum *out)
{
    col_datum x;
    if (!col_eval(e, expr->left, &x)) return false;
    if (x.kind == COL_DATUM_FLOAT) {
        *out = col_datum_float(-x.float_value);
        return true;
    }
    if (x.kind == COL_DATUM_INT) {
        if (x.int_value == INT64_MIN) {
            col_elab_fault(e, expr->loc, "the result does not fit a whole number of 64 bits");
            return false;
        }
        *out = col_datum_int(-x.int_value);
        return true;
    }
    col_value *value;
    if (!col_datum_tensor(e, expr->left->loc, &x, &value)) return false;
    col_node *node = col_elab_node(e, expr->loc, COL_OP_NEG, 1, &value, 0, NULL);
    if (node) *out = col_datum_of_tensor(e, &node->results[0]);
    return node != NULL;
}

static bool eval_list(col_elab *e, const col_expr *expr, col_datum *out)
{
    int64_t *ints = COL_NEW_ARRAY(e->scratch, int64_t, expr->item_count);
    for (uint32_t i = 0; i < expr->item_count; i++) {
        if (!col_eval_int(e, expr->items[i], "an item of a list", &ints[i])) return false;
    }
    *out = (col_datum){.kind = COL_DATUM_LIST, .count = expr->item_count, .ints = ints};
    return true;
}

bool col_eval(col_elab *e, const col_expr *expr, col_datum *out)
{
    *out = (col_datum){.kind = COL_DATUM_BAD};
    if (!col_elab_step(e, expr->loc)) return false;
    bool fine = true;
    switch (expr->kind) {
    case COL_EXPR_INT: *out = col_datum_int(expr->int_value); break;
    case COL_EXPR_FLOAT: *out = col_datum_float(expr->float_value); break;
    case COL_EXPR_TEXT: *out = (col_datum){.kind = COL_DATUM_TEXT, .text = expr->text}; break;
    case COL_EXPR_NAME: fine = eval_name(e, expr, out); break;
    case COL_EXPR_LIST: fine = eval_list(e, expr, out); break;
    case COL_EXPR_NEGATIVE: fine = eval_negative(e, expr, out); break;
    case COL_EXPR_BINARY: fine = eval_binary(e, expr, out); break;
    case COL_EXPR_CALL: fine = col_eval_call(e, expr, out); break;
    }
    if (!fine) *out = (col_datum){.kind = COL_DATUM_BAD};
    return fine;
}
