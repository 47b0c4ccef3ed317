/* Statements: the grammar of frontend/syntax.h, one function per sentence. */
#include "frontend/syntax.h"

#include <string.h>

typedef COL_VEC(const col_stmt *) stmt_list;

static bool at_word(const col_parser *p, const char *word)
{
    const col_token *t = &p->token;
    return t->kind == COL_TOKEN_NAME && !t->quoted && t->size == strlen(word) &&
           !memcmp(t->text, word, t->size);
}

/* A statement's first word is a keyword only where the statement's shape wants one: `input x` declares,
 * `input = f(x)` assigns to a value named input. */
static bool at_keyword(const col_parser *p, const char *word)
{
    if (!at_word(p, word)) return false;
    col_token_kind next = col_parser_peek(p);
    return next != COL_TOKEN_ASSIGN && next != COL_TOKEN_COMMA && next != COL_TOKEN_COLON;
}

static void skip_newlines(col_parser *p)
{
    while (p->token.kind == COL_TOKEN_NEWLINE) col_parser_advance(p);
}

/* After a fault: to the end of the line, over the bodies that begin on it. */
static void skip_statement(col_parser *p)
{
    col_diags unheard = {.arena = p->arena};
    p->lexer.diags = &unheard;
    for (int depth = 0; p->token.kind != COL_TOKEN_END; col_parser_advance(p)) {
        p->lexer.depth = 0;
        if (p->token.kind == COL_TOKEN_OPEN_BODY) depth++;
        if (p->token.kind == COL_TOKEN_CLOSE_BODY && depth-- == 0) break;
        if (p->token.kind == COL_TOKEN_NEWLINE && !depth) break;
    }
    p->lexer.diags = p->diags;
}

static bool parse_names(col_parser *p, col_stmt *s, bool (*parse)(col_parser *, col_name *))
{
    COL_VEC(col_name) names = {0};
    do {
        if (names.len >= COL_LIST_LENGTH) {
            col_diag_add(p->diags, p->token.loc, "over %d names in one statement", COL_LIST_LENGTH);
            return false;
        }
        col_name name;
        if (!parse(p, &name)) return false;
        col_vec_push(p->arena, &names, name);
    } while (col_parser_accept(p, COL_TOKEN_COMMA));
    s->names = names.data;
    s->name_count = (uint32_t)names.len;
    return true;
}

static bool add_expr(col_parser *p, col_stmt *s, const col_expr *expr)
{
    if (!expr) return false;
    const col_expr **exprs = COL_NEW_ARRAY(p->arena, const col_expr *, s->expr_count + 1);
    if (s->expr_count) memcpy(exprs, s->exprs, s->expr_count * sizeof *exprs);
    exprs[s->expr_count++] = expr;
    s->exprs = exprs;
    return true;
}

/* Optional ": type, type". */
static bool parse_annotation(col_parser *p, col_stmt *s)
{
    if (!col_parser_accept(p, COL_TOKEN_COLON)) return true;
    COL_VEC(col_type_syntax) types = {0};
    do {
        col_type_syntax type;
        if (types.len >= COL_LIST_LENGTH || !col_parse_type(p, &type)) return false;
        col_vec_push(p->arena, &types, type);
    } while (col_parser_accept(p, COL_TOKEN_COMMA));
    s->types = types.data;
    s->type_count = (uint32_t)types.len;
    return true;
}

/* Optional "part S0R of f32[64, 64]". */
static bool parse_part(col_parser *p, col_stmt *s, col_type_syntax *whole)
{
    if (!at_word(p, "part")) return true;
    col_parser_advance(p);
    col_name layout = {.loc = p->token.loc};
    layout.symbol = col_parse_plain_name(p, "a layout, as S0R");
    if (!layout.symbol) return false;
    s->layout = col_arena_copy(p->arena, &layout, sizeof layout);
    if (!at_word(p, "of")) {
        col_parser_fault(p, "'of' and the type of the whole");
        return false;
    }
    col_parser_advance(p);
    s->type_count++;
    return col_parse_type(p, whole);
}

static bool parse_var(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_VAR;
    if (!parse_names(p, s, col_parse_given_name) ||
        !col_parser_expect(p, COL_TOKEN_COLON, "',' or ':' and the type"))
        return false;
    col_type_syntax types[2];
    s->type_count = 1;
    if (!col_parse_type(p, &types[0]) || !parse_part(p, s, &types[1])) return false;
    s->types = col_arena_copy(p->arena, types, s->type_count * sizeof *types);
    if (col_parser_accept(p, COL_TOKEN_TILDE) && !add_expr(p, s, col_parse_expr(p))) return false;
    if (at_word(p, "frozen")) {
        s->frozen = true;
        col_parser_advance(p);
    }
    return true;
}

