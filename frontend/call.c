/* Calls: blocks of the model, functions of numbers, initialisers, ops and modules, looked up in this order.
 *
 * A name may be both an op and a module that completes the op (layer_norm with its parameters). The op is
 * meant when the call is complete without help: operands that are tensors, as many as the op takes, only
 * attributes that it has, and all that it needs. So every node that the printer writes reads back as itself.
 */
#include "frontend/elaborate.h"

#include <math.h>
#include <string.h>

enum { INSTANCE_DEPTH = 64 /* blocks inside one another */, MOST_OPERANDS = 64 };

/* --- what ops are given --- */

col_value *col_elab_scalar(col_elab *e, col_loc loc, const col_datum *number, col_dtype dtype)
{
    double value = col_datum_number(number);
    if (number->kind == COL_DATUM_INT && (value >= 0x1p53 || value <= -0x1p53)) {
        col_elab_fault(e, loc, "%lld is too large for a constant: whole ones end at 2^53",
                       (long long)number->int_value);
        return NULL;
    }
    col_attr attrs[] = {
        col_attr_float(COL_ATTR_VALUE, value),
        col_attr_ints(COL_ATTR_SHAPE, 0, NULL),
        col_attr_text(COL_ATTR_DTYPE, col_dtype_name(dtype)),
    };
    col_node *node = col_elab_node(e, loc, COL_OP_CONSTANT, 0, NULL, COL_COUNT(attrs), attrs);
    return node ? &node->results[0] : NULL;
}

col_value *col_elab_generator(col_elab *e, col_loc loc)
{
    const col_type type = {COL_I64, {.rank = 1, .dims = {2}}};
    col_var *var = col_graph_find_var(e->graph, "rng");
    if (!var) {
        col_value *value = col_elab_declare(e, loc, COL_VAR_INPUT, "rng", type, (col_init){0}, false);
        return value;
    }
    if (var->kind == COL_VAR_INPUT && col_type_equal(var->type, type)) return var->value;
    col_elab_fault(e, loc, "random numbers need the input 'rng : i64[2]', and 'rng' is something else here");
    return NULL;
}

/* A hash of the scope and of the op's place among the random ops of that scope; the next free number where
 * two hashes are equal. So a stream depends on the path of a layer, not on what else the model holds. */
int64_t col_elab_salt(col_elab *e)
{
    const char *scope = e->b.scope;
    uint64_t ordinal = (uintptr_t)col_map_get(e->random_streams, scope);
    col_map_set(e->random_streams, scope, (void *)(uintptr_t)(ordinal + 1));
    uint32_t salt = (uint32_t)col_hash_bytes(scope, strlen(scope), ordinal);
    while (col_map_set_bytes(e->salts, &salt, sizeof salt, e)) salt++;
    return salt;
}

static const char *suggest_attr(col_elab *e, const col_op_info *info, const char *name)
{
    const char *names[COL_ATTR_COUNT];
    size_t count = 0;
    for (int i = 0; i < COL_ATTR_COUNT; i++) {
        if ((info->required_attrs | info->optional_attrs) & (UINT64_C(1) << i))
            names[count++] = col_attr_name((col_attr_key)i);
    }
    return col_elab_suggestion(e, name, names, count);
}

/* The argument as an attribute of the kind that its key has. */
static bool make_attr(col_elab *e, const col_argument *argument, const col_datum *datum, col_attr_key key,
                      col_attr *out)
{
    static const char *const wanted[] = {"a whole number", "a number", "a list of whole numbers", "a text"};
    col_attr_kind kind = col_attr_kind_of(key);
    if (kind == COL_KIND_INT && datum->kind == COL_DATUM_INT) {
        *out = col_attr_int(key, datum->int_value);
    } else if (kind == COL_KIND_FLOAT && col_datum_is_number(datum)) {
        *out = col_attr_float(key, col_datum_number(datum));
    } else if (kind == COL_KIND_TEXT && datum->kind == COL_DATUM_TEXT) {
        *out = col_attr_text(key, datum->text);
    } else if (kind == COL_KIND_INTS && datum->kind == COL_DATUM_LIST) {
        *out = col_attr_ints(key, (int)datum->count, datum->ints);
    } else if (kind == COL_KIND_INTS && datum->kind == COL_DATUM_INT) {
        *out = col_attr_ints(key, 1, col_arena_copy(e->scratch, &datum->int_value, sizeof datum->int_value));
    } else {
        col_elab_fault(e, argument->loc, "'%s' must be %s; this is %s", argument->keyword, wanted[kind],
                       col_datum_describe(datum));
        return false;
    }
    return true;
}

