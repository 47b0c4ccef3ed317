/* Tokens of the model language (docs/ir.md). One token at a time; nothing is kept, so a source of any size
 * costs no memory here.
 *
 * Line breaks are tokens, except inside ( ) and [ ]. Three things depend on the token before:
 *   %     directly before a letter or digit it begins a value's name (%12), unless an operand has just ended,
 *         when it is the remainder
 *   @     what follows is a path, whose parts may begin with a digit (@ 0.conv)
 *   {     glued to a name it begins an interpolation (h.{i}.attn); a body stands off by a space */
#ifndef COL_FRONTEND_LEX_H
#define COL_FRONTEND_LEX_H

#include "ir/base/diag.h"

/* TOKEN(KIND, how messages call it) */
#define COL_TOKENS                                                                                           \
    TOKEN(END, "the end of the file")                                                                        \
    TOKEN(NEWLINE, "the end of the line")                                                                    \
    TOKEN(ERROR, "an error") /* reported already */                                                          \
    TOKEN(NAME, "a name")                                                                                    \
    TOKEN(INT, "a whole number")                                                                             \
    TOKEN(FLOAT, "a number")                                                                                 \
    TOKEN(TEXT, "a text in quotes")                                                                          \
    TOKEN(OPEN, "'('")                                                                                       \
    TOKEN(CLOSE, "')'")                                                                                      \
    TOKEN(OPEN_LIST, "'['")                                                                                  \
    TOKEN(CLOSE_LIST, "']'")                                                                                 \
    TOKEN(OPEN_BODY, "'{'")                                                                                  \
    TOKEN(CLOSE_BODY, "'}'")                                                                                 \
    TOKEN(COMMA, "','")                                                                                      \
    TOKEN(COLON, "':'")                                                                                      \
    TOKEN(TILDE, "'~'")                                                                                      \
    TOKEN(AT, "'@'")                                                                                         \
    TOKEN(ASSIGN, "'='")                                                                                     \
    TOKEN(RANGE, "'..'")                                                                                     \
    TOKEN(PLUS, "'+'")                                                                                       \
    TOKEN(MINUS, "'-'")                                                                                      \
    TOKEN(TIMES, "'*'")                                                                                      \
    TOKEN(DIVIDE, "'/'")                                                                                     \
    TOKEN(REMAINDER, "'%'")                                                                                  \
    TOKEN(EQ, "'=='")                                                                                        \
    TOKEN(NE, "'!='")                                                                                        \
    TOKEN(LT, "'<'")                                                                                         \
    TOKEN(LE, "'<='")                                                                                        \
    TOKEN(GT, "'>'")                                                                                         \
    TOKEN(GE, "'>='")

typedef enum col_token_kind {
#define TOKEN(KIND, spelling) COL_TOKEN_##KIND,
    COL_TOKENS
#undef TOKEN
        COL_TOKEN_COUNT
} col_token_kind;

typedef struct col_token {
    col_token_kind kind;
    col_loc loc;
    const char *text; /* NAME, TEXT: the bytes between the quotes, in the source */
    size_t size;
    bool quoted;        /* NAME in backquotes: taken as it is */
    bool interpolated;  /* NAME with {} in it */
    uint64_t int_value; /* INT: at most 2^63 */
    double float_value; /* FLOAT */
} col_token;

typedef struct col_lexer {
    const col_source *source;
    const char *at, *end, *line_start;
    uint32_t line;
    int depth; /* of open ( and [ */
    col_token_kind previous;
    col_diags *diags;
} col_lexer;

void col_lexer_init(col_lexer *lexer, const col_source *source, col_diags *diags);
/* A lexer over a part of the text of one token, `size` bytes from `text` on. */
col_lexer col_lexer_within(const col_lexer *lexer, const col_token *token, const char *text, size_t size);
/* The next token. A fault is reported and comes back as ERROR; reading goes on after it. */
col_token col_lexer_next(col_lexer *lexer);

const char *col_token_spelling(col_token_kind kind);
/* NULL when the source can be text: UTF-8 without control characters but tab, line feed, carriage return.
 * Otherwise the one error that says what it is not and where. */
COL_MUST_USE col_status col_source_check(const col_source *source);

#endif