static bool parse_output(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_OUTPUT;
    col_name name;
    if (!col_parse_given_name(p, &name)) return false;
    s->names = col_arena_copy(p->arena, &name, sizeof name);
    s->name_count = 1;
    return col_parser_expect(p, COL_TOKEN_ASSIGN, NULL) && add_expr(p, s, col_parse_expr(p)) &&
           parse_annotation(p, s);
}

static bool parse_plain_target(col_parser *p, col_stmt *s, const char *what)
{
    col_name name = {.loc = p->token.loc};
    name.symbol = col_parse_plain_name(p, what);
    s->names = col_arena_copy(p->arena, &name, sizeof name);
    s->name_count = 1;
    return name.symbol != NULL;
}

static bool parse_let(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_LET;
    return parse_plain_target(p, s, "the number's name") && col_parser_expect(p, COL_TOKEN_ASSIGN, NULL) &&
           add_expr(p, s, col_parse_expr(p));
}

static bool parse_return(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_RETURN;
    do {
        if (s->expr_count >= 64) {
            col_diag_add(p->diags, p->token.loc, "a block returns at most 64 values");
            return false;
        }
        if (!add_expr(p, s, col_parse_expr(p))) return false;
    } while (col_parser_accept(p, COL_TOKEN_COMMA));
    return true;
}

static const col_stmt *parse_statement(col_parser *p);

/* "{" statements "}". Faults inside are reported and passed over. */
static bool parse_body(col_parser *p, col_body *out_body)
{
    col_loc open = p->token.loc;
    if (!col_parser_expect(p, COL_TOKEN_OPEN_BODY, "'{'")) return false;
    if (p->body_depth >= COL_BODY_DEPTH) {
        col_diag_add(p->diags, open, "bodies are nested over %d deep", COL_BODY_DEPTH);
        return false;
    }
    p->body_depth++;
    stmt_list stmts = {0};
    for (skip_newlines(p); p->token.kind != COL_TOKEN_CLOSE_BODY; skip_newlines(p)) {
        if (p->token.kind == COL_TOKEN_END) {
            col_diag_add(p->diags, open, "the body that begins here has no '}'");
            break;
        }
        if (p->diags->total >= COL_DIAG_LIMIT) break;
        const col_stmt *stmt = parse_statement(p);
        if (stmt) col_vec_push(p->arena, &stmts, stmt);
    }
    p->body_depth--;
    *out_body = (col_body){stmts.len, stmts.data};
    return col_parser_accept(p, COL_TOKEN_CLOSE_BODY);
}

static bool parse_for(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_FOR;
    if (!parse_plain_target(p, s, "the counter's name")) return false;
    if (!at_word(p, "in")) {
        col_parser_fault(p, "'in'");
        return false;
    }
    col_parser_advance(p);
    return add_expr(p, s, col_parse_expr(p)) &&
           col_parser_expect(p, COL_TOKEN_RANGE, "'..' and the end of the range") &&
           add_expr(p, s, col_parse_expr(p)) && parse_body(p, &s->body);
}

static bool parse_if(col_parser *p, col_stmt *s)
{
    s->kind = COL_STMT_IF;
    if (!add_expr(p, s, col_parse_expr(p)) || !parse_body(p, &s->body)) return false;
    if (p->token.kind == COL_TOKEN_NEWLINE && col_parser_peek(p) == COL_TOKEN_NAME) {
        col_parser before = *p; /* "else" may stand on the next line */
        col_parser_advance(p);
        if (!at_word(p, "else")) *p = before;
    }
    if (!at_word(p, "else")) return true;
    col_parser_advance(p);
    if (!at_word(p, "if")) return parse_body(p, &s->otherwise);
    if (p->body_depth >= COL_BODY_DEPTH) {
        col_diag_add(p->diags, p->token.loc, "over %d 'else if'", COL_BODY_DEPTH);
        return false;
    }
    col_stmt chained = {.loc = p->token.loc};
    col_parser_advance(p);
    p->body_depth++;
    bool fine = parse_if(p, &chained);
    p->body_depth--;
    if (!fine) return false;
    const col_stmt **only = COL_NEW(p->arena, const col_stmt *);
    *only = col_arena_copy(p->arena, &chained, sizeof chained);
    s->otherwise = (col_body){1, only};
    return true;
}