/* What passes note at a node beside its attributes: the kernel that it was fused into, and when a copy of a
 * forward node runs. */
typedef struct notes {
    int32_t group, turn;
} notes;

/* Where the argument's value goes; NULL: it is an attribute. `*out_least` is the least value. */
static int32_t *find_note(const col_argument *argument, notes *n, int32_t *out_least)
{
    bool is_group = !strcmp(argument->keyword, "group"), is_turn = !strcmp(argument->keyword, "turn");
    *out_least = is_turn;
    return is_group ? &n->group : is_turn ? &n->turn : NULL;
}

static bool read_note(col_elab *e, const col_argument *argument, const col_datum *datum, int32_t least,
                      int32_t *out)
{
    if (datum->kind != COL_DATUM_INT || datum->int_value < least || datum->int_value > INT32_MAX) {
        col_elab_fault(e, argument->loc, "'%s' must be a whole number from %d on", argument->keyword, least);
        return false;
    }
    *out = (int32_t)datum->int_value;
    return true;
}

/* The operands of an op. Elementwise ops take numbers beside tensors, as infix operators do. */
static bool make_operands(col_elab *e, const col_expr *expr, const col_op_info *info, const col_datum *data,
                          col_value **operands)
{
    const col_call *call = expr->call;
    const col_value *last = NULL;
    bool fine = true;
    for (uint32_t i = 0; i < call->positional_count; i++) {
        if (info->op_class == COL_CLASS_ELEMENTWISE && col_datum_is_number(&data[i])) continue;
        col_loc loc = call->arguments[i].loc;
        if (col_datum_tensor(e, loc, &data[i], &operands[i]))
            last = operands[i];
        else
            fine = false;
    }
    for (uint32_t i = 0; fine && i < call->positional_count; i++) {
        if (operands[i]) continue;
        if (!last) {
            col_elab_fault(e, expr->loc, "'%s' takes tensors; all that is given here are numbers",
                           info->name);
            return false;
        }
        operands[i] = col_elab_scalar(e, call->arguments[i].loc, &data[i], last->type.dtype);
        fine = operands[i] != NULL;
    }
    return fine;
}

/* A variable is written at most once a step; ir/ops checks the name and the type. */
static bool note_assignment(col_elab *e, col_loc loc, const col_node *node)
{
    const char *name = col_node_text(node, COL_ATTR_VARIABLE);
    if (!name || !col_map_set(e->assigned, name, e)) return true;
    col_elab_fault(e, loc, "'%s' is assigned already; a step writes a variable once", name);
    return false;
}

static bool run_op(col_elab *e, const col_expr *expr, col_op op, const col_datum *data, col_datum *out)
{
    const col_op_info *info = col_op_info_of(op);
    const col_call *call = expr->call;
    if (call->positional_count > MOST_OPERANDS) {
        col_elab_fault(e, expr->loc, "'%s' takes at most %d operands; %u given", info->name,
                       info->operands_max, call->positional_count);
        return false;
    }
    col_value *operands[MOST_OPERANDS] = {0};
    bool fine = make_operands(e, expr, info, data, operands);
    col_attr attrs[COL_ATTR_COUNT + 1];
    uint32_t attr_count = 0;
    notes noted = {.group = -1};
    for (uint32_t i = call->positional_count; i < call->argument_count; i++) {
        const col_argument *argument = &call->arguments[i];
        int32_t least, *note = find_note(argument, &noted, &least);
        if (note) {
            fine = read_note(e, argument, &data[i], least, note) && fine;
            continue;
        }
        col_attr_key key = col_attr_find(argument->keyword);
        bool has =
            key != COL_ATTR_COUNT && ((info->required_attrs | info->optional_attrs) & (UINT64_C(1) << key));
        bool twice = false;
        for (uint32_t j = 0; j < attr_count; j++) twice = twice || attrs[j].key == key;
        if (!has) {
            col_elab_fault(e, argument->loc, "'%s' has no attribute '%s'%s", info->name, argument->keyword,
                           suggest_attr(e, info, argument->keyword));
            fine = false;
        } else if (twice) {
            col_elab_fault(e, argument->loc, "'%s' is given twice", argument->keyword);
            fine = false;
        } else if (make_attr(e, argument, &data[i], key, &attrs[attr_count])) {
            attr_count++;
        } else {
            fine = false;
        }
    }
    if (!fine) return false;
    col_node *node = col_elab_node(e, expr->loc, op, call->positional_count, operands, attr_count, attrs);
    if (!node) return false;
    node->group = noted.group;
    node->turn = noted.turn;
    if (info->op_class == COL_CLASS_STATE && !note_assignment(e, expr->loc, node)) return false;
    col_value **results = COL_NEW_ARRAY(e->scratch, col_value *, node->result_count);
    for (uint32_t i = 0; i < node->result_count; i++) results[i] = &node->results[i];
    *out = (col_datum){.kind = COL_DATUM_TENSORS,
                       .count = node->result_count,
                       .first_stands = info->results >= 0,
                       .tensors = results};
    return true;
}

