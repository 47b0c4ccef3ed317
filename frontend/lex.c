#include "frontend/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NUMBER = 64 };

void col_lexer_init(col_lexer *lexer, const col_source *source, col_diags *diags)
{
    *lexer = (col_lexer){.source = source,
                         .at = source->text,
                         .end = source->text + source->size,
                         .line_start = source->text,
                         .line = 1,
                         .previous = COL_TOKEN_NEWLINE,
                         .diags = diags};
}

col_lexer col_lexer_within(const col_lexer *lexer, const col_token *token, const char *text, size_t size)
{
    col_lexer inner = *lexer;
    inner.at = text;
    inner.end = text + size;
    inner.line = token->loc.line;
    inner.line_start = token->text - (token->loc.column - 1);
    inner.depth = 1; /* a line break cannot occur; were there one, it would be space */
    inner.previous = COL_TOKEN_OPEN;
    return inner;
}

const char *col_token_spelling(col_token_kind kind)
{
    static const char *const spellings[COL_TOKEN_COUNT] = {
#define TOKEN(KIND, spelling) [COL_TOKEN_##KIND] = spelling,
        COL_TOKENS
#undef TOKEN
    };
    return spellings[kind];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c);
}

static char peek(const col_lexer *l, ptrdiff_t ahead)
{
    return l->end - l->at > ahead ? l->at[ahead] : '\0';
}

static col_loc here(const col_lexer *l)
{
    return (col_loc){l->source, l->line, (uint32_t)(l->at - l->line_start) + 1};
}

/* Space and comments; line breaks too inside brackets. */
static void skip_space(col_lexer *l)
{
    while (l->at < l->end) {
        char c = *l->at;
        if (c == '#') {
            const char *newline = memchr(l->at, '\n', (size_t)(l->end - l->at));
            l->at = newline ? newline : l->end;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            l->at++;
        } else if (c == '\n' && l->depth > 0) {
            l->at++;
            l->line++;
            l->line_start = l->at;
        } else {
            return;
        }
    }
}

static bool ends_operand(col_token_kind kind)
{
    return kind == COL_TOKEN_NAME || kind == COL_TOKEN_INT || kind == COL_TOKEN_FLOAT ||
           kind == COL_TOKEN_TEXT || kind == COL_TOKEN_CLOSE || kind == COL_TOKEN_CLOSE_LIST;
}

/* Words joined by dots, with {…} anywhere after the first character (a path may begin with one). */
static void lex_name(col_lexer *l, col_token *token)
{
    token->kind = COL_TOKEN_NAME;
    const char *start = l->at;
    if (*l->at == '%') l->at++;
    while (l->at < l->end) {
        char c = *l->at;
        if (c == '{') {
            const char *stop = l->at;
            while (stop < l->end && *stop != '}' && (unsigned char)*stop >= ' ') stop++;
            if (stop == l->end || *stop != '}') {
                col_diag_add(l->diags, here(l),
                             "'{' glued to a name begins an interpolation and needs its '}' on the same "
                             "line; put a space before the '{' of a body");
                token->kind = COL_TOKEN_ERROR;
                l->at = stop;
                return;
            }
            token->interpolated = true;
            l->at = stop + 1;
        } else if (is_word(c) || (c == '.' && l->at > start && (is_word(peek(l, 1)) || peek(l, 1) == '{'))) {
            l->at++;
        } else {
            break;
        }
    }
    token->size = (size_t)(l->at - start);
}

static void lex_number(col_lexer *l, col_token *token)
{
    const char *start = l->at;
    bool is_float = false;
    while (is_digit(peek(l, 0))) l->at++;
    if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
        is_float = true;
        l->at++;
        while (is_digit(peek(l, 0))) l->at++;
    }
    if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
        is_float = true;
        l->at++;
        if (peek(l, 0) == '+' || peek(l, 0) == '-') l->at++;
        if (!is_digit(peek(l, 0))) token->kind = COL_TOKEN_ERROR;
    }
    bool clean = token->kind != COL_TOKEN_ERROR;
    while (is_word(peek(l, 0))) {
        clean = clean && is_digit(*l->at);
        l->at++;
    }
    size_t size = (size_t)(l->at - start);
    token->kind = COL_TOKEN_ERROR;
    char digits[LONGEST_NUMBER + 1];
    if (!clean || size > LONGEST_NUMBER) {
        col_diag_add(l->diags, token->loc, "'%.*s%s' is not a number", (int)COL_MIN(size, LONGEST_NUMBER),
                     start, size > LONGEST_NUMBER ? "…" : "");
        return;
    }
    memcpy(digits, start, size);
    digits[size] = '\0';
    errno = 0;
    if (is_float) {
        token->float_value = strtod(digits, NULL);
        if (token->float_value <= 1.7976931348623157e308) token->kind = COL_TOKEN_FLOAT;
    } else {
        token->int_value = strtoull(digits, NULL, 10);
        if (!errno && token->int_value <= (uint64_t)INT64_MAX + 1) token->kind = COL_TOKEN_INT;
    }
    if (token->kind == COL_TOKEN_ERROR) {
        col_diag_add(l->diags, token->loc, "the number %s is too large: %s", digits,
                     is_float ? "floats end at 1.8e308" : "whole numbers end at 9223372036854775807");
    }
}

