/* Statements and scopes. */
#include "frontend/elaborate.h"

#include <stdio.h>
#include <string.h>

/* Bytes of arena that a model may take while it is built: far above any model that fits the value limit. */
static const size_t memory_limit = (size_t)6 << 30;

/* --- faults and limits --- */

static bool told_before(const col_diags *diags, size_t count, col_loc loc)
{
    for (size_t i = 0; i < count; i++) {
        col_loc at = diags->list.data[i].loc;
        if (at.source == loc.source && at.line == loc.line && at.column == loc.column) return true;
    }
    return false;
}

void col_elab_fault(col_elab *e, col_loc loc, const char *format, ...)
{
    if (told_before(e->diags, e->diags->list.len, loc)) return;
    va_list args;
    va_start(args, format);
    col_str text = {0};
    col_str_vprintf(&text, format, args);
    va_end(args);
    if (*e->b.scope)
        col_diag_add(e->diags, loc, "%s (in '%s')", col_str_text(&text), e->b.scope);
    else
        col_diag_add(e->diags, loc, "%s", col_str_text(&text));
    col_str_fini(&text);
    if (e->diags->total >= COL_DIAG_LIMIT) e->stopped = true;
}

const char *col_elab_suggestion(col_elab *e, const char *name, const char *const *candidates, size_t count)
{
    const char *near = count ? col_suggest(name, candidates, count) : NULL;
    return near ? col_arena_printf(e->scratch, "; did you mean '%s'?", near) : "";
}

bool col_elab_step(col_elab *e, col_loc loc)
{
    if (e->stopped) return false;
    uint64_t step_limit = e->options->step_limit ? e->options->step_limit : COL_PARSE_STEPS;
    size_t value_limit = e->options->value_limit ? e->options->value_limit : COL_PARSE_VALUES;
    e->steps++;
    if (e->steps > step_limit) {
        col_elab_fault(e, loc, "this model takes over %llu steps to build; are its loops as long as meant?",
                       (unsigned long long)step_limit);
    } else if (e->value_count > value_limit) {
        col_elab_fault(e, loc, "this model makes over %zu tensors; are its loops as long as meant?",
                       value_limit);
    } else if (col_arena_bytes(e->scratch) > memory_limit ||
               col_arena_bytes(e->graph->arena) - e->bytes_before > memory_limit) {
        col_elab_fault(e, loc, "this model takes over %zu GiB to build", memory_limit >> 30);
    } else {
        return true;
    }
    e->stopped = true;
    return false;
}

col_node *col_elab_node(col_elab *e, col_loc loc, col_op op, uint32_t operand_count,
                        col_value *const *operands, uint32_t attr_count, const col_attr *attrs)
{
    if (!col_elab_step(e, loc)) return NULL;
    size_t before = e->diags->list.len, total = e->diags->total;
    e->b.loc = loc;
    col_node *node = col_build(&e->b, op, operand_count, operands, attr_count, attrs);
    if (node) {
        e->value_count += 1 + node->result_count;
        return node;
    }
    if (e->diags->list.len > before) {
        col_diag *last = &e->diags->list.data[before];
        if (told_before(e->diags, before, last->loc)) {
            e->diags->list.len = before;
            e->diags->total = total;
        } else if (*e->b.scope) {
            last->message = col_arena_printf(e->diags->arena, "%s (in '%s')", last->message, e->b.scope);
        }
    }
    if (e->diags->total >= COL_DIAG_LIMIT) e->stopped = true;
    return NULL;
}

/* --- names and bindings --- */

/* The bindings of the top level or of the instances, with room for the symbol. */
static col_binding *slot(col_elab *e, bool global, uint32_t index)
{
    while (e->globals.len <= index) col_vec_push(e->scratch, &e->globals, (col_binding){0});
    while (e->locals.len <= index) col_vec_push(e->scratch, &e->locals, (col_binding){0});
    return global ? &e->globals.data[index] : &e->locals.data[index];
}

col_binding *col_elab_lookup(col_elab *e, const col_symbol *symbol)
{
    col_binding *local = slot(e, false, symbol->index), *global = slot(e, true, symbol->index);
    if (e->frame && local->frame == e->frame && local->datum.kind != COL_DATUM_NONE) return local;
    return global->datum.kind != COL_DATUM_NONE ? global : NULL;
}