/* Whether the call is complete as the op itself (the head of this file). */
static bool fits_op(const col_call *call, const col_op_info *info, const col_datum *data)
{
    if ((int)call->positional_count < info->operands_min || (int)call->positional_count > info->operands_max)
        return false;
    for (uint32_t i = 0; i < call->positional_count; i++) {
        if (data[i].kind != COL_DATUM_TENSORS) return false;
    }
    uint64_t given = 0;
    for (uint32_t i = call->positional_count; i < call->argument_count; i++) {
        notes ignored;
        int32_t least;
        if (find_note(&call->arguments[i], &ignored, &least)) continue;
        col_attr_key key = col_attr_find(call->arguments[i].keyword);
        if (key == COL_ATTR_COUNT) return false;
        given |= UINT64_C(1) << key;
    }
    uint64_t known = info->required_attrs | info->optional_attrs;
    return !(given & ~known) && !(info->required_attrs & ~given);
}

/* --- blocks --- */

static bool bind_parameters(col_elab *e, const col_expr *expr, const col_block *block, const col_datum *data)
{
    const col_call *call = expr->call;
    const char *name = block->symbol->name;
    bool fine = true;
    if (call->positional_count > block->parameter_count) {
        col_elab_fault(e, expr->loc, "block '%s' takes %u argument%s; %u given", name, block->parameter_count,
                       block->parameter_count == 1 ? "" : "s", call->positional_count);
        return false;
    }
    const col_datum **given = COL_NEW_ARRAY(e->scratch, const col_datum *, block->parameter_count);
    for (uint32_t i = 0; i < call->argument_count; i++) {
        const char *keyword = call->arguments[i].keyword;
        uint32_t at = i;
        if (keyword) {
            for (at = 0; at < block->parameter_count; at++) {
                if (!strcmp(block->parameters[at].symbol->name, keyword)) break;
            }
        }
        if (at == block->parameter_count) {
            const char **names = COL_NEW_ARRAY(e->scratch, const char *, at);
            for (uint32_t j = 0; j < at; j++) names[j] = block->parameters[j].symbol->name;
            col_elab_fault(e, call->arguments[i].loc, "block '%s' has no parameter '%s'%s", name, keyword,
                           col_elab_suggestion(e, keyword, names, at));
            fine = false;
        } else if (given[at]) {
            col_elab_fault(e, call->arguments[i].loc, "'%s' is given twice",
                           block->parameters[at].symbol->name);
            fine = false;
        } else {
            given[at] = &data[i];
        }
    }
    for (uint32_t i = 0; fine && i < block->parameter_count; i++) {
        const col_parameter *p = &block->parameters[i];
        col_datum datum = {0};
        if (given[i]) {
            datum = *given[i];
            col_value *value;
            if (datum.kind == COL_DATUM_TENSORS) {
                if (!col_datum_tensor(e, expr->loc, &datum, &value)) return false;
                datum.count = 1;
            }
        } else if (!p->fallback) {
            col_elab_fault(e, expr->loc, "block '%s' needs '%s'", name, p->symbol->name);
            return false;
        } else if (!col_eval(e, p->fallback, &datum)) {
            return false;
        }
        col_elab_bind(e, p->symbol, datum);
    }
    return fine;
}