/* "text" or `name`: everything up to the same quote, on one line. */
static void lex_quoted(col_lexer *l, col_token *token)
{
    char quote = *l->at++;
    const char *start = l->at;
    while (l->at < l->end && *l->at != quote && (unsigned char)*l->at >= ' ') l->at++;
    if (l->at == l->end || *l->at != quote) {
        col_diag_add(l->diags, token->loc, "the %s that begins here %s", quote == '"' ? "text" : "name",
                     l->at < l->end && *l->at == '\t' ? "has a tab in it" : "does not end on its line");
        while (l->at < l->end && *l->at != quote && *l->at != '\n') l->at++;
        if (l->at < l->end && *l->at == quote) l->at++;
        token->kind = COL_TOKEN_ERROR;
        return;
    }
    token->text = start;
    token->size = (size_t)(l->at - start);
    l->at++;
    token->kind = quote == '"' ? COL_TOKEN_TEXT : COL_TOKEN_NAME;
    token->quoted = quote == '`';
    if (token->quoted && (!token->size || *start == '%' || memchr(start, '"', token->size))) {
        col_diag_add(l->diags, token->loc, "a name in backquotes cannot %s",
                     !token->size    ? "be empty"
                     : *start == '%' ? "begin with '%', as the names of results do"
                                     : "contain a double quote");
        token->kind = COL_TOKEN_ERROR;
    }
}

static col_token_kind lex_punctuation(col_lexer *l)
{
    static const struct {
        char text[3];
        col_token_kind kind;
    } table[] = {
        {"..", COL_TOKEN_RANGE},    {"==", COL_TOKEN_EQ},        {"!=", COL_TOKEN_NE},
        {"<=", COL_TOKEN_LE},       {">=", COL_TOKEN_GE},        {"(", COL_TOKEN_OPEN},
        {")", COL_TOKEN_CLOSE},     {"[", COL_TOKEN_OPEN_LIST},  {"]", COL_TOKEN_CLOSE_LIST},
        {"{", COL_TOKEN_OPEN_BODY}, {"}", COL_TOKEN_CLOSE_BODY}, {",", COL_TOKEN_COMMA},
        {":", COL_TOKEN_COLON},     {"~", COL_TOKEN_TILDE},      {"@", COL_TOKEN_AT},
        {"=", COL_TOKEN_ASSIGN},    {"+", COL_TOKEN_PLUS},       {"-", COL_TOKEN_MINUS},
        {"*", COL_TOKEN_TIMES},     {"/", COL_TOKEN_DIVIDE},     {"%", COL_TOKEN_REMAINDER},
        {"<", COL_TOKEN_LT},        {">", COL_TOKEN_GT},
    };
    for (size_t i = 0; i < COL_COUNT(table); i++) {
        if (table[i].text[0] != peek(l, 0)) continue;
        if (table[i].text[1] && table[i].text[1] != peek(l, 1)) continue;
        l->at += table[i].text[1] ? 2 : 1;
        return table[i].kind;
    }
    return COL_TOKEN_ERROR;
}

static void report_stray(col_lexer *l)
{
    col_loc loc = here(l);
    const char *start = l->at++;
    while (l->at < l->end && ((unsigned char)*l->at & 0xc0) == 0x80) l->at++;
    col_diag_add(l->diags, loc, "unexpected character '%.*s'%s", (int)(l->at - start), start,
                 *start == '\'' ? "; texts stand in double quotes" : "");
}

col_token col_lexer_next(col_lexer *l)
{
    skip_space(l);
    col_token token = {.loc = here(l), .text = l->at};
    char c = peek(l, 0);
    bool path = l->previous == COL_TOKEN_AT;
    if (l->at == l->end) {
        token.kind = COL_TOKEN_END;
    } else if (c == '\n') {
        token.kind = COL_TOKEN_NEWLINE;
        l->at++;
        l->line++;
        l->line_start = l->at;
    } else if (is_letter(c) || (path && (is_word(c) || c == '{')) ||
               (c == '%' && is_word(peek(l, 1)) && !ends_operand(l->previous))) {
        lex_name(l, &token);
    } else if (is_digit(c)) {
        lex_number(l, &token);
    } else if (c == '"' || c == '`') {
        lex_quoted(l, &token);
    } else {
        token.kind = lex_punctuation(l);
        if (token.kind == COL_TOKEN_ERROR) report_stray(l);
        if (token.kind == COL_TOKEN_OPEN || token.kind == COL_TOKEN_OPEN_LIST) l->depth++;
        if (token.kind == COL_TOKEN_CLOSE || token.kind == COL_TOKEN_CLOSE_LIST) l->depth -= l->depth > 0;
    }
    l->previous = token.kind;
    return token;
}

/* Bytes of the UTF-8 character at `at`, or 0. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (!size || at[0] > 0xf4 || size > left) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] > 0x9f;
    bool beyond = at[0] == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : size;
}

col_status col_source_check(const col_source *source)
{
    const unsigned char *text = (const unsigned char *)source->text;
    uint32_t line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < source->size;) {
        bool control =
            (text[i] < 32 && text[i] != '\t' && text[i] != '\n' && text[i] != '\r') || text[i] == 127;
        size_t size = control ? 0 : utf8_size(text + i, source->size - i);
        if (!size) {
            return col_error_make(
                COL_BAD_INPUT, "%s:%u:%zu: error: this is not a model's text: byte 0x%02x is no UTF-8 text",
                source->name, line, i - line_start + 1, text[i]);
        }
        if (text[i] == '\n') {
            line++;
            line_start = i + 1;
        }
        i += size;
    }
    return NULL;
}
