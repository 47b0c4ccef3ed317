/* Expressions, names and types: recursive descent with one token of look-ahead. Depth is bounded while
 * parsing (brackets) and in the tree (long chains of infix operators lean to the left), so that neither this
 * file nor any walk over the tree can run out of stack. */
#include "frontend/syntax.h"

#include <string.h>

const col_symbol *col_symbols_intern(col_symbols *symbols, const char *name, size_t size)
{
    col_symbol *symbol = col_map_get_bytes(symbols->by_name, name, size);
    if (symbol) return symbol;
    symbol = COL_NEW(symbols->arena, col_symbol);
    symbol->name = col_arena_strndup(symbols->arena, name, size);
    symbol->index = (uint32_t)symbols->list.len;
    col_vec_push(symbols->arena, &symbols->list, symbol);
    col_map_set_bytes(symbols->by_name, name, size, symbol);
    return symbol;
}

void col_parser_advance(col_parser *p)
{
    p->token = col_lexer_next(&p->lexer);
}

col_token_kind col_parser_peek(const col_parser *p)
{
    col_diags unheard = {.arena = p->arena}; /* a fault there is reported when its turn comes */
    col_lexer ahead = p->lexer;
    ahead.diags = &unheard;
    return col_lexer_next(&ahead).kind;
}

bool col_parser_accept(col_parser *p, col_token_kind kind)
{
    if (p->token.kind != kind) return false;
    col_parser_advance(p);
    return true;
}

void col_parser_fault(col_parser *p, const char *what)
{
    const col_token *t = &p->token;
    if (t->kind == COL_TOKEN_ERROR) return;
    if (t->kind == COL_TOKEN_NAME) {
        col_diag_add(p->diags, t->loc, "expected %s; found '%.*s'", what, (int)COL_MIN(t->size, (size_t)60),
                     t->text);
    } else {
        col_diag_add(p->diags, t->loc, "expected %s; found %s", what, col_token_spelling(t->kind));
    }
}

bool col_parser_expect(col_parser *p, col_token_kind kind, const char *what)
{
    if (col_parser_accept(p, kind)) return true;
    col_parser_fault(p, what ? what : col_token_spelling(kind));
    return false;
}

/* "h.{i}.attn" into text, expression, text. */
static bool parse_interpolation(col_parser *p, const col_token *token, col_name *name)
{
    COL_VEC(col_name_part) parts = {0};
    const char *at = token->text, *end = at + token->size;
    while (at < end) {
        const char *brace = memchr(at, '{', (size_t)(end - at));
        size_t plain = (size_t)((brace ? brace : end) - at);
        if (plain) {
            col_name_part part = {.text = col_arena_strndup(p->arena, at, plain)};
            col_vec_push(p->arena, &parts, part);
        }
        if (!brace) break;
        const char *close = memchr(brace, '}', (size_t)(end - brace));
        COL_ASSERT(close);
        col_parser inner = *p;
        inner.lexer = col_lexer_within(&p->lexer, token, brace + 1, (size_t)(close - brace - 1));
        col_parser_advance(&inner);
        col_name_part part = {.expr = col_parse_expr(&inner)};
        if (!part.expr || !col_parser_expect(&inner, COL_TOKEN_END, "'}' after the expression")) return false;
        col_vec_push(p->arena, &parts, part);
        at = close + 1;
    }
    name->parts = parts.data;
    name->part_count = (uint32_t)parts.len;
    return true;
}

bool col_parse_name(col_parser *p, col_name *out_name)
{
    col_token token = p->token;
    if (token.kind != COL_TOKEN_NAME) {
        col_parser_fault(p, "a name");
        return false;
    }
    *out_name = (col_name){.loc = token.loc};
    if (token.interpolated) {
        if (!parse_interpolation(p, &token, out_name)) return false;
    } else {
        out_name->symbol = col_symbols_intern(p->symbols, token.text, token.size);
    }
    col_parser_advance(p);
    return true;
}

bool col_parse_given_name(col_parser *p, col_name *out_name)
{
    if (p->token.kind == COL_TOKEN_NAME && p->token.text[0] == '%') {
        col_parser_fault(p, "a name without '%', which only results of statements have");
        return false;
    }
    return col_parse_name(p, out_name);
}

const col_symbol *col_parse_plain_name(col_parser *p, const char *what)
{
    const col_token *t = &p->token;
    bool plain = t->kind == COL_TOKEN_NAME && !t->quoted && !t->interpolated && t->text[0] != '%' &&
                 !memchr(t->text, '.', t->size);
    if (!plain) {
        col_parser_fault(p, what);
        return NULL;
    }
    const col_symbol *symbol = col_symbols_intern(p->symbols, t->text, t->size);
    col_parser_advance(p);
    return symbol;
}