static bool run_block(col_elab *e, const col_expr *expr, const col_block *block, const col_datum *data,
                      col_datum *out)
{
    const col_symbol *symbol = block->symbol;
    if (e->block_active[symbol->index]) {
        col_elab_fault(e, expr->loc, "block '%s' calls itself; blocks cannot recur", symbol->name);
        return false;
    }
    if (e->depth >= INSTANCE_DEPTH) {
        col_elab_fault(e, expr->loc, "blocks call one another over %d deep", INSTANCE_DEPTH);
        return false;
    }
    uint32_t outer = e->frame;
    size_t mark = e->trail.len, faults = e->diags->total;
    e->frame = ++e->frame_count;
    e->depth++;
    e->block_active[symbol->index] = true;
    *out = (col_datum){.kind = COL_DATUM_NONE};
    bool fine = bind_parameters(e, expr, block, data);
    if (fine) col_elab_body(e, &block->body, out);
    e->block_active[symbol->index] = false;
    e->depth--;
    e->frame = outer;
    while (e->trail.len > mark) {
        const col_shadowed *shadowed = &e->trail.data[--e->trail.len];
        e->locals.data[shadowed->symbol] = shadowed->binding;
    }
    if (!fine || e->stopped) return false;
    if (out->kind == COL_DATUM_NONE && e->diags->total == faults)
        col_elab_fault(e, expr->loc, "block '%s' ends without a 'return'", symbol->name);
    return out->kind != COL_DATUM_NONE && out->kind != COL_DATUM_BAD;
}

/* --- functions of numbers, initialisers, questions --- */

static bool run_number_function(col_elab *e, const col_expr *expr, int function, uint32_t low, uint32_t high,
                                const col_datum *data, col_datum *out)
{
    const col_call *call = expr->call;
    uint32_t count = call->positional_count;
    if (call->argument_count != count || count < low || count > high) {
        col_elab_fault(e, expr->loc, "'%s' of numbers takes %u%s argument%s", call->callee->name, low,
                       high > low ? " or more" : "", high == 1 ? "" : "s");
        return false;
    }
    const char *fault = col_number_function(function, count, data, out);
    if (fault) col_elab_fault(e, expr->loc, "%s: %s", call->callee->name, fault);
    return !fault;
}

static const struct {
    const char *name;
    col_init_kind kind;
    uint32_t count;
} inits[] = {
    {"constant", COL_INIT_CONSTANT, 1},
    {"normal", COL_INIT_NORMAL, 2},
    {"uniform", COL_INIT_UNIFORM, 2},
};

static int find_init(const char *name)
{
    for (size_t i = 0; i < COL_COUNT(inits); i++) {
        if (!strcmp(inits[i].name, name)) return (int)i;
    }
    return -1;
}

static bool run_init(col_elab *e, const col_expr *expr, int which, const col_datum *data, col_datum *out)
{
    const col_call *call = expr->call;
    col_init init = {.kind = inits[which].kind};
    bool fine = call->positional_count == inits[which].count && call->argument_count == inits[which].count;
    for (uint32_t i = 0; fine && i < inits[which].count; i++) {
        fine = col_datum_is_number(&data[i]);
        *(i ? &init.b : &init.a) = col_datum_number(&data[i]);
    }
    if (!fine) {
        col_elab_fault(e, expr->loc,
                       "initialisers are constant(c), normal(mean, deviation), uniform(low, high)");
        return false;
    }
    bool finite = init.kind == COL_INIT_CONSTANT || (isfinite(init.a) && isfinite(init.b));
    bool ordered =
        (init.kind != COL_INIT_NORMAL || init.b >= 0) && (init.kind != COL_INIT_UNIFORM || init.a <= init.b);
    if (!finite || !ordered) {
        col_elab_fault(e, expr->loc, "%s",
                       !finite                        ? "an initialiser takes finite numbers"
                       : init.kind == COL_INIT_NORMAL ? "the deviation is negative"
                                                      : "the low end is above the high end");
        return false;
    }
    *out = (col_datum){.kind = COL_DATUM_INIT, .init = init};
    return true;
}