static void bind_as(col_elab *e, const col_symbol *symbol, col_binding binding)
{
    binding.frame = e->frame;
    col_binding *at = slot(e, !e->frame, symbol->index);
    if (e->frame && at->frame != e->frame) {
        col_shadowed shadowed = {symbol->index, *at};
        col_vec_push(e->scratch, &e->trail, shadowed);
    }
    *at = binding;
}

void col_elab_bind(col_elab *e, const col_symbol *symbol, col_datum datum)
{
    bind_as(e, symbol, (col_binding){.datum = datum});
}

/* What the symbol is bound to by the present frame itself. */
static col_binding *own_binding(col_elab *e, const col_symbol *symbol)
{
    col_binding *binding = col_elab_lookup(e, symbol);
    return binding && binding->frame == e->frame ? binding : NULL;
}

bool col_elab_names_number(col_elab *e, const char *name)
{
    const col_symbol *symbol = col_map_get(e->symbols->by_name, name);
    return symbol && slot(e, true, symbol->index)->fixed;
}

bool col_elab_may_bind(col_elab *e, const col_symbol *symbol, col_loc loc, bool to_tensor)
{
    const col_binding *own = own_binding(e, symbol);
    col_datum word;
    if (col_elab_constant(symbol->name, &word)) {
        col_elab_fault(e, loc, "'%s' is a word of the language; choose another name", symbol->name);
        return false;
    }
    if (!own || own->datum.kind == COL_DATUM_BAD) return !own || !own->fixed;
    bool is_tensor = own->datum.kind == COL_DATUM_TENSORS;
    if (!own->fixed && is_tensor == to_tensor) return true;
    col_elab_fault(e, loc, "'%s' is %s already; choose another name", symbol->name,
                   own->setting ? "a hyperparameter"
                   : own->fixed ? "a loop's counter"
                                : col_datum_describe(&own->datum));
    return false;
}

const col_symbol *col_elab_symbol(col_elab *e, const col_name *name)
{
    if (name->symbol) return name->symbol;
    char text[COL_PATH_LIMIT + 1];
    size_t size = 0;
    for (uint32_t i = 0; i < name->part_count; i++) {
        char digits[24];
        const char *part = name->parts[i].text;
        if (!part) {
            col_datum datum;
            if (!col_eval(e, name->parts[i].expr, &datum)) return NULL;
            if (datum.kind != COL_DATUM_INT || datum.int_value < 0) {
                col_elab_fault(e, name->parts[i].expr->loc,
                               "what stands in a name must be a whole number from 0 on");
                return NULL;
            }
            snprintf(digits, sizeof digits, "%lld", (long long)datum.int_value);
            part = digits;
        }
        size_t part_size = strlen(part);
        if (size + part_size > COL_PATH_LIMIT) {
            col_elab_fault(e, name->loc, "this name is longer than %d bytes", COL_PATH_LIMIT);
            return NULL;
        }
        memcpy(text + size, part, part_size);
        size += part_size;
    }
    return col_symbols_intern(e->symbols, text, size);
}

const char *col_elab_join(col_elab *e, col_loc loc, const char *name)
{
    const char *scope = e->b.scope;
    if (strlen(scope) + 1 + strlen(name) > COL_PATH_LIMIT) {
        col_elab_fault(e, loc, "the name '%.40s…' is longer than %d bytes with the path before it", name,
                       COL_PATH_LIMIT);
        return NULL;
    }
    return *scope ? col_arena_printf(e->graph->arena, "%s.%s", scope, name)
                  : col_arena_strdup(e->graph->arena, name);
}

const char *col_elab_path(col_elab *e, const col_name *name)
{
    const col_symbol *symbol = col_elab_symbol(e, name);
    if (!symbol) return NULL;
    return *e->b.scope ? col_elab_join(e, name->loc, symbol->name) : symbol->name;
}

/* --- statements --- */

/* True when the value has the annotated type. */
static bool type_holds(col_elab *e, const col_type_syntax *syntax, const col_value *value)
{
    col_type type;
    if (!col_elab_type(e, syntax, false, &type)) return false;
    if (col_type_equal(type, value->type)) return true;
    col_str text = {0};
    col_type_print(value->type, &text);
    col_elab_fault(e, syntax->loc, "the value is %s", col_str_text(&text));
    col_str_fini(&text);
    return false;
}