static const col_expr *new_expr(col_parser *p, col_expr expr)
{
    int below = COL_MAX(expr.left ? expr.left->height : 0, expr.right ? expr.right->height : 0);
    for (uint32_t i = 0; i < expr.item_count; i++) below = COL_MAX(below, expr.items[i]->height);
    for (uint32_t i = 0; expr.call && i < expr.call->argument_count; i++) {
        below = COL_MAX(below, expr.call->arguments[i].value->height);
    }
    expr.height = below + 1;
    if (expr.height > COL_EXPR_HEIGHT) {
        col_diag_add(p->diags, expr.loc,
                     "this expression has over %d operators or brackets inside one another; give a part of "
                     "it a name",
                     COL_EXPR_HEIGHT);
        return NULL;
    }
    return col_arena_copy(p->arena, &expr, sizeof expr);
}

static bool too_long(col_parser *p, size_t count, const char *what)
{
    if (count < COL_LIST_LENGTH) return false;
    col_diag_add(p->diags, p->token.loc, "over %d %s", COL_LIST_LENGTH, what);
    return true;
}

/* Takes the bracket that closes the one at `open`. Inside brackets a line break is space, so where the
 * bracket was forgotten the parser notices lines later: then the fault is where it opens. */
static bool close_bracket(col_parser *p, col_loc open, col_token_kind close)
{
    bool list = close == COL_TOKEN_CLOSE_LIST;
    if (p->token.kind != close && p->token.kind != COL_TOKEN_ERROR && p->token.loc.line > open.line) {
        col_diag_add(p->diags, open, "this '%s' has no '%s'", list ? "[" : "(", list ? "]" : ")");
        return false;
    }
    return col_parser_expect(p, close, list ? "',' or ']'" : "',' or ')'");
}

/* Expressions up to `close`, which is taken too; the bracket at `open` was taken. */
static bool parse_list(col_parser *p, col_loc open, uint32_t *out_count, const col_expr *const **out)
{
    const col_token_kind close = COL_TOKEN_CLOSE_LIST;
    COL_VEC(const col_expr *) items = {0};
    while (p->token.kind != close) {
        if (too_long(p, items.len, "items in one list")) return false;
        const col_expr *item = col_parse_expr(p);
        if (!item) return false;
        col_vec_push(p->arena, &items, item);
        if (!col_parser_accept(p, COL_TOKEN_COMMA)) break;
    }
    *out_count = (uint32_t)items.len;
    *out = items.data;
    return close_bracket(p, open, close);
}

static bool parse_argument(col_parser *p, col_argument *out)
{
    out->loc = p->token.loc;
    bool word = p->token.kind == COL_TOKEN_NAME && !p->token.quoted && !p->token.interpolated;
    if (word && col_parser_peek(p) == COL_TOKEN_ASSIGN) {
        out->keyword = col_arena_strndup(p->arena, p->token.text, p->token.size);
        col_parser_advance(p);
        col_parser_advance(p);
    }
    out->value = col_parse_expr(p);
    return out->value != NULL;
}

static const col_expr *parse_call(col_parser *p, const col_name *name)
{
    col_loc open = p->token.loc;
    col_parser_advance(p);
    COL_VEC(col_argument) arguments = {0};
    uint32_t positional = 0;
    while (p->token.kind != COL_TOKEN_CLOSE) {
        if (too_long(p, arguments.len, "arguments of one call")) return NULL;
        col_argument argument = {0};
        if (!parse_argument(p, &argument)) return NULL;
        if (!argument.keyword && positional < arguments.len) {
            col_diag_add(p->diags, argument.loc, "operands come before the arguments with a name");
            return NULL;
        }
        positional += !argument.keyword;
        col_vec_push(p->arena, &arguments, argument);
        if (!col_parser_accept(p, COL_TOKEN_COMMA)) break;
    }
    if (!close_bracket(p, open, COL_TOKEN_CLOSE)) return NULL;
    col_call call = {.callee = name->symbol,
                     .argument_count = (uint32_t)arguments.len,
                     .positional_count = positional,
                     .arguments = arguments.data};
    if (col_parser_accept(p, COL_TOKEN_AT)) {
        col_name path;
        if (!col_parse_given_name(p, &path)) return NULL;
        call.path = col_arena_copy(p->arena, &path, sizeof path);
    }
    return new_expr(p, (col_expr){.kind = COL_EXPR_CALL,
                                  .loc = name->loc,
                                  .call = col_arena_copy(p->arena, &call, sizeof call)});
}

static const col_expr *parse_int(col_parser *p, bool negative)
{
    uint64_t magnitude = p->token.int_value;
    col_loc loc = p->token.loc;
    if (!negative && magnitude > INT64_MAX) {
        col_diag_add(p->diags, loc, "the number %llu is too large: whole numbers end at %lld",
                     (unsigned long long)magnitude, (long long)INT64_MAX);
        return NULL;
    }
    col_parser_advance(p);
    int64_t value = negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude;
    if (!magnitude) value = 0;
    return new_expr(p, (col_expr){.kind = COL_EXPR_INT, .loc = loc, .int_value = value});
}