/* dim(x, axis), rank(x): whole numbers of a tensor's type. */
static bool run_question(col_elab *e, const col_expr *expr, const col_datum *data, col_datum *out)
{
    const col_call *call = expr->call;
    bool dim = !strcmp(call->callee->name, "dim");
    col_value *x;
    if (call->positional_count != (dim ? 2 : 1) || call->argument_count != call->positional_count ||
        (dim && data[1].kind != COL_DATUM_INT)) {
        col_elab_fault(e, expr->loc, "ask as dim(x, axis) or rank(x)");
        return false;
    }
    if (!col_datum_tensor(e, call->arguments[0].loc, &data[0], &x)) return false;
    int axis = 0;
    if (dim && !col_shape_axis(x->type.shape, data[1].int_value, &axis)) {
        col_elab_fault(e, call->arguments[1].loc, "axis %lld is not one of the %d of this tensor",
                       (long long)data[1].int_value, x->type.shape.rank);
        return false;
    }
    *out = col_datum_int(dim ? x->type.shape.dims[axis] : x->type.shape.rank);
    return true;
}

static void report_unknown(col_elab *e, const col_expr *expr)
{
    enum { MOST = 1000 };
    const char *name = expr->call->callee->name, *candidate;
    COL_VEC(const char *) names = {0};
    for (int i = 0; i < COL_OP_COUNT; i++) col_vec_push(e->scratch, &names, col_op_info_of((col_op)i)->name);
    for (size_t i = 0; (candidate = col_module_name(i)); i++) col_vec_push(e->scratch, &names, candidate);
    for (int i = 0; (candidate = col_number_function_name(i)); i++)
        col_vec_push(e->scratch, &names, candidate);
    for (size_t i = 0; i < e->syntax->blocks.len && names.len < MOST; i++)
        col_vec_push(e->scratch, &names, e->syntax->blocks.data[i]->symbol->name);
    col_elab_fault(e, expr->loc, "unknown op or block '%s'%s", name,
                   col_elab_suggestion(e, name, names.data, names.len));
}

/* --- dispatch --- */

/* Operands and attributes, evaluated once from left to right. NULL after a fault (all are evaluated). */
static col_datum *eval_arguments(col_elab *e, const col_call *call, bool *out_all_numbers)
{
    col_datum *data = COL_NEW_ARRAY(e->scratch, col_datum, call->argument_count);
    bool fine = true;
    *out_all_numbers = call->positional_count > 0;
    for (uint32_t i = 0; i < call->argument_count; i++) {
        fine = col_eval(e, call->arguments[i].value, &data[i]) && fine;
        if (i < call->positional_count && !col_datum_is_number(&data[i])) *out_all_numbers = false;
    }
    return fine ? data : NULL;
}

bool col_eval_call(col_elab *e, const col_expr *expr, col_datum *out)
{
    const col_call *call = expr->call;
    const char *name = call->callee->name;
    bool all_numbers;
    const col_datum *data = eval_arguments(e, call, &all_numbers);
    const col_block *block = call->callee->index < e->block_limit ? e->block_of[call->callee->index] : NULL;
    col_op op = col_op_find(name);
    const col_module *module = col_module_find(name);
    uint32_t low = 0, high = 0;
    int function = col_number_function_find(name, &low, &high), init = find_init(name);
    bool question = !strcmp(name, "dim") || !strcmp(name, "rank");
    bool known = block || op != COL_OP_COUNT || module || function >= 0 || init >= 0 || question;
    if (!known) report_unknown(e, expr);
    if (!known || !data) return false;
    bool makes_nodes = block || !((function >= 0 && (all_numbers || op == COL_OP_COUNT)) ||
                                  (init >= 0 && (all_numbers || op == COL_OP_COUNT)) || question);
    if (!makes_nodes) {
        if (call->path) {
            col_elab_fault(e, call->path->loc, "'@' is for what makes tensors");
            return false;
        }
        if (function >= 0) return run_number_function(e, expr, function, low, high, data, out);
        return init >= 0 ? run_init(e, expr, init, data, out) : run_question(e, expr, data, out);
    }
    const char *outer = e->b.scope;
    if (call->path) {
        const char *path = col_elab_path(e, call->path);
        if (!path) return false;
        e->b.scope = path;
    }
    bool fine;
    if (block)
        fine = run_block(e, expr, block, data, out);
    else if (op != COL_OP_COUNT && (!module || fits_op(call, col_op_info_of(op), data)))
        fine = run_op(e, expr, op, data, out);
    else
        fine = col_module_run(e, module, expr, data, out);
    e->b.scope = outer;
    return fine;
}