/* The tensors that `names` stand for, or NULL after a fault. */
static col_value *const *assigned_values(col_elab *e, const col_stmt *s)
{
    col_datum datum;
    if (!col_eval(e, s->exprs[0], &datum)) return NULL;
    if (datum.kind != COL_DATUM_TENSORS) {
        col_elab_fault(e, s->loc, "'=' names tensors, and this is %s; numbers are named with 'let'",
                       col_datum_describe(&datum));
        return NULL;
    }
    if (s->name_count == 1) {
        col_value *value;
        if (!col_datum_tensor(e, s->exprs[0]->loc, &datum, &value)) return NULL;
        return datum.tensors;
    }
    if (datum.count == s->name_count) return datum.tensors;
    col_elab_fault(e, s->exprs[0]->loc, "this gives %u tensor%s; there are %u names", datum.count,
                   datum.count == 1 ? "" : "s", s->name_count);
    return NULL;
}

static void run_assign(col_elab *e, const col_stmt *s)
{
    col_value *const *values = assigned_values(e, s);
    if (s->type_count && s->type_count != s->name_count) {
        col_elab_fault(e, s->types[0].loc, "%u types for %u names", s->type_count, s->name_count);
        values = NULL;
    }
    for (uint32_t i = 0; i < s->name_count; i++) {
        const col_symbol *symbol = col_elab_symbol(e, &s->names[i]);
        if (!symbol || !col_elab_may_bind(e, symbol, s->names[i].loc, true)) continue;
        if (!values || (s->type_count && !type_holds(e, &s->types[i], values[i]))) {
            col_elab_bind(e, symbol, (col_datum){.kind = COL_DATUM_BAD});
            continue;
        }
        if (!values[i]->name && symbol->name[0] != '%') values[i]->name = symbol->name;
        col_elab_bind(e, symbol, col_datum_of_tensor(e, values[i]));
    }
}

static void run_let(col_elab *e, const col_stmt *s)
{
    col_datum datum;
    const col_symbol *symbol = s->names[0].symbol;
    if (col_eval(e, s->exprs[0], &datum) && datum.kind == COL_DATUM_TENSORS) {
        col_elab_fault(e, s->loc, "'let' names numbers, and this is %s; tensors are named with '=' alone",
                       col_datum_describe(&datum));
        datum = (col_datum){.kind = COL_DATUM_BAD};
    }
    if (col_elab_may_bind(e, symbol, s->names[0].loc, false)) col_elab_bind(e, symbol, datum);
}

static void run_output(col_elab *e, const col_stmt *s)
{
    col_value *value;
    bool fine = col_eval_tensor(e, s->exprs[0], &value);
    const col_symbol *symbol = col_elab_symbol(e, &s->names[0]);
    if (e->frame) {
        col_elab_fault(e, s->loc, "outputs are declared at the top level; return the value from the block");
        return;
    }
    if (s->type_count > 1) {
        col_elab_fault(e, s->types[1].loc, "%u types for one output", s->type_count);
        return;
    }
    if (fine && s->type_count) fine = type_holds(e, &s->types[0], value);
    if (!symbol) return;
    if (col_map_set(e->outputs, symbol->name, e)) {
        col_elab_fault(e, s->names[0].loc, "there is an output '%s' already", symbol->name);
    } else if (fine) {
        col_graph_add_output(e->graph, symbol->name, value, s->names[0].loc);
        if (!value->name) value->name = symbol->name;
        e->value_count++;
    }
}

static bool run_for(col_elab *e, const col_stmt *s, col_datum *out_returned)
{
    int64_t low, high;
    bool fine = col_eval_int(e, s->exprs[0], "the beginning of a range", &low);
    fine = col_eval_int(e, s->exprs[1], "the end of a range", &high) && fine;
    const col_symbol *symbol = s->names[0].symbol;
    if (!fine || !col_elab_may_bind(e, symbol, s->names[0].loc, false)) return false;
    const col_binding *own = own_binding(e, symbol);
    col_binding before = own ? *own : (col_binding){0};
    bool returned = false;
    for (int64_t i = low; i < high && !returned; i++) {
        if (!col_elab_step(e, s->loc)) break;
        size_t faults = e->diags->total;
        bind_as(e, symbol, (col_binding){.datum = col_datum_int(i), .fixed = true});
        returned = col_elab_body(e, &s->body, out_returned);
        if (e->diags->total > faults) break; /* the next rounds would only say it again */
    }
    bind_as(e, symbol, before);
    return returned;
}