static const col_expr *parse_primary(col_parser *p)
{
    col_token token = p->token;
    col_expr expr = {.loc = token.loc};
    switch (token.kind) {
    case COL_TOKEN_INT: return parse_int(p, false);
    case COL_TOKEN_FLOAT:
        expr.kind = COL_EXPR_FLOAT;
        expr.float_value = token.float_value;
        col_parser_advance(p);
        return new_expr(p, expr);
    case COL_TOKEN_TEXT:
        expr.kind = COL_EXPR_TEXT;
        expr.text = col_arena_strndup(p->arena, token.text, token.size);
        col_parser_advance(p);
        return new_expr(p, expr);
    case COL_TOKEN_NAME:
        expr.kind = COL_EXPR_NAME;
        if (!col_parse_name(p, &expr.name)) return NULL;
        if (p->token.kind == COL_TOKEN_OPEN && expr.name.symbol) return parse_call(p, &expr.name);
        return new_expr(p, expr);
    case COL_TOKEN_OPEN_LIST:
        expr.kind = COL_EXPR_LIST;
        col_parser_advance(p);
        if (!parse_list(p, token.loc, &expr.item_count, &expr.items)) return NULL;
        return new_expr(p, expr);
    case COL_TOKEN_OPEN: {
        col_parser_advance(p);
        const col_expr *inner = col_parse_expr(p);
        return inner && close_bracket(p, token.loc, COL_TOKEN_CLOSE) ? inner : NULL;
    }
    default: col_parser_fault(p, "an expression"); return NULL;
    }
}

static const col_expr *parse_sign(col_parser *p)
{
    if (p->depth >= COL_EXPR_HEIGHT) {
        col_diag_add(p->diags, p->token.loc, "brackets are nested over %d deep", COL_EXPR_HEIGHT);
        return NULL;
    }
    p->depth++;
    col_loc loc = p->token.loc;
    const col_expr *result;
    if (!col_parser_accept(p, COL_TOKEN_MINUS)) {
        result = parse_primary(p);
    } else if (p->token.kind == COL_TOKEN_INT) {
        result = parse_int(p, true); /* so that the least whole number can be written */
    } else {
        const col_expr *operand = parse_sign(p);
        result =
            operand ? new_expr(p, (col_expr){.kind = COL_EXPR_NEGATIVE, .loc = loc, .left = operand}) : NULL;
    }
    p->depth--;
    return result;
}

static int binding_strength(col_token_kind kind)
{
    if (kind == COL_TOKEN_TIMES || kind == COL_TOKEN_DIVIDE || kind == COL_TOKEN_REMAINDER) return 3;
    if (kind == COL_TOKEN_PLUS || kind == COL_TOKEN_MINUS) return 2;
    return kind >= COL_TOKEN_EQ && kind <= COL_TOKEN_GE ? 1 : 0;
}

/* Operators that bind at least as strongly as `strength`, to the left; comparisons do not chain. */
static const col_expr *parse_binary(col_parser *p, int strength)
{
    const col_expr *left = parse_sign(p);
    for (int s; left && (s = binding_strength(p->token.kind)) >= strength && s > 0;) {
        col_token infix = p->token;
        col_parser_advance(p);
        while (p->token.kind == COL_TOKEN_NEWLINE) col_parser_advance(p);
        const col_expr *right = parse_binary(p, s + 1);
        if (!right) return NULL;
        left = new_expr(p, (col_expr){.kind = COL_EXPR_BINARY,
                                      .infix = infix.kind,
                                      .loc = infix.loc,
                                      .left = left,
                                      .right = right});
        if (left && s == 1 && binding_strength(p->token.kind) == 1) {
            col_diag_add(p->diags, p->token.loc, "comparisons do not chain; use brackets");
            return NULL;
        }
    }
    return left;
}

const col_expr *col_parse_expr(col_parser *p)
{
    return parse_binary(p, 1);
}

bool col_parse_type(col_parser *p, col_type_syntax *out_type)
{
    *out_type = (col_type_syntax){.loc = p->token.loc};
    char name[16];
    if (p->token.kind != COL_TOKEN_NAME || p->token.size >= sizeof name) {
        col_parser_fault(p, "a type, as f32[4, 64]");
        return false;
    }
    memcpy(name, p->token.text, p->token.size);
    name[p->token.size] = '\0';
    if (!col_dtype_parse(name, &out_type->dtype)) {
        const char *known[COL_DTYPE_COUNT];
        for (int i = 0; i < COL_DTYPE_COUNT; i++) known[i] = col_dtype_name((col_dtype)i);
        const char *near = col_suggest(name, known, COL_DTYPE_COUNT);
        col_diag_add(p->diags, out_type->loc, "'%s' is not an element type; %s%s%s", name,
                     near ? "did you mean '"
                          : "there are f32, f64, f16, bf16, bool, and i and u with 8, 16, 32 or 64 bits",
                     near ? near : "", near ? "'?" : "");
        return false;
    }
    col_parser_advance(p);
    col_loc open = p->token.loc;
    if (!col_parser_expect(p, COL_TOKEN_OPEN_LIST, "'[' and the dimensions, as f32[4, 64]")) return false;
    if (!parse_list(p, open, &out_type->dim_count, &out_type->dims)) return false;
    if (out_type->dim_count <= COL_MAX_RANK) return true;
    col_diag_add(p->diags, out_type->loc, "a tensor has at most %d dimensions", COL_MAX_RANK);
    return false;
}
