/* The syntax tree of a model's text, and the parser that makes it. The tree knows names and shapes of
 * sentences only; what they mean is for frontend/elaborate.h.
 *
 * Grammar (docs/ir.md has it with examples; NL is a line break, which brackets and infix operators swallow):
 *
 *   file       = header [ mesh NL ] { statement NL }
 *   header     = "model" name [ "(" name "=" expr { "," name "=" expr } ")" ] NL
 *   mesh       = "mesh" digits { "x" digits }
 *   statement  = ("input" | "param" | "state") name { "," name } ":" type [ part ] [ "~" expr ] [ "frozen" ]
 *              | "output" name "=" expr [ ":" type ]
 *              | "let" name "=" expr
 *              | "block" name "(" [ parameter { "," parameter } ] ")" body
 *              | "return" expr { "," expr }
 *              | "for" name "in" expr ".." expr body
 *              | "if" expr body [ "else" ( body | if-statement ) ]
 *              | "phase" ( "forward" | "backward" | "update" )
 *              | name { "," name } "=" expr [ ":" type { "," type } ]
 *              | call
 *   parameter  = name [ "=" expr ]
 *   body       = "{" NL { statement NL } "}"
 *   part       = "part" layout "of" type
 *   type       = dtype "[" [ expr { "," expr } ] "]"
 *   expr       = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=") sum ]
 *   sum        = product { ("+" | "-") product }
 *   product    = sign { ("*" | "/" | "%") sign }
 *   sign       = { "-" } primary
 *   primary    = number | text | name | "(" expr ")" | "[" [ expr { "," expr } ] "]" | call
 *   call       = name "(" [ argument { "," argument } ] ")" [ "@" path ]
 *   argument   = expr | name "=" expr
 */
#ifndef COL_FRONTEND_SYNTAX_H
#define COL_FRONTEND_SYNTAX_H

#include "frontend/lex.h"
#include "ir/base/map.h"
#include "ir/graph.h"

/* Every different name once; equal names are equal pointers. */
typedef struct col_symbol {
    const char *name;
    uint32_t index; /* among the symbols of the table */
} col_symbol;

typedef struct col_symbols {
    col_arena *arena;
    col_map *by_name;
    COL_VEC(col_symbol *) list;
} col_symbols;

const col_symbol *col_symbols_intern(col_symbols *symbols, const char *name, size_t size);

typedef struct col_expr col_expr;

/* Part of an interpolated name: text, or an expression in braces. */
typedef struct col_name_part {
    const char *text; /* NULL: an expression */
    const col_expr *expr;
} col_name_part;

typedef struct col_name {
    col_loc loc;
    const col_symbol *symbol; /* NULL: interpolated */
    uint32_t part_count;
    const col_name_part *parts;
} col_name;

typedef struct col_argument {
    const char *keyword; /* NULL: positional */
    col_loc loc;
    const col_expr *value;
} col_argument;

typedef struct col_call {
    const col_symbol *callee;
    uint32_t argument_count, positional_count; /* positional ones come first */
    const col_argument *arguments;
    const col_name *path; /* after "@"; NULL: none */
} col_call;

typedef enum col_expr_kind {
    COL_EXPR_INT,
    COL_EXPR_FLOAT,
    COL_EXPR_TEXT,
    COL_EXPR_NAME,
    COL_EXPR_LIST,
    COL_EXPR_NEGATIVE, /* of `left` */
    COL_EXPR_BINARY,
    COL_EXPR_CALL
} col_expr_kind;

struct col_expr {
    col_expr_kind kind;
    int height;           /* 1 for a leaf; at most COL_EXPR_HEIGHT */
    col_token_kind infix; /* BINARY */
    col_loc loc;          /* of the operator or the first token */
    int64_t int_value;
    double float_value;
    const char *text;
    col_name name;
    const col_expr *left, *right;
    uint32_t item_count;
    const col_expr *const *items;
    const col_call *call;
};

typedef struct col_type_syntax {
    col_loc loc;
    col_dtype dtype;
    uint32_t dim_count;
    const col_expr *const *dims;
} col_type_syntax;