static bool parse_phase(col_parser *p, col_stmt *s)
{
    static const char *const names[COL_PHASE_COUNT] = {"forward", "backward", "update"};
    s->kind = COL_STMT_PHASE;
    for (int i = 0; i < COL_PHASE_COUNT; i++) {
        if (!at_word(p, names[i])) continue;
        s->phase = (col_phase)i;
        col_parser_advance(p);
        return true;
    }
    col_parser_fault(p, "'forward', 'backward' or 'update'");
    return false;
}

/* "a, b = expr : types", or a call alone. */
static bool parse_assignment(col_parser *p, col_stmt *s)
{
    col_token_kind next = col_parser_peek(p);
    if (next == COL_TOKEN_OPEN) {
        s->kind = COL_STMT_CALL;
        return add_expr(p, s, col_parse_expr(p));
    }
    s->kind = COL_STMT_ASSIGN;
    return parse_names(p, s, col_parse_name) && col_parser_expect(p, COL_TOKEN_ASSIGN, "'=' or '('") &&
           add_expr(p, s, col_parse_expr(p)) && parse_annotation(p, s);
}

static bool parse_sentence(col_parser *p, col_stmt *s)
{
    static const struct {
        const char *word;
        bool (*parse)(col_parser *, col_stmt *);
        col_var_kind var_kind;
    } sentences[] = {
        {"input", parse_var, COL_VAR_INPUT},
        {"param", parse_var, COL_VAR_PARAM},
        {"state", parse_var, COL_VAR_STATE},
        {"output", parse_output, 0},
        {"let", parse_let, 0},
        {"return", parse_return, 0},
        {"for", parse_for, 0},
        {"if", parse_if, 0},
        {"phase", parse_phase, 0},
    };
    for (size_t i = 0; i < COL_COUNT(sentences); i++) {
        if (!at_keyword(p, sentences[i].word)) continue;
        /* "return (x)" and "if (n == 1) {" are sentences, too: no op has such a name. */
        col_parser_advance(p);
        s->var_kind = sentences[i].var_kind;
        return sentences[i].parse(p, s);
    }
    return parse_assignment(p, s);
}

/* One statement and the line's end. NULL after a fault. */
static const col_stmt *parse_statement(col_parser *p)
{
    col_stmt stmt = {.loc = p->token.loc};
    bool fine = parse_sentence(p, &stmt);
    if (fine && p->token.kind != COL_TOKEN_NEWLINE && p->token.kind != COL_TOKEN_END &&
        p->token.kind != COL_TOKEN_CLOSE_BODY) {
        col_parser_fault(p, "the end of the line");
        fine = false;
    }
    if (!fine) skip_statement(p);
    return fine ? col_arena_copy(p->arena, &stmt, sizeof stmt) : NULL;
}

/* "(name = expr, name)"; without a `fallback` only where `may_lack` says so. */
static bool parse_parameters(col_parser *p, bool may_lack, const char *what, uint32_t *out_count,
                             const col_parameter **out)
{
    COL_VEC(col_parameter) list = {0};
    if (!col_parser_expect(p, COL_TOKEN_OPEN, NULL)) return false;
    while (p->token.kind != COL_TOKEN_CLOSE) {
        col_parameter parameter = {.loc = p->token.loc};
        parameter.symbol = col_parse_plain_name(p, what);
        if (!parameter.symbol) return false;
        for (size_t i = 0; i < list.len; i++) {
            if (list.data[i].symbol != parameter.symbol) continue;
            col_diag_add(p->diags, parameter.loc, "'%s' is declared twice", parameter.symbol->name);
            return false;
        }
        if (list.len >= 256) {
            col_diag_add(p->diags, parameter.loc, "over 256 names in one declaration");
            return false;
        }
        if (p->token.kind == COL_TOKEN_ASSIGN || !may_lack) {
            if (!col_parser_expect(p, COL_TOKEN_ASSIGN, "'=' and the default value")) return false;
            parameter.fallback = col_parse_expr(p);
            if (!parameter.fallback) return false;
        }
        col_vec_push(p->arena, &list, parameter);
        if (!col_parser_accept(p, COL_TOKEN_COMMA)) break;
    }
    *out_count = (uint32_t)list.len;
    *out = list.data;
    return col_parser_expect(p, COL_TOKEN_CLOSE, "',' or ')'");
}

