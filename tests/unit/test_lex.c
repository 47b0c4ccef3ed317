/* The lexer: kinds, places, and the three things that depend on the token before. */
#include "tests/unit/unit.h"
#include "frontend/lex.h"

/* Spellings of the tokens of a text, with names and numbers as they stand: "NAME:x '=' INT:3 END". */
static const char *tokens_of(col_arena *arena, const char *text, size_t *out_faults)
{
    static const char *const kinds[] = {
#define TOKEN(KIND, spelling) #KIND,
        COL_TOKENS
#undef TOKEN
    };
    col_source source = {"t.ir", text, strlen(text)};
    col_diags diags = {.arena = arena};
    col_lexer lexer;
    col_lexer_init(&lexer, &source, &diags);
    col_str out = {0};
    col_token token;
    do {
        token = col_lexer_next(&lexer);
        col_str_printf(&out, "%s%s", out.len ? " " : "", kinds[token.kind]);
        if (token.kind == COL_TOKEN_NAME || token.kind == COL_TOKEN_TEXT)
            col_str_printf(&out, ":%.*s", (int)token.size, token.text);
        if (token.kind == COL_TOKEN_INT) col_str_printf(&out, ":%llu", (unsigned long long)token.int_value);
        if (token.kind == COL_TOKEN_FLOAT) col_str_printf(&out, ":%g", token.float_value);
    } while (token.kind != COL_TOKEN_END);
    if (out_faults) *out_faults = diags.total;
    if (!out_faults) assert_int_equal(diags.total, 0);
    const char *result = col_arena_strdup(arena, col_str_text(&out));
    col_str_fini(&out);
    return result;
}

static void test_kinds(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    static const char *const cases[][2] = {
        {"", "END"},
        {"  # only a comment", "END"},
        {"x = 3 # three\ny", "NAME:x ASSIGN INT:3 NEWLINE NAME:y END"},
        {"h.0.attn.c_attn.weight", "NAME:h.0.attn.c_attn.weight END"},
        {"0..layers", "INT:0 RANGE NAME:layers END"},
        {"i..n", "NAME:i RANGE NAME:n END"},
        {"1.5 2e3 4E-1 9223372036854775808", "FLOAT:1.5 FLOAT:2000 FLOAT:0.4 INT:9223372036854775808 END"},
        {"f(a,\n b)\nc", "NAME:f OPEN NAME:a COMMA NAME:b CLOSE NEWLINE NAME:c END"},
        {"a==b!=c<=d>=e<f>g", "NAME:a EQ NAME:b NE NAME:c LE NAME:d GE NAME:e LT NAME:f GT NAME:g END"},
        {"\"text # not\" `na me`", "TEXT:text # not NAME:na me END"},
        {"a ~ b : c / d * e - f + [g]",
         "NAME:a TILDE NAME:b COLON NAME:c DIVIDE NAME:d TIMES NAME:e MINUS NAME:f PLUS OPEN_LIST NAME:g "
         "CLOSE_LIST END"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++)
        assert_string_equal(tokens_of(a, cases[i][0], NULL), cases[i][1]);
    col_arena_destroy(a);
}

static void test_context(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    static const char *const cases[][2] = {
        /* A percent sign names a result, unless an operand stands before it. */
        {"%12 = add(%1, %2)", "NAME:%12 ASSIGN NAME:add OPEN NAME:%1 COMMA NAME:%2 CLOSE END"},
        {"7 %2", "INT:7 REMAINDER INT:2 END"},
        {"(n) %2 + n%m", "OPEN NAME:n CLOSE REMAINDER INT:2 PLUS NAME:n REMAINDER NAME:m END"},
        /* After an at sign a path may begin with a digit or a brace. */
        {"f() @ 0.conv", "NAME:f OPEN CLOSE AT NAME:0.conv END"},
        {"f() @ {i}.x", "NAME:f OPEN CLOSE AT NAME:{i}.x END"},
        {"@ h.{2*i}.a{i}b", "AT NAME:h.{2*i}.a{i}b END"},
        /* A brace apart from a name begins a body. */
        {"for i in 0..n { }", "NAME:for NAME:i NAME:in INT:0 RANGE NAME:n OPEN_BODY CLOSE_BODY END"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++)
        assert_string_equal(tokens_of(a, cases[i][0], NULL), cases[i][1]);
    col_arena_destroy(a);
}

static void test_faults(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    static const char *const cases[][2] = {
        {"a ? b", "NAME:a ERROR NAME:b END"},
        {"\"open\nb", "ERROR NEWLINE NAME:b END"},
        {"`open", "ERROR END"},
        {"\"a\tb\"", "ERROR END"},
        {"``", "ERROR END"},
        {"`%5`", "ERROR END"},
        {"12ab", "ERROR END"},
        {"1e", "ERROR END"},
        {"1e999", "ERROR END"},
        {"9223372036854775809", "ERROR END"},
        {"x{i", "ERROR END"},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        size_t faults;
        assert_string_equal(tokens_of(a, cases[i][0], &faults), cases[i][1]);
        assert_int_equal(faults, 1);
    }
    col_arena_destroy(a);
}

static void test_places(void **state)
{
    (void)state;
    col_arena *a = col_arena_create();
    const char *text = "ab = f(\n  c)\n\n d";
    col_source source = {"t.ir", text, strlen(text)};
    col_diags diags = {.arena = a};
    col_lexer lexer;
    col_lexer_init(&lexer, &source, &diags);
    static const uint32_t places[][2] = {{1, 1}, {1, 4}, {1, 6}, {1, 7}, {2, 3},
                                         {2, 4}, {2, 5}, {3, 1}, {4, 2}, {4, 3}};
    for (size_t i = 0; i < COL_COUNT(places); i++) {
        col_token token = col_lexer_next(&lexer);
        assert_int_equal(token.loc.line, places[i][0]);
        assert_int_equal(token.loc.column, places[i][1]);
        assert_ptr_equal(token.loc.source, &source);
    }
    col_arena_destroy(a);
}

static void test_source_check(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        bool fine;
    } cases[] = {
        {"model m # caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82\t\r\n", 27, true},
        {"a\0b", 3, false},
        {"\x7f", 1, false},
        {"\xff\xfe", 2, false},
        {"\xc0\xaf", 2, false},         /* overlong */
        {"\xe0\x80\xaf", 3, false},     /* overlong */
        {"\xed\xa0\x80", 3, false},     /* a surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* past the last character */
        {"\xe2\x82", 2, false},         /* cut off */
        {"", 0, true},
    };
    for (size_t i = 0; i < COL_COUNT(cases); i++) {
        col_source source = {"t.ir", cases[i].text, cases[i].size};
        assert_int_equal(!col_error_ignore(col_source_check(&source)), cases[i].fine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_context),      cmocka_unit_test(test_faults),
        cmocka_unit_test(test_places), cmocka_unit_test(test_source_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