static bool run_if(col_elab *e, const col_stmt *s, col_datum *out_returned)
{
    col_datum datum;
    if (!col_eval(e, s->exprs[0], &datum)) return false;
    if (!col_datum_is_number(&datum)) {
        col_elab_fault(e, s->exprs[0]->loc,
                       "a condition is a number, known when the model is built; this is %s%s",
                       col_datum_describe(&datum),
                       datum.kind == COL_DATUM_TENSORS ? " (choose between tensors with 'where')" : "");
        return false;
    }
    return col_elab_body(e, col_datum_number(&datum) != 0 ? &s->body : &s->otherwise, out_returned);
}

static void run_phase(col_elab *e, const col_stmt *s)
{
    if (e->frame || s->phase < e->b.phase) {
        col_elab_fault(e, s->loc,
                       e->frame ? "phases begin at the top level"
                                : "phases come in the order forward, backward, update");
        return;
    }
    e->b.phase = s->phase;
}

static void run_call(col_elab *e, const col_stmt *s)
{
    col_datum datum;
    if (!col_eval(e, s->exprs[0], &datum)) return;
    if (datum.kind == COL_DATUM_TENSORS && !datum.count) return;
    col_elab_fault(e, s->loc, "the result is not used: give it a name, as in 'x = …'");
}

/* Every expression one tensor or number; several together only tensors. */
static void run_return(col_elab *e, const col_stmt *s, col_datum *out)
{
    if (!e->frame) {
        col_elab_fault(e, s->loc, "'return' stands in a block; a model's results are its outputs");
        return;
    }
    if (s->expr_count == 1) {
        if (col_eval(e, s->exprs[0], out) && out->kind == COL_DATUM_TENSORS && out->first_stands)
            out->count = COL_MIN(out->count, 1u);
        return;
    }
    col_value **tensors = COL_NEW_ARRAY(e->scratch, col_value *, s->expr_count);
    bool fine = true;
    for (uint32_t i = 0; i < s->expr_count; i++) fine = col_eval_tensor(e, s->exprs[i], &tensors[i]) && fine;
    if (fine) *out = (col_datum){.kind = COL_DATUM_TENSORS, .count = s->expr_count, .tensors = tensors};
}

bool col_elab_body(col_elab *e, const col_body *body, col_datum *out_returned)
{
    for (size_t i = 0; i < body->count; i++) {
        const col_stmt *s = body->stmts[i];
        if (!col_elab_step(e, s->loc)) return true;
        switch (s->kind) {
        case COL_STMT_VAR: col_elab_var(e, s); break;
        case COL_STMT_OUTPUT: run_output(e, s); break;
        case COL_STMT_LET: run_let(e, s); break;
        case COL_STMT_ASSIGN: run_assign(e, s); break;
        case COL_STMT_CALL: run_call(e, s); break;
        case COL_STMT_PHASE: run_phase(e, s); break;
        case COL_STMT_RETURN:
            *out_returned = (col_datum){.kind = COL_DATUM_BAD};
            run_return(e, s, out_returned);
            return true;
        case COL_STMT_FOR:
            if (run_for(e, s, out_returned)) return true;
            break;
        case COL_STMT_IF:
            if (run_if(e, s, out_returned)) return true;
            break;
        }
    }
    return false;
}

static void find_blocks(col_elab *e)
{
    e->block_limit = (uint32_t)e->symbols->list.len;
    e->block_of = COL_NEW_ARRAY(e->scratch, const col_block *, e->block_limit);
    e->block_active = COL_NEW_ARRAY(e->scratch, bool, e->block_limit);
    for (size_t i = 0; i < e->syntax->blocks.len; i++) {
        const col_block *block = e->syntax->blocks.data[i];
        const char *name = block->symbol->name;
        uint32_t low, high;
        if (e->block_of[block->symbol->index]) {
            col_elab_fault(e, block->loc, "there is a block '%s' already", name);
        } else if (col_op_find(name) != COL_OP_COUNT || col_module_find(name) ||
                   col_number_function_find(name, &low, &high) >= 0) {
            col_elab_fault(e, block->loc, "'%s' is an op or a module of the language; choose another name",
                           name);
        }
        e->block_of[block->symbol->index] = block;
    }
}

void col_elab_run(col_elab *e)
{
    find_blocks(e);
    col_elab_settings(e);
    if (e->diags->total) return;
    col_datum returned;
    col_elab_body(e, &e->syntax->body, &returned);
    if (e->diags->total) return;
    col_elab_settings_check(e);
    if (!e->graph->outputs.len && !e->assigned->len) {
        col_diag_add(e->diags, e->syntax->loc, "model '%s' has no output; add one, as in 'output logits = x'",
                     e->graph->name);
    }
}