static void parse_block(col_parser *p, col_syntax *syntax)
{
    col_parser_advance(p);
    col_block block = {.loc = p->token.loc};
    block.symbol = col_parse_plain_name(p, "the block's name");
    if (!block.symbol ||
        !parse_parameters(p, true, "a parameter's name", &block.parameter_count, &block.parameters) ||
        !parse_body(p, &block.body)) {
        skip_statement(p);
        return;
    }
    const col_block *made = col_arena_copy(p->arena, &block, sizeof block);
    col_vec_push(p->arena, &syntax->blocks, made);
}

static bool parse_header(col_parser *p, col_syntax *syntax)
{
    skip_newlines(p);
    if (!at_word(p, "model")) {
        col_parser_fault(p, p->token.kind == COL_TOKEN_END
                                ? "a model, which begins with 'model NAME(HYPERPARAMETER = DEFAULT, …)'"
                                : "'model NAME(HYPERPARAMETER = DEFAULT, …)' at the beginning");
        return false;
    }
    col_parser_advance(p);
    col_name name;
    if (!col_parse_given_name(p, &name)) return false;
    if (!name.symbol) {
        col_diag_add(p->diags, name.loc, "a model's name is without {}");
        return false;
    }
    syntax->name = name.symbol;
    syntax->loc = name.loc;
    if (p->token.kind == COL_TOKEN_OPEN &&
        !parse_parameters(p, false, "a hyperparameter's name", &syntax->setting_count, &syntax->settings)) {
        return false;
    }
    if (p->token.kind == COL_TOKEN_NEWLINE || p->token.kind == COL_TOKEN_END) return true;
    col_parser_fault(p, "the end of the line");
    return false;
}

/* "mesh 2x4": no number and no name begins so, thus it is read from the text. */
static void parse_mesh(col_parser *p, col_syntax *syntax)
{
    const char *at = p->lexer.at;
    while (at < p->lexer.end && (*at == ' ' || *at == '\t')) at++;
    size_t size = 0;
    while (at + size < p->lexer.end && strchr("0123456789x", at[size]) && at[size]) size++;
    if (!at_word(p, "mesh") || !size || *at == 'x') return;
    char text[64];
    int64_t ranks = 1;
    bool fine = size < sizeof text;
    memcpy(text, at, COL_MIN(size, sizeof text - 1));
    text[COL_MIN(size, sizeof text - 1)] = '\0';
    fine = fine && col_mesh_parse(text, &syntax->mesh);
    for (int i = 0; i < syntax->mesh.rank && fine; i++)
        fine = (ranks *= syntax->mesh.dims[i]) <= COL_MESH_RANKS;
    if (!fine) {
        col_diag_add(p->diags, p->token.loc, "a mesh is 1 to %d sizes such as 2x4, %d ranks in all at most",
                     COL_MESH_RANK, COL_MESH_RANKS);
    }
    p->lexer.at = at + size;
    col_parser_advance(p);
    if (fine && p->token.kind != COL_TOKEN_NEWLINE && p->token.kind != COL_TOKEN_END)
        col_parser_fault(p, "the end of the line");
    if (p->token.kind != COL_TOKEN_NEWLINE) skip_statement(p);
}

const col_syntax *col_syntax_parse(const col_source *source, col_symbols *symbols, col_arena *arena,
                                   col_diags *diags)
{
    col_parser p = {.arena = arena, .symbols = symbols, .diags = diags};
    col_lexer_init(&p.lexer, source, diags);
    col_parser_advance(&p);
    col_syntax *syntax = COL_NEW(arena, col_syntax);
    if (!parse_header(&p, syntax)) return syntax; /* not a model at all: one error is enough */
    stmt_list stmts = {0};
    skip_newlines(&p);
    parse_mesh(&p, syntax);
    for (skip_newlines(&p); p.token.kind != COL_TOKEN_END; skip_newlines(&p)) {
        if (diags->total >= COL_DIAG_LIMIT) break;
        if (p.token.kind == COL_TOKEN_CLOSE_BODY) {
            col_diag_add(diags, p.token.loc, "'}' without a '{'");
            col_parser_advance(&p);
        } else if (at_keyword(&p, "block")) {
            parse_block(&p, syntax);
        } else {
            const col_stmt *stmt = parse_statement(&p);
            if (stmt) col_vec_push(arena, &stmts, stmt);
        }
    }
    syntax->body = (col_body){stmts.len, stmts.data};
    return syntax;
}