typedef enum col_stmt_kind {
    COL_STMT_VAR,
    COL_STMT_OUTPUT,
    COL_STMT_LET,
    COL_STMT_ASSIGN, /* names = expr */
    COL_STMT_CALL,
    COL_STMT_RETURN,
    COL_STMT_FOR,
    COL_STMT_IF,
    COL_STMT_PHASE
} col_stmt_kind;

typedef struct col_stmt col_stmt;

typedef struct col_body {
    size_t count;
    const col_stmt *const *stmts;
} col_body;

struct col_stmt {
    col_stmt_kind kind;
    col_loc loc;
    col_var_kind var_kind; /* VAR */
    bool frozen;           /* VAR */
    col_phase phase;       /* PHASE */
    uint32_t name_count;   /* VAR, OUTPUT, LET, ASSIGN, FOR */
    const col_name *names;
    const col_name *layout; /* VAR: of a part; NULL: none. Then the second type is that of the whole. */
    uint32_t type_count;    /* VAR, OUTPUT, ASSIGN */
    const col_type_syntax *types;
    uint32_t expr_count; /* RETURN: all; FOR: low, high; IF: condition; VAR: initialiser, if any; else one */
    const col_expr *const *exprs;
    col_body body, otherwise; /* FOR, IF */
};

typedef struct col_parameter {
    const col_symbol *symbol;
    col_loc loc;
    const col_expr *fallback; /* NULL: must be given */
} col_parameter;

typedef struct col_block {
    const col_symbol *symbol;
    col_loc loc;
    uint32_t parameter_count;
    const col_parameter *parameters;
    col_body body;
} col_block;

typedef struct col_syntax {
    const col_symbol *name;
    col_loc loc; /* of the name */
    uint32_t setting_count;
    const col_parameter *settings; /* all with a fallback */
    col_mesh mesh;                 /* rank 0: none */
    COL_VEC(const col_block *) blocks;
    col_body body;
} col_syntax;

enum {
    COL_EXPR_HEIGHT = 256,   /* operators and brackets inside one another */
    COL_BODY_DEPTH = 64,     /* bodies inside one another */
    COL_LIST_LENGTH = 4096,  /* items of a list, names or arguments of a statement */
    COL_MESH_RANKS = 1 << 20 /* of a mesh */
};

/* Parses the source. Faults go to `diags`, and reading goes on at the next statement; the tree is of use only
 * when there were none. Lives in `arena`; symbols go to `symbols`. */
const col_syntax *col_syntax_parse(const col_source *source, col_symbols *symbols, col_arena *arena,
                                   col_diags *diags);

/* Between syntax.c and syntax_expr.c. `token` is the next one, not yet taken. */
typedef struct col_parser {
    col_lexer lexer;
    col_token token;
    col_arena *arena;
    col_symbols *symbols;
    col_diags *diags;
    int depth; /* of expressions being parsed */
    int body_depth;
} col_parser;

void col_parser_advance(col_parser *p);
/* The kind of the token after the next one. */
col_token_kind col_parser_peek(const col_parser *p);
bool col_parser_accept(col_parser *p, col_token_kind kind);
/* Takes the token or reports what stands there instead; `what` says what was wanted, or NULL for the token.
 */
bool col_parser_expect(col_parser *p, col_token_kind kind, const char *what);
/* Reports "expected <what>; found <token>", once: an ERROR token has been reported already. */
void col_parser_fault(col_parser *p, const char *what);
/* All return NULL or false after reporting. */
const col_expr *col_parse_expr(col_parser *p);
bool col_parse_name(col_parser *p, col_name *out_name);
/* The same, but not '%12', which names results only. */
bool col_parse_given_name(col_parser *p, col_name *out_name);
/* A name without interpolation and without dots or '%': of a block, hyperparameter, loop variable. */
const col_symbol *col_parse_plain_name(col_parser *p, const char *what);
bool col_parse_type(col_parser *p, col_type_syntax *out_type);

#endif
